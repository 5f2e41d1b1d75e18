# SPDX-License-Identifier: Apache-2.0
"""What a round and a refresh cost on a real database, with one matching worker and with two.

    ./run bench rounds [--cities 400] [--listings 10] [--postgres URL]

A catalogue of made-up texts is written as the front door would write it, and matched. Then, as wall clock:
a study-visit round by one worker process and by two; a refresh when nothing changed, which must announce
nothing; and a refresh after one listing in fifty was rewritten and matched by its own event.
"""

import argparse
import logging
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier

import structlog
from _corpus import texts
from sqlalchemy import func
from sqlmodel import Session, select

from services.matcher.matching import ALL, Matcher
from twinning import cities, keys, listings, rounds, work
from twinning.city_shapes import CityCreate
from twinning.database import Database, now
from twinning.forms import NeedCreate, PracticeCreate, PracticeUpdate
from twinning.keys import ApiKeyCreate
from twinning.listings import Listing
from twinning.migrating import migrate
from twinning.outbox import StoredEvent
from twinning.rounds import RoundRequest
from twinning.settings import Settings
from twinning.suggestions import Suggestion
from twinning.terms import ListingKind, Role, RoundState, SuggestionKind, Work

COUNTRIES = ("KR", "IE", "TH", "DE", "VN", "FI", "JP", "PT", "PH", "SE")
REWRITTEN_EVERY = 50
CITIES_AT_ONCE = 20


QUIET = structlog.make_filtering_bound_logger(logging.WARNING)


def main() -> int:
    """Fill, measure and print; fails when a refresh of what did not change announces anything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cities", type=int, default=400, help="half of them in each region")
    parser.add_argument("--listings", type=int, default=10, help="of each city, half of them needs")
    parser.add_argument("--postgres", metavar="URL", help="an empty PostgreSQL database instead of SQLite")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="twinning-bench-") as folder:
        url = given.postgres or f"sqlite:///{folder}/twinning.db"
        migrate(url)
        database = Database(url)
        size = fill(database, given.cities, given.listings)
        print(f"{given.cities} cities, {size} listings, {database.url.split(':')[0]}; wall-clock seconds")
        seconds = by_workers(url, 1)
        print(f"  matched as they were registered {seconds:10.2f}  {standing(database)} suggestions stand")
        for workers in (1, 2):
            ask(database)
            print(f"  a round by {workers} worker{'s' * (workers > 1):<15} {by_workers(url, workers):10.2f}")
        print(f"  the round proposes {proposed(database)}")
        quiet = refresh(database, url, "nothing changed")
        rewrite(database)
        by_workers(url, 1)
        refresh(database, url, "one in fifty rewritten")
        database.close()
    return 0 if quiet == 0 else 1


def fill(database: Database, count: int, each: int) -> int:
    """Register cities with needs and practices in turn; gives the number of listings."""
    total = count * each
    sides = (texts(total, "need"), texts(total, "practice"))
    for start in range(0, count, CITIES_AT_ONCE):
        with database.transaction() as session:
            for number in range(start, min(start + CITIES_AT_ONCE, count)):
                country = COUNTRIES[number % len(COUNTRIES)]
                city = cities.register(session, CityCreate(name=f"City {number}", country=country))
                for place in range(each):
                    text = sides[place % 2][number * each + place]
                    shape = (NeedCreate, PracticeCreate)[place % 2]
                    listings.register(session, city.id, shape(title=text[:60], description=text))
    return total


def by_workers(url: str, workers: int) -> float:
    """Let worker processes do all that is due; gives the seconds from when all have started."""
    context = multiprocessing.get_context("spawn")
    begin = context.Barrier(workers + 1)
    processes = [context.Process(target=_work, args=(url, place, begin)) for place in range(workers)]
    for process in processes:
        process.start()
    begin.wait()
    begun = time.perf_counter()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        sys.exit("a worker failed")
    return time.perf_counter() - begun


def _work(url: str, place: int, begin: Barrier) -> None:
    """A quiet worker: reads the catalogue, waits for the others, works until nothing is due for anybody."""
    structlog.configure(wrapper_class=QUIET)
    database = Database(url)
    matcher = Matcher(database, Settings(database_url=url), f"worker-{place}")
    matcher.read()
    begin.wait()
    while _waiting(database):
        if not matcher.take():
            time.sleep(0.01)
    database.close()


def _waiting(database: Database) -> bool:
    """Whether any worker has something to do or in hand."""
    with database.snapshot() as session:
        regular = session.exec(
            select(func.count()).where(work.WorkUnit.due_at > now(), work.WorkUnit.leased_by.is_(None))
        )
        return work.waiting(session) > regular.one()


def ask(database: Database) -> None:
    """Ask for a study-visit round."""
    with database.transaction() as session:
        row, _ = keys.create(session, ApiKeyCreate(role=Role.STAFF, name="benchmark"))
        rounds.ask(session, RoundRequest(kind=SuggestionKind.STUDY_VISIT), row.id)


def proposed(database: Database) -> int:
    """How many suggestions the rounds propose; each must have been completed."""
    with database.snapshot() as session:
        rows = session.exec(select(rounds.MatchingRound)).all()
        if any(row.state != RoundState.COMPLETED for row in rows):
            sys.exit(f"a round is {[row.state for row in rows]}")
        return len(rounds.suggestions_of(session, rows[-1].id))


def standing(database: Database) -> int:
    """How many suggestions there are."""
    with database.snapshot() as session:
        return int(session.exec(select(func.count()).select_from(Suggestion)).one())


def rewrite(database: Database) -> None:
    """Give every fiftieth practice the text of another."""
    with database.transaction() as session:
        rows = session.exec(select(Listing).where(Listing.kind == ListingKind.PRACTICE)).all()
        told = [row.description for row in rows]
        for place in range(0, len(rows), REWRITTEN_EVERY):
            listings.change(session, rows[place], PracticeUpdate(description=told[place - 1]))


def refresh(database: Database, url: str, what: str) -> int:
    """Score again all that stands; prints the seconds and gives how many suggestions were announced."""
    with database.transaction() as session:
        work.enqueue(session, Work.REFRESH, ALL)
    with _announced(database) as told:
        seconds = by_workers(url, 1)
    print(f"  a refresh, {what:<22}{seconds:10.2f}  {standing(database)} scored again, {told[0]} announced")
    return told[0]


@contextmanager
def _announced(database: Database) -> Iterator[list[int]]:
    """Count the suggestion events of a block."""

    def count(session: Session) -> int:
        query = select(func.count()).where(StoredEvent.type.startswith("suggestion."))
        return int(session.exec(query).one())

    with database.snapshot() as session:
        before = count(session)
    told = [0]
    yield told
    with database.snapshot() as session:
        told[0] = count(session) - before


if __name__ == "__main__":
    sys.exit(main())
