# SPDX-License-Identifier: Apache-2.0
"""Many rows at once are stored as one by one: the same conversions, the same defaults, on both databases."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from itertools import product

import pytest
import sqlmodel
from sqlalchemy import event, insert, select, text
from sqlmodel import Session

from tests.catalogues import Catalogue
from twinning.database import Database, new_id
from twinning.idempotency import KeptAnswer
from twinning.inserting import insert_all, put_all, together
from twinning.listings import Listing
from twinning.many_rows import table_of
from twinning.repeats import ListingMark
from twinning.workers import Worker

MOMENT = datetime(2027, 1, 31, 12, 30, 1, 5, tzinfo=UTC)
ROWS = (
    {"title": "Łódź", "themes": ["cl1", "sdg-4"], "hosting": {"seats": 3}, "expires_on": None},
    {"title": "Ελλάδα", "themes": [], "hosting": None, "expires_on": date(2027, 3, 1)},
)


def _rows(city_id: str) -> list[dict[str, object]]:
    given = {"kind": "practice", "city_id": city_id, "state": "published", "description": "x"}
    stamps = {"created_at": MOMENT, "updated_at": MOMENT}
    return [{"id": new_id(), **given, **row, **stamps} for row in ROWS]


def test_rows_are_stored_as_sqlalchemy_stores_them(database: Database) -> None:
    """Values, defaults and columns that nobody names come back as from an insert of SQLAlchemy's own."""
    city_id = Catalogue(database).city("Cork", "IE")
    ours, theirs = _rows(city_id), _rows(city_id)
    table = table_of(Listing)
    with database.transaction() as session:
        insert_all(session, Listing, ours)
        session.connection().execute(insert(table), theirs)

    with database.snapshot() as session:
        found = {row.id: {**row._mapping, "id": ""} for row in session.execute(select(table))}
    assert [found[row["id"]] for row in ours] == [found[row["id"]] for row in theirs]


def test_rows_are_the_same_to_the_database(database: Database) -> None:
    """No null, no number, no text and no moment is stored otherwise than by SQLAlchemy, byte for byte."""
    city_id = Catalogue(database).city("Cork", "IE")
    texts = ("", "\\u0000", "%s %(rows)s", "\x01\x1f\x7f\u2028", "🙂 서울", "null", "x" * 100_000)
    lists: tuple[object, ...] = (None, [], {"": [1.5, 1e300, -0.0, 2**70, True, None]}, "text", 0, False)
    rows = [
        {**_rows(city_id)[0], "id": f"{number:036}", "title": title, "hosting": hosting}
        for number, (title, hosting) in enumerate(product(texts, lists))
    ]

    def stored(insert: Callable[[Session], object]) -> list[str]:
        with database.writing() as session:
            insert(session)
            whole = "listing.*" if database.is_sqlite else "listing::text"
            query = text(f"SELECT {whole} FROM listing ORDER BY id")
            return [repr(tuple(row)) for row in session.execute(query)]

    table = table_of(Listing)
    theirs = stored(lambda session: session.connection().execute(insert(table), rows))
    assert stored(lambda session: insert_all(session, Listing, rows)) == theirs
    assert len(theirs) == len(rows)


def test_a_column_without_a_value_or_a_default_is_an_error(database: Database) -> None:
    """Rows must have what the table cannot fill in by itself, and one that lacks it stores nothing."""
    rows = _rows(Catalogue(database).city("Cork", "IE"))
    del rows[1]["title"]

    with pytest.raises(KeyError, match="title"), database.transaction() as session:
        insert_all(session, Listing, rows)

    with database.snapshot() as session:
        assert session.execute(select(table_of(Listing))).all() == []


def test_rows_of_several_tables_go_in_together(database: Database) -> None:
    """PostgreSQL takes them in one statement, what refers beside what is referred to, each by its rule."""
    rows = _rows(Catalogue(database).city("Cork", "IE"))
    mark = {"mark": 7, "listing_id": rows[0]["id"]}
    worker = {"name": "a", "service": "matcher", "beat_at": MOMENT}
    asked: list[str] = []
    with database.transaction() as session:
        insert_all(session, Worker, [worker])
        event.listen(database.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
        with together(session):
            insert_all(session, Listing, rows[:1])
            insert_all(session, ListingMark, [mark])
            put_all(session, Worker, [{**worker, "service": "importer"}], ["name"], ["service"])
            insert_all(session, Listing, rows[1:])
        assert len(asked) == (4 if database.is_sqlite else 1)

    with database.snapshot() as session:
        assert {*session.scalars(select(table_of(Listing).c.title))} == {row["title"] for row in ROWS}
        assert session.scalars(select(table_of(ListingMark).c.mark)).all() == [7]
        assert session.scalars(select(table_of(Worker).c.service)).all() == ["importer"]


def test_what_ends_with_an_error_inserts_nothing_together(database: Database) -> None:
    """Rows that wait for the end are forgotten when there is none, and the session inserts as ever."""
    one, other = _rows(Catalogue(database).city("Cork", "IE"))
    with database.transaction() as session:
        with suppress(ValueError), session.begin_nested(), together(session):
            insert_all(session, Listing, [one])
            raise ValueError
        insert_all(session, Listing, [other])

    with database.snapshot() as session:
        assert session.scalars(select(table_of(Listing).c.id)).all() == [other["id"]]


def test_no_rows_are_no_statement(database: Database) -> None:
    """Nothing to insert is no error."""
    asked: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    with database.writing() as session:
        session.connection()
        asked.clear()
        insert_all(session, Listing, [])

        assert asked == []


def test_bytes_are_stored_as_they_are(database: Database) -> None:
    """A body of any bytes comes back whole, and columns may have names that SQL has uses for."""
    given = {"caller": new_id(), "request_hash": "0" * 64, "status": 201, "headers": {"etag": '"1"'}}
    rows = [{**given, "key": f"k{number}", "body": bytes(range(256)) * number} for number in range(3)]
    with database.transaction() as session:
        insert_all(session, KeptAnswer, [{**row, "created_at": MOMENT} for row in rows])

    with database.snapshot() as session:
        kept = session.exec(sqlmodel.select(KeptAnswer).order_by(KeptAnswer.key)).all()
    assert [(row.key, row.body, row.headers, row.created_at) for row in kept] == [
        (row["key"], row["body"], row["headers"], MOMENT) for row in rows
    ]


@pytest.mark.parametrize(("change", "stands"), [((), 1.0), (("beat_at",), 2.0)])
def test_what_stands_is_changed_or_left(database: Database, change: tuple[str, ...], stands: float) -> None:
    """A row whose key stands takes over the columns that are named, where some are; others are new."""

    def rows(names: str, seconds: float) -> list[dict[str, object]]:
        moment = datetime.fromtimestamp(seconds, UTC)
        return [{"name": name, "service": "matcher", "beat_at": moment} for name in names]

    with database.transaction() as session:
        put_all(session, Worker, rows("ab", 1.0), ["name"], change)
        put_all(session, Worker, rows("bc", 2.0), ["name"], change)

    with database.snapshot() as session:
        found = {row.name: row.beat_at.timestamp() for row in session.exec(sqlmodel.select(Worker))}
    assert found == {"a": 1.0, "b": stands, "c": 2.0}
