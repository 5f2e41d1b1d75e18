# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is: which endpoints have something due and room for it, and which deliveries go first.

Each statement hops along an index, so that it costs the same however many deliveries wait behind.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
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
    exists,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlmodel import Session, col

from twinning.dialects import Instant
from twinning.endpoints import IS_OPEN, Delivery, WebhookEndpoint, is_state
from twinning.pace import Pace
from twinning.terms import DeliveryState, Lane

# No endpoint may have more than so many deliveries in the senders' hands at once, so that a dead one
# cannot fill them; one that has failed so often since its last success has one, until it answers again.
MOST_IN_FLIGHT = 4

IS_PENDING = is_state(DeliveryState.PENDING)
IS_WAITING = IS_PENDING & col(Delivery.leased_by).is_(None)
# Whoever changes the state of a leased delivery ends the lease, so this says nothing of the state: with
# it SQLite would rather walk all of an endpoint's pending deliveries than the few in the senders' hands.
IS_LEASED = col(Delivery.leased_by).is_not(None)
MOMENT = bindparam("moment", type_=Instant())


def pick_endpoints(session: Session, most: int, moment: datetime) -> Sequence[str]:
    """Lock endpoints with something due and room for more, those with the least in the air first.

    Whoever claims for an endpoint holds its row, so that two senders never count the same room; who
    finds it held leaves that endpoint to the other.
    """
    return session.connection().execute(_picking(), {"moment": moment, "most": most}).scalars().all()


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
    # What waits for an endpoint that is not open, as what came back from a lost sender may, waits on.
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


def choose(session: Session, picked: Sequence[str], most: int, moment: datetime) -> list[str]:
    """Choose among the locked endpoints' due deliveries: each endpoint's first, then each one's second."""
    ranks = {endpoint_id: rank for rank, endpoint_id in enumerate(picked)}
    turns = []
    paces: dict[str, Pace] = {}
    for endpoint_id, room, in_air, rate, clock, *places in session.connection().execute(
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
