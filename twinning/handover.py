# SPDX-License-Identifier: Apache-2.0
"""The change and the end of a key: what belonged to the one before belongs to its successor, or ends.

Webhook endpoints, rounds, previews, imports and the events for a key are its own, and end with it. A
successor takes them over when it is made; the key before goes on reading until it is revoked.
"""

from typing import Any

from sqlalchemy import update
from sqlmodel import Session, col, select

from twinning import endpoints, switching
from twinning.endpoints import WebhookEndpoint
from twinning.errors import Invalid, NotFound
from twinning.imports import Import
from twinning.keys import ApiKey, get, revoke
from twinning.outbox import StoredEvent
from twinning.previews import Preview
from twinning.rounds import MatchingRound

# Why an endpoint is off, as its reader is told.
KEY_ENDED = "the end of its key"

_OWNED: tuple[Any, ...] = (
    WebhookEndpoint.owner_id,
    MatchingRound.asked_by,
    Preview.asked_by,
    Import.asked_by,
    StoredEvent.for_key,
)


def hand_over(session: Session, before_id: str, successor: ApiKey) -> None:
    """Give all that one key owns to another; raises `Invalid` unless both are of the same role and scope."""
    try:
        before = get(session, before_id)
    except NotFound:
        raise Invalid.field("/replaces", "There is no such key, or it is revoked.") from None
    if _scope(before) != _scope(successor):
        raise Invalid.field("/replaces", "A key is replaced by one of the same role, countries and city.")
    # What points at the successor may only be written after it.
    session.flush()
    for owner in _OWNED:
        statement = update(owner.class_).where(col(owner) == before.id).values({owner.key: successor.id})
        session.execute(statement)


def end(session: Session, key: ApiKey) -> None:
    """End a key at once; its endpoints are switched off, since nobody is left who may see what they get."""
    revoke(session, key)
    mine = select(WebhookEndpoint.id).where(
        WebhookEndpoint.owner_id == key.id, col(WebhookEndpoint.enabled).is_(True)
    )
    for endpoint_id in session.exec(mine.order_by(col(WebhookEndpoint.id))).all():
        switching.disable(session, endpoints.get(session, endpoint_id, hold=True), KEY_ENDED)


def _scope(key: ApiKey) -> tuple[object, ...]:
    return key.role, frozenset(key.countries), key.city_id
