# SPDX-License-Identifier: Apache-2.0
"""Leases, fences and the health of endpoints, one transaction at a time on both databases."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlmodel import col, update

from tests.hooks import attempts, deliveries, eventually, ping, reload, subscribe
from twinning import endpoints, outbox, switching
from twinning.database import Database, now
from twinning.deliveries import MOST_TRIES, Sending, give_back, take_due
from twinning.endpoints import Delivery
from twinning.events import EndpointNote, WebhookEndpointPing
from twinning.outcomes import FAILING_FOR, FAILING_TRIES, Outcome, settle
from twinning.terms import DeliveryState
from twinning.turns import MOST_IN_FLIGHT

URL = "https://hooks.learningcity.org/in"


def take(database: Database, sender: str = "one", most: int = 100, lease_s: float = 30) -> list[Sending]:
    with database.transaction() as session:
        return take_due(session, sender, most, lease_s)


def outcome(sending: Sending, status: int = 200, *, gone: bool = False) -> Outcome:
    done = status == 200
    state = DeliveryState.DELIVERED if done else DeliveryState.PENDING
    due_at = None if done else now() + timedelta(seconds=5)
    error = None if done else "http_error"
    return Outcome(sending, DeliveryState.HELD if gone else state, due_at, status, error, "", None, 1.0, gone)


def write(database: Database, outcomes: Sequence[Outcome]) -> set[str]:
    with database.transaction() as session:
        return settle(session, outcomes)


def test_a_late_outcome_is_refused(database: Database) -> None:
    """Who lost the lease changes nothing, and the log says why."""
    row = subscribe(database, URL)
    ping(database, [row])
    [late] = take(database, "late", lease_s=0)
    [newer] = take(database, "newer")
    assert (newer.fence, newer.number) == (late.fence + 1, 2)
    assert write(database, [outcome(newer)]) == {newer.delivery_id}
    assert write(database, [outcome(late, 500)]) == set()
    [delivery] = deliveries(database)
    assert delivery.state == DeliveryState.DELIVERED
    assert [line.error for line in attempts(database, delivery.id)] == ["stale_lease", None]
    assert reload(database, row).failures == 0


def test_an_outcome_after_the_lease_counts_when_nobody_else_came(database: Database) -> None:
    """A lease that ran out costs nothing as long as no other sender has taken the delivery."""
    ping(database, [subscribe(database, URL)])
    [sending] = take(database, lease_s=0)
    assert write(database, [outcome(sending)]) == {sending.delivery_id}


def test_nothing_is_taken_twice(database: Database) -> None:
    """What one sender holds no other gets, and no endpoint gives more than its share."""
    rows = [subscribe(database, URL) for _ in range(3)]
    ping(database, rows, 10)
    first, second = take(database, "one"), take(database, "two")
    assert len(first) == len({one.delivery_id for one in first}) == 3 * MOST_IN_FLIGHT
    assert second == []
    write(database, [outcome(first[0])])
    [next_one] = take(database, "two")
    assert next_one.endpoint_id == first[0].endpoint_id


def test_endpoints_take_turns(database: Database) -> None:
    """With little room each endpoint gets one before any gets two, however long its queue."""
    crowded, quiet = subscribe(database, URL), subscribe(database, URL)
    ping(database, [crowded], 20)
    ping(database, [quiet])
    taken = take(database, most=2)
    assert {one.endpoint_id for one in taken} == {crowded.id, quiet.id}


def test_a_disabled_endpoint_gets_nothing(database: Database) -> None:
    """What waits for a disabled endpoint is held, and so is what comes back to it unsent."""
    row = subscribe(database, URL)
    ping(database, [row], 2)
    [sending] = take(database, most=1)
    with database.transaction() as session:
        switching.disable(session, endpoints.get(session, row.id), "asked")
    assert sorted(one.state for one in deliveries(database)) == [DeliveryState.HELD, DeliveryState.PENDING]
    write(database, [outcome(sending, 500)])
    assert {one.state for one in deliveries(database)} == {DeliveryState.HELD}
    assert take(database) == []


def test_what_is_being_written_while_an_endpoint_goes_off_is_held(postgres_url: str) -> None:
    """An event whose writer saw the endpoint on, and commits after a 410 was noted, is held like all others.

    On SQLite there is one writer at a time, and the two cannot cross.
    """
    database = Database(postgres_url)
    row = subscribe(database, URL)
    ping(database, [row])
    [sending] = take(database)
    with database.writing() as session, ThreadPoolExecutor(1) as pool:
        note = EndpointNote(endpoint_id=row.id, url=row.url, message="Hello")
        outbox.record(session, WebhookEndpointPing(data=note, owner=row.owner_id))
        # All of a commit but its end: the receivers are found, and the deliveries written.
        database.prepare(session)
        noted = pool.submit(write, database, [outcome(sending, 410, gone=True)])
        # Either it waits for this writer, or it has gone by.
        eventually(lambda: noted.done() or waits_for_a_lock(database))
        database.commit(session)
        noted.result()
    assert {one.state for one in deliveries(database)} == {DeliveryState.HELD}
    database.close()


def waits_for_a_lock(database: Database) -> bool:
    """Say whether anybody waits for a lock in this PostgreSQL database."""
    with database.snapshot() as session:
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND datname = current_database()"
        )
        return bool(session.connection().exec_driver_sql(query).scalar_one())


def test_a_success_in_the_air_outlives_the_disabling(database: Database) -> None:
    """What a receiver took while its endpoint was switched off is not sent again."""
    row = subscribe(database, URL)
    ping(database, [row])
    [sending] = take(database)
    with database.transaction() as session:
        switching.disable(session, endpoints.get(session, row.id), "asked")
    assert write(database, [outcome(sending)]) == {sending.delivery_id}
    assert [one.state for one in deliveries(database)] == [DeliveryState.DELIVERED]


def test_a_delivery_that_ends_its_senders_is_given_up(database: Database) -> None:
    """A delivery is not taken for ever when no sender lives to write its outcome."""
    ping(database, [subscribe(database, URL)])
    for _ in range(MOST_TRIES):
        assert len(take(database, lease_s=0)) == 1
    assert take(database) == []
    assert [one.state for one in deliveries(database)] == [DeliveryState.EXHAUSTED]


def test_what_is_given_back_is_due_at_once(database: Database) -> None:
    """A delivery that its sender lets go is the next sender's; one that has been settled stays so."""
    ping(database, [subscribe(database, URL)], 2)
    kept, left = take(database)
    write(database, [outcome(kept)])
    with database.transaction() as session:
        give_back(session, [kept, left])
    assert [one.delivery_id for one in take(database, "two")] == [left.delivery_id]


@pytest.mark.parametrize(
    ("failures", "hours", "enabled"),
    [(FAILING_TRIES - 1, 121, False), (FAILING_TRIES - 2, 121, True), (FAILING_TRIES - 1, 119, True)],
)
def test_long_failing_switches_off(database: Database, failures: int, hours: int, enabled: bool) -> None:
    """An endpoint goes off after 120 hours without a success, and ten failures at least."""
    assert timedelta(hours=120) == FAILING_FOR
    row = subscribe(database, URL)
    with database.transaction() as session:
        ill = endpoints.get(session, row.id)
        ill.failures, ill.failing_since = failures, now() - timedelta(hours=hours)
    ping(database, [row], 2)
    [sending] = take(database, most=1)
    write(database, [outcome(sending, 500)])
    after = reload(database, row)
    assert (after.enabled, after.disabled_because) == (enabled, None if enabled else "failing")
    assert {one.state for one in deliveries(database, row)} == {
        DeliveryState.PENDING if enabled else DeliveryState.HELD
    }


def test_a_success_makes_an_endpoint_well(database: Database) -> None:
    """One success clears the count of failures and its beginning."""
    row = subscribe(database, URL)
    ping(database, [row], 2)
    one, another = take(database)
    write(database, [outcome(one, 500)])
    assert reload(database, row).failures == 1
    assert reload(database, row).failing_since is not None
    write(database, [outcome(another)])
    assert (reload(database, row).failures, reload(database, row).failing_since) == (0, None)


def test_an_outcome_of_a_deleted_endpoint_is_let_go(database: Database) -> None:
    """An endpoint deleted while a delivery was in the air takes all its rows along."""
    row = subscribe(database, URL)
    ping(database, [row])
    [sending] = take(database)
    with database.transaction() as session:
        endpoints.remove(session, endpoints.get(session, row.id))
    assert write(database, [outcome(sending)]) == set()
    assert deliveries(database) == []


def test_what_is_not_due_is_not_taken(database: Database) -> None:
    """A delivery is taken at its time and not before."""
    ping(database, [subscribe(database, URL)])
    with database.transaction() as session:
        session.execute(update(Delivery).values(due_at=now() + timedelta(seconds=60)))
    assert take(database) == []
    with database.transaction() as session:
        session.execute(update(Delivery).where(col(Delivery.fence) == 0).values(due_at=now()))
    assert len(take(database)) == 1
