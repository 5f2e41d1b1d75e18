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

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    ScalarSelect,
    Select,
    bindparam,
    case,
    func,
    insert,
    select,
    update,
)
from sqlmodel import Session, col

from twinning import endpoints, tallies
from twinning.database import Instant, now
from twinning.endpoints import Attempt, Delivery, WebhookEndpoint, is_state
from twinning.outbox import StoredEvent
from twinning.terms import DeliveryState

# No endpoint may have more than so many deliveries in the senders' hands at once, so that a dead one
# cannot fill them; one that has failed so often since its last success has one, until it answers again.
MOST_IN_FLIGHT = 4
# A delivery that ended so many senders before they could write an outcome is not tried again.
MOST_TRIES = 20

IS_PENDING = is_state(DeliveryState.PENDING)
IS_WAITING = IS_PENDING & col(Delivery.leased_by).is_(None)
# Whoever changes the state of a leased delivery ends the lease, so this says nothing of the state: with
# it SQLite would rather walk all of an endpoint's pending deliveries than the few in the senders' hands.
IS_LEASED = col(Delivery.leased_by).is_not(None)
MOMENT = bindparam("moment", type_=Instant())


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


def next_due(session: Session, after: datetime | None = None) -> datetime | None:
    """Tell when a delivery is due next, or a lease ends: the first of all, or the first after a moment."""
    query = select(func.min(col(Delivery.due_at))).where(IS_PENDING)
    if after is not None:
        query = query.where(col(Delivery.due_at) > after)
    return session.scalar(query)


def take_due(session: Session, sender: str, most: int, lease_s: float) -> list[Sending]:
    """Take up to `most` due deliveries, in turn between endpoints, with their attempts begun."""
    moment = now()
    _take_back(session, moment)
    picked = _pick_endpoints(session, most, moment)
    chosen = _choose(session, picked, most, moment) if picked else []
    if not chosen:
        return []
    statement = (
        update(Delivery)
        .where(col(Delivery.id).in_(chosen), IS_WAITING)
        .values(
            due_at=moment + timedelta(seconds=lease_s),
            fence=Delivery.fence + 1,
            tries=Delivery.tries + 1,
            leased_by=sender,
        )
        .returning(col(Delivery.id), col(Delivery.fence), col(Delivery.tries))
        .execution_options(synchronize_session=False)
    )
    taken = {row[0]: (row[1], row[2]) for row in session.execute(statement)}
    if not taken:
        return []
    begun = [
        {"delivery_id": id_, "number": number, "started_at": moment, "error": endpoints.INTERRUPTED}
        for id_, (_, number) in taken.items()
    ]
    # With RETURNING the rows go in one statement rather than one each.
    session.connection().execute(insert(Attempt).returning(col(Attempt.number)), begun)
    return _read(session, taken, moment)


def _take_back(session: Session, moment: datetime) -> None:
    """Free the deliveries of senders that are gone; one that has ended too many of them is given up."""
    lost = select(col(Delivery.id)).where(IS_LEASED, col(Delivery.due_at) <= moment)
    ids = session.scalars(lost.with_for_update(skip_locked=True)).all()
    if not ids:
        return
    spent = col(Delivery.tries) >= MOST_TRIES
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


def _pick_endpoints(session: Session, most: int, moment: datetime) -> Sequence[str]:
    """Lock endpoints with something due and room for more, those with the least in the air first.

    Whoever claims for an endpoint holds its row, so that two senders never count the same room; who
    finds it held leaves that endpoint to the other.
    """
    return session.scalars(_picking(), {"moment": moment, "most": most}).all()


@cache
def _picking() -> Select[Any]:
    """Build the statement once: laying it out takes longer than its answer."""
    waiting = _endpoints_waited_for()
    oldest = (
        select(func.min(col(Delivery.due_at)))
        .where(col(Delivery.endpoint_id) == col(WebhookEndpoint.id), IS_WAITING)
        .correlate(WebhookEndpoint)
        .scalar_subquery()
    )
    in_air = _in_air()
    return (
        select(col(WebhookEndpoint.id))
        .join(waiting, waiting.c.endpoint_id == col(WebhookEndpoint.id))
        .where(col(WebhookEndpoint.enabled), oldest <= MOMENT, in_air < _room())
        .order_by(in_air, oldest, col(WebhookEndpoint.id))
        .limit(bindparam("most", type_=Integer))
        .with_for_update(of=WebhookEndpoint, key_share=True, skip_locked=True)
    )


def _endpoints_waited_for() -> CTE:
    """List the endpoints that anything waits for, hopping from one to the next along the index.

    A DISTINCT would read every waiting delivery, of which one dead endpoint may have a million.
    """
    first = select(func.min(col(Delivery.endpoint_id)).label("endpoint_id")).where(IS_WAITING)
    found = first.cte("waited_for", recursive=True)
    after = (
        select(func.min(col(Delivery.endpoint_id)))
        .where(IS_WAITING, col(Delivery.endpoint_id) > found.c.endpoint_id)
        .correlate(found)
        .scalar_subquery()
    )
    return found.union_all(select(after).where(found.c.endpoint_id.is_not(None)))


def _in_air() -> ScalarSelect[int]:
    """Count an endpoint's deliveries that senders have in their hands."""
    return (
        select(func.count())
        .select_from(Delivery)
        .where(col(Delivery.endpoint_id) == col(WebhookEndpoint.id), IS_LEASED)
        .correlate(WebhookEndpoint)
        .scalar_subquery()
    )


def _room() -> ColumnElement[int]:
    """Say how many deliveries of an endpoint may be in the air."""
    return case((col(WebhookEndpoint.failures) >= MOST_IN_FLIGHT, 1), else_=MOST_IN_FLIGHT)


def _choose(session: Session, picked: Sequence[str], most: int, moment: datetime) -> list[str]:
    """Choose among the locked endpoints' due deliveries: each endpoint's first, then each one's second."""
    ranks = {endpoint_id: rank for rank, endpoint_id in enumerate(picked)}
    turns = [
        (in_air + turn, ranks[endpoint_id], delivery_id)
        for endpoint_id, room, in_air, *places in session.execute(
            _choosing(), {"moment": moment, "picked": picked}
        )
        for turn, delivery_id in enumerate(places[: max(0, room - in_air)])
        if delivery_id is not None
    ]
    return [delivery_id for _, _, delivery_id in sorted(turns)[:most]]


@cache
def _choosing() -> Select[Any]:
    """Build the statement that gives endpoints with their room, what is in the air, and what is due."""

    def place(number: int) -> ScalarSelect[str]:
        # One hop along the index for each place costs the same however many wait behind it.
        return (
            select(col(Delivery.id))
            .where(
                col(Delivery.endpoint_id) == col(WebhookEndpoint.id),
                IS_WAITING,
                col(Delivery.due_at) <= MOMENT,
            )
            .order_by(col(Delivery.due_at), col(Delivery.id))
            .limit(1)
            .offset(number)
            .correlate(WebhookEndpoint)
            .scalar_subquery()
        )

    columns: list[Any] = [col(WebhookEndpoint.id), _room(), _in_air(), *map(place, range(MOST_IN_FLIGHT))]
    return select(*columns).where(col(WebhookEndpoint.id).in_(bindparam("picked", expanding=True)))


def _read(session: Session, taken: Mapping[str, tuple[int, int]], moment: datetime) -> list[Sending]:
    """Read what the taken deliveries need to be sent, in the order of their events."""
    query = (
        select(col(Delivery.id), col(Delivery.endpoint_id), col(StoredEvent.id), col(StoredEvent.body))
        .join(StoredEvent, col(StoredEvent.id) == col(Delivery.event_id))
        .where(col(Delivery.id).in_(taken))
        .order_by(col(StoredEvent.sequence))
    )
    rows = session.execute(query).all()
    receivers = select(WebhookEndpoint).where(col(WebhookEndpoint.id).in_({row[1] for row in rows}))
    by_id = {row.id: row for row in session.scalars(receivers)}
    sendings = []
    for id_, endpoint_id, event_id, body in rows:
        receiver, (fence, number) = by_id[endpoint_id], taken[id_]
        secrets = endpoints.live_secrets(receiver, moment)
        sendings.append(
            Sending(
                delivery_id=id_,
                endpoint_id=endpoint_id,
                event_id=event_id,
                fence=fence,
                number=number,
                url=receiver.url,
                headers=receiver.headers,
                secrets=secrets,
                body=body.encode(),
            )
        )
    return sendings


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
