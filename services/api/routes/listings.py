# SPDX-License-Identifier: Apache-2.0
"""Practices and needs over HTTP: the same routes for both, made twice."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Response

from services.api import access, commands
from services.api.dependencies import (
    Db,
    Filter,
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
from twinning import listings
from twinning.fields import CountryCode, Theme
from twinning.forms import NeedCreate, NeedUpdate, PracticeCreate, PracticeUpdate
from twinning.listings import Listing, ListingPublic, NeedPublic, PracticePublic
from twinning.terms import ListingKind, ListingState, Region

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class PracticeFilter(Page):
    """Which practices to list."""

    city_id: Filter | None = None
    country: CountryCode | None = None
    region: Region | None = None
    theme: Theme | None = None
    state: ListingState | None = None
    text: Filter | None = None
    external_ref: Filter | None = None


class NeedFilter(PracticeFilter):
    """Which needs to list; `unmet` asks for those that nothing answers."""

    unmet: bool | None = None


def _with_body(shape: Any) -> Callable[[Endpoint], Endpoint]:
    """Tell FastAPI the shape of a made endpoint's argument `wanted`, where types take no variable."""

    def typed(endpoint: Endpoint) -> Endpoint:
        endpoint.__annotations__["wanted"] = shape
        return endpoint

    return typed


def _shown(listing: Listing, answer: Response) -> ListingPublic:
    answer.headers["ETag"] = etag(listing.version)
    return listings.public(listing)


def _router(
    kind: ListingKind, create: type[Any], update: type[Any], shown: type[Any], wanted_of: type[PracticeFilter]
) -> APIRouter:
    """Make the routes of one kind of listing."""
    many = f"{kind}s"
    router = APIRouter(tags=[many], route_class=KeyedRoute)
    location = f"/v1/{many}/"

    @router.post(
        f"/cities/{{city_id}}/{many}", status_code=201, response_model=shown, name=f"register_{kind}"
    )
    @_with_body(create)
    def register(city_id: Identifier, wanted: Any, session: Db, caller: Who, answer: Response) -> Any:
        """Register a listing of a city, matched from then on while it is published."""
        listing = commands.register_listing(session, caller, city_id, wanted)
        answer.headers["Location"] = location + listing.id
        return _shown(listing, answer)

    @router.put(
        f"/cities/{{city_id}}/{many}/{{external_ref}}",
        response_model=shown,
        name=f"put_{kind}",
        responses={201: {"model": shown, "description": "Registered: there was none under this reference."}},
    )
    @_with_body(create)
    def replace(
        city_id: Identifier,
        external_ref: OwnReference,
        wanted: Any,
        session: Db,
        caller: Who,
        answer: Response,
        if_match: IfMatch = None,
    ) -> Any:
        """Create or replace a listing by the city's own reference; what did not change makes no event."""
        listing, new = commands.replace_listing(session, caller, city_id, external_ref, wanted, if_match)
        if new:
            answer.status_code = 201
            answer.headers["Location"] = location + listing.id
        return _shown(listing, answer)

    @router.get(f"/{many}", response_model=Listed[shown], name=f"list_{many}")  # type: ignore[valid-type]
    @_with_body(Annotated[wanted_of, Query()])
    def list_all(wanted: Any, session: Db, caller: Who) -> Any:
        """List what is published, and what else this key looks after; `text` is looked for in the texts."""
        after = wanted.after(str) or (None,)
        filters = wanted.model_dump(exclude={"limit", "cursor"})
        rows = listings.listed(session, kind, caller, wanted.limit + 1, after[0], **filters)
        return page(wanted, rows, listings.public, lambda listing: [listing.id])

    @router.get(f"/{many}/{{listing_id}}", response_model=shown, name=f"read_{kind}")
    def read(listing_id: Identifier, session: Db, caller: Who, answer: Response) -> Any:
        """Read a listing."""
        return _shown(access.readable_listing(session, caller, kind, listing_id), answer)

    @router.patch(f"/{many}/{{listing_id}}", response_model=shown, name=f"change_{kind}")
    @_with_body(update)
    def change(
        listing_id: Identifier,
        wanted: Any,
        session: Db,
        caller: Who,
        answer: Response,
        if_match: IfMatch = None,
    ) -> Any:
        """Change the fields that are sent."""
        return _shown(commands.change_listing(session, caller, kind, listing_id, wanted, if_match), answer)

    @router.delete(f"/{many}/{{listing_id}}", status_code=204, name=f"withdraw_{kind}")
    def withdraw(listing_id: Identifier, session: Db, caller: Who, if_match: IfMatch = None) -> None:
        """Withdraw a listing; the suggestions that rest on it fall."""
        commands.withdraw_listing(session, caller, kind, listing_id, if_match)

    return router


routers = (
    _router(ListingKind.PRACTICE, PracticeCreate, PracticeUpdate, PracticePublic, PracticeFilter),
    _router(ListingKind.NEED, NeedCreate, NeedUpdate, NeedPublic, NeedFilter),
)
