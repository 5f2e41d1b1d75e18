# SPDX-License-Identifier: Apache-2.0
"""What outlives the power: each commit, but for those to SQLite that say that they need not."""

from sqlalchemy import text
from sqlmodel import Session

from twinning.database import Database

# As SQLite numbers them: the log of writes is on the disk at the commit, or some time after it.
FULL, NORMAL = 2, 1


def _waits(database: Database, session: Session) -> bool:
    """Say whether the commit of this transaction waits for the disk."""
    if database.is_sqlite:
        return {FULL: True, NORMAL: False}[session.execute(text("PRAGMA synchronous")).scalar_one()]
    return bool(session.execute(text("SHOW synchronous_commit")).scalar_one() == "on")


def test_a_commit_waits_for_the_disk_unless_it_need_not(database: Database) -> None:
    """One that need not wait leaves nothing behind on its connection; on PostgreSQL every one waits."""
    with database.transaction() as session:
        # The tests' own server may be set up to wait for nothing.
        usual = _waits(database, session)
    for durable in (True, False, True):
        with database.transaction(durable=durable) as session:
            assert _waits(database, session) == (usual and (durable or not database.is_sqlite))
