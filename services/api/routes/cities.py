# SPDX-License-Identifier: Apache-2.0
"""Cities over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from services.api import commands
from services.api.dependencies import Db, Filter, Identifier, IfMatch, Listed, Page, Who, etag, page
from services.api.transactions import KeyedRoute
from twinning import cities
from twinning.cities import City
from twinning.city_shapes import CityCreate, CityOwned, CityPublic, CityUpdate
from twinning.fields import CountryCode, Shape
from twinning.keys import Caller
from twinning.terms import Region

router = APIRouter(prefix="/cities", tags=["cities"], route_class=KeyedRoute)


class Forced(Shape):
    """Whether to go on where a city of a like name is registered already."""

    force: Annotated[
        bool, Field(description="Let this be another city than one of a like name that is registered.")
    ] = False


class CityFilter(Page):
    """Which cities to list."""

    country: CountryCode | None = None
    region: Region | None = None
    text: Filter | None = None
    external_ref: Filter | None = None


def _shown(city: City, caller: Caller) -> CityOwned | CityPublic:
    """Show a city, with its contact to those who look after it."""
    return cities.owned(city) if caller.owns(city.id, city.country) else cities.public(city)


@router.post("", status_code=201)
def register_city(
    wanted: CityCreate, how: Annotated[Forced, Query()], session: Db, caller: Who, answer: Response
) -> CityOwned:
    """Register a city; staff may, and the coordinators of its country.

    A city of the same country that is registered under a like name is a conflict, and the answer names it.
    Where it lies is filled in from a gazetteer when you do not say it.
    """
    city = commands.register_city(session, caller, wanted, force=how.force)
    answer.headers["Location"] = f"/v1/cities/{city.id}"
    answer.headers["ETag"] = etag(city.version)
    return cities.owned(city)


@router.get("")
def list_cities(
    wanted: Annotated[CityFilter, Query()], session: Db, caller: Who
) -> Listed[CityOwned | CityPublic]:
    """List the registered cities; `text` is looked for in name and summary."""
    after = wanted.after("cities", str) or (None,)
    filters = wanted.model_dump(exclude={"limit", "cursor"})
    rows = cities.listed(session, wanted.limit + 1, after[0], **filters)
    return page(wanted, rows, lambda city: _shown(city, caller), lambda city: [city.id])


@router.get("/{city_id}")
def read_city(city_id: Identifier, session: Db, caller: Who, answer: Response) -> CityOwned | CityPublic:
    """Read a city; its contact is shown to those who look after it."""
    city = cities.get(session, city_id)
    answer.headers["ETag"] = etag(city.version)
    return _shown(city, caller)


@router.patch("/{city_id}")
def change_city(
    city_id: Identifier,
    wanted: CityUpdate,
    how: Annotated[Forced, Query()],
    session: Db,
    caller: Who,
    answer: Response,
    if_match: IfMatch = None,
) -> CityOwned:
    """Change the fields that are sent."""
    city = commands.change_city(session, caller, city_id, wanted, if_match, force=how.force)
    answer.headers["ETag"] = etag(city.version)
    return cities.owned(city)


@router.delete("/{city_id}", status_code=204)
def withdraw_city(city_id: Identifier, session: Db, caller: Who, if_match: IfMatch = None) -> None:
    """Withdraw a city with its listings and suggestions; its contact is erased and its keys end."""
    commands.withdraw_city(session, caller, city_id, if_match)
