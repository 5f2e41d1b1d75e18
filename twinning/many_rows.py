# SPDX-License-Identifier: Apache-2.0
"""Many rows at once: counts that are added up, and questions in batches."""

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import Any, Protocol, TypeVar

from sqlalchemy import Insert, Table
from sqlmodel import Session, SQLModel

from twinning.dialects import Inserter, inserter


class Ordered(Protocol):
    """What can be put in order."""

    def __lt__(self, other: Any, /) -> bool: ...


Item = TypeVar("Item", bound=Ordered)


def table_of(model: type[SQLModel]) -> Table:
    """Give a model's table, for many rows at once: inserts of a model cost several times as much a row."""
    table: Table = model.__table__  # type: ignore[attr-defined]
    return table


def add_up(
    session: Session, table: type[SQLModel], rows: Sequence[dict[str, Any]], key: Sequence[str], column: str
) -> None:
    """Insert rows; where one with the same `key` stands, add to its `column`."""
    if not rows:
        return
    session.connection().execute(_adding(inserter(session), table, tuple(key), column), list(rows))


@cache
def _adding(into: Inserter, table: type[SQLModel], key: tuple[str, ...], column: str) -> Insert:
    """Write the statement of `add_up`, once."""
    insert = into(table_of(table))
    more = {column: getattr(table, column) + insert.excluded[column]}
    return insert.on_conflict_do_update(index_elements=list(key), set_=more)


def in_batches(items: Collection[Item], size: int = 500) -> Iterator[list[Item]]:
    """Give some hundreds at a time, in order: no database takes a question of any length."""
    ordered = sorted(items)
    return (ordered[start : start + size] for start in range(0, len(ordered), size))
