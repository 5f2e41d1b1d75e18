# SPDX-License-Identifier: Apache-2.0
"""Replays: what an endpoint missed, or all of it, is sent again, as a durable job in batches.

Each batch is one transaction, which moves the job's place in the log of events on; so a worker that dies
leaves the job where its last whole batch ended, and another goes on from there. Every event keeps its id.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Row, func, insert, select
from sqlmodel import Field, Session, SQLModel, col

from twinning import endpoints, switching, work
from twinning.database import HELD, new_id, now, ring_after
from twinning.dialects import Id, Instant
from twinning.endpoints import Delivery, WebhookEndpoint
from twinning.errors import Conflict, Invalid, NotFound
from twinning.events import EventType, Facets
from twinning.fields import Moment, Shape
from twinning.keys import ApiKey, is_live
from twinning.outbox import EventCity, StoredEvent
from twinning.receivers import Receiver
from twinning.terms import Bell, DeliveryState, ReplayOnly, ReplayState, Work

ENDED = (ReplayState.COMPLETED, ReplayState.FAILED, ReplayState.CANCELLED)
REACH = timedelta(days=31)
# The clock of whoever asks may be a little ahead of ours.
AHEAD = timedelta(minutes=5)
# More at once would be cheaper and hold the one writer of SQLite for longer.
BATCH = 500
FINISHED = (DeliveryState.DELIVERED, DeliveryState.EXHAUSTED)


class Replay(SQLModel, table=True):
    """A replay: what was asked, how far in the log of events it is, what came of it."""

    id: str = Field(default_factory=new_id, primary_key=True, sa_type=Id)
    endpoint_id: str = Field(foreign_key="webhook_endpoint.id", ondelete="CASCADE", sa_type=Id, index=True)
    only: str = Field(max_length=10)
    since: datetime = Field(sa_type=Instant)
    until: datetime = Field(sa_type=Instant)
    state: str = Field(default=ReplayState.QUEUED, max_length=20)
    position: int = Field(default=0, sa_type=BigInteger)
    done: int = 0
    total: int = 0
    resent: int = 0
    created: int = 0
    skipped: int = 0
    error: str | None = None
    version: int = 1
    created_at: datetime = Field(default_factory=now, sa_type=Instant)
    updated_at: datetime = Field(default_factory=now, sa_type=Instant)


class ReplayRequest(Shape):
    """What to send again of the events from `since` to `until` (null: now): failed, missing, or all."""

    since: Moment
    until: Moment | None = None
    only: ReplayOnly = ReplayOnly.FAILED


class ReplayProgress(Shape):
    """How many events or failed deliveries have been looked at, of how many."""

    done: int
    total: int


class ReplayCounts(Shape):
    """Deliveries that are sent again, that were made for the first time, and what was left as it is."""

    resent: int
    created: int
    skipped: int


class ReplayPublic(Shape):
    """A replay as it is read."""

    id: str
    endpoint_id: str
    since: datetime
    until: datetime
    only: ReplayOnly
    state: ReplayState
    progress: ReplayProgress
    counts: ReplayCounts
    error: str | None
    created_at: datetime
    updated_at: datetime


def ask(session: Session, endpoint: WebhookEndpoint, wanted: ReplayRequest) -> Replay:
    """Ask for a replay; raises `Invalid` for a span that is none, or not of the last 31 days."""
    moment = now()
    if wanted.since > moment:
        raise Invalid.field("/since", "is in the future")
    if wanted.since < moment - REACH:
        raise Invalid.field("/since", f"is more than {REACH.days} days ago, and events are not kept so long")
    if wanted.until is not None and wanted.until > moment + AHEAD:
        raise Invalid.field("/until", "is in the future")
    until = moment if wanted.until is None else min(wanted.until, moment)
    if wanted.since > until:
        raise Invalid.field("/since", "is after until")
    row = Replay(endpoint_id=endpoint.id, only=wanted.only, since=wanted.since, until=until)
    session.add(row)
    work.enqueue(session, Work.REPLAY, row.id)
    return row


def get(session: Session, replay_id: str, *, hold: bool = False) -> Replay:
    """Find a replay, held until the commit when it is to be changed; raises `NotFound`."""
    row = session.get(Replay, replay_id, with_for_update=hold and HELD)
    if row is None:
        raise NotFound("There is no such replay.")
    return row


def cancel(session: Session, row: Replay) -> None:
    """Stop a replay; what it has already had sent stays so. Raises `Conflict` when it has ended."""
    if row.state in ENDED:
        raise Conflict(f"This replay is {row.state} and cannot be cancelled.", code="replay-ended")
    _set_state(session, row, ReplayState.CANCELLED)
    work.strike(session, Work.REPLAY, [row.id])


def fail(session: Session, row: Replay, error: str) -> None:
    """End a replay that cannot go on."""
    row.error = error
    _set_state(session, row, ReplayState.FAILED)


def public(row: Replay) -> ReplayPublic:
    """Show a replay."""
    fields = row.model_dump(include=set(ReplayPublic.model_fields) - {"progress", "counts"})
    return ReplayPublic(
        **fields,
        progress=ReplayProgress(done=row.done, total=row.total),
        counts=ReplayCounts(resent=row.resent, created=row.created, skipped=row.skipped),
    )


def advance(session: Session, replay_id: str) -> bool:
    """Do a replay's next batch; gives whether there is more to do.

    The endpoint is held first, as whoever deletes it does, so that it neither goes nor is switched on unseen.
    """
    row = session.get(Replay, replay_id)
    if row is None:
        return False
    endpoint = session.get(WebhookEndpoint, row.endpoint_id, with_for_update=HELD)
    session.refresh(row, with_for_update=HELD)
    if endpoint is None or row.state in ENDED:
        return False
    key = session.get(ApiKey, endpoint.owner_id)
    if key is None or not is_live(key, now()):
        fail(session, row, "The key of the endpoint's owner has ended.")
        return False
    if row.state == ReplayState.QUEUED:
        row.total = _count(session, row)
        row.state = ReplayState.RUNNING
    receiver = Receiver.of(endpoint, key)
    batch = _failed(session, row) if row.only == ReplayOnly.FAILED else _events(session, row)
    if row.only == ReplayOnly.FAILED:
        _resend(session, row, receiver, [found.id for found in batch])
    else:
        _send(session, row, receiver, batch)
    row.done += len(batch)
    if len(batch) == BATCH:
        row.position = batch[-1].sequence
        _set_state(session, row, ReplayState.RUNNING)
        return True
    row.total = row.done
    _set_state(session, row, ReplayState.COMPLETED)
    return False


def _set_state(session: Session, row: Replay, state: ReplayState) -> None:
    row.state = state
    row.version += 1
    row.updated_at = now()
    session.add(row)


def _in_span(row: Replay) -> tuple[Any, ...]:
    """Ask for the events of a replay's span that are still before it."""
    return (
        col(StoredEvent.sequence) > row.position,
        col(StoredEvent.timestamp) >= row.since,
        col(StoredEvent.timestamp) <= row.until,
    )


def _exhausted(row: Replay) -> tuple[Any, ...]:
    return (
        col(Delivery.event_id) == col(StoredEvent.id),
        col(Delivery.endpoint_id) == row.endpoint_id,
        endpoints.is_state(DeliveryState.EXHAUSTED),
    )


def _count(session: Session, row: Replay) -> int:
    query = select(func.count()).select_from(StoredEvent).where(*_in_span(row))
    if row.only == ReplayOnly.FAILED:
        query = query.join(Delivery, col(Delivery.event_id) == col(StoredEvent.id)).where(*_exhausted(row))
    return session.scalar(query) or 0


def _failed(session: Session, row: Replay) -> Sequence[Row[Any]]:
    """Give the next deliveries that were given up, in the order of their events."""
    query = (
        select(col(Delivery.id), col(StoredEvent.sequence))
        .where(*_exhausted(row), *_in_span(row))
        .order_by(col(StoredEvent.sequence))
        .limit(BATCH)
        .with_for_update(of=Delivery, key_share=True)
    )
    return session.execute(query).all()


def _events(session: Session, row: Replay) -> Sequence[Row[Any]]:
    """Give the next events of the span, in order."""
    query = select(
        col(StoredEvent.id),
        col(StoredEvent.sequence),
        col(StoredEvent.type),
        col(StoredEvent.for_key),
        col(StoredEvent.facets),
    ).where(*_in_span(row))
    return session.execute(query.order_by(col(StoredEvent.sequence)).limit(BATCH)).all()


def _resend(session: Session, row: Replay, receiver: Receiver, delivery_ids: Sequence[str]) -> None:
    if delivery_ids:
        state = DeliveryState.PENDING if receiver.is_open else DeliveryState.HELD
        switching.send_again(session, delivery_ids, state)
        row.resent += len(delivery_ids)


def _send(session: Session, row: Replay, receiver: Receiver, batch: Sequence[Row[Any]]) -> None:
    """Send those events that the endpoint wants by its present filters and its owner's sight."""
    facets = _facets(session, batch)
    wanted = [
        event.id
        for event in batch
        if event.id in facets and receiver.wants(EventType(event.type), facets[event.id])
    ]
    query = select(col(Delivery.id), col(Delivery.event_id), col(Delivery.state)).where(
        col(Delivery.endpoint_id) == receiver.id, col(Delivery.event_id).in_(wanted)
    )
    known = session.execute(query.order_by(col(Delivery.id)).with_for_update(key_share=True)).all()
    has_one = {delivery.event_id for delivery in known}
    again = [one.id for one in known if row.only == ReplayOnly.ALL and one.state in FINISHED]
    _resend(session, row, receiver, again)
    moment = now()
    new = [
        endpoints.new_delivery(event_id, receiver.id, moment, is_open=receiver.is_open)
        for event_id in wanted
        if event_id not in has_one
    ]
    if new:
        session.execute(insert(Delivery), new, execution_options={"render_nulls": True})
        ring_after(session, Bell.DELIVER)
    row.created += len(new)
    row.skipped += len(batch) - len(new) - len(again)


def _facets(session: Session, batch: Sequence[Row[Any]]) -> Mapping[str, Facets]:
    """Tell what stored events are about.

    Tests of one endpoint are left out, and so is what an older version stored without saying.
    """
    sequences = [event.sequence for event in batch]
    query = select(col(EventCity.sequence), col(EventCity.city_id), col(EventCity.country))
    cities: dict[int, list[tuple[str, str]]] = {}
    for sequence, city_id, country in session.execute(query.where(col(EventCity.sequence).in_(sequences))):
        cities.setdefault(sequence, []).append((city_id, country))
    return {
        event.id: Facets.restored(event.facets, cities.get(event.sequence, ()), event.for_key)
        for event in batch
        if event.facets is not None and "only_endpoint" not in event.facets
    }
