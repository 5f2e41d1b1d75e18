# SPDX-License-Identifier: Apache-2.0
"""Who may see and change what: what a key may not see is not there, what it may only see is forbidden.

Published cities, practices and needs are read by every key; a listing in another state by those who look
after its city. A suggestion is for the cities it names and their coordinators, and so is their part of a
round; the whole of it and a webhook endpoint are for the key that asked for it. Staff may do everything.
"""

from sqlmodel import Session

from twinning import cities, endpoints, imports, listings, previews, replays, rounds, suggestions
from twinning.cities import City, Held
from twinning.endpoints import Delivery, WebhookEndpoint
from twinning.errors import Forbidden, NotFound
from twinning.imports import Import
from twinning.keys import Caller
from twinning.listings import Listing
from twinning.previews import Preview
from twinning.replays import Replay
from twinning.rounds import MatchingRound
from twinning.suggestions import Suggestion
from twinning.terms import ListingKind, ListingState, Role


def must_place(caller: Caller, country: str) -> None:
    """Refuse the registration of a city to all but staff and the coordinators of its country."""
    caller.must_be(Role.STAFF, Role.COORDINATOR)
    caller.must_care_for(country)


def changeable_city(session: Session, caller: Caller, city_id: str) -> City:
    """Find a city to be changed and hold it."""
    city = cities.get(session, city_id, hold=True)
    caller.must_own(city.id, city.country)
    return city


def held_city(session: Session, caller: Caller, city_id: str) -> Held:
    """Find a city whose listings are to be changed and hold it."""
    city = cities.hold(session, city_id)
    caller.must_own(city.id, city.country)
    return city


def whole_city(session: Session, caller: Caller, city_id: str) -> City:
    """Find a city of which everything may be read, a withdrawn one as well."""
    city = session.get(City, city_id)
    if city is None or not caller.owns(city.id, city.country):
        raise NotFound("There is no such city in this key's care.")
    return city


def readable_listing(session: Session, caller: Caller, kind: ListingKind, listing_id: str) -> Listing:
    """Find a listing to be read."""
    listing = listings.get(session, kind, listing_id)
    if listing.state != ListingState.PUBLISHED and not _owns(session, caller, listing):
        raise NotFound(f"There is no such {kind}.")
    return listing


def changeable_listing(
    session: Session, caller: Caller, kind: ListingKind, listing_id: str
) -> tuple[Held, Listing]:
    """Find a listing to be changed, with its city, and hold both; the city first, as those who add do."""
    seen = readable_listing(session, caller, kind, listing_id)
    if not _owns(session, caller, seen):
        raise Forbidden(f"This key may read this {kind} and not change it.")
    city = cities.hold(session, seen.city_id)
    return city, listings.get(session, kind, listing_id, hold=True)


def readable_suggestion(session: Session, caller: Caller, suggestion_id: str) -> Suggestion:
    """Find a suggestion to be read."""
    row = suggestions.get(session, suggestion_id)
    if not caller.sees(suggestions.cities_of(row)):
        raise NotFound("There is no such suggestion.")
    return row


def readable_round(session: Session, caller: Caller, round_id: str) -> tuple[MatchingRound, Caller | None]:
    """Find a round to be read, and the reader to whom only a part of it is shown, if so.

    Staff and who asked read all of it; a city that it names and that city's coordinators read their part.
    """
    row = rounds.get(session, round_id)
    if caller.acts_for(row.asked_by):
        return row, None
    if not rounds.proposed(session, round_id, 1, reader=caller):
        raise NotFound("There is no such matching round.")
    return row, caller


def own_round(session: Session, caller: Caller, round_id: str, *, hold: bool = False) -> MatchingRound:
    """Find a round of the caller's."""
    row = rounds.get(session, round_id, hold=hold)
    if not caller.acts_for(row.asked_by):
        raise NotFound("There is no such matching round.")
    return row


def own_import(session: Session, caller: Caller, import_id: str, *, hold: bool = False) -> Import:
    """Find an import of the caller's."""
    row = imports.get(session, import_id, hold=hold)
    if not caller.acts_for(row.asked_by):
        raise NotFound("There is no such import.")
    return row


def own_preview(session: Session, caller: Caller, preview_id: str) -> Preview:
    """Find a preview of the caller's."""
    row = previews.get(session, preview_id)
    if not caller.acts_for(row.asked_by):
        raise NotFound("There is no such preview.")
    return row


def own_endpoint(
    session: Session, caller: Caller, endpoint_id: str, *, hold: bool = False
) -> WebhookEndpoint:
    """Find an endpoint of the caller's."""
    row = endpoints.get(session, endpoint_id, hold=hold)
    if not caller.acts_for(row.owner_id):
        raise NotFound("There is no such webhook endpoint.")
    return row


def own_replay(session: Session, caller: Caller, replay_id: str, *, hold: bool = False) -> Replay:
    """Find a replay to an endpoint of the caller's."""
    row = replays.get(session, replay_id, hold=hold)
    if not caller.acts_for(endpoints.get(session, row.endpoint_id).owner_id):
        raise NotFound("There is no such replay.")
    return row


def own_delivery(session: Session, caller: Caller, delivery_id: str) -> Delivery:
    """Find a delivery to an endpoint of the caller's."""
    row = endpoints.delivery(session, delivery_id)
    if not caller.acts_for(endpoints.get(session, row.endpoint_id).owner_id):
        raise NotFound("There is no such delivery.")
    return row


def _owns(session: Session, caller: Caller, listing: Listing) -> bool:
    city = session.get(City, listing.city_id)
    return city is not None and caller.owns(city.id, city.country)
