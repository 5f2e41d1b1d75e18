# SPDX-License-Identifier: Apache-2.0
"""What SQLite and PostgreSQL say differently: how they are opened, their columns, clocks and locks.

The only file that knows it; all others ask here.
"""

import hashlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pydantic_core import to_json
from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    DateTime,
    Dialect,
    Engine,
    String,
    Table,
    bindparam,
    cast,
    create_engine,
    event,
    exists,
    func,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import ColumnElement
from sqlalchemy.types import TypeDecorator
from sqlmodel import Session

BUSY_TIMEOUT_S = 30.0
# How long who waits for the writer's place sleeps between two looks, at first and at last.
SHORTEST_LOOK_S = 0.0005
LONGEST_LOOK_S = 0.005
_BEGIN_WRITING = "BEGIN IMMEDIATE"
# From so many bytes on SQLite's log of writes has got away from its readers: it begins anew at some 4 MB.
LONGEST_LOG = 32 * 1024 * 1024
SHORTENING_TIMEOUT_MS = 200
STATEMENT_TIMEOUT_MS = 60_000
LOCK_TIMEOUT_MS = 20_000
_SQLITE_TIME = "%Y-%m-%dT%H:%M:%f+00:00"

Inserter = Callable[[Table], sqlite.Insert | postgresql.Insert]


class Instant(TypeDecorator[datetime]):
    """A moment in UTC on either database; SQLite, which has no zones, keeps it bare."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Hand the database a moment in UTC."""
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Take a moment back with its zone."""
        del dialect  # Both databases give UTC; only the zone may be missing.
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Json = JSON().with_variant(JSONB(), "postgresql")
Id = String(36)


def is_sqlite(at: Engine | Session) -> bool:
    """Say whether this is the embedded database."""
    return (at.get_bind() if isinstance(at, Session) else at).dialect.name == "sqlite"


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


def inserter(session: Session) -> Inserter:
    """Give what begins an insert that can say what is done where a row with the same key stands."""
    return sqlite.insert if is_sqlite(session) else postgresql.insert


def holds(session: Session, column: Any, value: str) -> ColumnElement[bool]:
    """Ask whether a column's JSON list holds a string."""
    if is_sqlite(session):
        each = func.json_each(column).table_valued("value")
        return exists(select(1).select_from(each).where(each.c.value == value))
    return cast(column, JSONB).contains([value])


def given(session: Session, parameter: str, width: int) -> list[ColumnElement[str]]:
    """Take rows of some texts each as a table, from one parameter that holds them as JSON; gives its columns.

    However many there are, the statement stays the same, and is compiled once.
    """
    rows = bindparam(parameter, type_=Json)
    if is_sqlite(session):
        each = func.json_each(rows).table_valued("value")
        return [func.json_extract(each.c.value, f"$[{place}]") for place in range(width)]
    every = func.jsonb_array_elements(rows).table_valued(Column("value", JSONB))
    return [every.c.value[place].astext for place in range(width)]


def clock(session: Session) -> datetime:
    """Ask the database for the time, in UTC."""
    if is_sqlite(session):
        return datetime.fromisoformat(str(session.scalar(select(func.strftime(_SQLITE_TIME, "now")))))
    moment: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return moment


# Written once, and asked without a flush of what is not written yet: each request with a key asks it.
_TRY_LOCK = select(func.pg_try_advisory_xact_lock(bindparam("number", type_=BigInteger)))
_TRY_LOCKS = text(
    "SELECT number, pg_try_advisory_xact_lock(number) FROM unnest(CAST(:numbers AS bigint[])) AS number"
)


def try_lock(session: Session, name: str) -> bool:
    """Take a lock that ends with this transaction, or say at once that another holds it.

    SQLite lets one writer in at a time, so who writes holds every lock.
    """
    if is_sqlite(session):
        return True
    tried: dict[str, bool] = session.info.get("tried", {})
    if name in tried:
        return tried[name]
    return bool(session.connection().execute(_TRY_LOCK, {"number": _number_of(name)}).scalar_one())


def try_locks(session: Session, names: Sequence[str]) -> None:
    """Take many such locks at once, those that are free; `try_lock` knows of each then."""
    if names and not is_sqlite(session):
        numbers = {_number_of(name): name for name in names}
        rows = session.connection().execute(_TRY_LOCKS, {"numbers": list(numbers)})
        session.info["tried"] = {numbers[number]: taken for number, taken in rows}


def lock(session: Session, name: str) -> None:
    """Wait for a lock that ends with this transaction; what is read after it is what its last holder left."""
    if not is_sqlite(session):
        session.execute(select(func.pg_advisory_xact_lock(_number_of(name))))


def _number_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def wait_at_most(session: Session, milliseconds: int) -> None:
    """Bound each wait of this transaction for a row that another holds.

    Nobody else writes into SQLite meanwhile, so there is nothing to wait for.
    """
    if not is_sqlite(session):
        session.execute(text(f"SET LOCAL lock_timeout = {milliseconds}"))


def would_wait(error: Exception) -> bool:
    """Say whether a statement failed because another transaction holds what it needs."""
    return is_deadlock(error) or _is(error, "LockNotAvailable")


def is_deadlock(error: Exception) -> bool:
    """Say whether the database undid this transaction so that others, which waited for it, can go on."""
    return _is(error, "DeadlockDetected")


def _is(error: Exception, name: str) -> bool:
    return isinstance(error, DBAPIError) and type(error.orig).__name__ == name
