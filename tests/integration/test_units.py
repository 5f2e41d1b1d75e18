# SPDX-License-Identifier: Apache-2.0
"""What becomes of a unit of work when doing it goes well, fails, or meets a database that refuses."""

from datetime import timedelta

import pytest
from sqlalchemy.exc import OperationalError
from sqlmodel import select

from services.units import RETRY_S, attempt
from twinning import work
from twinning.database import Database, now
from twinning.terms import Work
from twinning.work import Claim, WorkUnit


def taken(database: Database) -> Claim:
    """A unit in a worker's hands."""
    with database.transaction() as session:
        work.enqueue(session, Work.IMPORT, "one")
    with database.transaction() as session:
        [claim] = work.claim(session, "w1", 1, 60)
    return claim


def unit(database: Database) -> WorkUnit:
    with database.snapshot() as session:
        return session.exec(select(WorkUnit)).one()


def failing(error: BaseException) -> None:
    raise error


def test_a_unit_that_is_done_is_left_to_who_did_it(database: Database) -> None:
    """What went well is struck off by whoever did it, in the transaction of what came of it."""
    done = []

    assert attempt(database, taken(database), done.append)
    assert [claim.subject for claim in done] == ["one"]
    assert unit(database).leased_by == "w1"


def test_a_unit_that_fails_keeps_its_error_and_waits(database: Database) -> None:
    """A failure of the unit's own counts as a try, is written down, and gives the unit back for later."""
    claim = taken(database)

    assert not attempt(database, claim, lambda _: failing(RuntimeError("A bug of ours.")))
    row = unit(database)
    assert (row.error, row.leased_by, row.tries) == ("RuntimeError: A bug of ours.", None, 1)
    assert row.due_at is not None
    assert row.due_at > now()


def test_a_database_that_refuses_is_not_the_units_fault(database: Database) -> None:
    """A lost race costs the unit no try and leaves no error; it is due again in a moment."""
    claim = taken(database)
    lost = OperationalError("UPDATE", {}, Exception("deadlock detected"))

    assert not attempt(database, claim, lambda _: failing(lost))
    row = unit(database)
    assert (row.error, row.leased_by, row.tries) == (None, None, 0)
    assert row.due_at is not None
    assert row.due_at <= now() + timedelta(seconds=RETRY_S)


def test_whatever_ends_the_process_is_not_caught(database: Database) -> None:
    """An order to stop goes through, and the lease gives the unit back."""
    with pytest.raises(SystemExit):
        attempt(database, taken(database), lambda _: failing(SystemExit()))
    assert unit(database).leased_by == "w1"
