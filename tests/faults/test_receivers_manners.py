# SPDX-License-Identifier: Apache-2.0
"""Receivers with manners of their own: failing, refusing, busy, gone, and dead beside nine that are well."""

import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from tests.faults.checking import Kept, Tell, check, most_at_once, read_feed, read_log
from tests.faults.house import House, house
from tests.faults.parts import eventually
from tests.faults.settling import wait_until_delivered
from tests.faults.writing import Writing, settle_in
from tests.receiver import Manner
from twinning.terms import DeliveryState
from twinning.turns import MOST_IN_FLIGHT

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(300)]

SCHEDULE_S = (0.0, 0.5, 1.0, 2.0)
LATEST = 1.2
# Between the plan and the request lie a turn at the database and a busy machine.
SLACK_S = 1.0
ASKED_S = 2.0
PER_SECOND = 15.0
LAG_S = 2.0


def test_each_manner_has_its_consequence(
    database_url: str, short_folder: Path, seed: int, tell: Tell
) -> None:
    """500 and 403 are tried by the table, 429 when it asks; 410 holds, and enabling sends in order."""
    with house(short_folder, database_url, RETRY_SCHEDULE_S=",".join(map(str, SCHEDULE_S))) as one:
        manners = {
            "/well": Manner(),
            "/failing": Manner((500, 500, 500, 200), each_event=True),
            "/refusing": Manner((403,)),
            "/busy": Manner((429, 200), headers={"Retry-After": f"{ASKED_S:g}"}, each_event=True),
            "/gone": Manner((410,)),
        }
        for path, manner in manners.items():
            one.receiver.behave(path, manner)
        one.start(one.broker, one.api, one.dispatcher)
        # One event each: where several wait for their turn, they are later than the table says.
        for path in manners:
            one.subscribe(path, *(["city.withdrawn"] if path in {"/failing", "/refusing"} else []))
        city, leaving, *_ = settle_in(one)
        one.client.delete(f"/v1/cities/{leaving}").raise_for_status()
        posted = Writing(one, [city], random.Random(seed)).write(5)
        wait_until_delivered(one)
        gone = one.get(f"/webhook-endpoints/{one.subscribed['/gone'].id}")
        assert (gone["enabled"], gone["disabled_because"]) == (False, "gone")
        # The first of them told; what followed, and what came after, was held and not sent.
        told = len(one.receiver.got("/gone"))
        assert 1 <= told <= MOST_IN_FLIGHT
        posted += Writing(one, [city], random.Random(seed + 1)).write(3)
        wait_until_delivered(one)
        assert len(one.receiver.got("/gone")) == told
        log = read_log(one)
        of = {path: _kept(one, log, path) for path in manners}
        assert {kept.state for kept in of["/gone"]} == {DeliveryState.HELD}
        _assert_by_the_table(of["/failing"], [500, 500, 500, 200], DeliveryState.DELIVERED)
        _assert_by_the_table(of["/refusing"], [403] * len(SCHEDULE_S), DeliveryState.EXHAUSTED)
        for kept in of["/busy"]:
            first, second = kept.log
            assert (second.started_at - first.started_at).total_seconds() >= ASKED_S
        verdict = check(one, posted, lag_on=["/well"])
        assert verdict.flaws == {}

        one.receiver.behave("/gone", Manner())
        one.client.patch(f"/v1/webhook-endpoints/{gone['id']}", json={"enabled": True}).raise_for_status()
        wait_until_delivered(one)
        released = [each.webhook_id for each in one.receiver.got("/gone")[told:]]
        assert released == [event["id"] for event in read_feed(one) if event["id"] in set(released)]
        after = check(one, posted, lag_on=["/well"])
        tell(after, f"{len(released)} held and released in order")
        assert after.flaws == {}
        assert {kept.state for kept in _kept(one, read_log(one), "/gone")} == {DeliveryState.DELIVERED}


def _kept(house: House, log: dict[tuple[str, str], Kept], path: str) -> list[Kept]:
    """Give what the log has of an endpoint's deliveries."""
    return [kept for (endpoint_id, _), kept in log.items() if endpoint_id == house.subscribed[path].id]


def _assert_by_the_table(kept: Sequence[Kept], statuses: list[int], state: DeliveryState) -> None:
    """Each attempt began after the table's wait, counted from the end of the one before, and hardly later."""
    assert kept
    for one in kept:
        assert one.state == state
        assert [attempt.status for attempt in one.log] == statuses
        for (before, after), wait_s in zip(pairwise(one.log), SCHEDULE_S[1:], strict=True):
            assert before.duration_ms is not None
            apart_s = (after.started_at - before.started_at).total_seconds() - before.duration_ms / 1000
            assert wait_s <= apart_s <= wait_s * LATEST + SLACK_S


@pytest.mark.nightly
def test_a_dead_endpoint_delays_none_of_nine(
    database_url: str, short_folder: Path, seed: int, long: bool, tell: Tell
) -> None:
    """Beside one that hangs nine hear within 2 s (95 of 100); it has four in the air, and soon one."""
    well = [f"/{number}" for number in range(9)]
    with house(short_folder, database_url) as one:
        one.receiver.behave("/dead", Manner(delay_s=60))
        one.start(one.broker, one.api, one.dispatcher)
        for path in ["/dead", *well]:
            one.subscribe(path)
        writing = Writing(one, settle_in(one), random.Random(seed))
        posted = writing.write(1_000 if long else 200, PER_SECOND)
        before_s = check(one, posted, lag_on=well).lag_s(95)
        at_worst = one.receiver.most_in_hand["/dead"]
        dead = [attempt for kept in _kept(one, read_log(one), "/dead") for attempt in kept.log]
        one.receiver.behave("/dead", Manner())
        wait_until_delivered(one, 120)
        verdict = check(one, posted, lag_on=well)
        tell(verdict, f"{at_worst} in the air to the dead one at most, {len(dead)} attempts at it")
        assert verdict.flaws == {}
        assert max(before_s, verdict.lag_s(95)) < LAG_S
        assert at_worst <= MOST_IN_FLIGHT
        # Once the first four have failed, one at a time.
        ended = sorted(
            attempt.started_at.timestamp() + attempt.duration_ms / 1000
            for attempt in dead
            if attempt.duration_ms is not None
        )
        ailing = [a for a in dead if a.started_at.timestamp() > ended[MOST_IN_FLIGHT - 1]]
        assert ailing
        assert most_at_once(ailing) == 1
        eventually(lambda: one.receiver.in_hand("/dead") == 0, "the dead one has let go")
