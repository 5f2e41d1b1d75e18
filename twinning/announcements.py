# SPDX-License-Identifier: Apache-2.0
"""Announcing what was changed of a city or a listing: which event tells of it, however it was changed."""

from collections.abc import Collection

from sqlmodel import Session

from twinning import cities, listings, outbox
from twinning.cities import City
from twinning.events import (
    CityRegistered,
    CityUpdated,
    ListingEvent,
    NeedRegistered,
    NeedUpdated,
    NeedWithdrawn,
    PracticeRegistered,
    PracticeUpdated,
    PracticeWithdrawn,
)
from twinning.listings import Listing, ListingPublic
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


def city_registered(session: Session, city: City) -> None:
    """Tell that a city was registered."""
    outbox.record(session, CityRegistered(data=cities.public(city)))


def city_changed(session: Session, city: City, changed: Collection[str]) -> None:
    """Tell that these columns of a city are different now, if that is news."""
    if frozenset(changed) - _UNTOLD:
        outbox.record(session, CityUpdated(data=cities.public(city)))


def listing_registered(session: Session, country: str, shown: ListingPublic) -> None:
    """Tell that a listing was registered."""
    _tell(session, _REGISTERED[shown.kind], country, shown)


def listing_changed(session: Session, country: str, listing: Listing) -> None:
    """Tell that a listing was changed, or withdrawn."""
    went = listing.state == ListingState.WITHDRAWN
    _tell(session, (_WITHDRAWN if went else _UPDATED)[listing.kind], country, listings.public(listing))


def _tell(session: Session, event: type[ListingEvent], country: str, shown: ListingPublic) -> None:
    # Made of parts that have been checked, and so not checked again.
    outbox.record(session, event.model_construct(data=shown, country=country))
