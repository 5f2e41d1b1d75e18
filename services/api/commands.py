# SPDX-License-Identifier: Apache-2.0
"""What a request does, in the words of the field: each change of a city or a listing, with its event.

A command works in the caller's transaction and never commits. What did not change makes no event.
"""

from sqlmodel import Session

from services.api import access
from services.api.dependencies import must_be_absent, must_match
from twinning import (
    announcements,
    audit,
    cities,
    handover,
    idempotency,
    keys,
    listing_search,
    listings,
    outbox,
)
from twinning.cities import City, Held
from twinning.city_shapes import CityCreate, CityUpdate
from twinning.database import now
from twinning.errors import Forbidden, Invalid, NotFound
from twinning.events import CityWithdrawn
from twinning.forms import NeedUpdate, PracticeUpdate
from twinning.keys import ApiKey, ApiKeyCreate, Caller
from twinning.lifecycle import LIFE_OF_A_NEED, Hand
from twinning.listing_shapes import Like
from twinning.listings import Listing, ListingCreate, ListingUpdate
from twinning.terms import ListingKind, ListingState, Role

_UPDATES: dict[str, type[PracticeUpdate | NeedUpdate]] = {
    ListingKind.PRACTICE: PracticeUpdate,
    ListingKind.NEED: NeedUpdate,
}


def register_city(session: Session, caller: Caller, wanted: CityCreate, *, force: bool = False) -> City:
    """Register a city; staff may, and the coordinators of its country. `force` lets like names be."""
    access.must_place(caller, wanted.country)
    city = cities.register(session, wanted, force=force)
    announcements.city_registered(session, city, wanted.model_fields_set)
    return city


def change_city(
    session: Session,
    caller: Caller,
    city_id: str,
    wanted: CityUpdate,
    if_match: str | None,
    *,
    force: bool = False,
) -> City:
    """Change a city; nobody may move one to a country that is not theirs to care for."""
    city = access.changeable_city(session, caller, city_id)
    must_match(if_match, city.version)
    if "country" in wanted.model_fields_set:
        caller.must_own(city.id, wanted.country)
    announcements.city_changed(session, city, cities.change(session, city, wanted, force=force))
    return city


def withdraw_city(session: Session, caller: Caller, city_id: str, if_match: str | None) -> None:
    """Take a city out with its listings, its contact and its keys; its suggestions fall in the matching."""
    city = access.changeable_city(session, caller, city_id)
    must_match(if_match, city.version)
    for listing in listings.of_city(session, city.id):
        _withdraw(session, city.country, listing)
    for key in keys.of_city(session, city.id):
        handover.end(session, key)
        audit.note(session, "api_key.revoked", key.id, city_id=city.id)
    cities.withdraw(session, city)
    idempotency.erase_contact(session, city.id)
    outbox.record(session, CityWithdrawn(data=cities.public(city)))
    audit.note(session, "city.withdrawn", city.id, city_id=city.id)


def register_listing(
    session: Session, caller: Caller, city_id: str, wanted: ListingCreate, *, moderation: bool
) -> tuple[Listing, list[Like]]:
    """Register a practice or a need of a city; gives it, and those of the city that say nearly the same."""
    city = access.held_city(session, caller, city_id)
    listing = _register(session, city, wanted, caller.hand(moderation=moderation))
    return listing, listing_search.repeated(session, listing)


def change_listing(
    session: Session,
    caller: Caller,
    kind: ListingKind,
    listing_id: str,
    wanted: ListingUpdate,
    if_match: str | None,
    *,
    moderation: bool,
) -> Listing:
    """Change a listing; the state `withdrawn` takes it out."""
    city, listing = access.changeable_listing(session, caller, kind, listing_id)
    must_match(if_match, listing.version)
    if "review_comment" in wanted.model_fields_set and caller.role is Role.CITY:
        raise Forbidden("A review is commented on by the coordinators of the city, and by staff.")
    _change(session, city.country, listing, wanted, caller.hand(moderation=moderation))
    return listing


def confirm_listing(session: Session, caller: Caller, kind: ListingKind, listing_id: str) -> Listing:
    """Say that a listing still holds."""
    city, listing = access.changeable_listing(session, caller, kind, listing_id)
    announcements.listing_confirmed(session, city.country, listing, listings.confirm(session, listing))
    return listing


def replace_listing(
    session: Session,
    caller: Caller,
    city_id: str,
    reference: str,
    wanted: ListingCreate,
    if_match: str | None,
    *,
    moderation: bool,
) -> tuple[Listing, bool, list[Like]]:
    """Create or replace a listing by its city's own reference.

    Gives it, whether it is new, and where its words are new those of the city that say nearly the same.
    """
    if wanted.external_ref not in {None, reference}:
        raise Invalid.field("/external_ref", "The external_ref differs from the one in the address.")
    city = access.held_city(session, caller, city_id)
    kind = listings.kind_of(wanted)
    wanted = wanted.model_copy(update={"external_ref": reference})
    hand = caller.hand(moderation=moderation)
    listing = listings.by_reference(session, city.id, kind, reference, hold=True)
    if listing is None:
        must_be_absent(if_match)
        listing = _register(session, city, wanted, hand)
        return listing, True, listing_search.repeated(session, listing)
    must_match(if_match, listing.version)
    changed = _change(session, city.country, listing, _whole(wanted, listing, hand), hand)
    like = listing_search.repeated(session, listing) if changed & listings.TEXTS else []
    return listing, False, like


def withdraw_listing(
    session: Session, caller: Caller, kind: ListingKind, listing_id: str, if_match: str | None
) -> None:
    """Take a listing out."""
    city, listing = access.changeable_listing(session, caller, kind, listing_id)
    must_match(if_match, listing.version)
    _withdraw(session, city.country, listing)


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
    handover.end(session, row)
    audit.note(session, "api_key.revoked", row.id, city_id=row.city_id)


def _register(session: Session, city: Held, wanted: ListingCreate, hand: Hand) -> Listing:
    if wanted.state is ListingState.WITHDRAWN:
        raise Invalid.field("/state", "What is registered cannot be withdrawn already.")
    listing = listings.register(session, city.id, wanted, hand)
    shown = listings.public(listing)
    announcements.listing_registered(session, city.country, shown, wanted.model_fields_set)
    return listing


def _change(
    session: Session, country: str, listing: Listing, wanted: ListingUpdate, hand: Hand
) -> frozenset[str]:
    if changed := listings.change(session, listing, wanted, hand):
        announcements.listing_changed(session, country, listing, changed)
    return changed


def _withdraw(session: Session, country: str, listing: Listing) -> None:
    listings.withdraw(session, listing)
    announcements.listing_changed(session, country, listing)


def _whole(wanted: ListingCreate, listing: Listing, hand: Hand) -> ListingUpdate:
    """Read a replacement as a change of every field, with the term of a need that names none kept going."""
    fields = wanted.model_dump(mode="json")
    if listings.stays(listing, wanted, hand):
        del fields["state"]
    if "expires_on" in fields and fields["expires_on"] is None and listing.expires_on is not None:
        over = listing.expires_on < now().date()
        fields["expires_on"] = now().date() + LIFE_OF_A_NEED if over else listing.expires_on
    return _UPDATES[listing.kind].model_validate(fields)
