# SPDX-License-Identifier: Apache-2.0
"""Engines of both kinds: how connections begin, and how SQLite lets many read and one write at a time."""

import sqlite3
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from pydantic_core import to_json
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url

from twinning.dialects import LOCK_TIMEOUT_MS, is_sqlite

BUSY_TIMEOUT_S = 30.0
# How long who waits for the writer's place sleeps between two looks, at first and at last.
SHORTEST_LOOK_S = 0.0005
LONGEST_LOOK_S = 0.005
_BEGIN_WRITING = "BEGIN IMMEDIATE"
# From so many bytes on SQLite's log of writes has got away from its readers: it begins anew at some 4 MB.
LONGEST_LOG = 32 * 1024 * 1024
SHORTENING_TIMEOUT_MS = 200
STATEMENT_TIMEOUT_MS = 60_000


def file_of(url: str) -> Path | None:
    """Give the file that a database is, where it is one."""
    parts = make_url(url)
    embedded = parts.get_backend_name() == "sqlite" and parts.database not in {None, "", ":memory:"}
    return Path(str(parts.database)).absolute() if embedded else None


def open_engine(url: str) -> Engine:
    """Open SQLite in WAL with immediate transactions, or PostgreSQL with statement time-outs."""
    # What a statement was given may be a person's text or a key's hash, and an error is logged.
    create = partial(create_engine, json_serializer=_encode, hide_parameters=True)
    if make_url(url).get_backend_name() == "sqlite":
        engine = create(url, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create(
        url,
        pool_size=10,
        max_overflow=30,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": 5,
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c timezone=UTC "
            f"-c idle_in_transaction_session_timeout=120000 -c lock_timeout={LOCK_TIMEOUT_MS}",
        },
    )


def _encode(value: Any) -> str:
    """Write JSON as the standard library does without blanks, in a sixth of its time."""
    return to_json(value).decode()


def snapshots(engine: Engine) -> Engine:
    """Give the same connections, where each transaction reads one state of the whole and writes nothing."""
    look = {"sqlite_begin": "BEGIN"} if is_sqlite(engine) else {"isolation_level": "REPEATABLE READ"}
    return engine.execution_options(**look)


def passing(engine: Engine) -> Engine:
    """Give the same connections, whose commits wait for no disk where that is as good.

    SQLite's are lost with the power alone, and with it every process that could know of them; the next
    commit that does wait brings those before it along. PostgreSQL's always wait: its server may crash while
    whoever acted upon a commit lives on, and would find that it never was.
    """
    return engine.execution_options(durable=False)


def _is_durable(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("durable", True))


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Set what SQLite forgets with each connection; FULL, since an answered write must outlive the power."""
    connection.isolation_level = None
    # SQLite's own folds ASCII alone, and a search for Łódź must not ask for its capitals.
    connection.create_function("lower", 1, _lower, deterministic=True)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _lower(value: Any) -> Any:
    """Fold the case of a text as PostgreSQL does; what is no text stays."""
    return value.lower() if isinstance(value, str) else value


def _begin_sqlite(connection: Connection) -> None:
    """Take the writer's place at the start: a reader that turns writer in mid-transaction would fail."""
    begin = connection.get_execution_options().get("sqlite_begin", _BEGIN_WRITING)
    if begin != _BEGIN_WRITING:
        connection.exec_driver_sql(begin)
        return
    driver = connection.connection.dbapi_connection
    assert driver is not None
    driver.execute(f"PRAGMA synchronous={'FULL' if _is_durable(connection) else 'NORMAL'}")
    driver.execute("PRAGMA busy_timeout=0")
    try:
        if not _is_begun(driver):
            connection.exec_driver_sql(begin)
    finally:
        driver.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000:.0f}")


def _is_begun(driver: Any) -> bool:
    """Begin to write as soon as whoever writes is done; says whether that was in time.

    SQLite itself would look again after 1, 2, 5, 10, 15 milliseconds and so on; where many write one after
    another, who has waited for long would be passed by those that have just come.
    """
    begun = time.monotonic()
    while (waited := time.monotonic() - begun) < BUSY_TIMEOUT_S:
        try:
            driver.execute(_BEGIN_WRITING)
        except sqlite3.Error as error:
            # Anything else is left to who called, and so to SQLAlchemy, whose errors all others know.
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
                return False
            time.sleep(min(LONGEST_LOOK_S, max(SHORTEST_LOOK_S, waited / 10)))
        else:
            return True
    return False


def shorten_log(engine: Engine) -> None:
    """Have SQLite's log of writes begin anew where it has grown long; at most a moment is waited for readers.

    By itself it does so only at a moment at which nobody reads. Where somebody always does it grows for ever,
    every read looks through more of it and so takes longer, and the next such moment is further away.
    """
    file = file_of(str(engine.url)) if is_sqlite(engine) else None
    try:
        if file is None or Path(f"{file}-wal").stat().st_size < LONGEST_LOG:
            return
    except FileNotFoundError:
        return
    with closing(engine.raw_connection()) as connection:
        cursor = connection.cursor()
        try:
            cursor.execute(f"PRAGMA busy_timeout={SHORTENING_TIMEOUT_MS}")
            # Where somebody still reads or writes when the time is over, it says so, and nothing is lost.
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000:.0f}")
