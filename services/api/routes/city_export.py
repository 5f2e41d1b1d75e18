# SPDX-License-Identifier: Apache-2.0
"""Everything that is stored about a city, for the city, its coordinators and staff (data protection)."""

from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from services.api import access
from services.api.dependencies import Db, Identifier, Who
from services.api.transactions import KeyedRoute, caller_of, house_of
from twinning import dossier
from twinning.dossier import CityExport, Section, Subject

router = APIRouter(prefix="/cities", tags=["cities"], route_class=KeyedRoute)

Page = tuple[list[str], tuple[Any, ...] | None]


@router.get("/{city_id}/export", response_model=CityExport)
def export_city(city_id: Identifier, session: Db, caller: Who, request: Request) -> Response:
    """Give all that is stored about a city, withdrawn or not, with its contact and without any secret.

    It is streamed; an answer that does not end in `}` was cut off. Others than the city, its coordinators
    and staff are answered as if there were no such city.
    """
    city = access.whole_city(session, caller, city_id)
    about = dossier.subject(session, city)
    name = f'attachment; filename="city-{city.id}.json"'
    return StreamingResponse(
        _written(request, dossier.opening(city), about),
        media_type="application/json",
        headers={"Content-Disposition": name},
    )


async def _written(request: Request, opening: str, about: Subject) -> AsyncIterator[str]:
    """Write section after section; between two pages nothing is held."""
    yield opening
    for section in dossier.SECTIONS:
        yield f',"{section.name}":['
        joint, after, ended = "", None, False
        while not ended:
            items, after = await _read(request, section, about, after)
            ended = after is None
            if items:
                yield joint + ",".join(items)
                joint = ","
        yield "]"
    yield "}"


async def _read(request: Request, section: Section, about: Subject, after: tuple[Any, ...] | None) -> Page:
    house = house_of(request)

    def look() -> Page:
        with house.database.snapshot() as session:
            # The key may have been revoked in the meantime, and a revoked key sees nothing.
            caller_of(request, session)
            return dossier.read(session, section, about, after)

    async with house.readers:
        return await run_in_threadpool(look)
