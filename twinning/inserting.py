# SPDX-License-Identifier: Apache-2.0
"""Many rows at once, with little of ours between them and the driver.

A statement is written once for each table, set of columns and kind of database. SQLite takes its rows one by
one, which costs next to nothing; each value goes through the conversion of its type, and what stands in many
rows, such as the moment of a transaction, is converted once. PostgreSQL takes all of them as one JSON
text, so that neither the driver nor the server does anything for each row but store it; and the rows of
several tables in one statement, since what is waited for there is the way to the server and back.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, Protocol

from pydantic_core import to_json
from sqlalchemy import JSON, Dialect, LargeBinary, Table, insert
from sqlalchemy.sql.schema import ColumnDefault
from sqlmodel import Session, SQLModel

from twinning.dialects import is_sqlite, rows_of_json
from twinning.many_rows import table_of

Convert = Callable[[Any], Any] | None
# The columns by which a row may stand already, and those that it then takes over.
_Standing = tuple[tuple[str, ...], tuple[str, ...]]
# A statement's text, and its rows as JSON.
_Ready = tuple[str, str]
_NOTHING: Final = object()


class _Insert(Protocol):
    """A statement for one table: its text, and how rows become what the driver takes."""

    text: str

    def parameters(self, rows: Sequence[dict[str, Any]]) -> Any:
        """Lay out the rows; raises `KeyError` where one lacks a column."""


def insert_all(session: Session, model: type[SQLModel], rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows that all have the same columns; what they leave out gets its default."""
    _insert(session, model, rows, None)


def insert_rows(session: Session, model: type[SQLModel], rows: Sequence[SQLModel]) -> None:
    """Insert new rows of a model as they are; the session knows nothing of them."""
    names = table_of(model).c.keys()
    insert_all(session, model, [{name: vars(row)[name] for name in names} for row in rows])


def put_all(
    session: Session,
    model: type[SQLModel],
    rows: Sequence[dict[str, Any]],
    key: Sequence[str],
    change: Sequence[str],
) -> None:
    """Insert such rows, each with a `key` of its own; where one with it stands, set its columns `change`.

    Without any (none to change) what stands is left as it is.
    """
    _insert(session, model, rows, (tuple(key), tuple(change)))


def _insert(
    session: Session, model: type[SQLModel], rows: Sequence[dict[str, Any]], standing: _Standing | None
) -> None:
    if not rows:
        return
    connection = session.connection()
    kind = _RowByRow if is_sqlite(session) else _AsJson
    statement = _inserting(kind, table_of(model), connection.dialect, tuple(rows[0]), standing)
    ready: list[_Ready] | None = session.info.get("together")
    if ready is None:
        connection.exec_driver_sql(statement.text, statement.parameters(rows))
    else:
        ready.append((statement.text, statement.parameters(rows)["rows"]))


@contextmanager
def together(session: Session) -> Iterator[None]:
    """Have PostgreSQL insert at once, at the end, what is inserted meanwhile: nothing of it is there before.

    None of it may depend on the order, but for what a foreign key refers to.
    """
    if is_sqlite(session):
        yield
        return
    ready: list[_Ready] = []
    session.info["together"] = ready
    try:
        yield
    finally:
        del session.info["together"]
    if ready:
        text = _joined(tuple(text for text, _ in ready))
        rows = {f"rows_{place}": rows for place, (_, rows) in enumerate(ready)}
        session.connection().exec_driver_sql(text, rows)


@lru_cache(maxsize=256)
def _joined(texts: tuple[str, ...]) -> str:
    """Make one statement of several; the last of them is the one that the others stand before."""
    named = [text.replace("%(rows)s", f"%(rows_{place})s") for place, text in enumerate(texts)]
    before = ", ".join(f"also_{place} AS ({text})" for place, text in enumerate(named[:-1]))
    return f"WITH {before} {named[-1]}" if before else named[-1]


@lru_cache(maxsize=256)
def _inserting(
    kind: Callable[[Table, Dialect, tuple[str, ...]], _Insert],
    table: Table,
    dialect: Dialect,
    given: tuple[str, ...],
    standing: _Standing | None,
) -> _Insert:
    statement = kind(table, dialect, given)
    if standing is not None:
        key, change = (list(map(dialect.identifier_preparer.quote, names)) for names in standing)
        changes = ", ".join(f"{name} = excluded.{name}" for name in change)
        then = f"DO UPDATE SET {changes}" if changes else "DO NOTHING"
        statement.text += f" ON CONFLICT ({', '.join(key)}) {then}"
    return statement


class _RowByRow:
    """Rows as SQLite's driver takes them: a statement with a place for each value."""

    def __init__(self, table: Table, dialect: Dialect, given: tuple[str, ...]) -> None:
        compiled = insert(table).compile(dialect=dialect, column_keys=list(given))
        self.text = str(compiled)
        names = list(compiled.positiontup or ())
        self._columns = [(name, _conversion(table, name, dialect)) for name in names]
        self._defaults = _defaults(table, names, given)

    def parameters(self, rows: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
        """Convert the rows, column by column."""
        laid: list[Iterable[Any]] = []
        for name, convert in self._columns:
            default = self._defaults.get(name)
            values = map(itemgetter(name), rows) if default is None else default(len(rows))
            laid.append(values if convert is None else _converted(convert, values))
        return list(zip(*laid, strict=True))


class _AsJson:
    """Rows as one JSON text, of which PostgreSQL makes rows of the table's own types."""

    def __init__(self, table: Table, dialect: Dialect, given: tuple[str, ...]) -> None:
        quote = dialect.identifier_preparer.quote
        names = list(insert(table).compile(dialect=dialect, column_keys=list(given)).bind_names.values())
        into = ", ".join(map(quote, names))
        # JSON's null would become no value at all, where a column of JSON keeps a null, as everywhere else.
        of = ", ".join(
            f"coalesce({quote(name)}, 'null')" if isinstance(table.c[name].type, JSON) else quote(name)
            for name in names
        )
        rows = rows_of_json(quote(table.name))
        # All that is put in here are the names of a table of ours and of its columns.
        self.text = f"INSERT INTO {quote(table.name)} ({into}) SELECT {of} FROM {rows}"  # noqa: S608
        self._defaults = _defaults(table, names, given)
        # With two names at least it gives a tuple, and raises where one is missing.
        self._whole = itemgetter(*given, *given)
        self._binary = [name for name in given if isinstance(table.c[name].type, LargeBinary)]

    def parameters(self, rows: Sequence[dict[str, Any]]) -> dict[str, str]:
        """Write the rows as JSON; what the database knows by other names than Python is spelled its way."""
        for row in rows:
            self._whole(row)
        if self._defaults or self._binary:
            filled = {name: iter(default(len(rows))) for name, default in self._defaults.items()}
            rows = [
                {
                    **row,
                    **{name: next(values) for name, values in filled.items()},
                    **{name: row[name] and rf"\x{row[name].hex()}" for name in self._binary},
                }
                for row in rows
            ]
        return {"rows": to_json(rows).decode()}


def _conversion(table: Table, name: str, dialect: Dialect) -> Convert:
    return table.c[name].type.dialect_impl(dialect).bind_processor(dialect)


def _defaults(
    table: Table, names: Sequence[str], given: Sequence[str]
) -> dict[str, Callable[[int], list[Any]]]:
    """Give what makes the values of each column that no row names."""
    return {name: _default(table, name) for name in names if name not in given}


def _default(table: Table, name: str) -> Callable[[int], list[Any]]:
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
