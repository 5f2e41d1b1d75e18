# SPDX-License-Identifier: Apache-2.0
"""What the calendar does to listings, on a real database, however many look and whoever dies."""

import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import col, select, update

from services.matcher.matching import ALL, Matcher
from tests.catalogues import Catalogue
from tests.standing import all_listed
from twinning import catalogue as change_log
from twinning import deadlines, listings, outbox, work
from twinning.database import Database, now
from twinning.keys import Caller
from twinning.lifecycle import CONFIRM_EVERY, PATIENCE
from twinning.listings import Listing
from twinning.settings import Settings
from twinning.terms import ListingState, Role, Work
from twinning.work import WorkUnit

STAFF = Caller("staff", Role.STAFF)
PRACTICE = "Volunteers teach older adults to read and write letters in the library"
NEED = "Older adults want help from volunteers with reading and writing letters"
YESTERDAY = now().date() - timedelta(days=1)


def told(database: Database) -> list[str]:
    with database.snapshot() as session:
        return [str(event.type) for event in outbox.feed(session, STAFF, 0, [], 1000)]


def read(database: Database, listing_id: str) -> Listing:
    with database.snapshot() as session:
        return session.get_one(Listing, listing_id)


def date_back(database: Database, listing_id: str, **columns: Any) -> None:
    """Move the dates of a listing, as time does."""
    with database.transaction() as session:
        session.execute(update(Listing).where(col(Listing.id) == listing_id).values(**columns))


def pair(database: Database, **need: Any) -> tuple[str, str]:
    """Register a practice and a need that it answers; gives both ids."""
    made = Catalogue(database)
    host, visitor = made.city("Cork", "IE"), made.city("Suwon", "KR")
    return made.practice(host, "Reading", PRACTICE), made.need(visitor, "Reading", NEED, **need)


def test_a_need_expires_with_its_event_and_its_suggestions(database: Database) -> None:
    """After its last day, not on it, a need is expired, told once, and what rested on it falls, told once."""
    _, need = pair(database, expires_on=now().date())
    matcher = Matcher(database, Settings(), "m1")
    matcher.plan()
    matcher.take()
    on_its_last_day = read(database, need).state
    date_back(database, need, expires_on=YESTERDAY)
    deadlines.keep(database)
    deadlines.keep(database)
    matcher.take()

    row = read(database, need)
    with database.snapshot() as session:
        standing_ones = all_listed(session)
    assert on_its_last_day == ListingState.PUBLISHED
    assert (row.state, row.version) == (ListingState.EXPIRED, 2)
    assert standing_ones == []
    assert told(database) == ["suggestion.created", "need.expired", "suggestion.withdrawn"]


def test_a_need_that_is_over_when_it_comes_expires_at_once(database: Database) -> None:
    """One that is sent with a day that has passed is registered, and expires with a worker's next look."""
    matcher = Matcher(database, Settings(), "m1")
    matcher.plan()
    matcher.take()
    _, need = pair(database, expires_on=YESTERDAY)
    matcher.take()

    assert read(database, need).state == ListingState.EXPIRED
    assert Counter(told(database))["need.expired"] == 1
    assert Counter(told(database))["suggestion.created"] == Counter(told(database))["suggestion.withdrawn"]


def test_a_later_day_brings_a_need_back(database: Database) -> None:
    """An expired need whose end is moved is published and matched again."""
    _, need = pair(database, expires_on=YESTERDAY)
    matcher = Matcher(database, Settings(), "m1")
    deadlines.keep(database)
    matcher.take()
    Catalogue(database).change(need, expires_on=now().date() + timedelta(days=30))
    matcher.take()

    with database.snapshot() as session:
        assert len(all_listed(session)) == 1
    assert read(database, need).state == ListingState.PUBLISHED


def test_many_who_look_expire_each_need_once(database: Database) -> None:
    """However many workers look at once, each need expires once, with one event and one line of the log."""
    made = Catalogue(database)
    city = made.city("Suwon", "KR")
    needs = [
        Listing(
            kind="need",
            city_id=city,
            state="published",
            title="Reading",
            description=NEED,
            expires_on=YESTERDAY,
        )
        for _ in range(3 * deadlines.BATCH + 7)
    ]
    with database.transaction() as session:
        session.add_all(needs)
    with database.snapshot() as session:
        before = change_log.latest_version(session)
    lookers = [threading.Thread(target=deadlines.keep, args=[database]) for _ in range(4)]
    for thread in lookers:
        thread.start()
    for thread in lookers:
        thread.join()
    # What one held was left by the others, who come again for it.
    deadlines.keep(database)

    with database.snapshot() as session:
        states = session.exec(select(Listing.state, Listing.version)).all()
        changes = [change.subject_id for change in change_log.changes_since(session, before)]
    assert set(states) == {(ListingState.EXPIRED, 2)}
    assert sorted(changes) == sorted(need.id for need in needs)
    assert told(database) == ["need.expired"] * len(needs)


def test_a_worker_that_dies_leaves_it_to_the_next(database: Database) -> None:
    """A worker that took the look and died loses its lease, and another does what was left; nothing twice."""
    _, need = pair(database, expires_on=YESTERDAY)
    settings = Settings(lease_s=0.001)
    dead, living = Matcher(database, settings, "dead"), Matcher(database, settings, "living")
    with database.transaction() as session:
        work.strike(session, Work.MATCH_LISTING, [need])
    dead.plan()
    with database.transaction() as session:
        taken = work.claim(session, "dead", 1, 0.0, [Work.DEADLINES])
    living.take()
    # The dead one comes back and does what it had taken.
    dead.do(taken)

    with database.snapshot() as session:
        units = session.exec(select(WorkUnit).where(WorkUnit.kind == Work.DEADLINES)).all()
    assert [claim.kind for claim in taken] == [Work.DEADLINES]
    assert read(database, need).state == ListingState.EXPIRED
    assert Counter(told(database))["need.expired"] == 1
    assert len(units) == 1
    assert units[0].due_at is not None
    assert now() < units[0].due_at <= now() + deadlines.LOOK_EVERY


def test_a_need_in_somebodys_hands_is_left_for_the_next_look(postgres_url: str) -> None:
    """A look waits for nobody: what is being changed stays as it is, and the next look comes soon."""
    database = Database(postgres_url)
    _, need = pair(database, expires_on=YESTERDAY)
    with database.transaction() as session:
        session.get_one(Listing, need, with_for_update=True)
        soon = deadlines.keep(database)
    meanwhile = read(database, need).state
    later = deadlines.keep(database)

    assert meanwhile == ListingState.PUBLISHED
    assert soon <= now() + deadlines.LOOK_AGAIN < later
    assert read(database, need).state == ListingState.EXPIRED
    database.close()


def test_a_practice_that_nobody_confirms_goes_stale_and_is_paused(database: Database) -> None:
    """It is stale after a year, paused after the time of patience, each told once, and comes back."""
    practice, _ = pair(database)
    matcher = Matcher(database, Settings(), "m1")
    matcher.take()
    today = now().date()
    states = []
    for confirm_by in (today, YESTERDAY, today - PATIENCE, YESTERDAY - PATIENCE):
        date_back(database, practice, confirm_by=confirm_by)
        deadlines.keep(database)
        deadlines.keep(database)
        row = read(database, practice)
        states.append((row.stale, row.state))
    matcher.take()
    with database.snapshot() as session:
        fallen = all_listed(session)
    with database.transaction() as session:
        listings.confirm(session, session.get_one(Listing, practice))
    matcher.take()
    row = read(database, practice)

    assert states == [(False, "published"), (True, "published"), (True, "published"), (True, "paused")]
    assert fallen == []
    assert (row.stale, row.state, row.confirm_by) == (False, "published", today + CONFIRM_EVERY)
    with database.snapshot() as session:
        assert len(all_listed(session)) == 1
    assert told(database) == [
        "suggestion.created",
        "practice.updated",
        "practice.updated",
        "suggestion.withdrawn",
        "suggestion.created",
    ]


def test_a_practice_of_before_gets_its_date(database: Database) -> None:
    """One that was registered before there were confirmations is dated from its registration, untold."""
    practice, _ = pair(database)
    date_back(database, practice, confirm_by=None, confirmed_at=None)
    deadlines.keep(database)

    row = read(database, practice)
    assert (row.confirmed_at, row.version) == (row.created_at, 1)
    assert row.confirm_by == row.created_at.date() + CONFIRM_EVERY
    assert told(database) == []


@pytest.mark.parametrize("state", ["draft", "paused", "submitted"])
def test_only_what_is_published_expires(database: Database, state: str) -> None:
    """The calendar leaves alone what is not offered; when it is published it has its turn."""
    _, need = pair(database, expires_on=YESTERDAY, state=state)
    deadlines.keep(database)
    before = read(database, need).state
    Catalogue(database).change(need, state="published")
    matcher = Matcher(database, Settings(), "m1")
    matcher.take()

    assert before == state
    assert read(database, need).state == ListingState.EXPIRED


def test_a_look_is_planned_once(database: Database) -> None:
    """Workers that start see to it that a look stands in the queue, due at once, and only one."""
    for name in ("m1", "m2"):
        Matcher(database, Settings(), name).plan()
    with database.snapshot() as session:
        units = session.exec(select(WorkUnit).where(WorkUnit.kind == Work.DEADLINES)).all()

    assert [unit.subject for unit in units] == [ALL]
    assert units[0].due_at is not None
    assert units[0].due_at <= now()
