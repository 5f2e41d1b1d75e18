# SPDX-License-Identifier: Apache-2.0
"""The change log of the catalogue: what has happened to cities and listings since version N.

A matching worker keeps the whole catalogue in memory and a watermark, the last change it has seen;
it reads on from there before any work, so that a score always belongs to one definite version.
"""

from collections.abc import Sequence
from enum import StrEnum

from sqlalchemy import BigInteger, func, select
from sqlmodel import Field, Session, SQLModel, col

from twinning.database import before_commit, draw
from twinning.dialects import Id, Json
from twinning.inserting import insert_all, put_all
from twinning.many_rows import in_batches


class Subject(StrEnum):
    """What a change is about."""

    CITY = "city"
    LISTING = "listing"


class Change(SQLModel, table=True):
    """One change, numbered in the order of commits; it names what changed and not how."""

    __tablename__ = "catalogue_change"

    version: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    subject: str = Field(max_length=10)
    subject_id: str = Field(sa_type=Id)


class TermCounts(SQLModel, table=True):
    """A listing's words counted, so that a worker which starts reads counts and not texts."""

    __tablename__ = "term_counts"

    listing_id: str = Field(primary_key=True, sa_type=Id)
    # The listing's version and the way its words were cut; counts of another are counted again.
    revision: int
    analysis: str = Field(max_length=40)
    counts: dict[str, int] = Field(sa_type=Json)


def note(session: Session, subject: Subject, subject_id: str) -> None:
    """Write a line of the log in this transaction; it gets its number at the commit."""
    session.info.setdefault("changes", {})[subject, subject_id] = None
    before_commit(session, "changes", _write_changes)


def _write_changes(session: Session) -> None:
    """Number the transaction's changes; a thing changed twice in it changed once."""
    changes = list(session.info.pop("changes", {}))
    first = draw(session, len(changes))
    rows = [
        {"version": first + place, "subject": subject, "subject_id": subject_id}
        for place, (subject, subject_id) in enumerate(changes)
    ]
    insert_all(session, Change, rows)


def changes_since(session: Session, version: int) -> Sequence[Change]:
    """Give every change after `version`, oldest first."""
    return session.scalars(
        select(Change).where(col(Change.version) > version).order_by(col(Change.version))
    ).all()


def latest_version(session: Session) -> int:
    """Give the version of the catalogue that this session sees; 0 when nothing was ever registered."""
    return session.scalar(select(func.max(Change.version))) or 0


def stored_counts(session: Session, listing_ids: Sequence[str], analysis: str) -> dict[str, TermCounts]:
    """Give what was counted before, by listing; only counts made by this way of cutting words."""
    found: dict[str, TermCounts] = {}
    for some in in_batches(listing_ids):
        query = select(TermCounts).where(
            col(TermCounts.listing_id).in_(some), col(TermCounts.analysis) == analysis
        )
        found.update((row.listing_id, row) for row in session.scalars(query))
    return found


def keep_counts(session: Session, rows: Sequence[TermCounts]) -> None:
    """Keep counts for the next worker that starts."""
    latest = {row.listing_id: row for row in rows}
    values = [latest[listing_id].model_dump() for listing_id in sorted(latest)]
    put_all(session, TermCounts, values, ["listing_id"], ["revision", "analysis", "counts"])
