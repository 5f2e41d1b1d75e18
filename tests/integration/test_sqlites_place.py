# SPDX-License-Identifier: Apache-2.0
"""The rules of SQLite's one place to write: whoever cannot have it is told, as of any other error."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError

from twinning import dialects
from twinning.database import Database


def test_who_waits_too_long_for_sqlites_place_is_told(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait for the place has an end, and afterwards SQLite waits for its other locks as ever."""
    database = Database(sqlite_url)
    with database.writing() as session:
        session.execute(text("SELECT 1"))
        with monkeypatch.context() as patched:
            patched.setattr(dialects, "BUSY_TIMEOUT_S", 0.2)
            with pytest.raises(OperationalError, match="locked"), database.transaction() as other:
                other.execute(text("SELECT 1"))
    with database.writing() as session:
        assert session.scalar(text("PRAGMA busy_timeout")) == dialects.BUSY_TIMEOUT_S * 1000
    database.close()


def test_what_sqlite_says_at_the_start_of_a_write_is_sqlalchemys(tmp_path: Path) -> None:
    """A file that has gone bad fails a writer by an error that all who catch those of a database catch."""
    file = tmp_path / "bad.db"
    database = Database(f"sqlite:///{file}")
    with database.transaction() as session:
        session.execute(text("CREATE TABLE some (thing)"))
    other = sqlite3.connect(file)
    other.execute("INSERT INTO some VALUES (1)")
    other.commit()
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    file.write_bytes(b"nonsense" * 2048)

    with pytest.raises(DBAPIError), database.transaction() as session:
        session.execute(text("SELECT 1"))
    database.close()
