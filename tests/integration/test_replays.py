# SPDX-License-Identifier: Apache-2.0
"""Replays on both databases: what is sent again, what is not, and that no fault repeats or skips a batch."""

from collections import Counter
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete
from sqlmodel import Session, col, select

from services.dispatcher.errands import GIVEN_UP, Errands
from services.watch import Watch
from tests.hooks import (
    courier,
    deliveries,
    eventually,
    ping,
    reload,
    settings_for,
    subscribe,
    worker_process,
)
from tests.receiver import Receiver
from tests.servers import Server
from twinning import catalogue_examples, endpoints, outbox, replays, switching, work
from twinning.city_shapes import CityPublic
from twinning.database import Database, now
from twinning.endpoints import Delivery, WebhookEndpoint
from twinning.events import CityRegistered
from twinning.keys import ApiKey
from twinning.replays import Replay, ReplayRequest
from twinning.terms import DeliveryState, ReplayOnly, ReplayState, Work

HOUR = timedelta(hours=1)


def register(database: Database, count: int, country: str = "IE") -> list[str]:
    """Record events of so many cities, one after another; gives the events' ids."""
    city = CityPublic.model_validate({**catalogue_examples.CITY_SHOWN, "country": country})
    with database.transaction() as session:
        return [outbox.record(session, CityRegistered(data=city)) for _ in range(count)]


def ask(database: Database, row: WebhookEndpoint, only: ReplayOnly, **fields: Any) -> str:
    """Ask for a replay of the last hour; gives its id."""
    wanted = ReplayRequest(since=now() - HOUR, only=only, **fields)
    with database.transaction() as session:
        return replays.ask(session, endpoints.get(session, row.id), wanted).id


def run(database: Database, replay_id: str, name: str = "dispatcher-1") -> Replay:
    """Do a replay to its end."""
    errands = Errands(database, settings_for(database.url), name)
    while errands.take():
        pass
    return read(database, replay_id)


def read(database: Database, replay_id: str) -> Replay:
    with database.snapshot() as session:
        return replays.get(session, replay_id)


def counts(row: Replay) -> tuple[int, int, int]:
    return row.resent, row.created, row.skipped


def end(database: Database, states: dict[str, DeliveryState]) -> None:
    """Have deliveries ended, by the ids of their events."""
    with database.transaction() as session:
        for delivery in session.exec(select(Delivery).where(col(Delivery.event_id).in_(states))):
            delivery.state, delivery.due_at, delivery.tries = states[delivery.event_id], None, 10
            session.add(delivery)


def test_only_what_was_given_up_is_sent_again(database: Database) -> None:
    """`failed` takes exhausted deliveries of the span, each by a whole new schedule, and nothing else."""
    row, other = (subscribe(database, f"http://127.0.0.1:9/{n}", event_types=["city.*"]) for n in "ab")
    delivered, exhausted, waiting = register(database, 3)
    end(database, {delivered: DeliveryState.DELIVERED, exhausted: DeliveryState.EXHAUSTED})
    done = run(database, ask(database, row, ReplayOnly.FAILED))

    by_event = {one.event_id: one for one in deliveries(database, row)}
    assert (done.state, done.done, done.total, counts(done)) == ("completed", 1, 1, (1, 0, 0))
    assert {event: one.state for event, one in by_event.items()} == {
        delivered: "delivered",
        exhausted: "pending",
        waiting: "pending",
    }
    assert (by_event[exhausted].tries, by_event[exhausted].tries_before) == (10, 10)
    assert Counter(one.state for one in deliveries(database, other)) == {
        "delivered": 1,
        "exhausted": 1,
        "pending": 1,
    }


def test_what_never_got_a_delivery_is_found(database: Database) -> None:
    """`missing` finds events by the present types, filters and sight, also those before the endpoint was."""
    before = register(database, 2) + register(database, 2, "SE")
    row = subscribe(database, "http://127.0.0.1:9/", event_types=["city.*"], filters={"countries": ["IE"]})
    [since] = register(database, 1)
    ping(database, [subscribe(database, "http://127.0.0.1:9/other")])
    done = run(database, ask(database, row, ReplayOnly.MISSING))

    assert {one.event_id for one in deliveries(database, row)} == {*before[:2], since}
    assert (done.done, counts(done)) == (6, (0, 2, 4))
    assert counts(run(database, ask(database, row, ReplayOnly.MISSING))) == (0, 0, 6)


def test_a_replay_gives_nobody_more_than_they_may_see(database: Database) -> None:
    """What the owner's key may not see is no more replayed than sent, and a revoked key ends it."""
    register(database, 2)
    register(database, 1, "SE")
    row = subscribe(database, "http://127.0.0.1:9/", event_types=["*"])
    with database.transaction() as session:
        owner = session.get_one(ApiKey, row.owner_id)
        owner.role, owner.countries = "coordinator", ["SE"]
    done = run(database, ask(database, row, ReplayOnly.ALL))
    with database.transaction() as session:
        session.get_one(ApiKey, row.owner_id).revoked_at = now()
    ended = run(database, ask(database, row, ReplayOnly.ALL))

    assert counts(done) == (0, 1, 2)
    assert (ended.state, counts(ended)) == ("failed", (0, 0, 0))
    assert ended.error == "The key of the endpoint's owner has ended."


def test_all_is_sent_again_under_the_same_ids(database: Database) -> None:
    """`all` has delivered events come again with the same webhook-id; what is on its way is left alone."""
    with Receiver() as receiver:
        row = subscribe(database, receiver.url("/a"), event_types=["city.*"])
        with courier(database, settings_for(database.url)):
            ids = register(database, 3)
            receiver.wait_for(3)
            eventually(lambda: {one.state for one in deliveries(database, row)} == {"delivered"})
            done = run(database, ask(database, row, ReplayOnly.ALL))
            got = receiver.wait_for(6)
    assert Counter(one.webhook_id for one in got) == dict.fromkeys(ids, 2)
    assert counts(done) == (3, 0, 0)


def test_for_an_endpoint_that_is_off_it_is_held(database: Database) -> None:
    """What is replayed to a disabled endpoint waits with the rest until it is enabled."""
    register(database, 2)
    row = subscribe(database, "http://127.0.0.1:9/", event_types=["city.*"], enabled=False)
    run(database, ask(database, row, ReplayOnly.MISSING))
    held = {(one.state, one.due_at) for one in deliveries(database, row)}
    with database.transaction() as session:
        switching.enable(session, endpoints.get(session, row.id))

    assert held == {("held", None)}
    assert {one.state for one in deliveries(database, row)} == {"pending"}


def test_the_span_is_held_to(database: Database) -> None:
    """Events before `since` and after `until` are not looked at."""
    row = subscribe(database, "http://127.0.0.1:9/", event_types=["need.*"])
    register(database, 2)
    with database.transaction() as session:
        endpoints.get(session, row.id).event_types = ["city.*"]
    middle = now()
    register(database, 3)
    before = run(database, ask(database, row, ReplayOnly.MISSING, until=middle))
    with database.transaction() as session:
        session.execute(delete(Delivery))
    after = ReplayRequest(since=middle, only=ReplayOnly.MISSING)
    with database.transaction() as session:
        replay_id = replays.ask(session, endpoints.get(session, row.id), after).id

    assert (before.done, counts(before)) == (2, (0, 2, 0))
    assert counts(run(database, replay_id)) == (0, 3, 0)


def test_a_killed_batch_is_done_again_and_no_other(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that dies in a batch leaves the replay where its last whole batch ended."""
    monkeypatch.setattr(replays, "BATCH", 4)
    register(database, 10)
    row = subscribe(database, "http://127.0.0.1:9/", event_types=["city.*"])
    replay_id = ask(database, row, ReplayOnly.MISSING)
    assert Errands(database, settings_for(database.url), "dispatcher-1").take()
    with database.transaction() as session:
        [claim] = work.claim(session, "dispatcher-2", 1, 0.001, [Work.REPLAY])
    with database.writing() as session:
        replays.advance(session, replay_id)
        # The process dies here: nothing of this is ever committed.
    between = read(database, replay_id)
    done = run(database, replay_id)

    assert (between.state, between.done, between.total) == ("running", 4, 10)
    assert (done.state, done.done, done.total, counts(done)) == ("completed", 10, 10, (0, 10, 0))
    assert len(deliveries(database, row)) == 10
    assert claim.subject == replay_id


def test_a_worker_from_the_dead_changes_nothing(database: Database) -> None:
    """A batch whose fence does not hold any more is undone as a whole."""
    register(database, 3)
    row = subscribe(database, "http://127.0.0.1:9/", event_types=["city.*"])
    replay_id = ask(database, row, ReplayOnly.MISSING)
    with database.transaction() as session:
        [late] = work.claim(session, "dispatcher-1", 1, 0.001, [Work.REPLAY])
    with database.transaction() as session:
        [_] = work.claim(session, "dispatcher-2", 1, 60, [Work.REPLAY])
    Errands(database, settings_for(database.url), "dispatcher-1")._do(late)

    assert (read(database, replay_id).state, deliveries(database, row)) == ("queued", [])


def test_a_replay_that_cannot_be_done_fails(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that fails each time ends the replay with a sentence, and disturbs no other."""
    row = subscribe(database, "http://127.0.0.1:9/", event_types=["city.*"])
    replay_id = ask(database, row, ReplayOnly.MISSING)
    errands = Errands(database, settings_for(database.url), "dispatcher-1")

    def broken(_session: Session, _replay_id: str) -> bool:
        raise RuntimeError("A bug of ours.")

    monkeypatch.setattr(replays, "advance", broken)
    for _ in range(work.MOST_TRIES):
        assert errands.take()
        with database.transaction() as session:
            unit = session.exec(select(work.WorkUnit)).one()
            unit.due_at = now() if unit.due_at else None
    errands.look()

    failed = read(database, replay_id)
    assert (failed.state, failed.error) == (ReplayState.FAILED, GIVEN_UP)
    assert not errands.take()


def test_a_bell_starts_a_replay(database: Database) -> None:
    """Asking for a replay rings the dispatchers, who do it at once without the scan."""
    register(database, 2)
    row = subscribe(database, "http://127.0.0.1:9/", event_types=["city.*"])
    watch = Watch("errands", Errands(database, settings_for(database.url), "dispatcher-1").go_on, 60)
    watch.start()
    database.ring = lambda _bell: watch.wake()
    replay_id = ask(database, row, ReplayOnly.MISSING)

    eventually(lambda: read(database, replay_id).state == "completed")
    watch.stop(5)
    assert reload(database, row).enabled


@pytest.mark.slow
def test_killed_workers_replay_everything_once(database: Database, broker: Server, tmp_path: Path) -> None:
    """However often its worker is killed, a replay ends with one delivery for each event."""
    for _ in range(12):
        register(database, 1000)
    # Switched off, so that the worker has nothing to do but the replay.
    row = subscribe(database, "http://127.0.0.1:9/", event_types=["city.*"], enabled=False)
    replay_id = ask(database, row, ReplayOnly.MISSING)
    settings = settings_for(database.url, broker_url=broker.url, lease_s=1.0)
    seen = []
    for number in range(3):
        before = read(database, replay_id).done
        with worker_process(settings, tmp_path) as process:
            eventually(partial(_has_moved, database, replay_id, before), 60)
            if number < 2:
                process.kill()
                process.wait()
            else:
                eventually(lambda: read(database, replay_id).state == "completed", 60)
        seen.append(read(database, replay_id).state)
    done = read(database, replay_id)

    assert seen == ["running", "running", "completed"]
    assert (done.done, done.total, counts(done)) == (12_000, 12_000, (0, 12_000, 0))
    assert len({one.event_id for one in deliveries(database, row)}) == 12_000


def _has_moved(database: Database, replay_id: str, before: int) -> bool:
    return read(database, replay_id).done > before
