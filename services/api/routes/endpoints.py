# SPDX-License-Identifier: Apache-2.0
"""Webhook endpoints over HTTP, for the keys that own them and for staff."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.api import access, asking
from services.api.dependencies import (
    Db,
    House,
    Identifier,
    IfMatch,
    Listed,
    Page,
    Who,
    etag,
    must_match,
    page,
)
from services.api.receivers import LeadsOutside, ReceiverRoute
from twinning import audit, endpoints, keyring, subscriptions
from twinning.endpoints import WebhookEndpoint
from twinning.fields import Shape
from twinning.subscriptions import (
    DeliveryPublic,
    EndpointCreate,
    EndpointPublic,
    EndpointShown,
    EndpointUpdate,
    RotationRequest,
)

router = APIRouter(tags=["webhook endpoints"], route_class=ReceiverRoute)


class PingWaiting(Shape):
    """The test delivery is under way; its outcome will stand in the log at `Location`."""

    detail: str = "The test delivery is under way; its outcome will stand in the log at Location."


def _shown(row: WebhookEndpoint, answer: Response) -> EndpointPublic:
    answer.headers["ETag"] = etag(row.version)
    return subscriptions.public(row)


@router.post("/webhook-endpoints", status_code=201)
def make_endpoint(
    wanted: EndpointCreate, session: Db, caller: Who, settings: House, answer: Response, _looked: LeadsOutside
) -> EndpointShown:
    """Make a webhook endpoint; its secret is shown in this answer and never again."""
    row = asking.make_endpoint(session, caller.key_id, wanted, settings)
    answer.headers["Location"] = f"/v1/webhook-endpoints/{row.id}"
    answer.headers["ETag"] = etag(row.version)
    return subscriptions.shown(session, row)


@router.get("/webhook-endpoints")
def list_endpoints(wanted: Annotated[Page, Query()], session: Db, caller: Who) -> Listed[EndpointPublic]:
    """List this key's endpoints; staff sees all."""
    after = wanted.after("webhook-endpoints", str) or (None,)
    rows = endpoints.listed(session, caller.whose, wanted.limit + 1, after[0])
    return page(wanted, rows, subscriptions.public, lambda row: [row.id])


@router.get("/webhook-endpoints/{endpoint_id}")
def read_endpoint(endpoint_id: Identifier, session: Db, caller: Who, answer: Response) -> EndpointPublic:
    """Read an endpoint, without its secret."""
    return _shown(access.own_endpoint(session, caller, endpoint_id), answer)


@router.patch("/webhook-endpoints/{endpoint_id}")
def change_endpoint(
    endpoint_id: Identifier,
    wanted: EndpointUpdate,
    session: Db,
    caller: Who,
    settings: House,
    answer: Response,
    _looked: LeadsOutside,
    if_match: IfMatch = None,
) -> EndpointPublic:
    """Change the fields that are sent; enabling releases the events that were held."""
    row = access.own_endpoint(session, caller, endpoint_id, hold=True)
    must_match(if_match, row.version)
    asking.change_endpoint(session, row, wanted, settings)
    return _shown(row, answer)


@router.delete("/webhook-endpoints/{endpoint_id}", status_code=204)
def delete_endpoint(endpoint_id: Identifier, session: Db, caller: Who, if_match: IfMatch = None) -> None:
    """Delete an endpoint with the log of its deliveries."""
    row = access.own_endpoint(session, caller, endpoint_id, hold=True)
    must_match(if_match, row.version)
    endpoints.remove(session, row)
    audit.note(session, "webhook_endpoint.deleted", row.id)


@router.post(
    "/webhook-endpoints/{endpoint_id}/ping",
    response_model=DeliveryPublic,
    responses={202: {"model": PingWaiting, "description": "No attempt has ended yet; see `Location`."}},
)
def ping_endpoint(
    endpoint_id: Identifier, session: Db, caller: Who, settings: House, request: Request
) -> Response:
    """Send a test delivery and answer with its attempt."""
    row = access.own_endpoint(session, caller, endpoint_id)
    request.state.afterwards = asking.ping(session, row, settings)
    answer = asking.written(PingWaiting())
    answer.status_code = 202
    answer.headers["Location"] = f"/v1/webhook-endpoints/{row.id}/deliveries"
    return answer


@router.post("/webhook-endpoints/{endpoint_id}/rotate-secret")
def rotate_secret(
    endpoint_id: Identifier,
    wanted: RotationRequest,
    session: Db,
    caller: Who,
    answer: Response,
    if_match: IfMatch = None,
) -> EndpointShown:
    """Give an endpoint a new secret, shown in this answer only; the one before signs, too, for a while."""
    row = access.own_endpoint(session, caller, endpoint_id, hold=True)
    must_match(if_match, row.version)
    keyring.rotate(session, row, timedelta(seconds=wanted.grace_seconds))
    audit.note(session, "webhook_endpoint.secret_rotated", row.id)
    answer.headers["ETag"] = etag(row.version)
    return subscriptions.shown(session, row)
