# SPDX-License-Identifier: Apache-2.0
"""Several dispatchers on one delivery: rung for at once, or with one that was away past its lease."""

import signal
from pathlib import Path

import pytest

from services.broker import channel_of, connect
from tests import hooks
from tests.faults.checking import Tell, check, read_log
from tests.faults.house import LEASE_S, LONG_LEASE, House, house
from tests.faults.parts import Part, eventually
from tests.faults.settling import wait_until_delivered
from tests.receiver import Manner
from twinning.endpoints import Delivery
from twinning.terms import DeliveryState

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(120)]

RINGS = 50
ANSWER_S = 0.5


def test_fifty_bells_for_one_delivery_make_one_request(
    database_url: str, short_folder: Path, tell: Tell
) -> None:
    """However often two dispatchers are rung for one delivery, the receiver has it once."""
    with house(short_folder, database_url, **LONG_LEASE) as one:
        one.receiver.behave("/hooks", Manner(delay_s=ANSWER_S))
        one.start(one.broker, one.api, one.dispatcher, one.another(one.dispatcher))
        one.subscribe()
        eventually(lambda: one.broker.listeners() == 2, "both listen for a bell")
        one.make("/cities", {"name": "Cork", "country": "IE"})
        with connect(one.broker.url) as client:
            assert [client.publish(channel_of(one.broker.url), "") for _ in range(RINGS)] == [2] * RINGS
        wait_until_delivered(one)
        verdict = check(one)
        tell(verdict, f"{RINGS} bells")
        assert verdict.flaws == {}
        assert len(one.receiver.got()) == verdict.events == 1


def test_who_comes_back_after_its_lease_changes_nothing(
    database_url: str, short_folder: Path, tell: Tell
) -> None:
    """A dispatcher hung past its lease is overtaken; when it goes on its outcome is refused and logged."""
    with house(short_folder, database_url) as one:
        one.receiver.behave("/hooks", Manner((200, 204), delay_s=ANSWER_S))
        one.start(one.broker, one.api, one.dispatcher)
        one.subscribe()
        one.make("/cities", {"name": "Cork", "country": "IE"})
        one.receiver.wait_for(1)
        # Its request has arrived and is not answered: it holds the delivery and no lock.
        one.dispatcher.send(signal.SIGSTOP)
        second = one.another(one.dispatcher)
        one.start(second)
        one.receiver.wait_for(2, timeout_s=10 * LEASE_S)
        wait_until_delivered(one)
        before = _only(one)
        one.dispatcher.send(signal.SIGCONT)
        eventually(lambda: _error_of_first(one) == "stale_lease", "the late outcome is logged as refused")
        assert _only(one) == before
        assert (before.state, before.tries, before.fence) == (DeliveryState.DELIVERED, 2, 2)
        [kept] = read_log(one).values()
        assert [(attempt.number, attempt.error) for attempt in kept.log] == [(1, "stale_lease"), (2, None)]
        assert kept.log[1].status == 204
        verdict = check(one)
        tell(verdict, "the late outcome refused by its fence")
        assert verdict.flaws == {}
        parts: tuple[Part, ...] = (one.dispatcher, second)
        assert all(part.runs for part in parts)


def _only(house: House) -> Delivery:
    [row] = hooks.deliveries(house.database)
    return row


def _error_of_first(house: House) -> str | None:
    return hooks.attempts(house.database, _only(house).id)[0].error
