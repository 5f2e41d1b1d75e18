# SPDX-License-Identifier: Apache-2.0
"""The stream of events over HTTP, for those who follow: what the feed gives, as it happens."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response, StreamingResponse

from services.api.dependencies import Db, Filter, Who
from services.api.following import Stream
from services.api.routes.events import LATEST, EventsWanted, place
from services.api.transactions import KeyedRoute
from twinning import examples, outbox

router = APIRouter(tags=["events"], route_class=KeyedRoute)

EVENT_STREAM = "text/event-stream"
STREAM_SHOWN: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events, for as long as the reader stays.",
        "content": {
            EVENT_STREAM: {
                "schema": {"type": "string"},
                "example": f"id: {examples.EVENT}\nevent: city.registered\ndata: "
                + json.dumps({"id": examples.EVENT, **examples.event("city.registered")})
                + "\n\n",
            }
        },
    }
}


@router.get("/events/stream", response_class=StreamingResponse, responses=STREAM_SHOWN)
def stream_events(
    wanted: Annotated[EventsWanted, Query()],
    session: Db,
    caller: Who,
    request: Request,
    last_event_id: Annotated[
        Filter | None, Header(description="The id of the last event that was read; it goes before `after`.")
    ] = None,
) -> Response:
    """Follow the events as server-sent events: each with its `id`, its type as `event` and JSON as `data`.

    A reader that was cut off goes on with the id of the last event it saw. A comment comes every 15 seconds
    when nothing happens. The stream ends with its key.
    """
    follower = request.app.state.follower
    follower.must_have_room()
    after = last_event_id or wanted.after
    stream = Stream(caller, frozenset(wanted.named()), place(session, caller, after))
    if after == LATEST and (last := outbox.last_seen_by(session, caller)):
        # A reader that is cut off before its first event knows from here where to go on.
        stream.opening += f"id: {last.id}\n\n".encode()
    return StreamingResponse(
        follower.follow(stream), media_type=EVENT_STREAM, headers={"X-Accel-Buffering": "no"}
    )
