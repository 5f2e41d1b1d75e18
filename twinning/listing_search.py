# SPDX-License-Identifier: Apache-2.0
"""Finding listings: those that a caller may see, those about a theme, and those that say nearly the same."""

from collections.abc import Sequence
from functools import cache
from itertools import starmap
from typing import Any, NamedTuple

from sqlalchemy import Select, or_, sql
from sqlmodel import Session, col, select

from twinning import repeats
from twinning.cities import City
from twinning.dialects import holds, is_sqlite, one_of
from twinning.keys import Caller
from twinning.listing_shapes import Like
from twinning.listings import WRITTEN, Listing, ListingCreate, kind_of, written, written_by
from twinning.many_rows import table_of
from twinning.pages import page
from twinning.terms import ListingKind, ListingState, Region


def listed(
    session: Session,
    kind: ListingKind,
    caller: Caller,
    most: int,
    after: str | None = None,
    *,
    city_id: str | None = None,
    country: str | None = None,
    region: Region | None = None,
    theme: str | None = None,
    state: ListingState | None = None,
    text: str | None = None,
    external_ref: str | None = None,
    unmet: bool | None = None,
    stale: bool | None = None,
) -> Sequence[Listing]:
    """Give the listings that a caller may see, by id; `text` is looked for in title and texts."""
    query = select(Listing).where(Listing.kind == kind, Listing.state != ListingState.WITHDRAWN)
    if country is not None or region is not None or not caller.is_staff:
        query = query.join(City, col(City.id) == Listing.city_id)
    if not caller.is_staff:
        mine = or_(col(City.id) == caller.city_id, col(City.country).in_(caller.countries))
        query = query.where(or_(col(Listing.state) == ListingState.PUBLISHED, mine))
    if unmet is not None:
        # What has ended is neither answered nor in want of an answer.
        query = query.where(Listing.state == ListingState.PUBLISHED)
    if theme is not None:
        query = query.where(holds(session, Listing.themes, theme))
    if text is not None:
        found = (col(getattr(Listing, name)).icontains(text, autoescape=True) for name in WRITTEN)
        query = query.where(or_(*found))
    equal: dict[Any, Any] = {
        Listing.city_id: city_id,
        City.country: country,
        City.region: region,
        Listing.state: state,
        Listing.external_ref: external_ref,
        Listing.unmet: unmet,
        Listing.stale: stale,
    }
    return page(session, query, col(Listing.id), most, after, equal)


def needs_about(session: Session, themes: Sequence[str]) -> frozenset[str]:
    """Give the ids of the published needs that bear any of these themes."""
    about = or_(*(holds(session, Listing.themes, theme) for theme in themes))
    query = select(Listing.id).where(
        Listing.kind == ListingKind.NEED, Listing.state == ListingState.PUBLISHED, about
    )
    return frozenset(session.exec(query))


def foresee(session: Session, said: Sequence[tuple[str, ListingCreate]]) -> None:
    """Read for `repeated`, at once, what is said by others that are like listings about to be registered.

    SQLite is asked for each when its turn comes, which costs it no more.
    """
    if not said or is_sqlite(session):
        return
    marked = {_marks_to_be(city_id, wanted) for city_id, wanted in said}
    bearing = repeats.bearing(session, {each for marks in marked for each in marks})
    few = {
        marks: sorted({id_ for each in marks for id_ in bearing[each]})[: repeats.MOST] for marks in marked
    }
    named = list({id_ for ids in few.values() for id_ in ids})
    rows = session.connection().execute(_named(), {"ids": named}) if named else ()
    others = {other.id: other for other in starmap(_other, rows)}
    session.info["alike"] = {
        marks: [others[id_] for id_ in ids if id_ in others] for marks, ids in few.items()
    }


def repeated(session: Session, listing: Listing) -> list[Like]:
    """Give other listings of its city that say nearly the same as one whose words were just taken in."""
    marks = repeats.marked(session, listing.id)
    if not marks:
        return []
    text = written_by(listing)
    others = {other.id: other for other in _alike_to(session, listing.id, marks)}
    # Those of the writes that share this transaction are not all in the database yet.
    company = repeats.sharing_now(session, listing.id)
    unwritten = {row.id: row for row in session.new if isinstance(row, Listing)} if company else {}
    for other_id in company:
        if row := unwritten.get(other_id) or session.get(Listing, other_id):
            others[other_id] = _Other(other_id, row.kind, row.title, written_by(row))
    return [
        Like(other.id, other.kind, other.title)
        for _, other in sorted(others.items())[: repeats.MOST]
        if repeats.is_repeat(text, other.words)
    ]


def _marks_to_be(city_id: str, wanted: ListingCreate) -> tuple[int, ...]:
    """Mark the words of a listing that is about to be registered, as `marks_of` will."""
    return repeats.remembered_marks_of(city_id, kind_of(wanted), written(wanted.__dict__))


class _Other(NamedTuple):
    """Another listing, and all that it says."""

    id: str
    kind: str
    title: str
    words: str


def _other(id_: str, kind: str, *texts: str | None) -> _Other:
    return _Other(id_, kind, texts[0] or "", "\n".join(filter(None, texts)))


def _alike_to(session: Session, listing_id: str, marks: Sequence[int]) -> Sequence[_Other]:
    """Read what others with a mark of one's say, unless it was foreseen."""
    foreseen: dict[tuple[int, ...], list[_Other]] = session.info.get("alike", {})
    found = foreseen.get(tuple(marks))
    if found is None:
        rows = session.connection().execute(_alike(), repeats.asked(marks, listing_id))
        found = list(starmap(_other, rows))
    # What this transaction has written since then is told by its new words.
    return [other for other in found if not repeats.is_marked(session, other.id)]


@cache
def _alike() -> Select[Any]:
    """Build the statement once that reads what others with a mark of one's say."""
    return _saying().where(col(Listing.id).in_(repeats.sharing()))


@cache
def _named() -> Select[Any]:
    """Build the statement once that reads what these listings say; for PostgreSQL alone."""
    return _saying().where(one_of(col(Listing.id), "ids"))


def _saying() -> Select[Any]:
    return sql.select(*(table_of(Listing).c[name] for name in ("id", "kind", *WRITTEN)))
