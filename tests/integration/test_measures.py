# SPDX-License-Identifier: Apache-2.0
"""The rules of what is measured: counted once, in the transaction that did it, and quickly read."""

import sys
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from sqlalchemy import text, update
from sqlmodel import col

from services.api.metrics import Metrics
from tests.hooks import eventually, ping, subscribe
from twinning import deliveries, measures, outcomes, tallies, work
from twinning.database import Database, now
from twinning.endpoints import Delivery, WebhookEndpoint
from twinning.outcomes import Outcome
from twinning.tallies import LAG_EDGES_S
from twinning.terms import DeliveryState, Work

URL = "https://hooks.city.example.org/"
MANY = 100_000


def outcome(sending: deliveries.Sending, state: DeliveryState, error: str | None) -> Outcome:
    """What became of an attempt."""
    due_at = now() + timedelta(minutes=5) if state is DeliveryState.PENDING else None
    status = None if error else 204
    return Outcome(
        sending=sending, state=state, due_at=due_at, status=status, error=error, answer="", address=None,
        duration_ms=1.0,
    )  # fmt: skip


def take(database: Database, lease_s: float = 30.0) -> list[deliveries.Sending]:
    """Take what is due, as a dispatcher does."""
    with database.transaction() as session:
        return deliveries.take_due(session, "test", 100, lease_s)


def look(database: Database) -> measures.Measures:
    """Measure."""
    with database.snapshot() as session:
        return measures.measure(session)


def test_attempts_are_counted_by_what_came_of_them(database: Database) -> None:
    """Each outcome counts once under its class, with its delivery, and arrivals count in the lag, too."""
    row = subscribe(database, URL, event_types=["*"])
    ping(database, [row], 4)
    one, two, three, four = take(database)
    with database.transaction() as session:
        done = [
            outcome(one, DeliveryState.DELIVERED, None),
            outcome(two, DeliveryState.PENDING, "timeout"),
            outcome(three, DeliveryState.PENDING, "timeout"),
        ]
        outcomes.settle(session, done)
    with database.transaction() as session:
        session.execute(update(Delivery).where(col(Delivery.id) == four.delivery_id).values(fence=9))
        outcomes.settle(session, [outcome(four, DeliveryState.DELIVERED, None)])
    found = look(database).tallies

    assert found[tallies.ATTEMPTS] == {"delivered": 1, "timeout": 2, "stale_lease": 1}
    assert sum(found[tallies.LAG].values()) == 1
    assert 0 <= found[tallies.LAG_MS][""] < 60_000


def test_what_is_undone_is_not_counted(database: Database) -> None:
    """A count falls with its transaction."""
    with pytest.raises(ZeroDivisionError), database.transaction() as session:
        tallies.count(session, {("attempts", "delivered"): 3})
        raise ZeroDivisionError

    assert look(database).tallies == {}


def test_counts_of_all_processes_add_up(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever counts, and however often, the sum is what is read."""
    for pid in (1, 2, 1, 9, 17):
        monkeypatch.setattr("os.getpid", lambda pid=pid: pid)
        with database.transaction() as session:
            tallies.count(session, {("attempts", "delivered"): 2, ("attempts", "timeout"): 0})

    assert look(database).tallies == {"attempts": {"delivered": 10}}


def test_expired_leases_are_counted(database: Database) -> None:
    """A delivery that is taken back from a dispatcher which is gone counts, once."""
    row = subscribe(database, URL, event_types=["*"])
    ping(database, [row], 2)
    take(database, lease_s=-1.0)
    take(database)
    take(database)

    assert look(database).tallies[tallies.LEASES_EXPIRED] == {"": 2}


def test_what_waits_is_counted(database: Database) -> None:
    """Due deliveries, those that were never begun, the age of the oldest, and units of work by kind."""
    row = subscribe(database, URL, event_types=["*"])
    ping(database, [row], 3)
    (first, *_) = take(database)[:1]
    with database.transaction() as session:
        session.execute(update(Delivery).values(leased_by=None, due_at=now() - timedelta(seconds=90)))
        session.execute(update(Delivery).where(col(Delivery.id) != first.delivery_id).values(tries=0))
        work.enqueue(session, Work.MATCH_CITY, "one")
        work.plan(session, Work.REFRESH, "all", now() + timedelta(hours=1))
    found = look(database)

    assert (found.deliveries_due, found.unpublished) == (3, 2)
    assert 90 <= found.oldest_due_s < 120
    assert {kind: count for kind, count in found.work_due.items() if count} == {Work.MATCH_CITY: 1}
    assert set(found.work_due) == set(Work)


@given(st.floats(0, 1e6))
def test_a_time_falls_into_its_bucket(lag_s: float) -> None:
    """The bucket that a time is counted in is the first whose edge it does not pass."""
    edge = tallies.edge_of(lag_s)
    taking = [each for each in LAG_EDGES_S if lag_s <= each]

    assert edge == (f"{taking[0]:g}" if taking else "+Inf")


@pytest.fixture
def waiting(database: Database) -> Iterator[WebhookEndpoint]:
    """An endpoint with one delivery that has been due for two minutes."""
    row = subscribe(database, URL, event_types=["*"])
    ping(database, [row])
    with database.transaction() as session:
        session.execute(update(Delivery).values(due_at=now() - timedelta(minutes=2)))
    return row


def stuck(database: Database) -> bool:
    """Whether something waits that could be sent at once."""
    with database.snapshot() as session:
        return measures.stuck_since(session) is not None


def test_what_could_be_sent_and_is_not_is_stuck(database: Database, waiting: WebhookEndpoint) -> None:
    """A delivery to a healthy endpoint that has been due for a minute says that nobody sends."""
    assert stuck(database)
    with database.transaction() as session:
        session.execute(update(Delivery).values(due_at=now() - timedelta(seconds=50)))
    assert not stuck(database)


@pytest.mark.parametrize("why", [{"failures": 3}, {"rate_per_second": 0.01}, {"enabled": False}])
def test_what_waits_for_its_receiver_is_not_stuck(
    database: Database, waiting: WebhookEndpoint, why: dict[str, object]
) -> None:
    """A receiver that fails, is off or wants to hear slowly keeps its own deliveries waiting, and no more."""
    with database.transaction() as session:
        session.execute(update(WebhookEndpoint).values(why))

    assert not stuck(database)


def test_a_backlog_that_is_worked_off_is_not_stuck(database: Database, waiting: WebhookEndpoint) -> None:
    """While something is on its way to a slow receiver the rest waits in order."""
    take(database)
    ping(database, [waiting])
    with database.transaction() as session:
        waits = update(Delivery).where(col(Delivery.leased_by).is_(None))
        session.execute(waits.values(due_at=now() - timedelta(minutes=2)))

    assert not stuck(database)


FILL = """
INSERT INTO event (id, sequence, type, timestamp, body)
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :many)
  SELECT 'event-' || i, i + 1000, 'practice.updated', :moment, '{}' FROM n;
INSERT INTO delivery (id, event_id, endpoint_id, state, due_at, fence, tries, created_at, updated_at)
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :many)
  SELECT 'delivery-' || i, 'event-' || i, :endpoint, :state, :due_at, 1, :tries, :moment, :moment FROM n;
INSERT INTO attempt (delivery_id, number, started_at, status)
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :many)
  SELECT 'delivery-' || i, 1, :moment, 200 FROM n
"""


@pytest.mark.slow
@pytest.mark.parametrize("state", ["delivered", "pending"])
def test_a_scrape_is_quick_however_many_deliveries_there_are(
    database: Database, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a hundred thousand deliveries, all done or all due, a scrape takes less than 50 ms."""
    row = subscribe(database, URL)
    moment = now() - timedelta(minutes=10)
    due_at = moment if state == "pending" else None
    bare = moment.replace(tzinfo=None) if database.is_sqlite else moment
    values = {
        "many": MANY, "endpoint": row.id, "state": state, "moment": bare, "due_at": bare if due_at else None,
        "tries": 0 if due_at else 1,
    }  # fmt: skip
    with database.transaction() as session:
        for statement in FILL.split(";"):
            named = {name: value for name, value in values.items() if f":{name}" in statement}
            session.execute(text(statement), named)
    scrape = Metrics(database, lambda: 0)
    took = []

    def quick() -> bool:
        begun = time.perf_counter()
        written = generate_latest(scrape.registry).decode()
        took.append(1000 * (time.perf_counter() - begun))
        assert f"twinning_deliveries_due {float(MANY if due_at else 0)}" in written
        return min(took) < 50

    eventually(quick)
    with capsys.disabled():
        sys.stdout.write(
            f" {'SQLite' if database.is_sqlite else 'PostgreSQL'}, {MANY} {state}: {min(took):.1f} ms"
        )
