# SPDX-License-Identifier: Apache-2.0
"""The health of endpoints on both databases: two warnings, once each, and then the end."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event

import pytest
from sqlmodel import col, select

from services.dispatcher.errands import Errands
from tests.hooks import courier, deliveries, eventually, ping, reload, settings_for, subscribe
from tests.receiver import Manner, Receiver
from twinning import endpoints, switching
from twinning.database import Database, now
from twinning.deliveries import Sending, take_due
from twinning.endpoints import WebhookEndpoint
from twinning.events import EventType
from twinning.outbox import StoredEvent
from twinning.outcomes import Outcome, settle
from twinning.terms import DeliveryState


def fail_since(database: Database, row: WebhookEndpoint, hours: float, failures: int = 3) -> None:
    """Let an endpoint have failed for so many hours."""
    with database.transaction() as session:
        changed = endpoints.get(session, row.id)
        changed.failing_since, changed.failures = now() - timedelta(hours=hours), failures


def told(database: Database) -> list[str]:
    """The events about endpoints' health, in order."""
    kinds = [EventType.WEBHOOK_ENDPOINT_FAILING, EventType.WEBHOOK_ENDPOINT_DISABLED]
    query = select(StoredEvent).where(col(StoredEvent.type).in_(kinds)).order_by(col(StoredEvent.sequence))
    with database.snapshot() as session:
        return [one.body for one in session.exec(query)]


def look(database: Database) -> list[str]:
    """Look as a dispatcher does each minute; gives what has been told so far."""
    Errands(database, settings_for(database.url), "dispatcher-1").look()
    return told(database)


def test_an_owner_is_warned_twice_and_then_it_ends(database: Database) -> None:
    """At 24 and 72 hours of failing there is a warning, once each; at 120 with ten failures it is off."""
    row = subscribe(database, "http://127.0.0.1:9/")
    seen = []
    for hours, failures in ((23, 5), (25, 5), (26, 6), (73, 8), (119, 12), (121, 9), (121, 10), (200, 11)):
        fail_since(database, row, hours, failures)
        seen.append(len(look(database)))

    assert seen == [0, 1, 1, 2, 2, 2, 3, 3]
    assert ["24 hours" in told(database)[0], "72 hours" in told(database)[1]] == [True, True]
    assert '"type":"webhook_endpoint.failing"' in told(database)[0]
    assert reload(database, row).disabled_because == "failing"


def test_a_failed_attempt_warns_by_itself(database: Database) -> None:
    """The warning comes with the attempt that shows that it is due, and to the owner's other endpoints."""
    with Receiver() as receiver:
        row = subscribe(database, receiver.url("/dead"))
        other = subscribe(
            database, receiver.url("/alive"), owner_id=row.owner_id, event_types=["webhook_endpoint.*"]
        )
        receiver.behave("/dead", Manner(statuses=(500,)))
        fail_since(database, row, 30)
        with courier(database, settings_for(database.url)):
            ping(database, [row])
            receiver.wait(lambda got: any(one.path == "/alive" for one in got))
            eventually(lambda: len(receiver.got("/dead")) >= 3)
    assert len(told(database)) == 1
    assert [b"failing" in one.body for one in receiver.got("/alive")] == [True]
    assert (reload(database, row).warned, reload(database, other).warned) == (1, 0)


def test_who_was_not_looked_at_for_long_is_warned_once(database: Database) -> None:
    """When both times have passed unseen, one warning says so."""
    row = subscribe(database, "http://127.0.0.1:9/")
    fail_since(database, row, 80)

    assert len(look(database)) == len(look(database)) == 1


@pytest.mark.parametrize("by", ["success", "enabling"])
def test_recovery_starts_the_count_anew(database: Database, by: str) -> None:
    """After a success, or once it is enabled again, an endpoint is warned of anew."""
    with Receiver() as receiver:
        row = subscribe(database, receiver.url("/a"))
        fail_since(database, row, 30)
        look(database)
        if by == "success":
            with courier(database, settings_for(database.url)):
                ping(database, [row])
                receiver.wait_for(1)
                eventually(lambda: reload(database, row).failures == 0)
        else:
            with database.transaction() as session:
                changed = endpoints.get(session, row.id)
                switching.disable(session, changed, "its owner")
                switching.enable(session, changed)
    mended = reload(database, row)
    fail_since(database, row, 30)

    assert (mended.warned, mended.failing_since) == (0, None)
    assert len(look(database)) == 2


def test_an_endpoint_that_is_off_is_not_warned_of(database: Database) -> None:
    """Whoever switched it off knows."""
    row = subscribe(database, "http://127.0.0.1:9/", enabled=False)
    fail_since(database, row, 200, 50)

    assert look(database) == []


def test_an_endpoint_goes_off_and_on_under_a_stream_of_events(database: Database) -> None:
    """However many write events, all of an endpoint that is off is held, and switching has its turn."""
    row = subscribe(database, "http://127.0.0.1:9/")
    enough = Event()

    def write() -> None:
        while not enough.is_set():
            ping(database, [row])

    with ThreadPoolExecutor(4) as writers:
        writing = [writers.submit(write) for _ in range(4)]
        try:
            for _ in range(5):
                eventually(lambda: bool(deliveries(database, row)))
                with database.transaction() as session:
                    taken = take_due(session, "courier-1", 4, 30)
                with database.transaction() as session:
                    settle(session, [_gone(sending) for sending in taken])
                off_since = len(deliveries(database, row))
                eventually(lambda so_far=off_since: len(deliveries(database, row)) > so_far + 4)
                assert {one.state for one in deliveries(database, row)} == {DeliveryState.HELD}
                with database.transaction() as session:
                    switching.enable(session, endpoints.get(session, row.id, hold=True))
        finally:
            enough.set()
        for one in writing:
            one.result()


def _gone(sending: Sending) -> Outcome:
    return Outcome(sending, DeliveryState.HELD, None, 410, "http_4xx", "", None, 1.0, gone=True)
