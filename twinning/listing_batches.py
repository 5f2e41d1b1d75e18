# SPDX-License-Identifier: Apache-2.0
"""Many listings at once, as imports bring them: found and registered in few statements."""

from collections.abc import Iterable, Sequence
from typing import Final

from sqlmodel import Session, col, select

from twinning import catalogue, listings, repeats, work
from twinning.catalogue import Subject
from twinning.database import is_id, new_id, now
from twinning.dialects import given
from twinning.inserting import insert_all
from twinning.lifecycle import Hand
from twinning.listing_shapes import ListingPublic
from twinning.listings import Listing, ListingCreate
from twinning.many_rows import in_batches
from twinning.repeats import SumsOf
from twinning.terms import ListingKind, ListingState, Work

# More would be cheaper, and hold the one writer of SQLite for longer.
MATCHED_TOGETHER: Final = 100


def register_all(
    session: Session,
    rows: Sequence[tuple[str, ListingCreate]],
    hand: Hand,
    sums_of: SumsOf = repeats.smallest_sums,
) -> list[ListingPublic]:
    """Register listings of cities, given by id, whose references are known to be free."""
    stamps = dict.fromkeys(("created_at", "updated_at"), now())
    made = [
        {"id": new_id(), **listings.new_columns(city_id, wanted, hand), **stamps} for city_id, wanted in rows
    ]
    for kind in ListingKind:
        some = [columns for columns in made if columns["kind"] is kind]
        if some:
            insert_all(session, Listing, some)
    for columns in made:
        catalogue.note(session, Subject.LISTING, columns["id"])
        text = listings.written(columns)
        marks = repeats.marks_of(columns["city_id"], columns["kind"], text, sums_of)
        repeats.mark(session, columns["id"], marks)
    _ask_for_matching(session, [columns["id"] for columns in made])
    if any(map(listings.is_over, made)):
        work.enqueue(session, Work.DEADLINES, listings.ALL)
    return [listings.public_of(columns) for columns in made]


def _ask_for_matching(session: Session, ids: Sequence[str]) -> None:
    """Ask for the matching of new listings, some in a unit; each unit bears the name of its first."""
    for start in range(0, len(ids), MATCHED_TOGETHER):
        some = ids[start : start + MATCHED_TOGETHER]
        work.enqueue(session, Work.MATCH_BATCH, some[0], {"listings": some})


def references_of(
    session: Session, wanted: Iterable[tuple[str, str, str]]
) -> dict[tuple[str, str, str], Listing]:
    """Find listings by city, kind and the city's own reference, or their id in its place."""
    found: dict[tuple[str, str, str], Listing] = {}
    asked = sorted(set(wanted))
    there = select(Listing).where(Listing.state != ListingState.WITHDRAWN)
    for ids in in_batches([reference for _, _, reference in asked if is_id(reference)]):
        for row in session.exec(there.where(col(Listing.id).in_(ids))):
            found[row.city_id, row.kind, row.id] = row
    city_id, kind, reference = given(session, "asked", 3)
    named = there.where(
        col(Listing.city_id) == city_id, col(Listing.kind) == kind, col(Listing.external_ref) == reference
    )
    for row in session.exec(named, params={"asked": asked}):
        found[row.city_id, row.kind, row.external_ref or ""] = row
    return found
