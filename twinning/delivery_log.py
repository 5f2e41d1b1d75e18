# SPDX-License-Identifier: Apache-2.0
"""The log of deliveries over all endpoints: what became of which events, newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from twinning.endpoints import Delivery, WebhookEndpoint
from twinning.events import EventType
from twinning.outbox import StoredEvent
from twinning.terms import DeliveryState


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which deliveries: of one endpoint, in one state, of some types, made in a span; None and () are all."""

    endpoint_id: str | None = None
    state: DeliveryState | None = None
    types: Sequence[EventType] = ()
    since: datetime | None = None
    until: datetime | None = None


def listed(
    session: Session, owner_id: str | None, wanted: Wanted, most: int, before: str | None = None
) -> Sequence[Delivery]:
    """Give the deliveries to a key's endpoints (None: to everybody's), callbacks of rounds among them."""
    query = select(Delivery)
    if owner_id is not None:
        mine = select(WebhookEndpoint.id).where(WebhookEndpoint.owner_id == owner_id)
        query = query.where(col(Delivery.endpoint_id).in_(mine))
    if wanted.endpoint_id is not None:
        query = query.where(Delivery.endpoint_id == wanted.endpoint_id)
    if wanted.state is not None:
        query = query.where(Delivery.state == wanted.state)
    if wanted.types:
        query = query.join(StoredEvent, col(StoredEvent.id) == Delivery.event_id)
        query = query.where(col(StoredEvent.type).in_(wanted.types))
    if wanted.since is not None:
        query = query.where(col(Delivery.created_at) >= wanted.since)
    if wanted.until is not None:
        query = query.where(col(Delivery.created_at) < wanted.until)
    if before is not None:
        query = query.where(col(Delivery.id) < before)
    return session.exec(query.order_by(col(Delivery.id).desc()).limit(most)).all()
