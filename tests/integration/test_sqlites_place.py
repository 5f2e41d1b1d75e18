# SPDX-License-Identifier: Apache-2.0
"""The rules of SQLite's one place to write: whoever cannot have it is told, as of any other error."""

import io
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError

from services.heart import Heart
from services.matcher.importing import Importer
from tests.faults.parts import eventually
from tests.imports import CITY
from twinning import engines, imports, json_lines, keys
from twinning.database import Database, draw
from twinning.keys import ApiKeyCreate
from twinning.settings import Settings
from twinning.table_files import TableFormat
from twinning.terms import Role, Service


def test_who_waits_too_long_for_sqlites_place_is_told(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait for the place has an end, and afterwards SQLite waits for its other locks as ever."""
    database = Database(sqlite_url)
    with database.writing() as session:
        session.execute(text("SELECT 1"))
        with monkeypatch.context() as patched:
            patched.setattr(engines, "BUSY_TIMEOUT_S", 0.2)
            with pytest.raises(OperationalError, match="locked"), database.transaction() as other:
                other.execute(text("SELECT 1"))
    with database.writing() as session:
        assert session.scalar(text("PRAGMA busy_timeout")) == engines.BUSY_TIMEOUT_S * 1000
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


def test_a_long_log_begins_anew_though_somebody_has_always_read(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers that take turns without a gap let the log grow; it is cut short when the last has ended."""
    database = Database(sqlite_url)
    file = engines.file_of(sqlite_url)
    log = Path(f"{file}-wal")
    _write(database)
    before = log.stat().st_size
    database.shorten_log()
    assert log.stat().st_size == before > 0, "one that is short is left alone"
    monkeypatch.setattr(engines, "LONGEST_LOG", 1)
    monkeypatch.setattr(engines, "SHORTENING_TIMEOUT_MS", 20)

    with database.snapshot() as reading:
        reading.execute(text("SELECT * FROM log"))
        _write(database)
        database.shorten_log()
        assert log.stat().st_size > 0, "somebody needs it"
    database.shorten_log()

    assert log.stat().st_size == 0
    with database.snapshot() as reading:
        assert reading.scalar(text("PRAGMA busy_timeout")) == engines.BUSY_TIMEOUT_S * 1000
        assert reading.scalar(text("SELECT value FROM log WHERE name = 'commits'")) == 2
    database.close()


def _write(database: Database) -> None:
    with database.transaction() as session:
        draw(session, 1)


def test_an_import_and_a_heart_keep_the_log_short(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who writes much looks after each batch, and every process now and then."""
    looked: list[str] = []
    monkeypatch.setattr(Database, "shorten_log", lambda database: looked.append(database.url))
    database = Database(sqlite_url)
    content = b"".join(json_lines.write([CITY]))
    with database.transaction() as session:
        key, _ = keys.create(session, ApiKeyCreate(role=Role.STAFF, name="Importer"))
        imports.ask(session, key.id, "c.jsonl", TableFormat.JSONL, len(content), io.BytesIO(content))

    Importer(database, Settings(), "importer").take()
    assert looked == [sqlite_url]
    heart = Heart(database, "worker-1", Service.MATCHER)
    heart.start()
    eventually(lambda: len(looked) == 2, "the heart has looked")
    heart.stop()
    database.close()
