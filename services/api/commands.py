# SPDX-License-Identifier: Apache-2.0
"""What a request does, in the words of the field: each change of a city or a listing, with its event.

A command works in the caller's transaction and never commits. What did not change makes no event.
"""

from sqlmodel import Session

from services.api import access
from services.api.dependencies import must_match
from twinning import cities, keys, listings, outbox
from twinning.cities import City, CityCreate, CityUpdate
from twinning.database import now
from twinning.errors import Forbidden, Invalid, NotFound
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
from twinning.lifecycle import LIFE_OF_A_NEED, Hand
from twinning.listings import Listing, ListingCreate, ListingUpdate
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


def register_city(session: Session, caller: Caller, wanted: CityCreate, *, force: bool = False) -> City:
    """Register a city; staff may, and the coordinators of its country. `force` lets like names be."""
    access.must_place(caller, wanted.country)
    city = cities.register(session, wanted, force=force)
    outbox.record(session, CityRegistered(data=cities.public(city)))
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
    if cities.change(session, city, wanted, force=force) - _UNTOLD:
        outbox.record(session, CityUpdated(data=cities.public(city)))
    return city


def withdraw_city(session: Session, caller: Caller, city_id: str, if_match: str | None) -> None:
    """Take a city out with its listings, its contact and its keys; its suggestions fall in the matching."""
    city = access.changeable_city(session, caller, city_id)
    must_match(if_match, city.version)
    for listing in listings.of_city(session, city.id):
        _withdraw(session, city, listing)
    for key in keys.of_city(session, city.id):
        keys.revoke(session, key)
    cities.withdraw(session, city)
    outbox.record(session, CityWithdrawn(data=cities.public(city)))


def hand_of(caller: Caller, *, moderation: bool) -> Hand:
    """Say whether what a caller writes waits for a review: a city's own does, where the house moderates."""
    return Hand(moderated=moderation, reviews=caller.role is not Role.CITY)


def register_listing(
    session: Session, caller: Caller, city_id: str, wanted: ListingCreate, *, moderation: bool
) -> tuple[Listing, list[Listing]]:
    """Register a practice or a need of a city; gives it, and those of the city that say nearly the same."""
    city = access.changeable_city(session, caller, city_id)
    listing = _register(session, city, wanted, hand_of(caller, moderation=moderation))
    return listing, listings.repeated(session, listing)


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
    _change(session, city, listing, wanted, hand_of(caller, moderation=moderation))
    return listing


def confirm_listing(session: Session, caller: Caller, kind: ListingKind, listing_id: str) -> Listing:
    """Say that a listing still holds."""
    city, listing = access.changeable_listing(session, caller, kind, listing_id)
    _tell_of_change(session, city, listing, listings.confirm(session, listing))
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
) -> tuple[Listing, bool, list[Listing]]:
    """Create or replace a listing by its city's own reference.

    Gives it, whether it is new, and where its words are new those of the city that say nearly the same.
    """
    if wanted.external_ref not in {None, reference}:
        raise Invalid.field("/external_ref", "The external_ref differs from the one in the address.")
    city = access.changeable_city(session, caller, city_id)
    kind = listings.kind_of(wanted)
    wanted = wanted.model_copy(update={"external_ref": reference})
    hand = hand_of(caller, moderation=moderation)
    listing = listings.by_reference(session, city.id, kind, reference, hold=True)
    if listing is None:
        must_match(if_match, 0)
        listing = _register(session, city, wanted, hand)
        return listing, True, listings.repeated(session, listing)
    must_match(if_match, listing.version)
    changed = _change(session, city, listing, _whole(wanted, listing, hand), hand)
    like = listings.repeated(session, listing) if changed & listings.TEXTS else []
    return listing, False, like


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
    return keys.create(session, wanted)


def revoke_key(session: Session, caller: Caller, key_id: str) -> None:
    """End a key at once; staff only."""
    caller.must_be(Role.STAFF)
    keys.revoke(session, keys.get(session, key_id))


def _register(session: Session, city: City, wanted: ListingCreate, hand: Hand) -> Listing:
    if wanted.state is ListingState.WITHDRAWN:
        raise Invalid.field("/state", "What is registered cannot be withdrawn already.")
    listing = listings.register(session, city, wanted, hand)
    _tell(session, _REGISTERED[listing.kind], city, listing)
    return listing


def _change(
    session: Session, city: City, listing: Listing, wanted: ListingUpdate, hand: Hand
) -> frozenset[str]:
    changed = listings.change(session, listing, wanted, hand)
    _tell_of_change(session, city, listing, changed)
    return changed


def _tell_of_change(session: Session, city: City, listing: Listing, changed: frozenset[str]) -> None:
    if changed - listings.UNTOLD:
        went = listing.state == ListingState.WITHDRAWN
        _tell(session, (_WITHDRAWN if went else _UPDATED)[listing.kind], city, listing)


def _withdraw(session: Session, city: City, listing: Listing) -> None:
    listings.withdraw(session, listing)
    _tell(session, _WITHDRAWN[listing.kind], city, listing)


def _tell(session: Session, event: type[Event], city: City, listing: Listing) -> None:
    outbox.record(session, event.model_validate({"data": listings.public(listing), "country": city.country}))


def _whole(wanted: ListingCreate, listing: Listing, hand: Hand) -> ListingUpdate:
    """Read a replacement as a change of every field, with the term of a need that names none kept going."""
    fields = wanted.model_dump(mode="json")
    if listings.stays(listing, wanted, hand):
        del fields["state"]
    if "expires_on" in fields and fields["expires_on"] is None and listing.expires_on is not None:
        over = listing.expires_on < now().date()
        fields["expires_on"] = now().date() + LIFE_OF_A_NEED if over else listing.expires_on
    return _UPDATES[listing.kind].model_validate(fields)
