# SPDX-License-Identifier: Apache-2.0
"""Many listings at once, as imports bring them: found and registered in few statements."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import insert, tuple_
from sqlmodel import Session, col, select

from twinning import catalogue, listings, repeats, work
from twinning.catalogue import Subject
from twinning.database import is_id, new_id, now
from twinning.lifecycle import Hand
from twinning.listing_shapes import ListingPublic, NeedPublic, PracticePublic
from twinning.listings import Listing, ListingCreate
from twinning.many_rows import in_batches, table_of
from twinning.terms import ListingKind, ListingState, Work


def register_all(
    session: Session, rows: Sequence[tuple[str, ListingCreate]], hand: Hand
) -> list[ListingPublic]:
    """Register listings of cities, given by id, whose references are known to be free."""
    moment = now()
    made = [
        {
            "id": new_id(),
            **listings.new_columns(city_id, wanted, hand),
            "created_at": moment,
            "updated_at": moment,
        }
        for city_id, wanted in rows
    ]
    for kind in ListingKind:
        some = [columns for columns in made if columns["kind"] is kind]
        if some:
            session.connection().execute(insert(table_of(Listing)), some)
    for columns in made:
        catalogue.note(session, Subject.LISTING, columns["id"])
        text = listings.written(columns)
        marks = repeats.marks_of(columns["city_id"], columns["kind"], text)
        repeats.mark(session, columns["id"], marks, new=True)
    work.enqueue_all(session, Work.MATCH_LISTING, [columns["id"] for columns in made])
    if any(map(listings.is_over, made)):
        work.enqueue(session, Work.DEADLINES, listings.ALL)
    return [_shown_new(columns) for columns in made]


def _shown_new(columns: dict[str, Any]) -> ListingPublic:
    """Show a new listing without reading it back."""
    left_out = {"kind", "approved"}
    fields = {name: value for name, value in columns.items() if name not in left_out}
    fields["suggested_themes"] = None
    if columns["kind"] is ListingKind.NEED:
        return NeedPublic.model_validate({**fields, "unmet": None})
    return PracticePublic.model_validate(fields)


def references_of(
    session: Session, wanted: Iterable[tuple[str, ListingKind, str]]
) -> dict[tuple[str, str, str], Listing]:
    """Find listings by city, kind and the city's own reference, or their id in its place."""
    found: dict[tuple[str, str, str], Listing] = {}
    for some in in_batches(set(wanted)):
        there = select(Listing).where(Listing.state != ListingState.WITHDRAWN)
        key = tuple_(col(Listing.city_id), col(Listing.kind), col(Listing.external_ref))
        ids = [reference for _, _, reference in some if is_id(reference)]
        for row in session.exec(there.where(col(Listing.id).in_(ids))) if ids else ():
            found[row.city_id, row.kind, row.id] = row
        for row in session.exec(there.where(key.in_(some))):
            found[row.city_id, row.kind, row.external_ref or ""] = row
    return found
