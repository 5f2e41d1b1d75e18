# SPDX-License-Identifier: Apache-2.0
"""Webhook endpoints, their deliveries and attempts: who wants which events, and what became of each.

A delivery is one event on its way to one endpoint. It is due when `due_at` has passed; who claims it
(`deliveries.py`) moves `due_at` to the end of a lease and raises the fence, as with every unit of work.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Index,
    UniqueConstraint,
    delete,
    func,
    literal_column,
    text,
)
from sqlmodel import Field, Session, SQLModel, col, select

from twinning.database import HELD, hold_log, new_id, now
from twinning.dialects import Id, Instant, Json
from twinning.errors import NotFound
from twinning.events import EventType
from twinning.pages import page
from twinning.signing import new_secret
from twinning.terms import DeliveryState, Lane

# What the log says of an attempt that nobody finished.
INTERRUPTED = "interrupted"
_RATED = text("rate_clock IS NOT NULL")
_PENDING = text("state = 'pending'")
_WAITING = text("state = 'pending' AND leased_by IS NULL")
_LEASED = text("leased_by IS NOT NULL")
_SPECIAL = text("state = 'pending' AND lane <> 'usual'")


class WebhookEndpoint(SQLModel, table=True):
    """A receiver's address and what it wants to hear; a round's callback is one that lists do not show."""

    __tablename__ = "webhook_endpoint"
    __table_args__ = (
        Index("ix_webhook_endpoint_rate_clock", "rate_clock", sqlite_where=_RATED, postgresql_where=_RATED),
    )

    id: str = Field(default_factory=new_id, primary_key=True, sa_type=Id)
    owner_id: str = Field(foreign_key="api_key.id", sa_type=Id, index=True)
    round_id: str | None = Field(default=None, sa_type=Id, index=True)
    url: str
    event_types: list[str] = Field(sa_type=Json)
    filters: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    headers: dict[str, str] = Field(default_factory=dict, sa_type=Json)
    description: str | None = None
    rate_per_second: float | None = None
    enabled: bool = True
    disabled_because: str | None = None
    # Live secrets, newest first, each with the moment it ends (null: the present one).
    secrets: list[dict[str, Any]] = Field(sa_type=Json)
    # Which key of the operator's sealed the secrets and headers; null: none did.
    key_id: str | None = Field(default=None, max_length=16)
    # With a rate, the moment from which the next delivery may begin.
    rate_clock: datetime | None = Field(default=None, sa_type=Instant)
    # What the receiver has to echo before it gets anything else; null: nothing, or it has.
    challenge: str | None = Field(default=None, max_length=64)
    unverified_since: datetime | None = Field(default=None, sa_type=Instant)
    failing_since: datetime | None = Field(default=None, sa_type=Instant)
    failures: int = 0
    # How many warnings of this failing have been given.
    warned: int = 0
    version: int = 1
    created_at: datetime = Field(default_factory=now, sa_type=Instant)
    updated_at: datetime = Field(default_factory=now, sa_type=Instant)

    @property
    def is_open(self) -> bool:
        """Say whether events go out to it; for one that is off or unverified they are held."""
        return self.enabled and self.challenge is None


# The same, asked of the database.
IS_OPEN = col(WebhookEndpoint.enabled) & col(WebhookEndpoint.challenge).is_(None)


class Delivery(SQLModel, table=True):
    """One event on its way to one endpoint."""

    __table_args__ = (
        UniqueConstraint("event_id", "endpoint_id"),
        Index("ix_delivery_due", "due_at", sqlite_where=_PENDING, postgresql_where=_PENDING),
        Index(
            "ix_delivery_waiting",
            "endpoint_id",
            "due_at",
            "id",
            sqlite_where=_WAITING,
            postgresql_where=_WAITING,
        ),
        Index("ix_delivery_leased", "endpoint_id", sqlite_where=_LEASED, postgresql_where=_LEASED),
        Index("ix_delivery_endpoint_id_state", "endpoint_id", "state"),
        Index("ix_delivery_lane", "endpoint_id", "lane", sqlite_where=_SPECIAL, postgresql_where=_SPECIAL),
    )

    id: str = Field(default_factory=new_id, primary_key=True, sa_type=Id)
    event_id: str = Field(foreign_key="event.id", sa_type=Id)
    endpoint_id: str = Field(foreign_key="webhook_endpoint.id", sa_type=Id)
    state: str = Field(default=DeliveryState.PENDING, max_length=20)
    due_at: datetime | None = Field(default_factory=now, sa_type=Instant)
    fence: int = 0
    tries: int = 0
    # The attempts of schedules that are over: one that is sent again begins its schedule anew.
    tries_before: int = 0
    lane: str = Field(default=Lane.USUAL, max_length=10)
    leased_by: str | None = Field(default=None, max_length=80)
    created_at: datetime = Field(default_factory=now, sa_type=Instant)
    updated_at: datetime = Field(default_factory=now, sa_type=Instant)


def is_state(state: DeliveryState) -> ColumnElement[bool]:
    """Ask for a state in so many letters: no database sees that a partial index fits a bound value."""
    return col(Delivery.state) == literal_column(f"'{state}'")


class Attempt(SQLModel, table=True):
    """One attempt at a delivery: written before the call as interrupted, and again with its outcome."""

    delivery_id: str = Field(primary_key=True, foreign_key="delivery.id", sa_type=Id)
    number: int = Field(primary_key=True)
    started_at: datetime = Field(sa_type=Instant)
    duration_ms: float | None = None
    status: int | None = None
    error: str | None = Field(default=INTERRUPTED, max_length=60)
    answer: str | None = None
    address: str | None = Field(default=None, max_length=60)
    next_attempt_at: datetime | None = Field(default=None, sa_type=Instant)


def new_delivery(
    event_id: str, endpoint_id: str, moment: datetime, *, is_open: bool, test: bool = False
) -> dict[str, Any]:
    """Lay out the row of a delivery: due now, or held while its endpoint is not open and it is no test."""
    out = is_open or test
    return {
        "id": new_id(),
        "event_id": event_id,
        "endpoint_id": endpoint_id,
        "state": DeliveryState.PENDING if out else DeliveryState.HELD,
        "due_at": moment if out else None,
        "lane": Lane.TEST if test else Lane.USUAL,
        "fence": 0,
        "tries": 0,
        "tries_before": 0,
        "created_at": moment,
        "updated_at": moment,
    }


def new_secrets() -> list[dict[str, Any]]:
    """Make the first secret of an endpoint."""
    return [{"secret": new_secret(), "ends_at": None}]


def is_live(entry: Mapping[str, Any], moment: datetime) -> bool:
    """Say whether a secret signs at a moment."""
    return entry["ends_at"] is None or datetime.fromisoformat(entry["ends_at"]) > moment


def matches_type(patterns: Sequence[str], event_type: EventType) -> bool:
    """Say whether a subscription covers an event type: by name, `*`, or a noun with `.*`."""
    noun = event_type.split(".", 1)[0]
    return any(pattern in {"*", f"{noun}.*", event_type} for pattern in patterns)


def listed(
    session: Session, owner_id: str | None, most: int, after: str | None = None
) -> Sequence[WebhookEndpoint]:
    """Give a key's endpoints (None: everybody's) in the order of their ids, callbacks of rounds left out."""
    query = select(WebhookEndpoint).where(col(WebhookEndpoint.round_id).is_(None))
    return page(session, query, col(WebhookEndpoint.id), most, after, {WebhookEndpoint.owner_id: owner_id})


def get(session: Session, endpoint_id: str, *, hold: bool = False) -> WebhookEndpoint:
    """Find an endpoint, held until the commit when it is to be changed; raises `NotFound`."""
    # Who holds the log and writes a delivery refers to this row, and would wait for a lock of its key.
    row = session.get(WebhookEndpoint, endpoint_id, with_for_update=hold and HELD, populate_existing=hold)
    if row is None:
        raise NotFound("There is no such webhook endpoint.")
    return row


def remove(session: Session, row: WebhookEndpoint) -> None:
    """Delete an endpoint with its deliveries and their log.

    The endpoint is locked first and its deliveries second, as the senders do, so that neither waits for ever;
    then the log, so that whoever is writing deliveries for it is done, and nobody begins to.
    """
    session.refresh(row, with_for_update=HELD)
    mine = select(Delivery.id).where(Delivery.endpoint_id == row.id)
    session.exec(mine.with_for_update()).all()
    hold_log(session)
    session.execute(delete(Attempt).where(col(Attempt.delivery_id).in_(mine)))
    session.execute(delete(Delivery).where(col(Delivery.endpoint_id) == row.id))
    session.delete(row)


def delivery(session: Session, delivery_id: str) -> Delivery:
    """Find a delivery; raises `NotFound`."""
    row = session.get(Delivery, delivery_id)
    if row is None:
        raise NotFound("There is no such delivery.")
    return row


def delivery_of(session: Session, event_id: str, endpoint_id: str) -> Delivery | None:
    """Find the delivery of an event to an endpoint."""
    query = select(Delivery).where(Delivery.event_id == event_id, Delivery.endpoint_id == endpoint_id)
    return session.exec(query).first()


def deliveries_of(
    session: Session,
    endpoint_id: str,
    most: int,
    before: str | None = None,
    *,
    state: DeliveryState | None = None,
) -> Sequence[Delivery]:
    """Give an endpoint's deliveries, newest first."""
    query = select(Delivery).where(Delivery.endpoint_id == endpoint_id)
    if state is not None:
        query = query.where(Delivery.state == state)
    if before is not None:
        query = query.where(col(Delivery.id) < before)
    return session.exec(query.order_by(col(Delivery.id).desc()).limit(most)).all()


def attempts_by_delivery(session: Session, delivery_ids: Sequence[str]) -> dict[str, list[Attempt]]:
    """Give the attempts at each of these deliveries, first to last."""
    query = select(Attempt).where(col(Attempt.delivery_id).in_(delivery_ids))
    found: dict[str, list[Attempt]] = {}
    for attempt in session.exec(query.order_by(col(Attempt.delivery_id), col(Attempt.number))):
        found.setdefault(attempt.delivery_id, []).append(attempt)
    return found


def oldest_due(session: Session) -> datetime | None:
    """Give when the longest-waiting due delivery became due."""
    query = select(func.min(Delivery.due_at)).where(
        is_state(DeliveryState.PENDING), col(Delivery.due_at) <= now()
    )
    return session.exec(query).one()
