# SPDX-License-Identifier: Apache-2.0
"""New listings of a file are matched some in a unit: alike in what comes of it, and after everybody else."""

from sqlmodel import select

from services.matcher.engine.text import ANALYSIS
from services.matcher.matching import Matcher
from tests.catalogues import Catalogue
from tests.standing import all_listed
from twinning import catalogue, listing_batches, work
from twinning.database import Database
from twinning.forms import NeedCreate, PracticeCreate
from twinning.lifecycle import Hand
from twinning.listing_batches import MATCHED_TOGETHER
from twinning.settings import Settings
from twinning.terms import Work
from twinning.work import WorkUnit

TEXTS = (
    "Volunteers teach older adults to read and write letters in the library",
    "Older adults want help from volunteers with reading and writing letters",
)


def _register(made: Catalogue, count: int) -> list[str]:
    """Register so many practices and as many needs as a file would; gives their ids, oldest first."""
    host, learner = made.city("Cork", "IE"), made.city("Suwon", "KR")
    rows = [
        row
        for number in range(count)
        for row in (
            (host, PracticeCreate(title=f"Practice {number}", description=TEXTS[0])),
            (learner, NeedCreate(title=f"Need {number}", description=TEXTS[1])),
        )
    ]
    with made.database.transaction() as session:
        return [shown.id for shown in listing_batches.register_all(session, rows, Hand())]


def _units(database: Database) -> dict[str, Work]:
    """Give what waits, by its subject."""
    with database.snapshot() as session:
        return {unit.subject: Work(unit.kind) for unit in session.exec(select(WorkUnit))}


def test_a_file_asks_for_its_matching_in_few_units(database: Database) -> None:
    """Listings registered together share units of so many, and what is suggested rests on all of them."""
    ids = _register(Catalogue(database), MATCHED_TOGETHER)
    units = _units(database)
    matcher = Matcher(database, Settings(), "m1")

    matcher.take()

    assert units == dict.fromkeys((ids[0], ids[MATCHED_TOGETHER]), Work.MATCH_BATCH)
    assert _units(database) == {}
    with database.snapshot() as session:
        [row] = all_listed(session)
    assert {row.reasons[0]["need_id"], row.reasons[0]["practice_id"]} <= set(ids)


def test_what_people_change_is_matched_before_what_a_file_brought(database: Database) -> None:
    """A listing registered by itself is taken before batches that have waited longer."""
    made = Catalogue(database)
    _register(made, MATCHED_TOGETHER)
    need = made.need(made.city("Espoo", "FI"), "Reading", TEXTS[1])

    taken = Matcher(database, Settings(), "m1").claim()

    assert [(claim.kind, claim.subject) for claim in taken] == [(Work.MATCH_LISTING, need)]


def test_what_a_file_brings_waits_for_its_end_where_it_is_read(database: Database) -> None:
    """A worker that imports takes no batches meanwhile; another does, and so does it afterwards."""
    ids = _register(Catalogue(database), 1)
    importing = [True]
    matcher = Matcher(database, Settings(), "m1", is_importing=lambda: importing[0])

    meanwhile = matcher.claim()
    importing[0] = False
    afterwards = matcher.claim()

    assert meanwhile == []
    assert [claim.subject for claim in afterwards] == ids[:1]


def test_what_is_counted_meanwhile_is_written_down(database: Database) -> None:
    """A look at the catalogue keeps the counts of new listings, so that they do not pile up in memory."""
    ids = _register(Catalogue(database), 2)
    matcher = Matcher(database, Settings(), "m1", is_importing=lambda: True)

    matcher.read()

    with database.snapshot() as session:
        assert catalogue.stored_counts(session, ids, ANALYSIS).keys() == set(ids)
    assert matcher._keeper.counted == []


def test_a_batch_that_failed_is_done_one_by_one(database: Database) -> None:
    """A unit that was taken before and did not end is cut up, so that one listing cannot spoil the others."""
    ids = _register(Catalogue(database), 2)
    matcher = Matcher(database, Settings(), "m1")
    with database.transaction() as session:
        work.claim(session, "a worker that died", 1, 0.0, [Work.MATCH_BATCH])

    matcher.do(matcher.claim())

    assert _units(database) == dict.fromkeys(ids, Work.MATCH_LISTING)
    matcher.take()
    assert _units(database) == {}
