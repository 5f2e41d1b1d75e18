# SPDX-License-Identifier: Apache-2.0
"""What a request does, in the words of the field: each change of a city or a listing, with its event.

A command works in the caller's transaction and never commits. What did not change makes no event.
"""

from collections.abc import Iterable

from sqlmodel import Session

from services.api import access
from services.api.dependencies import must_match
from twinning import audit, cities, handover, idempotency, keys, listings, outbox
from twinning.cities import City, CityCreate, CityUpdate
from twinning.database import now
from twinning.errors import Invalid, NotFound
from twinning.events import (
    CityRegistered,
    CityUpdated,
    CityWithdrawn,
    Event,
    NeedRegistered,
    NeedUpdated,
    NeedWithdrawn,
    PracticeRegistered,
    PracticeUpdated,
    PracticeWithdrawn,
)
from twinning.forms import NeedUpdate, PracticeUpdate
from twinning.keys import ApiKey, ApiKeyCreate, Caller
from twinning.listings import LIFE_OF_A_NEED, Listing, ListingCreate, ListingUpdate
from twinning.terms import ListingKind, ListingState, Role

# What an event never shows; a change of these alone is no news to anybody.
_UNTOLD = frozenset({"contact_name", "contact_email"})

_REGISTERED: dict[str, type[Event]] = {
    ListingKind.PRACTICE: PracticeRegistered,
    ListingKind.NEED: NeedRegistered,
}
_UPDATED: dict[str, type[Event]] = {ListingKind.PRACTICE: PracticeUpdated, ListingKind.NEED: NeedUpdated}
_WITHDRAWN: dict[str, type[Event]] = {
    ListingKind.PRACTICE: PracticeWithdrawn,
    ListingKind.NEED: NeedWithdrawn,
}
_UPDATES: dict[str, type[PracticeUpdate | NeedUpdate]] = {
    ListingKind.PRACTICE: PracticeUpdate,
    ListingKind.NEED: NeedUpdate,
}


def register_city(session: Session, caller: Caller, wanted: CityCreate) -> City:
    """Register a city; staff may, and the coordinators of its country."""
    access.must_place(caller, wanted.country)
    city = cities.register(session, wanted)
    outbox.record(session, CityRegistered(data=cities.public(city)))
    audit.note(session, "city.registered", city.id, city_id=city.id, fields=wanted.model_fields_set)
    return city


def change_city(
    session: Session, caller: Caller, city_id: str, wanted: CityUpdate, if_match: str | None
) -> City:
    """Change a city; nobody may move one to a country that is not theirs to care for."""
    city = access.changeable_city(session, caller, city_id)
    must_match(if_match, city.version)
    if "country" in wanted.model_fields_set:
        caller.must_own(city.id, wanted.country)
    changed = cities.change(session, city, wanted)
    if changed - _UNTOLD:
        outbox.record(session, CityUpdated(data=cities.public(city)))
    if changed & _UNTOLD:
        idempotency.erase_contact(session, city.id)
    if changed:
        audit.note(session, "city.updated", city.id, city_id=city.id, fields=changed)
    return city


def withdraw_city(session: Session, caller: Caller, city_id: str, if_match: str | None) -> None:
    """Take a city out with its listings, its contact and its keys; its suggestions fall in the matching."""
    city = access.changeable_city(session, caller, city_id)
    must_match(if_match, city.version)
    for listing in listings.of_city(session, city.id):
        _withdraw(session, city, listing)
    for key in keys.of_city(session, city.id):
        keys.revoke(session, key)
        audit.note(session, "api_key.revoked", key.id, city_id=city.id)
    cities.withdraw(session, city)
    idempotency.erase_contact(session, city.id)
    outbox.record(session, CityWithdrawn(data=cities.public(city)))
    audit.note(session, "city.withdrawn", city.id, city_id=city.id)


def register_listing(session: Session, caller: Caller, city_id: str, wanted: ListingCreate) -> Listing:
    """Register a practice or a need of a city."""
    city = access.changeable_city(session, caller, city_id)
    return _register(session, city, wanted)


def change_listing(
    session: Session,
    caller: Caller,
    kind: ListingKind,
    listing_id: str,
    wanted: ListingUpdate,
    if_match: str | None,
) -> Listing:
    """Change a listing; the state `withdrawn` takes it out."""
    city, listing = access.changeable_listing(session, caller, kind, listing_id)
    must_match(if_match, listing.version)
    _change(session, city, listing, wanted)
    return listing


def replace_listing(
    session: Session,
    caller: Caller,
    city_id: str,
    reference: str,
    wanted: ListingCreate,
    if_match: str | None,
) -> tuple[Listing, bool]:
    """Create or replace a listing by its city's own reference; gives it, and whether it is new."""
    if wanted.external_ref not in {None, reference}:
        raise Invalid.field("/external_ref", "The external_ref differs from the one in the address.")
    city = access.changeable_city(session, caller, city_id)
    kind = listings.kind_of(wanted)
    wanted = wanted.model_copy(update={"external_ref": reference})
    listing = listings.by_reference(session, city.id, kind, reference)
    if listing is None:
        must_match(if_match, 0)
        return _register(session, city, wanted), True
    must_match(if_match, listing.version)
    _change(session, city, listing, _whole(wanted, listing))
    return listing, False


def withdraw_listing(
    session: Session, caller: Caller, kind: ListingKind, listing_id: str, if_match: str | None
) -> None:
    """Take a listing out."""
    city, listing = access.changeable_listing(session, caller, kind, listing_id)
    must_match(if_match, listing.version)
    _withdraw(session, city, listing)


def make_key(session: Session, caller: Caller, wanted: ApiKeyCreate) -> tuple[ApiKey, str]:
    """Make a key; staff only. Gives its row and, this once, the key."""
    caller.must_be(Role.STAFF)
    if wanted.city_id is not None:
        try:
            cities.get(session, wanted.city_id)
        except NotFound:
            raise Invalid.field("/city_id", "There is no such city.") from None
    row, key = keys.create(session, wanted)
    if wanted.replaces is not None:
        handover.hand_over(session, wanted.replaces, row)
    audit.note(session, "api_key.made", row.id, city_id=row.city_id, fields=wanted.model_fields_set)
    return row, key


def revoke_key(session: Session, caller: Caller, key_id: str, if_match: str | None) -> None:
    """End a key at once; staff only."""
    caller.must_be(Role.STAFF)
    row = keys.get(session, key_id)
    must_match(if_match, keys.VERSION)
    keys.revoke(session, row)
    audit.note(session, "api_key.revoked", row.id, city_id=row.city_id)


def _register(session: Session, city: City, wanted: ListingCreate) -> Listing:
    if wanted.state is ListingState.WITHDRAWN:
        raise Invalid.field("/state", "What is registered cannot be withdrawn already.")
    listing = listings.register(session, city, wanted)
    _tell(session, _REGISTERED[listing.kind], city, listing)
    _note(session, "registered", listing, wanted.model_fields_set)
    return listing


def _change(session: Session, city: City, listing: Listing, wanted: ListingUpdate) -> None:
    changed = listings.change(session, listing, wanted)
    if not changed:
        return
    went = listing.state == ListingState.WITHDRAWN
    _tell(session, (_WITHDRAWN if went else _UPDATED)[listing.kind], city, listing)
    _note(session, "withdrawn" if went else "updated", listing, changed)


def _withdraw(session: Session, city: City, listing: Listing) -> None:
    listings.withdraw(session, listing)
    _tell(session, _WITHDRAWN[listing.kind], city, listing)
    _note(session, "withdrawn", listing)


def _note(session: Session, what: str, listing: Listing, fields: Iterable[str] = ()) -> None:
    audit.note(session, f"{listing.kind}.{what}", listing.id, city_id=listing.city_id, fields=fields)


def _tell(session: Session, event: type[Event], city: City, listing: Listing) -> None:
    outbox.record(session, event.model_validate({"data": listings.public(listing), "country": city.country}))


def _whole(wanted: ListingCreate, listing: Listing) -> ListingUpdate:
    """Read a replacement as a change of every field, with the term of a need that names none kept going."""
    fields = wanted.model_dump(mode="json")
    if "expires_on" in fields and fields["expires_on"] is None and listing.expires_on is not None:
        over = listing.expires_on < now().date()
        fields["expires_on"] = now().date() + LIFE_OF_A_NEED if over else listing.expires_on
    return _UPDATES[listing.kind].model_validate(fields)
