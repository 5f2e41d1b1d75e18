# SPDX-License-Identifier: Apache-2.0
"""Announcing what was changed of a city or a listing, however: its event and its entry in the log."""

from collections.abc import Collection

from sqlmodel import Session

from twinning import audit, cities, idempotency, listings, outbox
from twinning.cities import City
from twinning.events import (
    CityRegistered,
    CityUpdated,
    ListingEvent,
    NeedExpired,
    NeedRegistered,
    NeedUpdated,
    NeedWithdrawn,
    PracticeRegistered,
    PracticeUpdated,
    PracticeWithdrawn,
)
from twinning.listing_shapes import ListingPublic
from twinning.listings import Listing
from twinning.terms import ListingKind, ListingState

# What an event never shows; a change of these alone is no news to anybody.
_UNTOLD = frozenset({"contact_name", "contact_email"})

_REGISTERED: dict[str, type[ListingEvent]] = {
    ListingKind.PRACTICE: PracticeRegistered,
    ListingKind.NEED: NeedRegistered,
}
_UPDATED: dict[str, type[ListingEvent]] = {
    ListingKind.PRACTICE: PracticeUpdated,
    ListingKind.NEED: NeedUpdated,
}
_WITHDRAWN: dict[str, type[ListingEvent]] = {
    ListingKind.PRACTICE: PracticeWithdrawn,
    ListingKind.NEED: NeedWithdrawn,
}


def city_registered(session: Session, city: City, fields: Collection[str]) -> None:
    """Tell that a city was registered with these fields."""
    outbox.record(session, CityRegistered(data=cities.public(city)))
    audit.note(session, "city.registered", city.id, city_id=city.id, fields=fields)


def city_changed(session: Session, city: City, changed: frozenset[str]) -> None:
    """Tell that these columns of a city are different now: as an event if that is news to others."""
    if changed - _UNTOLD:
        outbox.record(session, CityUpdated(data=cities.public(city)))
    if changed & _UNTOLD:
        idempotency.erase_contact(session, city.id)
    if changed:
        audit.note(session, "city.updated", city.id, city_id=city.id, fields=changed)


def listing_registered(session: Session, country: str, shown: ListingPublic, fields: Collection[str]) -> None:
    """Tell that a listing was registered with these fields."""
    _tell(session, _REGISTERED[shown.kind], country, shown)
    audit.note(session, f"{shown.kind}.registered", shown.id, city_id=shown.city_id, fields=fields)


def listing_changed(session: Session, country: str, listing: Listing, changed: Collection[str] = ()) -> None:
    """Tell that these columns of a listing are different now, or that it was withdrawn.

    What a review says is nobody's news but the city's: it is noted, and makes no event.
    """
    went = listing.state == ListingState.WITHDRAWN
    if went or not listings.UNTOLD.issuperset(changed):
        _tell(session, (_WITHDRAWN if went else _UPDATED)[listing.kind], country, listings.public(listing))
    action = f"{listing.kind}.{'withdrawn' if went else 'updated'}"
    audit.note(session, action, listing.id, city_id=listing.city_id, fields=changed)


def listing_confirmed(session: Session, country: str, listing: Listing, changed: Collection[str]) -> None:
    """Tell that a listing was confirmed: as an event if that changed these columns of it."""
    if changed:
        _tell(session, _UPDATED[listing.kind], country, listings.public(listing))
    audit.note(session, f"{listing.kind}.confirmed", listing.id, city_id=listing.city_id, fields=changed)


def need_expired(session: Session, country: str, need: Listing) -> None:
    """Tell that the term of a need is over."""
    _tell(session, NeedExpired, country, listings.public(need))


def practice_lapsed(session: Session, country: str, practice: Listing) -> None:
    """Tell that a practice, which nobody has confirmed, is stale now or paused."""
    _tell(session, PracticeUpdated, country, listings.public(practice))


def _tell(session: Session, event: type[ListingEvent], country: str, shown: ListingPublic) -> None:
    # Made of parts that have been checked, and so not checked again.
    outbox.record(session, event.model_construct(data=shown, country=country))
