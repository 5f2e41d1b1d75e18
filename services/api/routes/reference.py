# SPDX-License-Identifier: Apache-2.0
"""What never changes: ASEM's partner countries, the themes, and the types of event."""

from typing import Any

from fastapi import APIRouter

from services.api.dependencies import Listed
from services.api.transactions import KeyedRoute
from services.api.webhooks import EVENT_TYPES
from twinning.events import EventType
from twinning.fields import Shape
from twinning.reference import COUNTRIES, THEMES, Region, ThemeGroup

router = APIRouter(prefix="/reference", tags=["reference"], route_class=KeyedRoute)


class CountryPublic(Shape):
    """A country that takes part in ASEM, and its side of the meeting."""

    code: str
    name: str
    region: Region


class ThemePublic(Shape):
    """A tag of the taxonomy that a listing may carry."""

    id: str
    label: str
    group: ThemeGroup


class EventTypePublic(Shape):
    """A type of event with the JSON Schema of its body and an example."""

    type: EventType
    description: str
    json_schema: dict[str, Any]
    example: dict[str, Any]


@router.get("/countries")
def list_countries() -> Listed[CountryPublic]:
    """List ASEM's partner countries."""
    items = [CountryPublic.model_validate(country) for country in COUNTRIES.values()]
    return Listed(items=items, next_cursor=None)


@router.get("/themes")
def list_themes() -> Listed[ThemePublic]:
    """List the taxonomy's themes."""
    return Listed(items=[ThemePublic.model_validate(theme) for theme in THEMES.values()], next_cursor=None)


@router.get("/event-types")
def list_event_types() -> Listed[EventTypePublic]:
    """List the types of event, each with the JSON Schema of its body and an example."""
    return Listed(items=[EventTypePublic.model_validate(each) for each in EVENT_TYPES], next_cursor=None)
