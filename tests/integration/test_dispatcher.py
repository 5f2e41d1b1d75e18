# SPDX-License-Identifier: Apache-2.0
"""The courier on both databases, against a real receiver."""

from collections.abc import Iterator

import pytest

from tests.hooks import (
    attempts,
    courier,
    deliveries,
    eventually,
    fresh,
    ping,
    secret_of,
    settings_for,
    subscribe,
)
from tests.receiver import Manner, Receiver
from twinning.database import Database
from twinning.terms import DeliveryState


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = fresh(database_url)
    yield opened
    opened.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def test_an_event_is_delivered_and_verifies(database: Database, receiver: Receiver) -> None:
    """A webhook arrives with the event's id and body, signed, and its log tells so."""
    row = subscribe(database, receiver.url("/a"), headers={"X-City": "Espoo"})
    receiver.secrets = [secret_of(row)]
    with courier(database, settings_for(database.url)):
        [event_id] = ping(database, [row])
        [got] = receiver.wait_for(1)
        eventually(lambda: deliveries(database)[0].state == DeliveryState.DELIVERED)
    assert (got.webhook_id, got.verified_by) == (event_id, (secret_of(row),))
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"] == "asem-twinning-webhooks/1"
    assert got.headers["x-city"] == "Espoo"
    [line] = attempts(database, deliveries(database)[0].id)
    assert (line.number, line.status, line.error, line.address) == (1, 200, None, "127.0.0.1")


def test_failures_follow_the_schedule(database: Database, receiver: Receiver) -> None:
    """Three failures and a success come after the schedule's delays, up to a fifth late, never early."""
    row = subscribe(database, receiver.url("/a"))
    receiver.behave("/a", Manner(statuses=(500, 500, 500, 200)))
    with courier(database, settings_for(database.url)):
        ping(database, [row])
        receiver.wait_for(4)
        eventually(lambda: deliveries(database)[0].state == DeliveryState.DELIVERED)
    log = attempts(database, deliveries(database)[0].id)
    assert [line.status for line in log] == [500, 500, 500, 200]
