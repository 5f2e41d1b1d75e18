# SPDX-License-Identifier: Apache-2.0
"""Deliveries and replays over HTTP, for the keys that own their endpoints and for staff."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from services.api import access, asking
from services.api.dependencies import Db, Identifier, Listed, Page, Who, etag, page
from services.api.transactions import KeyedRoute
from twinning import audit, endpoints, replays
from twinning.replays import ReplayPublic, ReplayRequest
from twinning.subscriptions import DeliveryPublic
from twinning.terms import DeliveryState

router = APIRouter(tags=["deliveries"], route_class=KeyedRoute)


class DeliveryFilter(Page):
    """Which deliveries to list."""

    state: DeliveryState | None = None


@router.get("/webhook-endpoints/{endpoint_id}/deliveries")
def list_deliveries(
    endpoint_id: Identifier, wanted: Annotated[DeliveryFilter, Query()], session: Db, caller: Who
) -> Listed[DeliveryPublic]:
    """List an endpoint's deliveries with their attempts, newest first."""
    access.own_endpoint(session, caller, endpoint_id)
    before = wanted.after(f"webhook-endpoints/{endpoint_id}", str) or (None,)
    rows = endpoints.deliveries_of(session, endpoint_id, wanted.limit + 1, before[0], state=wanted.state)
    told = asking.show_deliveries(session, rows)
    return page(wanted, told, lambda each: each, lambda each: [each.id])


@router.get("/deliveries/{delivery_id}")
def read_delivery(delivery_id: Identifier, session: Db, caller: Who) -> DeliveryPublic:
    """Read a delivery with its attempts."""
    return asking.show_deliveries(session, [access.own_delivery(session, caller, delivery_id)])[0]


@router.post("/deliveries/{delivery_id}/retry", status_code=202)
def retry_delivery(delivery_id: Identifier, session: Db, caller: Who, answer: Response) -> DeliveryPublic:
    """Send an event again under its id, now and by a whole new schedule."""
    row = asking.retry(session, access.own_delivery(session, caller, delivery_id))
    answer.headers["Location"] = f"/v1/deliveries/{row.id}"
    return asking.show_deliveries(session, [row])[0]


@router.post("/webhook-endpoints/{endpoint_id}/replay", status_code=202)
def ask_for_replay(
    endpoint_id: Identifier, wanted: ReplayRequest, session: Db, caller: Who, answer: Response
) -> ReplayPublic:
    """Have events of the last 31 days sent again: the failed, those that never were sent, or all."""
    row = replays.ask(session, access.own_endpoint(session, caller, endpoint_id), wanted)
    audit.note(session, "replay.asked", row.id, fields=wanted.model_fields_set)
    answer.headers["Location"] = f"/v1/replays/{row.id}"
    answer.headers["ETag"] = etag(row.version)
    return replays.public(row)


@router.get("/replays/{replay_id}")
def read_replay(replay_id: Identifier, session: Db, caller: Who, answer: Response) -> ReplayPublic:
    """Read how far a replay is and what came of it."""
    row = access.own_replay(session, caller, replay_id)
    answer.headers["ETag"] = etag(row.version)
    return replays.public(row)


@router.post("/replays/{replay_id}/cancel")
def cancel_replay(replay_id: Identifier, session: Db, caller: Who, answer: Response) -> ReplayPublic:
    """Stop a replay that has not ended; what it has had sent already stays sent."""
    row = access.own_replay(session, caller, replay_id, hold=True)
    replays.cancel(session, row)
    audit.note(session, "replay.cancelled", row.id)
    answer.headers["ETag"] = etag(row.version)
    return replays.public(row)
