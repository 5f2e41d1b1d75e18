# SPDX-License-Identifier: Apache-2.0
"""Webhook endpoints, their deliveries and attempts: who wants which events, and what became of each.

A delivery is one event on its way to one endpoint. It is due when `due_at` has passed; who claims it
moves `due_at` to the end of a lease and raises the fence, as with every unit of work.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Index, UniqueConstraint, delete, func, text, update
from sqlmodel import Field, Session, SQLModel, col, select

from twinning.database import Id, Instant, Json, new_id, now, ring_after
from twinning.errors import NotFound
from twinning.events import EventType, Facets
from twinning.keys import Caller
from twinning.signing import new_secret
from twinning.terms import Band, Bell, DeliveryState

# No endpoint may have more than so many deliveries in the senders' hands at once.
MOST_IN_FLIGHT = 4
_PENDING = text("state = 'pending'")


class WebhookEndpoint(SQLModel, table=True):
    """A receiver's address and what it wants to hear; a round's callback is one that lists do not show."""

    __tablename__ = "webhook_endpoint"

    id: str = Field(default_factory=new_id, primary_key=True, sa_type=Id)
    owner_id: str = Field(foreign_key="api_key.id", sa_type=Id, index=True)
    round_id: str | None = Field(default=None, sa_type=Id)
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
    failing_since: datetime | None = Field(default=None, sa_type=Instant)
    failures: int = 0
    version: int = 1
    created_at: datetime = Field(default_factory=now, sa_type=Instant)
    updated_at: datetime = Field(default_factory=now, sa_type=Instant)


class Delivery(SQLModel, table=True):
    """One event on its way to one endpoint."""

    __table_args__ = (
        UniqueConstraint("event_id", "endpoint_id"),
        Index("ix_delivery_due", "due_at", sqlite_where=_PENDING, postgresql_where=_PENDING),
        Index("ix_delivery_endpoint_id_state", "endpoint_id", "state"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, sa_type=Id)
    event_id: str = Field(foreign_key="event.id", sa_type=Id)
    endpoint_id: str = Field(foreign_key="webhook_endpoint.id", sa_type=Id)
    state: str = Field(default=DeliveryState.PENDING, max_length=20)
    due_at: datetime | None = Field(default_factory=now, sa_type=Instant)
    fence: int = 0
    tries: int = 0
    leased_by: str | None = Field(default=None, max_length=80)
    created_at: datetime = Field(default_factory=now, sa_type=Instant)
    updated_at: datetime = Field(default_factory=now, sa_type=Instant)


class Attempt(SQLModel, table=True):
    """One attempt at a delivery: written before the call as interrupted, and again with its outcome."""

    delivery_id: str = Field(primary_key=True, foreign_key="delivery.id", sa_type=Id)
    number: int = Field(primary_key=True)
    started_at: datetime = Field(sa_type=Instant)
    duration_ms: float | None = None
    status: int | None = None
    error: str | None = Field(default="interrupted", max_length=60)
    answer: str | None = None
    address: str | None = Field(default=None, max_length=60)
    next_attempt_at: datetime | None = Field(default=None, sa_type=Instant)


@dataclass(frozen=True, slots=True)
class Sending:
    """A claimed delivery with all that is needed to send it."""

    delivery_id: str
    endpoint_id: str
    event_id: str
    fence: int
    number: int
    url: str
    headers: dict[str, str]
    secrets: tuple[str, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt, and what follows: the new state and when the next attempt is due."""

    sending: Sending
    state: DeliveryState
    due_at: datetime | None
    status: int | None
    error: str | None
    answer: str | None
    address: str | None
    duration_ms: float
    gone: bool = False


def new_secrets() -> list[dict[str, Any]]:
    """Make the first secret of an endpoint."""
    return [{"secret": new_secret(), "ends_at": None}]


def live_secrets(row: WebhookEndpoint, moment: datetime) -> tuple[str, ...]:
    """Give the secrets that sign at a moment, newest first."""
    return tuple(
        entry["secret"]
        for entry in row.secrets
        if entry["ends_at"] is None or datetime.fromisoformat(entry["ends_at"]) > moment
    )


def matches_type(patterns: Sequence[str], event_type: EventType) -> bool:
    """Say whether a subscription covers an event type: by name, `*`, or a noun with `.*`."""
    noun = event_type.split(".", 1)[0]
    return any(pattern in {"*", f"{noun}.*", event_type} for pattern in patterns)


def wants(row: WebhookEndpoint, owner: Caller, event_type: EventType, facets: Facets) -> bool:
    """Say whether an event goes to an endpoint: its type, its filters, and what the owner's key may see."""
    if facets.only_endpoint is not None:
        return facets.only_endpoint == row.id
    if row.round_id is not None:
        return facets.round_id == row.round_id
    if not matches_type(row.event_types, event_type):
        return False
    return _may_see(owner, facets) and _passes(row.filters, facets)


def _may_see(owner: Caller, facets: Facets) -> bool:
    return owner.key_id == facets.for_key or owner.sees(facets.cities)


def _passes(filters: dict[str, Any], facets: Facets) -> bool:
    """Try an event against the filters; a side that the event has not is no reason to keep it back."""
    countries = filters.get("countries")
    if countries and facets.cities and not any(country in countries for _, country in facets.cities):
        return False
    themes = filters.get("themes")
    if themes and facets.themes is not None and not facets.themes.intersection(themes):
        return False
    kinds = filters.get("kinds")
    if kinds and facets.kind is not None and facets.kind not in kinds:
        return False
    least = filters.get("min_band")
    return not (least and facets.band is not None and not facets.band.reaches(Band(least)))


def listed(
    session: Session, owner_id: str | None, most: int, after: str | None = None
) -> Sequence[WebhookEndpoint]:
    """Give a key's endpoints (None: everybody's) in the order of their ids, callbacks of rounds left out."""
    query = select(WebhookEndpoint).where(col(WebhookEndpoint.round_id).is_(None))
    if owner_id is not None:
        query = query.where(WebhookEndpoint.owner_id == owner_id)
    if after is not None:
        query = query.where(col(WebhookEndpoint.id) > after)
    return session.exec(query.order_by(col(WebhookEndpoint.id)).limit(most)).all()


def get(session: Session, endpoint_id: str, *, hold: bool = False) -> WebhookEndpoint:
    """Find an endpoint, held until the commit when it is to be changed; raises `NotFound`."""
    row = session.get(WebhookEndpoint, endpoint_id, with_for_update=hold)
    if row is None:
        raise NotFound("There is no such webhook endpoint.")
    return row


def remove(session: Session, row: WebhookEndpoint) -> None:
    """Delete an endpoint with its deliveries and their log."""
    mine = select(Delivery.id).where(Delivery.endpoint_id == row.id)
    session.execute(delete(Attempt).where(col(Attempt.delivery_id).in_(mine)))
    session.execute(delete(Delivery).where(col(Delivery.endpoint_id) == row.id))
    session.delete(row)


def disable(session: Session, row: WebhookEndpoint, because: str) -> None:
    """Switch an endpoint off; what waits for it is held."""
    row.enabled = False
    row.disabled_because = because
    row.updated_at = now()
    row.version += 1
    session.add(row)
    _move(session, row.id, DeliveryState.PENDING, DeliveryState.HELD, None)


def enable(session: Session, row: WebhookEndpoint) -> None:
    """Switch an endpoint on; what was held for it is due now, in the order of the events."""
    row.enabled = True
    row.disabled_because = None
    row.failing_since = None
    row.failures = 0
    session.add(row)
    _move(session, row.id, DeliveryState.HELD, DeliveryState.PENDING, now())
    ring_after(session, Bell.DELIVER)


def _move(
    session: Session, endpoint_id: str, before: DeliveryState, after: DeliveryState, due_at: datetime | None
) -> None:
    session.execute(
        update(Delivery)
        .where(col(Delivery.endpoint_id) == endpoint_id, col(Delivery.state) == before)
        .values(state=after, due_at=due_at, leased_by=None, fence=Delivery.fence + 1, updated_at=now())
    )


def claim(session: Session, sender: str, most: int, lease_s: float) -> list[tuple[str, int, int]]:
    """Take up to `most` due deliveries, in turn between endpoints, with their attempts begun.

    Gives (delivery id, fence, attempt number). An endpoint never has more than `MOST_IN_FLIGHT`
    in the senders' hands, so that a dead one cannot fill them.
    """
    moment = now()
    leased = (
        select(func.count())
        .where(
            col(Delivery.endpoint_id) == WebhookEndpoint.id,
            col(Delivery.state) == DeliveryState.PENDING,
            col(Delivery.leased_by).is_not(None),
            col(Delivery.due_at) > moment,
        )
        .correlate(WebhookEndpoint)
        .scalar_subquery()
    )
    turn = func.row_number().over(
        partition_by=col(Delivery.endpoint_id), order_by=(col(Delivery.due_at), col(Delivery.id))
    )
    due = (
        select(Delivery.id, (turn + leased).label("turn"))
        .join(WebhookEndpoint, col(WebhookEndpoint.id) == Delivery.endpoint_id)
        .where(
            Delivery.state == DeliveryState.PENDING, col(Delivery.due_at) <= moment, WebhookEndpoint.enabled
        )
        .subquery()
    )
    chosen = select(due.c.id).where(due.c.turn <= MOST_IN_FLIGHT).order_by(due.c.turn, due.c.id).limit(most)
    locked = select(Delivery.id).where(
        col(Delivery.id).in_(chosen), Delivery.state == DeliveryState.PENDING, col(Delivery.due_at) <= moment
    )
    ids = session.exec(locked.with_for_update(skip_locked=True)).all()
    if not ids:
        return []
    statement = (
        update(Delivery)
        .where(col(Delivery.id).in_(ids))
        .values(
            due_at=moment + timedelta(seconds=lease_s),
            fence=Delivery.fence + 1,
            tries=Delivery.tries + 1,
            leased_by=sender,
        )
        .returning(col(Delivery.id), col(Delivery.fence), col(Delivery.tries))
    )
    taken = [(row[0], row[1], row[2]) for row in session.execute(statement)]
    session.add_all(Attempt(delivery_id=id_, number=number, started_at=moment) for id_, _, number in taken)
    return sorted(taken)


def settle(session: Session, outcomes: Sequence[Outcome]) -> set[str]:
    """Write what became of attempts; gives the ids of the deliveries whose fence still held.

    The log gets every outcome; the delivery's state is changed only under the fence it was sent with,
    so that a sender which comes back from the dead cannot undo a newer result.
    """
    kept: set[str] = set()
    for outcome in sorted(outcomes, key=lambda outcome: outcome.sending.delivery_id):
        sending = outcome.sending
        held = session.execute(
            update(Delivery)
            .where(col(Delivery.id) == sending.delivery_id, col(Delivery.fence) == sending.fence)
            .values(state=outcome.state, due_at=outcome.due_at, leased_by=None, updated_at=now())
            .returning(col(Delivery.id))
        ).first()
        if held is not None:
            kept.add(sending.delivery_id)
        session.execute(
            update(Attempt)
            .where(col(Attempt.delivery_id) == sending.delivery_id, col(Attempt.number) == sending.number)
            .values(
                duration_ms=outcome.duration_ms,
                status=outcome.status,
                error=outcome.error if held is not None else "stale_lease",
                answer=outcome.answer,
                address=outcome.address,
                next_attempt_at=outcome.due_at if held is not None else None,
            )
        )
    return kept


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


def attempts_of(session: Session, delivery_id: str) -> Sequence[Attempt]:
    """Give a delivery's attempts, first to last."""
    query = select(Attempt).where(Attempt.delivery_id == delivery_id)
    return session.exec(query.order_by(col(Attempt.number))).all()


def oldest_due(session: Session) -> datetime | None:
    """Give when the longest-waiting due delivery became due."""
    query = select(func.min(Delivery.due_at)).where(
        Delivery.state == DeliveryState.PENDING, col(Delivery.due_at) <= now()
    )
    return session.exec(query).one()
