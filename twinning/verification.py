# SPDX-License-Identifier: Apache-2.0
"""The handshake before the first delivery, where the operator asks for it.

A new endpoint, or one whose URL has changed, is sent a challenge and nothing else. Its receiver echoes it:
a 2xx whose body is a JSON object with the same `challenge`. Until then events are held. After 72 hours
without an echo the endpoint is switched off; switching it on sends a new challenge.
"""

import json
import secrets
from datetime import timedelta
from typing import Any

from sqlalchemy import update
from sqlmodel import Session, col, select

from twinning import switching
from twinning.database import now
from twinning.endpoints import Delivery, WebhookEndpoint
from twinning.events import (
    EndpointChallenge,
    EndpointNote,
    EventType,
    WebhookEndpointDisabled,
    WebhookEndpointVerification,
)
from twinning.outbox import StoredEvent, record
from twinning.terms import DeliveryState

PATIENCE = timedelta(hours=72)
UNVERIFIED = "unverified"


def begin(session: Session, row: WebhookEndpoint) -> None:
    """Ask an endpoint to prove itself; one that is off is asked when it is switched on."""
    _drop_older(session, row)
    row.challenge = secrets.token_urlsafe(24)
    row.unverified_since = now()
    session.add(row)
    session.flush()
    switching.hold_back(session, row.id)
    if row.enabled:
        note = EndpointChallenge(
            endpoint_id=row.id,
            url=row.url,
            message='Answer 2xx with the JSON object {"challenge": "…"} to receive events here.',
            challenge=row.challenge,
        )
        record(session, WebhookEndpointVerification(data=note, owner=row.owner_id))


def _drop_older(session: Session, row: WebhookEndpoint) -> None:
    """Give up challenges on their way: an echo of theirs would prove nothing now."""
    mine = (
        select(Delivery.id)
        .join(StoredEvent, col(StoredEvent.id) == Delivery.event_id)
        .where(
            Delivery.endpoint_id == row.id,
            StoredEvent.type == EventType.WEBHOOK_ENDPOINT_VERIFICATION,
            col(Delivery.state).in_([DeliveryState.PENDING, DeliveryState.HELD]),
            col(Delivery.leased_by).is_(None),
        )
    )
    given_up = {"state": DeliveryState.EXHAUSTED, "due_at": None, "updated_at": now()}
    session.execute(update(Delivery).where(col(Delivery.id).in_(mine)).values(given_up))


def challenge_in(body: str) -> str:
    """Read the challenge that a verification event carries."""
    return str(json.loads(body)["data"]["challenge"])


def accept(session: Session, row: WebhookEndpoint, challenge: str) -> None:
    """Take an echo: when it is of the present challenge, what was held is released.

    The caller holds the endpoint.
    """
    if row.challenge is None or not secrets.compare_digest(row.challenge, challenge):
        return
    row.challenge, row.unverified_since = None, None
    row.version += 1
    row.updated_at = now()
    session.add(row)
    session.flush()
    if row.enabled:
        switching.release(session, row.id)


def expire(session: Session) -> None:
    """Switch off the endpoints that have not proved themselves in time."""
    late = select(WebhookEndpoint).where(*_is_late()).order_by(col(WebhookEndpoint.id))
    for row in session.exec(late.with_for_update(key_share=True, skip_locked=True)).all():
        switching.disable(session, row, UNVERIFIED)
        note = EndpointNote(
            endpoint_id=row.id,
            url=row.url,
            message=f"It did not echo its challenge within {PATIENCE // timedelta(hours=1)} hours.",
        )
        record(session, WebhookEndpointDisabled(data=note, owner=row.owner_id))


def any_late(session: Session) -> bool:
    """Say whether `expire` has anything to do."""
    late = select(WebhookEndpoint.id).where(*_is_late())
    return session.exec(late.limit(1)).first() is not None


def _is_late() -> tuple[Any, ...]:
    return col(WebhookEndpoint.unverified_since) <= now() - PATIENCE, col(WebhookEndpoint.enabled)
