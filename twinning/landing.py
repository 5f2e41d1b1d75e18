# SPDX-License-Identifier: Apache-2.0
"""Landing rows of a file: each is registered, changes what stands under its reference, or is told why not.

A row says what its columns say and no more: a field without a column, or with an empty cell, stays as it
is. What does not change anything makes no event and no matching work. The rows of a batch share their
questions to the database, and all is in the caller's transaction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlmodel import Session

from twinning import announcements, cities, listing_batches, listings
from twinning.cities import City
from twinning.city_shapes import CityCreate
from twinning.columns import CITY_REF, REF
from twinning.database import HELD
from twinning.errors import Conflict, Forbidden, Invalid
from twinning.keys import Caller
from twinning.lifecycle import Hand, state_after
from twinning.listings import Listing, ListingCreate
from twinning.records import CITY, Record
from twinning.repeats import SumsOf
from twinning.rows import Row, Wrong, wrong
from twinning.terms import ListingState, Role


@dataclass
class Landed:
    """What came of some rows: how many of each, what was refused by row, what waits for its city."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: dict[int, tuple[Wrong, ...]] = field(default_factory=dict)
    waiting: list[Row] = field(default_factory=list)

    def refuse(self, record: Record, column: str, value: object, reason: str) -> None:
        """Refuse a row for one reason."""
        self.refused[record.row.number] = (wrong(column, value, reason),)

    def count(self, *, changed: bool) -> None:
        """Count a row whose object was there."""
        if changed:
            self.updated += 1
        else:
            self.unchanged += 1


class Seen:
    """Which references a file has named so far, and in which rows: the first of two alike counts.

    It holds a number of eight bytes for each, and no text.
    """

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}

    def first(self, record: Record, city: City | None) -> int:
        """Give the number of the first row that names what a record names."""
        # Named by its id or by its reference, it is the same city.
        own = None if city is None else city.external_ref
        if record.kind == CITY:
            key = (CITY, "", own or record.ref)
        else:
            key = (record.kind, own or record.city_ref, record.ref)
        return self._rows.setdefault(hash(key), record.row.number)


def note(session: Session, records: Sequence[Record], seen: Seen) -> None:
    """Note what rows name that have been dealt with before, by whoever read the file up to here."""
    known = _cities_of(session, records, hold=False)
    for record in records:
        seen.first(record, known.get(record.ref if record.kind == CITY else record.city_ref))


def land(
    session: Session,
    caller: Caller,
    records: Sequence[Record],
    seen: Seen,
    *,
    moderation: bool,
    at_the_end: bool = False,
    sums_of: SumsOf,
) -> Landed:
    """Land some rows as a caller may; at the end of the file nothing waits for a city any more.

    `sums_of` is how the marks of new listings are reckoned, see `repeats.marks_of`.
    """
    landed = Landed()
    known = _cities_of(session, records, hold=True)
    for record in records:
        if record.kind == CITY:
            _try_city(session, caller, record, known, seen, landed)
    session.flush()
    placed = _mine(caller, _placed(records, known, seen, landed, at_the_end=at_the_end), landed)
    _land_listings(session, caller.hand(moderation=moderation), placed, landed, sums_of)
    return landed


def _cities_of(session: Session, records: Sequence[Record], *, hold: bool) -> dict[str, City]:
    """Find the cities that rows name, by what they name them by."""
    names = {record.ref if record.kind == CITY else record.city_ref for record in records}
    return cities.named(session, names, hold=hold) if names else {}


def _try_city(
    session: Session, caller: Caller, record: Record, known: dict[str, City], seen: Seen, landed: Landed
) -> None:
    city = known.get(record.ref)
    if (first := seen.first(record, city)) != record.row.number:
        landed.refuse(record, REF, record.ref, f"is already that of row {first}")
        return
    assert isinstance(record.wanted, CityCreate)
    try:
        if city is None:
            known[record.ref] = _register_city(session, caller, record.wanted)
            landed.created += 1
        else:
            landed.count(changed=_change_city(session, caller, city, record))
    except (Forbidden, Conflict) as error:
        landed.refuse(record, REF, record.ref, error.detail)
    except Invalid as error:
        landed.refused[record.row.number] = _wrongs(error)


def _wrongs(error: Invalid) -> tuple[Wrong, ...]:
    found = [(flaw.pointer.strip("/").replace("/", ".") or "row", flaw.detail) for flaw in error.flaws]
    return tuple(wrong(column, None, detail) for column, detail in found or [("row", error.detail)])


def _register_city(session: Session, caller: Caller, wanted: CityCreate) -> City:
    caller.must_be(Role.STAFF, Role.COORDINATOR)
    caller.must_care_for(wanted.country)
    city = cities.register(session, wanted)
    announcements.city_registered(session, city, wanted.model_fields_set)
    return city


def _change_city(session: Session, caller: Caller, city: City, record: Record) -> bool:
    """Change a city where it is different; says whether it was."""
    caller.must_own(city.id, city.country)
    wanted = _said(record, city.external_ref)
    assert isinstance(wanted, CityCreate)
    caller.must_own(city.id, wanted.country)
    changed = cities.change(session, city, wanted)
    announcements.city_changed(session, city, changed)
    return bool(changed)


def _said(record: Record, reference: str | None) -> CityCreate | ListingCreate:
    """Give what a row says of an object that is there.

    One that is named by its id keeps its own reference, and a need without a term the term it has.
    """
    wanted = record.wanted.model_copy()
    if reference != record.ref:
        wanted.model_fields_set.discard("external_ref")
    if getattr(wanted, "expires_on", True) is None:
        wanted.model_fields_set.discard("expires_on")
    return wanted


def _placed(
    records: Iterable[Record], known: dict[str, City], seen: Seen, landed: Landed, *, at_the_end: bool
) -> list[tuple[Record, City]]:
    """Give the listings whose city is there; the others wait, or are refused when no more rows come."""
    placed = []
    for record in records:
        if record.kind == CITY:
            continue
        city = known.get(record.city_ref)
        first = seen.first(record, city)
        if first != record.row.number:
            landed.refuse(record, REF, record.ref, f"is already that of row {first}")
        elif city is not None:
            placed.append((record, city))
        elif at_the_end:
            landed.refuse(record, CITY_REF, record.city_ref, "no city has this ref or id")
        else:
            landed.waiting.append(record.row)
    return placed


def _mine(caller: Caller, placed: Sequence[tuple[Record, City]], landed: Landed) -> list[tuple[Record, City]]:
    """Give the listings of cities that the caller looks after; the others are refused."""
    mine = []
    for record, city in placed:
        if caller.owns(city.id, city.country):
            mine.append((record, city))
        else:
            landed.refuse(record, CITY_REF, record.city_ref, "this key may read this city and not change it")
    return mine


def _land_listings(
    session: Session, hand: Hand, mine: Sequence[tuple[Record, City]], landed: Landed, sums_of: SumsOf
) -> None:
    there = listing_batches.references_of(
        session, ((city.id, record.kind, record.ref) for record, city in mine)
    )
    new: list[tuple[City, ListingCreate]] = []
    taken: dict[str, int] = {}
    for record, city in mine:
        wanted = record.wanted
        assert not isinstance(wanted, CityCreate)
        listing = there.get((city.id, record.kind, record.ref))
        if listing is not None and taken.setdefault(listing.id, record.row.number) != record.row.number:
            landed.refuse(record, REF, record.ref, f"is already that of row {taken[listing.id]}")
            continue
        try:
            if listing is not None:
                landed.count(changed=_change_listing(session, city, listing, record, hand))
            elif wanted.state is ListingState.WITHDRAWN:
                landed.unchanged += 1
            else:
                state_after(None, wanted.state, approved=not hand.waits, hand=hand)
                new.append((city, wanted))
        except (Conflict, Forbidden, Invalid) as error:
            landed.refuse(record, "state", wanted.state, error.detail)
    rows = [(city.id, wanted) for city, wanted in new]
    shown = listing_batches.register_all(session, rows, hand, sums_of)
    for (city, wanted), listing_shown in zip(new, shown, strict=True):
        announcements.listing_registered(session, city.country, listing_shown, wanted.model_fields_set)
    landed.created += len(new)


def _change_listing(session: Session, city: City, listing: Listing, record: Record, hand: Hand) -> bool:
    """Change a listing where it is different; says whether it was."""
    wanted = _said(record, listing.external_ref)
    assert not isinstance(wanted, CityCreate)
    if not listings.difference(listing, wanted):
        return False
    session.refresh(listing, with_for_update=HELD)
    kept = {name: getattr(listing, name) for name in listings.TEXTS - wanted.model_fields_set}
    if "state" in wanted.model_fields_set and listings.stays(listing, wanted.model_copy(update=kept), hand):
        wanted.model_fields_set.discard("state")
    changed = listings.change(session, listing, wanted, hand)
    if changed:
        announcements.listing_changed(session, city.country, listing, changed)
    return bool(changed)
