# SPDX-License-Identifier: Apache-2.0
"""Practices and needs over HTTP: the same routes for both, made twice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Response
from sqlmodel import Session

from services.api import access, commands
from services.api.dependencies import (
    Db,
    Filter,
    House,
    Identifier,
    IfMatch,
    Listed,
    OwnReference,
    Page,
    Who,
    etag,
    page,
)
from services.api.transactions import KeyedRoute
from twinning import cities, listing_search, listing_shapes, listings
from twinning.fields import CountryCode, Theme
from twinning.forms import NeedCreate, NeedUpdate, PracticeCreate, PracticeUpdate
from twinning.keys import Caller
from twinning.listing_shapes import (
    Like,
    ListingMade,
    ListingOwned,
    ListingPublic,
    NeedMade,
    NeedOwned,
    NeedPublic,
    PracticeMade,
    PracticeOwned,
    PracticePublic,
)
from twinning.listings import Listing
from twinning.terms import ListingKind, ListingState, Region

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class ListingFilter(Page):
    """Which listings to list."""

    city_id: Filter | None = None
    country: CountryCode | None = None
    region: Region | None = None
    theme: Theme | None = None
    state: ListingState | None = None
    text: Filter | None = None
    external_ref: Filter | None = None


class PracticeFilter(ListingFilter):
    """Which practices to list; `stale` asks for those that nobody has confirmed in time."""

    stale: bool | None = None


class NeedFilter(ListingFilter):
    """Which needs to list; `unmet` asks for those that nothing answers."""

    unmet: bool | None = None


def _with_body(shape: Any) -> Callable[[Endpoint], Endpoint]:
    """Tell FastAPI the shape of a made endpoint's argument `wanted`, where types take no variable."""

    def typed(endpoint: Endpoint) -> Endpoint:
        endpoint.__annotations__["wanted"] = shape
        return endpoint

    return typed


def _owned(listing: Listing, answer: Response) -> ListingOwned:
    answer.headers["ETag"] = etag(listing.version)
    return listing_shapes.owned(listing)


def _made(listing: Listing, like: Sequence[Like], answer: Response) -> ListingMade:
    answer.headers["ETag"] = etag(listing.version)
    return listing_shapes.made(listing, like)


def _each_shown(session: Session, caller: Caller, rows: Sequence[Listing]) -> Callable[[Listing], Any]:
    """Make what shows each row of a page: with the review to those who look after the city."""
    places = {} if caller.is_staff else cities.places_of(session, sorted({row.city_id for row in rows}))

    def show(row: Listing) -> ListingOwned | ListingPublic:
        mine = caller.owns(row.city_id, places.get(row.city_id, ""))
        return listing_shapes.owned(row) if mine else listings.public(row)

    return show


@dataclass(frozen=True)
class _Shapes:
    """The shapes of one kind of listing."""

    create: type[Any]
    update: type[Any]
    filter: type[ListingFilter]
    shown: type[Any]
    owned: type[Any]
    made: type[Any]


def _router(kind: ListingKind, shapes: _Shapes) -> APIRouter:
    """Make the routes of one kind of listing."""
    read_as: Any = shapes.owned | shapes.shown
    many = f"{kind}s"
    router = APIRouter(tags=[many], route_class=KeyedRoute)
    location = f"/v1/{many}/"

    @router.post(
        f"/cities/{{city_id}}/{many}", status_code=201, response_model=shapes.made, name=f"register_{kind}"
    )
    @_with_body(shapes.create)
    def register(
        city_id: Identifier, wanted: Any, session: Db, caller: Who, house: House, answer: Response
    ) -> Any:
        """Register a listing of a city, matched from then on while it is published.

        `warnings` names others of the city that say nearly the same. Where the house moderates, a city's own
        is `submitted` until a coordinator publishes it.
        """
        listing, like = commands.register_listing(
            session, caller, city_id, wanted, moderation=house.moderation
        )
        answer.headers["Location"] = location + listing.id
        return _made(listing, like, answer)

    @router.put(
        f"/cities/{{city_id}}/{many}/{{external_ref}}",
        response_model=shapes.made,
        name=f"put_{kind}",
        responses={
            201: {"model": shapes.made, "description": "Registered: there was none under this reference."}
        },
    )
    @_with_body(shapes.create)
    def replace(
        city_id: Identifier,
        external_ref: OwnReference,
        wanted: Any,
        session: Db,
        caller: Who,
        house: House,
        answer: Response,
        if_match: IfMatch = None,
    ) -> Any:
        """Create or replace a listing by the city's own reference; what did not change makes no event."""
        listing, new, like = commands.replace_listing(
            session, caller, city_id, external_ref, wanted, if_match, moderation=house.moderation
        )
        if new:
            answer.status_code = 201
            answer.headers["Location"] = location + listing.id
        return _made(listing, like, answer)

    @router.get(f"/{many}", response_model=Listed[read_as], name=f"list_{many}")
    @_with_body(Annotated[shapes.filter, Query()])
    def list_all(wanted: Any, session: Db, caller: Who) -> Any:
        """List what is published, and what else this key looks after; `text` is looked for in the texts."""
        after = wanted.after(many, str) or (None,)
        filters = wanted.model_dump(exclude={"limit", "cursor"})
        rows = listing_search.listed(session, kind, caller, wanted.limit + 1, after[0], **filters)
        return page(wanted, rows, _each_shown(session, caller, rows), lambda listing: [listing.id])

    @router.get(f"/{many}/{{listing_id}}", response_model=read_as, name=f"read_{kind}")
    def read(listing_id: Identifier, session: Db, caller: Who, answer: Response) -> Any:
        """Read a listing; what its last review said is shown to those who look after its city."""
        listing = access.readable_listing(session, caller, kind, listing_id)
        answer.headers["ETag"] = etag(listing.version)
        return _each_shown(session, caller, [listing])(listing)

    @router.patch(f"/{many}/{{listing_id}}", response_model=shapes.owned, name=f"change_{kind}")
    @_with_body(shapes.update)
    def change(
        listing_id: Identifier,
        wanted: Any,
        session: Db,
        caller: Who,
        house: House,
        answer: Response,
        if_match: IfMatch = None,
    ) -> Any:
        """Change the fields that are sent; `review_comment` is for coordinators and staff."""
        listing = commands.change_listing(
            session, caller, kind, listing_id, wanted, if_match, moderation=house.moderation
        )
        return _owned(listing, answer)

    @router.post(f"/{many}/{{listing_id}}/confirm", response_model=shapes.owned, name=f"confirm_{kind}")
    def confirm(listing_id: Identifier, session: Db, caller: Who, answer: Response) -> Any:
        """Say that a listing still holds, for another year; what was paused or had expired comes back."""
        return _owned(commands.confirm_listing(session, caller, kind, listing_id), answer)

    @router.delete(f"/{many}/{{listing_id}}", status_code=204, name=f"withdraw_{kind}")
    def withdraw(listing_id: Identifier, session: Db, caller: Who, if_match: IfMatch = None) -> None:
        """Withdraw a listing; the suggestions that rest on it fall."""
        commands.withdraw_listing(session, caller, kind, listing_id, if_match)

    return router


routers = (
    _router(
        ListingKind.PRACTICE,
        _Shapes(PracticeCreate, PracticeUpdate, PracticeFilter, PracticePublic, PracticeOwned, PracticeMade),
    ),
    _router(
        ListingKind.NEED,
        _Shapes(NeedCreate, NeedUpdate, NeedFilter, NeedPublic, NeedOwned, NeedMade),
    ),
)
