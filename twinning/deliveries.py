# SPDX-License-Identifier: Apache-2.0
"""Deliveries on their way into the senders' hands: what is due is taken in turn, under a lease and a fence.

What claims locks never waits for a lock: it skips what somebody else holds. `outcomes.py` writes what
became of the attempts.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Row,
    ScalarSelect,
    Select,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)
from sqlmodel import Session, col

from twinning import endpoints, keyring, verification
from twinning.database import Instant, now
from twinning.endpoints import Attempt, Delivery, WebhookEndpoint, is_state
from twinning.events import EventType
from twinning.outbox import StoredEvent
from twinning.pace import Pace
from twinning.terms import DeliveryState, Lane

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
# What waits for another endpoint, as what came back from a lost sender may, waits on.
IS_OPEN = col(WebhookEndpoint.enabled) & col(WebhookEndpoint.challenge).is_(None)
MOMENT = bindparam("moment", type_=Instant())


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
    query = select(func.min(col(Delivery.due_at))).where(IS_PENDING)
    if after is None:
        return session.scalar(query)
    paced = select(func.min(col(WebhookEndpoint.rate_clock))).where(col(WebhookEndpoint.rate_clock) > after)
    moments = session.execute(
        select(query.where(col(Delivery.due_at) > after).scalar_subquery(), paced.scalar_subquery())
    ).one()
    return min((moment for moment in moments if moment is not None), default=None)


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
        .returning(
            col(Delivery.id),
            col(Delivery.fence),
            col(Delivery.tries),
            col(Delivery.tries_before),
            col(Delivery.lane),
        )
        .execution_options(synchronize_session=False)
    )
    taken = {row.id: row for row in session.execute(statement)}
    if not taken:
        return []
    begun = [
        {"delivery_id": id_, "number": row.tries, "started_at": moment, "error": endpoints.INTERRUPTED}
        for id_, row in taken.items()
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
    may_begin = or_(IS_OPEN, _any(Lane.TEST))
    in_pace = or_(col(WebhookEndpoint.rate_clock).is_(None), col(WebhookEndpoint.rate_clock) <= MOMENT)
    return (
        select(col(WebhookEndpoint.id))
        .join(waiting, waiting.c.endpoint_id == col(WebhookEndpoint.id))
        .where(may_begin, in_pace, oldest <= MOMENT, in_air < _room())
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
    """Say how many deliveries of an endpoint may be in the air: one that ails, or catches up, has one."""
    alone = or_(col(WebhookEndpoint.failures) >= MOST_IN_FLIGHT, _any(Lane.IN_ORDER))
    return case((alone, 1), else_=MOST_IN_FLIGHT)


def _any(lane: Lane) -> ColumnElement[bool]:
    """Ask whether an endpoint has anything to be sent in a special lane, in the air or not."""
    # The second condition tells the databases that the index of special lanes fits.
    return (
        exists()
        .where(
            col(Delivery.endpoint_id) == col(WebhookEndpoint.id),
            IS_PENDING,
            col(Delivery.lane) != literal_column(f"'{Lane.USUAL}'"),
            col(Delivery.lane) == literal_column(f"'{lane}'"),
        )
        .correlate(WebhookEndpoint)
    )


def _choose(session: Session, picked: Sequence[str], most: int, moment: datetime) -> list[str]:
    """Choose among the locked endpoints' due deliveries: each endpoint's first, then each one's second."""
    ranks = {endpoint_id: rank for rank, endpoint_id in enumerate(picked)}
    turns = []
    paces: dict[str, Pace] = {}
    for endpoint_id, room, in_air, rate, clock, *places in session.execute(
        _choosing(), {"moment": moment, "picked": picked}
    ):
        free = max(0, room - in_air)
        if rate is not None:
            paces[endpoint_id] = Pace(rate, clock, moment)
            free = min(free, paces[endpoint_id].free)
        turns += [
            (in_air + turn, ranks[endpoint_id], delivery_id, endpoint_id)
            for turn, delivery_id in enumerate(places[:free])
            if delivery_id is not None
        ]
    chosen = sorted(turns)[:most]
    begun = Counter(endpoint_id for *_, endpoint_id in chosen if endpoint_id in paces)
    for endpoint_id, count in sorted(begun.items()):
        clock = update(WebhookEndpoint).where(col(WebhookEndpoint.id) == endpoint_id)
        session.execute(clock.values(rate_clock=paces[endpoint_id].after(count)))
    return [delivery_id for _, _, delivery_id, _ in chosen]


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
                or_(IS_OPEN, col(Delivery.lane) == literal_column(f"'{Lane.TEST}'")),
            )
            .order_by(col(Delivery.due_at), col(Delivery.id))
            .limit(1)
            .offset(number)
            .correlate(WebhookEndpoint)
            .scalar_subquery()
        )

    pace = (col(WebhookEndpoint.rate_per_second), col(WebhookEndpoint.rate_clock))
    columns: list[Any] = [
        col(WebhookEndpoint.id), _room(), _in_air(), *pace, *map(place, range(MOST_IN_FLIGHT))
    ]  # fmt: skip
    return select(*columns).where(col(WebhookEndpoint.id).in_(bindparam("picked", expanding=True)))


def _read(session: Session, taken: Mapping[str, Row[Any]], moment: datetime) -> list[Sending]:
    """Read what the taken deliveries need to be sent, in the order of their events."""
    body = func.coalesce(col(StoredEvent.thin), col(StoredEvent.body))
    query = (
        select(col(Delivery.id), col(Delivery.endpoint_id), col(StoredEvent.id), col(StoredEvent.type), body)
        .join(StoredEvent, col(StoredEvent.id) == col(Delivery.event_id))
        .where(col(Delivery.id).in_(taken))
        .order_by(col(StoredEvent.sequence))
    )
    rows = session.execute(query).all()
    receivers = select(WebhookEndpoint).where(col(WebhookEndpoint.id).in_({row[1] for row in rows}))
    known = {
        row.id: (row.url, keyring.headers_of(session, row), keyring.live_secrets(session, row, moment))
        for row in session.scalars(receivers)
    }
    sendings = []
    for id_, endpoint_id, event_id, event_type, text in rows:
        url, headers, secrets = known[endpoint_id]
        asks = event_type == EventType.WEBHOOK_ENDPOINT_VERIFICATION
        sendings.append(
            Sending(
                delivery_id=id_,
                endpoint_id=endpoint_id,
                event_id=event_id,
                fence=taken[id_].fence,
                number=taken[id_].tries,
                turn=taken[id_].tries - taken[id_].tries_before,
                lane=Lane(taken[id_].lane),
                challenge=verification.challenge_in(text) if asks else None,
                url=url,
                headers=headers,
                secrets=secrets,
                body=text.encode(),
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
