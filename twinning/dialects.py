# SPDX-License-Identifier: Apache-2.0
"""What SQLite and PostgreSQL say differently: their columns, their statements, their clocks and locks.

The only file that knows it; all others ask here.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Engine,
    Select,
    String,
    Table,
    any_,
    bindparam,
    cast,
    exists,
    func,
    select,
    text,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import ColumnElement
from sqlalchemy.types import TypeDecorator
from sqlmodel import Session

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


def inserter(session: Session) -> Inserter:
    """Give what begins an insert that can say what is done where a row with the same key stands."""
    return sqlite.insert if is_sqlite(session) else postgresql.insert


def holds(session: Session, column: Any, value: str) -> ColumnElement[bool]:
    """Ask whether a column's JSON list holds a string."""
    if is_sqlite(session):
        each = func.json_each(column).table_valued("value")
        return exists(select(1).select_from(each).where(each.c.value == value))
    return cast(column, JSONB).contains([value])


def one_of(column: Any, parameter: str) -> ColumnElement[bool]:
    """Ask PostgreSQL whether a column is one of some values, given as one parameter.

    With a place for each the statement would be another one for any number of them, compiled anew by
    SQLAlchemy and taken to pieces by the driver.
    """
    is_one: ColumnElement[bool] = column == any_(bindparam(parameter, type_=postgresql.ARRAY(column.type)))
    return is_one


def first_of_each(value: Any, row: Any, most: int) -> Select[Any]:
    """Ask PostgreSQL for the first few rows with each of the `values` that are given, at once."""
    given = bindparam("values", type_=postgresql.ARRAY(value.type))
    each = func.unnest(given).table_valued("value").render_derived()
    few = select(row.label("row")).where(value == each.c.value).order_by(row).limit(most).lateral()
    return select(each.c.value, few.c.row).select_from(each.join(few, true()))


def rows_of_json(table: str) -> str:
    """Spell what PostgreSQL makes rows of a table of: the JSON text that is given as `rows`."""
    return f"json_populate_recordset(NULL::{table}, %(rows)s::json)"


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
        session.connection().exec_driver_sql(f"SET LOCAL lock_timeout = {milliseconds}")


def would_wait(error: Exception) -> bool:
    """Say whether a statement failed because another transaction holds what it needs."""
    return is_deadlock(error) or _is(error, "LockNotAvailable")


def is_deadlock(error: Exception) -> bool:
    """Say whether the database undid this transaction so that others, which waited for it, can go on."""
    return _is(error, "DeadlockDetected")


def _is(error: Exception, name: str) -> bool:
    return isinstance(error, DBAPIError) and type(error.orig).__name__ == name
