# SPDX-License-Identifier: Apache-2.0
"""The change of a key: what belonged to the one before belongs to its successor.

Webhook endpoints, rounds, previews, imports and the events for a key are its own, and would end with it. The
successor takes them over when it is made; the key before goes on reading until it is revoked.
"""

from typing import Any

from sqlalchemy import update
from sqlmodel import Session, col

from twinning.endpoints import WebhookEndpoint
from twinning.errors import Invalid, NotFound
from twinning.imports import Import
from twinning.keys import ApiKey, get
from twinning.outbox import StoredEvent
from twinning.previews import Preview
from twinning.rounds import MatchingRound

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


def _scope(key: ApiKey) -> tuple[object, ...]:
    return key.role, frozenset(key.countries), key.city_id
