# SPDX-License-Identifier: Apache-2.0
"""Many rows at once, with little of ours between them and the driver.

A statement is written once for each table, set of columns and kind of database; values go through the same
conversions of their types as everywhere else, column by column, and an object that stands in many rows,
such as the moment of a transaction, is converted once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Dialect, Table, insert
from sqlalchemy.sql.schema import ColumnDefault
from sqlmodel import Session, SQLModel

from twinning.many_rows import table_of

Convert = Callable[[Any], Any] | None
_NOTHING: Final = object()


class _Insert:
    """A statement for one dialect: its text, its parameters in order, and how each is converted."""

    def __init__(self, table: Table, dialect: Dialect, given: tuple[str, ...]) -> None:
        compiled = insert(table).compile(dialect=dialect, column_keys=list(given))
        self.text = str(compiled)
        self.positional = bool(compiled.positional)
        names = list((compiled.positiontup if compiled.positional else compiled.bind_names.values()) or ())
        self._columns = [(name, _conversion(table, name, dialect)) for name in names]
        self._given = frozenset(given)
        self._defaults = {name: _default(table, name) for name in names if name not in self._given}

    def parameters(self, rows: Sequence[dict[str, Any]]) -> list[Any]:
        """Convert the rows, as the driver takes them."""
        laid: list[Iterable[Any]] = []
        for name, convert in self._columns:
            default = self._defaults.get(name)
            values = map(itemgetter(name), rows) if default is None else default(len(rows))
            laid.append(values if convert is None else _converted(convert, values))
        across = list(zip(*laid, strict=True))
        if self.positional:
            return across
        names = [name for name, _ in self._columns]
        return [dict(zip(names, row, strict=True)) for row in across]


def insert_all(session: Session, model: type[SQLModel], rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows that all have the same columns; what they leave out gets its default."""
    if rows:
        connection = session.connection()
        statement = _inserting(table_of(model), connection.dialect, tuple(rows[0]))
        connection.exec_driver_sql(statement.text, statement.parameters(rows))


@lru_cache(maxsize=256)
def _inserting(table: Table, dialect: Dialect, given: tuple[str, ...]) -> _Insert:
    return _Insert(table, dialect, given)


def _conversion(table: Table, name: str, dialect: Dialect) -> Convert:
    return table.c[name].type.dialect_impl(dialect).bind_processor(dialect)


def _default(table: Table, name: str) -> Callable[[int], list[Any]]:
    """Give what makes the values of a column that no row names."""
    default = table.c[name].default
    assert isinstance(default, ColumnDefault), f"{table.name}.{name} has no default"
    value = default.arg
    return lambda count: [value(None) if callable(value) else value for _ in range(count)]


def _converted(convert: Callable[[Any], Any], values: Iterable[Any]) -> Iterator[Any]:
    last = done = _NOTHING
    for value in values:
        if value is not last:
            last, done = value, convert(value)
        yield done
