# SPDX-License-Identifier: Apache-2.0
"""Imports: files of cities, practices and needs, how far each has been read, and what came of its rows.

The file lies in the database, cut into parts, until the import has ended. It is read in batches, each one
transaction that lands rows, tells what was refused and moves the position on; so a killed import goes on
where it was. A listing whose city has not been seen yet waits until the file is at its end.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import IO, Any, Final

from sqlalchemy import BigInteger, LargeBinary, delete, func, insert
from sqlmodel import Field, Session, SQLModel, col, select

from twinning import audit, work
from twinning.database import HELD, new_id, now
from twinning.dialects import Id, Instant, Json
from twinning.errors import Conflict, NotFound
from twinning.fields import Shape
from twinning.pages import page
from twinning.rows import Row, Wrong, told
from twinning.table_files import TableFormat
from twinning.terms import ImportState, Work

LONGEST_FILE: Final = 256 * 1024 * 1024
PART: Final = 1024 * 1024
ENDED: Final = (ImportState.COMPLETED, ImportState.FAILED, ImportState.CANCELLED)
# So many refusals are shown with an import; the rest is read page by page.
SHOWN: Final = 1000


class Import(SQLModel, table=True):
    """An import: whose file it is, how far it is, what came of it."""

    id: str = Field(default_factory=new_id, primary_key=True, sa_type=Id)
    asked_by: str = Field(sa_type=Id, index=True)
    # From where it was sent, for the audit log of what it does.
    address: str | None = Field(default=None, max_length=45)
    filename: str = Field(max_length=300)
    format: str = Field(max_length=10)
    size: int = Field(sa_type=BigInteger)
    state: str = Field(default=ImportState.QUEUED, max_length=20)
    # The last row that was dealt with, as the file numbers it, and how many of its bytes were read by then.
    position: int = 0
    done: int = Field(default=0, sa_type=BigInteger)
    # Whether the file has been read to its end; then what waits is landed.
    read: bool = False
    counts: dict[str, int] = Field(default_factory=dict, sa_type=Json)
    error: str | None = None
    version: int = 1
    created_at: datetime = Field(default_factory=now, sa_type=Instant)
    updated_at: datetime = Field(default_factory=now, sa_type=Instant, index=True)


class ImportPart(SQLModel, table=True):
    """A part of an import's file."""

    __tablename__ = "import_part"

    import_id: str = Field(primary_key=True, foreign_key="import.id", sa_type=Id)
    number: int = Field(primary_key=True)
    content: bytes = Field(sa_type=LargeBinary)


class ImportWaiting(SQLModel, table=True):
    """A row whose city may stand later in the file."""

    __tablename__ = "import_waiting"

    import_id: str = Field(primary_key=True, foreign_key="import.id", sa_type=Id)
    row: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    line: int
    fields: dict[str, Any] = Field(sa_type=Json)


class ImportRefusal(SQLModel, table=True):
    """A flaw of a row that was refused; the value is cut, and never a contact."""

    __tablename__ = "import_refusal"

    import_id: str = Field(primary_key=True, foreign_key="import.id", sa_type=Id)
    row: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    place: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    column: str = Field(max_length=200)
    value: str | None = None
    reason: str = Field(max_length=500)


class ImportProgress(Shape):
    """How many bytes of the file have been read, of how many."""

    done: int
    total: int


class ImportCounts(Shape):
    """Rows: how many were read, and what came of them."""

    rows: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: int = 0


class RefusalPublic(Shape):
    """Why a row was refused: its number as spreadsheets count, the column, what stands there, the reason."""

    row: int
    column: str
    value: str | None
    reason: str


class ImportPublic(Shape):
    """An import as it is listed and as its event carries it."""

    id: str
    filename: str
    format: TableFormat
    size: int
    state: ImportState
    progress: ImportProgress
    counts: ImportCounts
    error: str | None
    created_at: datetime
    updated_at: datetime


class ImportReport(ImportPublic):
    """An import with what was refused, in the order of the file: the first thousand flaws."""

    refusals: list[RefusalPublic]
    refusals_url: str


def ask(
    session: Session, asked_by: str, filename: str, form: TableFormat, size: int, file: IO[bytes]
) -> Import:
    """Keep a file and ask for its import."""
    row = Import(
        asked_by=asked_by,
        address=audit.address_of(session),
        filename=told(filename)[:300],
        format=form,
        size=size,
    )
    session.add(row)
    session.flush()
    file.seek(0)
    number = 0
    while content := file.read(PART):
        part = {"import_id": row.id, "number": number, "content": content}
        session.connection().execute(insert(ImportPart).values(part))
        number += 1
    work.enqueue(session, Work.IMPORT, row.id)
    audit.note(session, "import.asked", row.id)
    return row


def get(session: Session, import_id: str, *, hold: bool = False) -> Import:
    """Find an import, held until the commit when it is to be changed; raises `NotFound`."""
    row = session.get(Import, import_id, with_for_update=hold and HELD)
    if row is None:
        raise NotFound("There is no such import.")
    return row


def listed(
    session: Session,
    asked_by: str | None,
    most: int,
    after: str | None = None,
    *,
    state: ImportState | None = None,
) -> Sequence[Import]:
    """Give the imports that a key asked for (None: all), in the order of their ids."""
    equal = {Import.asked_by: asked_by, Import.state: state}
    return page(session, select(Import), col(Import.id), most, after, equal)


def parts_of(session: Session, import_id: str) -> Iterator[bytes]:
    """Give an import's file, part by part."""
    query = select(func.count()).where(col(ImportPart.import_id) == import_id)
    for number in range(session.exec(query).one()):
        one = select(ImportPart.content).where(ImportPart.import_id == import_id, ImportPart.number == number)
        yield session.exec(one).one()


def cancel(session: Session, row: Import) -> None:
    """Stop an import; what has landed stays. Raises `Conflict` when it has ended already."""
    if row.state in ENDED:
        raise Conflict(f"This import is {row.state} and cannot be cancelled.", code="import-ended")
    end(session, row, ImportState.CANCELLED)
    work.strike(session, Work.IMPORT, [row.id])
    audit.note(session, "import.cancelled", row.id)


def end(session: Session, row: Import, state: ImportState, error: str | None = None) -> None:
    """End an import and let go of its file."""
    row.error = None if error is None else told(error)[:2000]
    if state is ImportState.COMPLETED:
        row.done = row.size
    touch(session, row, state)
    for table in (ImportPart, ImportWaiting):
        session.execute(delete(table).where(col(table.import_id) == row.id))


def touch(session: Session, row: Import, state: ImportState) -> None:
    """Note that an import has moved on."""
    row.state = state
    row.version += 1
    row.updated_at = now()
    session.add(row)


def count(row: Import, more: Mapping[str, int]) -> None:
    """Add to an import's counts."""
    row.counts = {name: row.counts.get(name, 0) + more.get(name, 0) for name in {**row.counts, **more}}


def refuse(session: Session, row: Import, refused: Mapping[int, Sequence[Wrong]]) -> None:
    """Tell what is wrong with rows, by their numbers."""
    rows = [
        {
            "import_id": row.id,
            "row": number,
            "place": place,
            "column": flaw.column,
            "value": flaw.value,
            "reason": flaw.reason,
        }
        for number, flaws in refused.items()
        for place, flaw in enumerate(flaws)
    ]
    if rows:
        session.connection().execute(insert(ImportRefusal), rows)
    count(row, {"refused": len(refused)})


def put_off(session: Session, row: Import, rows: Sequence[Row]) -> None:
    """Let rows wait for the end of the file."""
    if rows:
        waiting = [
            {"import_id": row.id, "row": its.number, "line": its.line, "fields": its.fields} for its in rows
        ]
        session.connection().execute(insert(ImportWaiting), waiting)


def next_waiting(session: Session, import_id: str, most: int) -> list[Row]:
    """Give the next rows that wait."""
    query = select(ImportWaiting).where(ImportWaiting.import_id == import_id)
    found = session.exec(query.order_by(col(ImportWaiting.row)).limit(most)).all()
    return [Row(its.row, its.line, its.fields) for its in found]


def strike_waiting(session: Session, import_id: str, last: int) -> None:
    """Take off the rows that have waited, up to this one."""
    done = (col(ImportWaiting.import_id) == import_id, col(ImportWaiting.row) <= last)
    session.execute(delete(ImportWaiting).where(*done))


def refusals(
    session: Session, import_id: str, most: int, after: tuple[int, int] | None = None
) -> Sequence[ImportRefusal]:
    """Give what was refused, in the order of the file, after a row and a place in it."""
    query = select(ImportRefusal).where(ImportRefusal.import_id == import_id)
    if after is not None:
        row, place = after
        beyond = (col(ImportRefusal.row) > row) | (
            (col(ImportRefusal.row) == row) & (col(ImportRefusal.place) > place)
        )
        query = query.where(beyond)
    order = (col(ImportRefusal.row), col(ImportRefusal.place))
    return session.exec(query.order_by(*order).limit(most)).all()


def public(row: Import) -> ImportPublic:
    """Show an import."""
    fields = row.model_dump(include=set(ImportPublic.model_fields) - {"progress", "counts"})
    return ImportPublic(
        **fields,
        progress=ImportProgress(done=row.done, total=row.size),
        counts=ImportCounts(**row.counts),
    )


def report(session: Session, row: Import) -> ImportReport:
    """Show an import with what was refused."""
    found = refusals(session, row.id, SHOWN)
    return ImportReport(
        **public(row).model_dump(),
        refusals=[refusal(its) for its in found],
        refusals_url=f"/v1/imports/{row.id}/refusals",
    )


def refusal(row: ImportRefusal) -> RefusalPublic:
    """Show a flaw of a refused row."""
    return RefusalPublic.model_validate(row)
