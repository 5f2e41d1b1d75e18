# SPDX-License-Identifier: Apache-2.0
"""Deliveries on their way into the senders' hands: what is due is taken in turn, under a lease and a fence.

What claims locks never waits for a lock: it skips what somebody else holds. `outcomes.py` writes what
became of the attempts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, case, func, select, update
from sqlalchemy.sql.dml import ReturningUpdate
from sqlmodel import Session, col

from twinning import endpoints, keyring, tallies, verification
from twinning.database import now
from twinning.dialects import Instant
from twinning.endpoints import Attempt, Delivery, WebhookEndpoint
from twinning.events import EventType
from twinning.inserting import insert_all
from twinning.outbox import StoredEvent
from twinning.terms import DeliveryState, Lane
from twinning.turns import IS_LEASED, IS_PENDING, IS_WAITING, MOMENT, choose, pick_endpoints

# A delivery that ended so many senders before they could write an outcome is not tried again.
MOST_TRIES = 20


@dataclass(frozen=True, slots=True)
class Sending:
    """A claimed delivery with all that is needed to send it."""

    delivery_id: str
    endpoint_id: str
    event_id: str
    fence: int
    number: int
    # The attempt's place in the schedule, which is not its number in the log once a delivery was sent again.
    turn: int
    lane: Lane
    # What the receiver must echo for this to count as delivered.
    challenge: str | None
    url: str
    headers: dict[str, str]
    secrets: tuple[str, ...]
    body: bytes


def next_due(session: Session, after: datetime | None = None) -> datetime | None:
    """Tell when a delivery is due next, or a lease ends: the first of all, or the first after a moment.

    After a moment it may also be that an endpoint's rate lets the next of its due deliveries begin.
    """
    connection = session.connection()
    if after is None:
        first: datetime | None = connection.execute(_first_due()).scalar()
        return first
    moments = connection.execute(_due_after(), {"after": after}).one()
    return min((moment for moment in moments if moment is not None), default=None)


@cache
def _first_due() -> Select[Any]:
    """Build the statement once that tells when a delivery is due first."""
    return select(func.min(col(Delivery.due_at))).where(IS_PENDING)


@cache
def _due_after() -> Select[Any]:
    """Build the statement once that tells when something is due after a moment, and when a rate lets it."""
    after = bindparam("after", type_=Instant())
    due = _first_due().where(col(Delivery.due_at) > after)
    paced = select(func.min(col(WebhookEndpoint.rate_clock))).where(col(WebhookEndpoint.rate_clock) > after)
    return select(due.scalar_subquery(), paced.scalar_subquery())


def take_due(session: Session, sender: str, most: int, lease_s: float) -> list[Sending]:
    """Take up to `most` due deliveries, in turn between endpoints, with their attempts begun."""
    moment = now()
    # What this transaction has changed so far is asked for by plain statements.
    session.flush()
    _take_back(session, moment)
    picked = pick_endpoints(session, most, moment)
    chosen = choose(session, picked, most, moment) if picked else []
    if not chosen:
        return []
    until = moment + timedelta(seconds=lease_s)
    lease = {"chosen": chosen, "until": until, "sender": sender}
    taken = {row.id: row for row in session.connection().execute(_taking(), lease)}
    if not taken:
        return []
    begun = [
        {"delivery_id": id_, "number": row.tries, "started_at": moment, "error": endpoints.INTERRUPTED}
        for id_, row in taken.items()
    ]
    insert_all(session, Attempt, begun)
    return _read(session, taken, moment)


@cache
def _taking() -> ReturningUpdate[str, int, int, int, str]:
    """Build the statement once that puts deliveries into a sender's hands."""
    return (
        update(Delivery)
        .where(col(Delivery.id).in_(bindparam("chosen", expanding=True)), IS_WAITING)
        .values(
            due_at=bindparam("until"),
            fence=Delivery.fence + 1,
            tries=Delivery.tries + 1,
            leased_by=bindparam("sender"),
        )
        .returning(
            col(Delivery.id),
            col(Delivery.fence),
            col(Delivery.tries),
            col(Delivery.tries_before),
            col(Delivery.lane),
        )
    )


def _take_back(session: Session, moment: datetime) -> None:
    """Free the deliveries of senders that are gone; one that has ended too many of them is given up."""
    ids = session.connection().execute(_lost(), {"moment": moment}).scalars().all()
    if not ids:
        return
    spent = col(Delivery.tries) - col(Delivery.tries_before) >= MOST_TRIES
    session.execute(
        update(Delivery)
        .where(col(Delivery.id).in_(ids))
        .values(
            state=case((spent, DeliveryState.EXHAUSTED.value), else_=DeliveryState.PENDING.value),
            due_at=case((spent, None), else_=col(Delivery.due_at)),
            leased_by=None,
            updated_at=moment,
        )
        .execution_options(synchronize_session=False)
    )
    tallies.count(session, {(tallies.LEASES_EXPIRED, ""): len(ids)})


@cache
def _lost() -> Select[str]:
    """Build the statement once that locks the deliveries whose lease has ended."""
    lost = select(col(Delivery.id)).where(IS_LEASED, col(Delivery.due_at) <= MOMENT)
    return lost.with_for_update(skip_locked=True)


def _read(session: Session, taken: Mapping[str, Any], moment: datetime) -> list[Sending]:
    """Read what the taken deliveries need to be sent, in the order of their events."""
    sendings = []
    known: dict[str, Any] = {}
    for row in session.connection().execute(_reading(), {"taken": list(taken)}):
        if row.id not in known:
            known[row.id] = keyring.headers_of(session, row), keyring.live_secrets(session, row, moment)
        headers, secrets = known[row.id]
        lease = taken[row.delivery_id]
        asks = row.type == EventType.WEBHOOK_ENDPOINT_VERIFICATION
        sendings.append(
            Sending(
                delivery_id=row.delivery_id,
                endpoint_id=row.id,
                event_id=row.event_id,
                fence=lease.fence,
                number=lease.tries,
                turn=lease.tries - lease.tries_before,
                lane=Lane(lease.lane),
                challenge=verification.challenge_in(row.body) if asks else None,
                url=row.url,
                headers=headers,
                secrets=secrets,
                body=row.body.encode(),
            )
        )
    return sendings


@cache
def _reading() -> Select[Any]:
    """Build the statement once that reads what is sent, where, and what signs it, in the events' order."""
    columns: list[Any] = [
        col(Delivery.id).label("delivery_id"),
        col(StoredEvent.id).label("event_id"),
        StoredEvent.type,
        func.coalesce(col(StoredEvent.thin), col(StoredEvent.body)).label("body"),
        # The endpoint, by the names that its keyring knows.
        WebhookEndpoint.id,
        WebhookEndpoint.url,
        WebhookEndpoint.headers,
        WebhookEndpoint.secrets,
        WebhookEndpoint.key_id,
    ]
    return (
        select(*columns)
        .select_from(Delivery)
        .join(StoredEvent, col(StoredEvent.id) == col(Delivery.event_id))
        .join(WebhookEndpoint, col(WebhookEndpoint.id) == col(Delivery.endpoint_id))
        .where(col(Delivery.id).in_(bindparam("taken", expanding=True)))
        .order_by(col(StoredEvent.sequence))
    )


def give_back(session: Session, sendings: Sequence[Sending]) -> None:
    """Let go of deliveries whose attempt was broken off: they are due now, for the next sender to take."""
    statement = (
        update(Delivery)
        .where(
            col(Delivery.id) == bindparam("delivery"), col(Delivery.fence) == bindparam("under"), IS_LEASED
        )
        .values(due_at=now(), leased_by=None)
    )
    rows = [{"delivery": sending.delivery_id, "under": sending.fence} for sending in sendings]
    session.connection().execute(statement, sorted(rows, key=lambda row: str(row["delivery"])))
