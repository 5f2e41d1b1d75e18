# SPDX-License-Identifier: Apache-2.0
"""The courier on both databases, against a real receiver: what is sent, when, how often and to whom."""

import json
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import event
from sqlmodel import col, select, update

from tests.hooks import (
    attempts,
    courier,
    deliveries,
    eventually,
    ping,
    reload,
    secret_of,
    settings_for,
    subscribe,
)
from tests.receiver import Manner, Received, Receiver
from twinning import endpoints, switching
from twinning.database import Database, now
from twinning.endpoints import Delivery, new_secrets
from twinning.events import EventType
from twinning.outbox import StoredEvent
from twinning.terms import DeliveryState
from twinning.turns import MOST_IN_FLIGHT


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def states(database: Database) -> list[str]:
    return [one.state for one in deliveries(database)]


def all_are(database: Database, state: DeliveryState) -> None:
    eventually(lambda: set(states(database)) == {state})


def told_at(one: Received) -> float:
    """When the event happened, by its body."""
    return datetime.fromisoformat(json.loads(one.body)["timestamp"]).timestamp()


def test_an_event_is_delivered_and_verifies(database: Database, receiver: Receiver) -> None:
    """A webhook arrives with the event's id and body and the endpoint's headers, and its log tells so."""
    row = subscribe(database, receiver.url("/a"), headers={"X-City": "Espoo", "Webhook-ID": "forged"})
    receiver.secrets = [secret_of(row)]
    receiver.behave("/a", Manner(body="thank\0s"))
    with courier(database, settings_for(database.url)):
        [event_id] = ping(database, [row])
        [got] = receiver.wait_for(1)
        all_are(database, DeliveryState.DELIVERED)
    assert (got.webhook_id, got.verified_by) == (event_id, (secret_of(row),))
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"] == "asem-twinning-webhooks/1"
    assert got.headers["x-city"] == "Espoo"
    [line] = attempts(database, deliveries(database)[0].id)
    assert (line.number, line.status, line.error, line.address) == (1, 200, None, "127.0.0.1")
    assert line.answer == "thanks"


def test_every_live_secret_signs(database: Database, receiver: Receiver) -> None:
    """While secrets rotate, the webhook verifies with each one that has not ended and with no other."""
    secrets = [new_secrets()[0] for _ in range(3)]
    secrets[1]["ends_at"] = (now() + timedelta(hours=1)).isoformat()
    secrets[2]["ends_at"] = (now() - timedelta(seconds=1)).isoformat()
    row = subscribe(database, receiver.url("/a"), secrets=secrets)
    receiver.secrets = [entry["secret"] for entry in secrets]
    with courier(database, settings_for(database.url)):
        ping(database, [row])
        [got] = receiver.wait_for(1)
    assert got.verified_by == tuple(entry["secret"] for entry in secrets[:2])


def test_failures_follow_the_schedule(database: Database, receiver: Receiver) -> None:
    """After failures the same webhook comes by the schedule, up to a fifth late and never early."""
    row = subscribe(database, receiver.url("/a"))
    receiver.secrets = [secret_of(row)]
    receiver.behave("/a", Manner(statuses=(500, 500, 500, 200)))
    with courier(database, settings_for(database.url, retry_schedule_s="0 0.5 1 1.5")):
        [event_id] = ping(database, [row])
        got = receiver.wait_for(4)
        all_are(database, DeliveryState.DELIVERED)
    for (one, another), delay_s in zip(pairwise(got), (0.5, 1, 1.5), strict=True):
        assert another.at - one.at >= delay_s
    log = attempts(database, deliveries(database)[0].id)
    assert [line.status for line in log] == [500, 500, 500, 200]
    for line, delay_s in zip(log, (0.5, 1, 1.5), strict=False):
        assert line.next_attempt_at is not None
        planned = (line.next_attempt_at - line.started_at).total_seconds()
        # The plan counts from the end of the attempt.
        assert delay_s <= planned <= 1.2 * delay_s + (line.duration_ms or 0) / 1000 + 0.2
    assert {one.webhook_id for one in got} == {event_id}
    assert len({one.body for one in got}) == 1
    assert all(one.verified_by for one in got)
    assert len({one.timestamp for one in got}) >= 3
    for one in got:
        assert abs(int(one.timestamp) - one.at) < 2


@pytest.mark.parametrize("status", [301, 307])
def test_a_redirect_is_a_failed_attempt(database: Database, receiver: Receiver, status: int) -> None:
    """A receiver that points elsewhere is not followed."""
    row = subscribe(database, receiver.url("/a"))
    receiver.behave("/a", Manner(statuses=(status,), headers={"Location": receiver.url("/b")}))
    with courier(database, settings_for(database.url, retry_schedule_s="0")):
        ping(database, [row])
        all_are(database, DeliveryState.EXHAUSTED)
    [line] = attempts(database, deliveries(database)[0].id)
    assert (line.status, line.error) == (status, "redirect_refused")
    assert [one.path for one in receiver.got()] == ["/a"]


def test_a_wait_asked_for_is_kept(database: Database, receiver: Receiver) -> None:
    """A `Retry-After` longer than the schedule's delay is waited for."""
    row = subscribe(database, receiver.url("/a"))
    receiver.behave("/a", Manner(statuses=(429, 200), headers={"Retry-After": "2"}))
    with courier(database, settings_for(database.url)):
        ping(database, [row])
        one, another = receiver.wait_for(2)
    assert 2 <= another.at - one.at < 4


def test_the_last_attempt_exhausts(database: Database, receiver: Receiver) -> None:
    """After the schedule's last attempt a delivery is exhausted, with each attempt in its log."""
    row = subscribe(database, receiver.url("/a"))
    receiver.behave("/a", Manner(statuses=(403,), body="no"))
    with courier(database, settings_for(database.url, retry_schedule_s="0 0.1 0.1")):
        ping(database, [row])
        all_are(database, DeliveryState.EXHAUSTED)
    [delivery] = deliveries(database)
    log = attempts(database, delivery.id)
    assert [(line.number, line.status, line.error, line.answer) for line in log] == [
        (number, 403, "http_error", "no") for number in (1, 2, 3)
    ]
    assert log[-1].next_attempt_at is None
    assert (delivery.due_at, delivery.leased_by) == (None, None)
    assert reload(database, row).failures == 3


def test_gone_holds_and_enabling_releases_in_order(database: Database, receiver: Receiver) -> None:
    """A 410 switches the endpoint off at once; events are held, and released in order when it is on again."""
    row = subscribe(database, receiver.url("/a"))
    receiver.behave("/a", Manner(statuses=(410,)))
    with courier(database, settings_for(database.url)) as one:
        ids = ping(database, [row])
        eventually(lambda: not reload(database, row).enabled)
        for _ in range(4):
            ids += ping(database, [row], 3)
        all_are(database, DeliveryState.HELD)
        assert reload(database, row).disabled_because == "gone"
        assert len(receiver.got()) == 1
        receiver.behave("/a", Manner())
        with database.transaction() as session:
            switching.enable(session, endpoints.get(session, row.id))
        one.wake()
        receiver.wait_for(1 + len(ids))
        all_are(database, DeliveryState.DELIVERED)
    with database.snapshot() as session:
        stored = session.exec(select(StoredEvent.type).order_by(col(StoredEvent.sequence))).all()
    assert stored.count(EventType.WEBHOOK_ENDPOINT_DISABLED) == 1
    came = [got.webhook_id for got in receiver.got()[1:]]
    for place, event_id in enumerate(ids):
        # Those sent side by side may pass each other, no others.
        assert abs(came.index(event_id) - place) < MOST_IN_FLIGHT


@pytest.mark.parametrize(
    ("asked", "state", "enabled"), [("disable", "held", False), (" Abort-Message ", "exhausted", True)]
)
def test_a_receiver_may_ask_to_be_left_alone(
    database: Database, receiver: Receiver, asked: str, state: str, enabled: bool
) -> None:
    """By a header it is disabled, or spared one event, after the first attempt."""
    row = subscribe(database, receiver.url("/a"))
    receiver.behave("/a", Manner(statuses=(400,), headers={"Webhook-Delivery": asked}))
    with courier(database, settings_for(database.url)):
        ping(database, [row])
        receiver.wait_for(1)
        eventually(lambda: deliveries(database, row)[0].state == state)

    after = reload(database, row)
    assert (after.enabled, after.disabled_because) == (enabled, None if enabled else "gone")
    assert len(receiver.got()) == 1


def test_two_couriers_never_send_the_same(database: Database, receiver: Receiver) -> None:
    """Couriers side by side send each delivery once, and give no endpoint more than its share."""
    rows = [subscribe(database, receiver.url(f"/{number}")) for number in range(5)]
    for row in rows:
        receiver.behave(row.url.removeprefix(receiver.url("")), Manner(delay_s=0.02))
    ping(database, rows, 40)
    other = Database(database.url)
    settings = settings_for(database.url)
    with courier(database, settings, "courier-1"), courier(other, settings, "courier-2"):
        got = receiver.wait_for(200, timeout_s=60)
        all_are(database, DeliveryState.DELIVERED)
    other.close()
    assert len(got) == len({one.webhook_id for one in got}) == 200
    assert max(receiver.most_in_hand.values()) <= MOST_IN_FLIGHT


def test_a_hanging_endpoint_delays_no_other(database: Database, receiver: Receiver) -> None:
    """Nine endpoints get theirs within two seconds (95 of 100) beside one that never answers."""
    rows = [subscribe(database, receiver.url(f"/{number}")) for number in range(10)]
    receiver.behave("/0", Manner(delay_s=60))
    with courier(database, settings_for(database.url)):
        for _ in range(20):
            ping(database, rows, 2)
        receiver.wait(lambda got: sum(one.path != "/0" for one in got) == 360, 60)
    lags = sorted(one.at - told_at(one) for one in receiver.got() if one.path != "/0")
    assert lags[int(0.95 * len(lags))] < 2
    assert receiver.most_in_hand["/0"] <= MOST_IN_FLIGHT


def test_what_is_due_soon_waits_for_no_scan_and_no_answer(database: Database, receiver: Receiver) -> None:
    """While one receiver is silent, what becomes due for another is sent in its time."""
    slow, soon = subscribe(database, receiver.url("/slow")), subscribe(database, receiver.url("/soon"))
    receiver.behave("/slow", Manner(delay_s=4))
    ping(database, [slow, soon])
    due_at = now() + timedelta(seconds=1)
    with database.transaction() as session:
        session.execute(update(Delivery).where(col(Delivery.endpoint_id) == soon.id).values(due_at=due_at))
    with courier(database, settings_for(database.url, scan_interval_s=60)):
        got = receiver.wait(lambda got: any(one.path == "/soon" for one in got), 10)

    [at] = [one.at for one in got if one.path == "/soon"]
    assert 0 <= at - due_at.timestamp() < 2


def test_a_courier_with_full_hands_looks_for_nothing(
    database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may take no more asks the database nothing until something has landed, and then takes the next."""
    monkeypatch.setattr("services.dispatcher.courier.MOST_IN_AIR", 1)
    slow, soon = subscribe(database, receiver.url("/slow")), subscribe(database, receiver.url("/soon"))
    receiver.behave("/slow", Manner(delay_s=1.5))
    begun: list[object] = []
    with courier(database, settings_for(database.url)):
        ping(database, [slow])
        receiver.wait_for(1)
        ping(database, [soon])
        look = begun.append
        event.listen(database.engine, "begin", look)
        receiver.wait_for(2)
        event.remove(database.engine, "begin", look)

    assert [one.path for one in receiver.got()] == ["/slow", "/soon"]
    assert len(begun) <= 5


def test_an_ailing_endpoint_is_asked_one_at_a_time(database: Database, receiver: Receiver) -> None:
    """After some failures in a row an endpoint has one delivery in the air, until it answers again."""
    row = subscribe(database, receiver.url("/a"))
    with database.transaction() as session:
        endpoints.get(session, row.id).failures = MOST_IN_FLIGHT
    receiver.behave("/a", Manner(statuses=(500, 500, 200), delay_s=0.05))
    ping(database, [row], 12)
    with courier(database, settings_for(database.url)):
        receiver.wait_for(2)
        assert receiver.most_in_hand["/a"] == 1
        all_are(database, DeliveryState.DELIVERED)
    assert receiver.most_in_hand["/a"] == MOST_IN_FLIGHT
    assert reload(database, row).failing_since is None


def test_without_scan_and_bell_nothing_is_sent(database: Database, receiver: Receiver) -> None:
    """With the scan off a delivery waits for the bell; so a test of the scan can fail."""
    row = subscribe(database, receiver.url("/a"))
    with courier(database, settings_for(database.url, scan_interval_s=0)) as one:
        database.ring = lambda _bell: None
        ping(database, [row])
        with pytest.raises(AssertionError, match="had come"):
            receiver.wait_for(1, timeout_s=1.5)
        one.wake()
        receiver.wait_for(1)


def test_the_scan_finds_what_no_bell_told(database: Database, receiver: Receiver) -> None:
    """A delivery whose bell was lost is found within the scan's interval."""
    row = subscribe(database, receiver.url("/a"))
    with courier(database, settings_for(database.url)):
        database.ring = lambda _bell: None
        ping(database, [row])
        [got] = receiver.wait_for(1)
    assert got.at - told_at(got) < 0.5 + 1


def test_a_courier_outlives_what_nobody_foresaw(database: Database, receiver: Receiver) -> None:
    """A turn at the database that fails in a way unheard of is logged, and the next bell is heard."""
    row = subscribe(database, receiver.url("/a"))
    failed: list[str] = []

    def fail_once(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("UPDATE delivery") and not failed:
            failed.append(statement)
            raise ZeroDivisionError

    event.listen(database.engine, "before_cursor_execute", fail_once)
    with courier(database, settings_for(database.url)):
        ping(database, [row])
        eventually(lambda: bool(failed))
        ping(database, [row])
        receiver.wait_for(2)
        eventually(lambda: {one.state for one in deliveries(database)} == {DeliveryState.DELIVERED})
    event.remove(database.engine, "before_cursor_execute", fail_once)

    assert len(receiver.got("/a")) == 2


def test_a_private_address_is_never_called(database: Database) -> None:
    """A name that leads inside at the time of delivery is a failed attempt without a connection."""
    row = subscribe(database, "https://hooks.learningcity.org/in")

    async def leads_inside(host: str, port: int) -> list[str]:
        return ["93.184.215.14", "10.0.0.7"]

    settings = settings_for(database.url, webhook_allow_cidrs="", retry_schedule_s="0")
    with courier(database, settings, resolve=leads_inside):
        ping(database, [row])
        all_are(database, DeliveryState.EXHAUSTED)
    [line] = attempts(database, deliveries(database)[0].id)
    assert (line.status, line.error, line.address) == (None, "address_not_public", None)


def test_stopping_gives_back_what_is_under_way(database: Database, receiver: Receiver) -> None:
    """A courier that stops is done in time, and what it had broken off is the next one's at once."""
    row = subscribe(database, receiver.url("/a"))
    receiver.behave("/a", Manner(delay_s=60))
    settings = settings_for(database.url, webhook_timeout_s=60)
    with courier(database, settings) as one:
        ping(database, [row])
        receiver.wait_for(1)
        began = time.monotonic()
        one.stop(2.0)
        assert time.monotonic() - began < 3
    [delivery] = deliveries(database)
    assert (delivery.state, delivery.leased_by) == (DeliveryState.PENDING, None)
    receiver.behave("/a", Manner())
    with courier(database, settings, "courier-2"):
        receiver.wait_for(2, timeout_s=2)
        all_are(database, DeliveryState.DELIVERED)
    assert [line.error for line in attempts(database, delivery.id)] == ["interrupted", None]


def test_a_stop_lets_short_calls_end(database: Database, receiver: Receiver) -> None:
    """What ends soon after the stop is delivered and not sent again."""
    row = subscribe(database, receiver.url("/a"))
    receiver.behave("/a", Manner(delay_s=0.5))
    with courier(database, settings_for(database.url)) as one:
        ping(database, [row])
        receiver.wait_for(1)
        one.stop(4.0)
    assert states(database) == [DeliveryState.DELIVERED]
