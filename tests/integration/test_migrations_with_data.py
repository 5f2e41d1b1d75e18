# SPDX-License-Identifier: Apache-2.0
"""The migrations with data in the tables: each step up and down takes what was there along."""

from datetime import date, datetime
from typing import Any

from alembic.script import ScriptDirectory
from sqlalchemy import Column, Engine, MetaData, Table, func, inspect, select
from sqlalchemy.types import JSON, Boolean, Date, DateTime, Float, Integer, LargeBinary, Numeric, String
from sqlmodel import SQLModel

from twinning.database import Database
from twinning.migrating import MIGRATIONS, downgrade, migrate

MOMENT = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001 - both databases take it as UTC


def _steps() -> list[str]:
    """Give the revisions from the first to the newest."""
    script = ScriptDirectory(str(MIGRATIONS))
    return [revision.revision for revision in script.walk_revisions()][::-1]


def _tables(engine: Engine) -> list[Table]:
    """Give the tables as they are at this revision, those that others point to first."""
    found = MetaData()
    found.reflect(engine)
    return [table for table in found.sorted_tables if table.name != "alembic_version"]


def _value(column: Column[Any], row: str, number: int) -> Any:
    """Make a value that a column takes; all ids of a step are the same, so that each points somewhere."""
    kind = column.type
    if isinstance(kind, String):
        return "KR" if kind.length == 2 else row[: kind.length]
    plain: dict[type, Any] = {
        JSON: [],
        Boolean: False,
        Integer: number,
        Float: number,
        Numeric: number,
        DateTime: MOMENT,
        Date: date(2026, 1, 2),
        LargeBinary: b"{}",
    }
    return next(value for known, value in plain.items() if isinstance(kind, known))


def _fill(engine: Engine, step: str, number: int) -> None:
    """Put a row into every table."""
    # Read first: SQLite lets one in at a time who may write.
    tables = _tables(engine)
    with engine.begin() as connection:
        for table in tables:
            row = {column.name: _value(column, f"row-{step}", number) for column in table.columns}
            connection.execute(table.insert(), row)


def _counts(engine: Engine) -> dict[str, int]:
    tables = _tables(engine)
    with engine.connect() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in tables
        }


def test_every_step_up_and_down_keeps_what_was_there(empty_database_url: str) -> None:
    """With rows of each earlier step in every table the house reads all, and every step can be undone."""
    database = Database(empty_database_url)
    expected: dict[str, int] = {}
    steps = _steps()
    for number, step in enumerate(steps, 1_000):
        migrate(empty_database_url, step)
        before = _counts(database.engine)
        assert {name: before[name] for name in expected} == expected
        _fill(database.engine, step, number)
        expected = _counts(database.engine)
    read = _read_all(database)
    for step in [*steps[-2::-1], "base"]:
        downgrade(empty_database_url, step)
        left = {} if step == "base" else _counts(database.engine)
        assert {name: expected[name] for name in left} == left
    tables = set(inspect(database.engine).get_table_names())
    database.close()

    assert read == expected
    assert tables == {"alembic_version"}


def _read_all(database: Database) -> dict[str, int]:
    """Read every row of every table by the code's own classes."""
    found = {}
    with database.snapshot() as session:
        for mapper in SQLModel._sa_registry.mappers:
            rows = session.scalars(select(mapper.class_)).all()
            found[str(mapper.local_table.name)] = len(rows)
    return found
