# SPDX-License-Identifier: Apache-2.0
"""The rules of letting go: after its time, never before, and never so that anybody misses anything."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlmodel import Session, SQLModel, col

from services.matcher import matching
from services.matcher.keeping import Keeper
from services.matcher.matching import Matcher
from tests import factories
from tests.hooks import settings_for, subscribe
from twinning import catalogue, cities, deliveries, listings, outbox, outcomes, pruning, rounds, work
from twinning.catalogue import Change, Subject, TermCounts
from twinning.city_shapes import CityCreate
from twinning.database import Database, now
from twinning.endpoints import Attempt, Delivery
from twinning.events import CityRegistered
from twinning.keys import Caller
from twinning.outbox import EventCity, StoredEvent
from twinning.outcomes import Outcome
from twinning.rounds import MatchingRound, RoundBlock, RoundRequest
from twinning.terms import DeliveryState, Role, RoundState, SuggestionKind, Work

STAFF = Caller("staff", Role.STAFF)
LONG = 60.0


def register(database: Database, *names: str) -> list[str]:
    """Register cities, each with its event; gives the cities' ids."""
    made = []
    for name in names:
        with database.transaction() as session:
            city = cities.register(session, CityCreate(name=name, country="IE"))
            session.flush()
            outbox.record(session, CityRegistered(data=cities.public(city)))
            made.append(city.id)
    return made


def age(database: Database, days: float) -> None:
    """Move everything that has happened so far into the past."""
    moved = {StoredEvent: ["timestamp"], Delivery: ["created_at", "updated_at"], Attempt: ["started_at"]}
    with database.transaction() as session:
        for table, names in moved.items():
            for row in session.scalars(select(table)):
                for name in names:
                    setattr(row, name, getattr(row, name) - timedelta(days=days))
                session.add(row)


def delivered(sending: deliveries.Sending) -> Outcome:
    """What became of an attempt that went well."""
    return Outcome(
        sending=sending, state=DeliveryState.DELIVERED, due_at=None, status=204, error=None, answer="",
        address=None, duration_ms=1.0,
    )  # fmt: skip


def deliver(database: Database) -> None:
    """Deliver what is due, as many at a time as an endpoint gets."""
    while True:
        with database.transaction() as session:
            taken = deliveries.take_due(session, "test", 100, 30.0)
            outcomes.settle(session, [delivered(sending) for sending in taken])
        if not taken:
            return


def rows(database: Database, *tables: type[SQLModel]) -> list[int]:
    """How many rows each table has."""
    with database.snapshot() as session:
        return [session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]


def prune(database: Database) -> None:
    """Let go of everything that is old."""
    assert pruning.prune(database, LONG)


@pytest.mark.parametrize(("days", "kept"), [(30.5, 2), (31.9, 2), (32.1, 0)])
def test_an_event_that_nobody_was_told_goes_after_the_feed(
    database: Database, days: float, kept: int
) -> None:
    """It is out of the feed after thirty days, and its row with who may see it goes two days later."""
    register(database, "Cork", "Limerick")
    age(database, days)
    register(database, "Dublin")
    prune(database)

    assert rows(database, StoredEvent, EventCity) == [kept + 1, kept + 1]
    with database.snapshot() as session:
        assert len(outbox.feed(session, STAFF, 0, [], 10)) == 1


def test_an_event_stays_as_long_as_the_log_tells_of_it(database: Database) -> None:
    """For ninety days a delivery can be looked up and sent again, its event with it; then all of it goes."""
    subscribe(database, "https://hooks.cork.ie/x", event_types=["*"])
    register(database, "Cork")
    deliver(database)
    age(database, 89)
    prune(database)
    assert rows(database, StoredEvent, EventCity, Delivery, Attempt) == [1, 1, 1, 1]
    with database.snapshot() as session:
        assert outbox.feed(session, STAFF, 0, [], 10) == []

    age(database, 2)
    prune(database)
    assert rows(database, StoredEvent, EventCity, Delivery, Attempt) == [0, 0, 0, 0]


def test_what_waits_is_never_let_go(database: Database) -> None:
    """A delivery that is still to be made keeps itself and its event, however old both are."""
    subscribe(database, "https://hooks.cork.ie/x", event_types=["*"])
    register(database, "Cork")
    age(database, 400)
    prune(database)

    assert rows(database, StoredEvent, Delivery) == [1, 1]


def test_what_was_sent_again_lately_stays(database: Database) -> None:
    """The ninety days are counted from the last that happened to a delivery, not from its event."""
    subscribe(database, "https://hooks.cork.ie/x", event_types=["*"])
    register(database, "Cork", "Limerick")
    deliver(database)
    age(database, 100)
    with database.transaction() as session:
        lately = session.scalars(select(Delivery).order_by(col(Delivery.id))).first()
        assert lately is not None
        lately.updated_at = now() - timedelta(days=1)
    prune(database)

    assert rows(database, StoredEvent, Delivery, Attempt) == [1, 1, 1]


def test_what_is_held_for_a_month_is_given_up(database: Database) -> None:
    """The log shows it as exhausted; what has been held for less goes out when the endpoint is back."""
    subscribe(database, "https://hooks.cork.ie/x", event_types=["*"], enabled=False)
    register(database, "Cork")
    age(database, 20)
    register(database, "Limerick")
    age(database, 11)
    prune(database)
    with database.snapshot() as session:
        states = session.scalars(select(Delivery.state).order_by(col(Delivery.id))).all()

    assert states == [DeliveryState.EXHAUSTED, DeliveryState.HELD]


def change(database: Database, city_id: str, summary: str) -> None:
    """Change a city, with an event beside it."""
    with database.transaction() as session:
        city = cities.get(session, city_id)
        city.summary = summary
        session.add(city)
        catalogue.note(session, Subject.CITY, city_id)
        outbox.record(session, CityRegistered(data=cities.public(city)))


def test_of_old_changes_the_last_of_each_thing_stays(database: Database) -> None:
    """Changes within thirty days all stay; of the older ones those that a later one stands for go."""
    cork, limerick = register(database, "Cork", "Limerick")
    change(database, cork, "one")
    change(database, cork, "two")
    age(database, 31)
    change(database, cork, "three")
    change(database, cork, "four")
    with database.snapshot() as session:
        before = catalogue.latest_version(session)
    prune(database)
    with database.snapshot() as session:
        left = [row.subject_id for row in catalogue.changes_since(session, 0)]
        after = catalogue.latest_version(session)

    assert sorted(left) == sorted([limerick, cork, cork])
    assert before == after


def test_a_worker_that_was_away_misses_nothing(database: Database) -> None:
    """From whichever version a worker reads on, it hears of every thing that has changed since."""
    made = register(database, "Cork", "Limerick", "Dublin")
    for turn in range(3):
        for city_id in made[turn:]:
            change(database, city_id, f"turn {turn}")
    with database.snapshot() as session:
        versions = [row.version for row in catalogue.changes_since(session, 0)]

    def heard() -> list[set[str]]:
        with database.snapshot() as session:
            return [
                {row.subject_id for row in catalogue.changes_since(session, version)}
                for version in [0, *versions]
            ]

    before = heard()
    age(database, 40)
    prune(database)

    assert rows(database, Change) == [len(made)]
    assert heard() == before


def test_a_catalogue_read_after_pruning_is_the_same(database: Database) -> None:
    """A matcher that had read half of the log and one that starts anew hold the same cities afterwards."""
    away, fresh = Keeper(), Keeper()
    (cork,) = register(database, "Cork")
    with database.snapshot() as session:
        away.catch_up(session)
    register(database, "Limerick", "Dublin")
    change(database, cork, "new")
    age(database, 40)
    prune(database)
    with database.snapshot() as session:
        away.catch_up(session)
        fresh.catch_up(session)

    assert away.version == fresh.version
    assert set(map(str, away.corpus.cities)) == set(map(str, fresh.corpus.cities))
    assert len(fresh.corpus.cities) == 3


@pytest.mark.parametrize("state", [RoundState.COMPLETED, RoundState.CANCELLED, RoundState.RUNNING])
def test_what_blocks_found_goes_with_the_end_of_their_round(database: Database, state: RoundState) -> None:
    """Once a round has ended its blocks are emptied, and it still tells that they were done."""
    with database.transaction() as session:
        row = rounds.ask(session, RoundRequest(kind=SuggestionKind.STUDY_VISIT), "a key")
        session.flush()
        rounds.cut(session, row, [["a", "b"], ["c"]])
        session.flush()
        rounds.end_block(session, row.id, 0, b"found", 1)
        rounds.set_state(session, row, state)
    prune(database)
    with database.snapshot() as session:
        found = session.scalars(select(RoundBlock.found).order_by(col(RoundBlock.number))).all()
        progress = rounds.progress(session, session.scalars(select(MatchingRound.id)).one())

    assert found == [b"found" if state is RoundState.RUNNING else b"", None]
    assert (progress.done, progress.total) == (2, 3)


def test_the_words_of_withdrawn_listings_go(database: Database) -> None:
    """What is not matched any more is not counted any more; what is stays counted."""
    (city_id,) = register(database, "Cork")
    with database.transaction() as session:
        made = [
            listings.register(session, city_id, listings.NeedCreate.model_validate(factories.need()))
            for _ in range(2)
        ]
        session.flush()
        catalogue.keep_counts(
            session,
            [TermCounts(listing_id=row.id, revision=1, analysis="x", counts={"a": 1}) for row in made],
        )
        listings.withdraw(session, made[0])
    prune(database)
    with database.snapshot() as session:
        assert session.scalars(select(TermCounts.listing_id)).all() == [made[1].id]


def test_much_goes_in_small_steps(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """No transaction takes more than a batch, and one that runs out of time goes on the next time."""
    monkeypatch.setattr(pruning, "BATCH", 2)
    subscribe(database, "https://hooks.cork.ie/x", event_types=["*"])
    register(database, *(f"City {number}" for number in range(7)))
    deliver(database)
    age(database, 120)
    once = pruning.prune(database, 0.0)
    left = rows(database, Delivery)[0]
    prune(database)

    assert not once
    assert left > 0
    assert rows(database, StoredEvent, Delivery, Attempt) == [0, 0, 0]


def test_what_somebody_holds_is_left_for_the_next_time(postgres_url: str) -> None:
    """Nobody waits for who holds a row; the rest goes without it. SQLite has one writer at a time."""
    database = Database(postgres_url)
    subscribe(database, "https://hooks.cork.ie/x", event_types=["*"])
    register(database, "Cork", "Limerick")
    deliver(database)
    age(database, 120)
    with database.writing() as session:
        held = session.scalars(select(Delivery).order_by(col(Delivery.id)).limit(1).with_for_update()).one()
        prune(database)
        assert rows(database, StoredEvent, Delivery) == [1, 1]
        session.rollback()
        assert held is not None
    prune(database)
    left = rows(database, StoredEvent, Delivery)
    database.close()

    assert left == [0, 0]


def planned(session: Session) -> Any:
    """When the tidying is due next."""
    return session.scalar(select(work.WorkUnit.due_at).where(work.WorkUnit.kind == Work.TIDY))


@pytest.mark.parametrize(("most_s", "again"), [(60.0, timedelta(hours=1)), (0.0, timedelta(minutes=1))])
def test_the_tidying_prunes(
    database: Database, monkeypatch: pytest.MonkeyPatch, most_s: float, again: timedelta
) -> None:
    """The regular unit of work lets old things go, and comes again soon when it did not get through."""
    monkeypatch.setattr(matching, "TIDY_S", most_s)
    subscribe(database, "https://hooks.cork.ie/x", event_types=["*"])
    register(database, "Cork")
    deliver(database)
    age(database, 120)
    matcher = Matcher(database, settings_for("sqlite://"), "test")
    with database.transaction() as session:
        work.enqueue(session, Work.TIDY, matching.ALL)
    matcher.take()
    with database.snapshot() as session:
        due_at = planned(session)

    assert rows(database, Delivery) == [0 if most_s else 1]
    assert abs(due_at - now() - again) < timedelta(seconds=30)
