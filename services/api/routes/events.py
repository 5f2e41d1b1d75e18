# SPDX-License-Identifier: Apache-2.0
"""The feed of events over HTTP, for those who poll: the same events under the same ids as by webhook."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, field_validator, model_validator
from sqlmodel import Session

from services.api.dependencies import Db, Filter, Identifier, Who
from services.api.transactions import Afterwards, KeyedRoute
from twinning import endpoints, outbox
from twinning.events import EventType
from twinning.fields import Shape, unfit
from twinning.keys import Caller
from twinning.outbox import StoredEvent
from twinning.subscriptions import known_type

router = APIRouter(tags=["events"], route_class=KeyedRoute)

LONGEST_WAIT_S = 25.0
LOOK_EVERY_S = 0.2
LATEST = "latest"


class EventsWanted(Shape):
    """Which events, and after which one."""

    after: Annotated[
        Filter | None,
        Field(
            description="The id of the last event that was read; `latest` for what comes from now on. "
            "Absent, the feed begins with its oldest event, of 30 days ago at most."
        ),
    ] = None
    types: Annotated[
        list[Filter], Field(max_length=50, description="Event types, `city.*` or `*`; commas are taken.")
    ] = []

    @field_validator("types")
    @classmethod
    def _known(cls, types: list[str]) -> list[str]:
        """Read names separated by commas, too."""
        return [known_type(name) for text in types for name in text.split(",")]

    def named(self) -> list[EventType]:
        """Give the types by name; none means all."""
        return [kind for kind in EventType if endpoints.matches_type(self.types, kind)]


class FeedQuery(EventsWanted):
    """Which events, how many, and how long to wait for the first."""

    wait: Annotated[float, Field(ge=0, le=LONGEST_WAIT_S, description="Seconds to wait for an event.")] = 0
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Annotated[Filter | None, Field(description="`next_cursor` of the page before, as `after`.")] = (
        None
    )

    @model_validator(mode="after")
    def _of_one_place(self) -> Self:
        """Take the cursor for the id that it is."""
        if self.cursor is not None and self.after is not None:
            raise unfit("after says it already", "cursor")
        self.after = self.after or self.cursor
        return self


class FeedItem(Shape):
    """An event as the feed shows it."""

    id: str
    type: EventType
    timestamp: datetime
    data: dict[str, Any]


class Feed(Shape):
    """The next events, oldest first; read on with `?after=` and the last one's id."""

    items: list[FeedItem]
    next_cursor: str | None


@router.get("/events", response_model=Feed)
def read_events(
    wanted: Annotated[FeedQuery, Query()], session: Db, caller: Who, request: Request
) -> Response:
    """Give the events that this key may see, in the order in which they happened."""
    after, types = place(session, caller, wanted.after), wanted.named()

    def look(session: Session) -> Response | None:
        rows = outbox.feed(session, caller, after, types, wanted.limit + 1)
        return _written(rows, wanted.limit) if rows else None

    found = look(session)
    if found is None and wanted.wait:
        request.state.afterwards = Afterwards(look, LOOK_EVERY_S, wanted.wait)
    return found or _written([], wanted.limit)


@router.get("/events/{event_id}", response_model=FeedItem)
def read_event(event_id: Identifier, session: Db, caller: Who) -> Response:
    """Read one event in full, as one too long for a webhook has to be."""
    row = outbox.one(session, caller, event_id)
    return Response(_item(row), media_type="application/json")


def _item(row: StoredEvent) -> str:
    """Write an event from its frozen body, so that it reads as it was signed."""
    return f'{{"id":"{row.id}",{row.body[1:]}'


def _written(rows: Sequence[StoredEvent], limit: int) -> Response:
    """Write a page of events."""
    items = ",".join(map(_item, rows[:limit]))
    following = f'"{rows[limit - 1].id}"' if len(rows) > limit else "null"
    return Response(f'{{"items":[{items}],"next_cursor":{following}}}', media_type="application/json")


def place(session: Session, caller: Caller, after: str | None) -> int:
    """Give the number of the feed after which to read."""
    if after is None:
        return 0
    return outbox.latest(session) if after == LATEST else outbox.place_of(session, caller, after)
