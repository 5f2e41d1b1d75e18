# SPDX-License-Identifier: Apache-2.0
"""Finding listings: those that a caller may see, those about a theme, and those that say nearly the same."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Select, or_, sql
from sqlmodel import Session, col, select

from twinning import repeats
from twinning.cities import City
from twinning.dialects import holds
from twinning.keys import Caller
from twinning.listing_shapes import Like
from twinning.listings import WRITTEN, Listing, written, written_by
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
    query = select(Listing).join(City, col(City.id) == Listing.city_id).where(Listing.kind == kind)
    query = query.where(Listing.state != ListingState.WITHDRAWN)
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


def repeated(session: Session, listing: Listing) -> list[Like]:
    """Give other listings of its city that say nearly the same as one whose words were just taken in."""
    marked = repeats.asked_for(session, listing.id)
    if marked is None:
        return []
    text = written_by(listing)
    before = session.connection().execute(_alike(), marked).mappings()
    others = {other["id"]: (other["kind"], other["title"], written(dict(other))) for other in before}
    # Those of the writes that share this transaction are not all in the database yet.
    unwritten = {row.id: row for row in session.new if isinstance(row, Listing)}
    for other_id in repeats.sharing_now(session, listing.id):
        if row := unwritten.get(other_id) or session.get(Listing, other_id):
            others[other_id] = row.kind, row.title, written_by(row)
    return [
        Like(other_id, kind, title)
        for other_id, (kind, title, words) in sorted(others.items())[: repeats.MOST]
        if repeats.is_repeat(text, words)
    ]


@cache
def _alike() -> Select[Any]:
    """Build the statement once that reads what others with a mark of one's say: each registration asks it."""
    columns = (table_of(Listing).c[name] for name in ("id", "kind", *WRITTEN))
    return sql.select(*columns).where(col(Listing.id).in_(repeats.sharing())).order_by(col(Listing.id))
