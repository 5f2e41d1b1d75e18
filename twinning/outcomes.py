# SPDX-License-Identifier: Apache-2.0
"""What became of attempts: written in batches to the log, the deliveries and the health of their endpoints.

Locks are taken in one order, endpoints before deliveries, each by id, as those do who change an
endpoint meanwhile; so nobody waits for each other in a circle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, or_, select, update
from sqlmodel import Session, col

from twinning import endpoints, tallies
from twinning.database import made_at, now
from twinning.deliveries import Sending
from twinning.endpoints import Attempt, Delivery, WebhookEndpoint
from twinning.events import EndpointNote, WebhookEndpointDisabled
from twinning.outbox import record
from twinning.terms import DeliveryState

# An endpoint that failed so often in so long without one success is switched off.
FAILING_TRIES = 10
FAILING_FOR = timedelta(hours=120)
LOGGED = ("duration_ms", "status", "error", "answer", "address", "next_attempt_at")


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


def settle(session: Session, outcomes: Sequence[Outcome]) -> set[str]:
    """Write what became of attempts; gives the ids of the deliveries whose fence still held.

    The log gets every outcome; a delivery and its endpoint are changed only under the fence that it was
    sent with, so that a sender which comes back from the dead cannot undo a newer result.
    """
    moment = now()
    ailing = _lock_ailing(session, outcomes)
    fences = _lock(session, outcomes)
    held = [outcome for outcome in outcomes if _is_held(outcome, fences)]
    for row in ailing:
        _note_health(session, row, [outcome for outcome in held if outcome.sending.endpoint_id == row.id])
    closed = {row.id for row in ailing if not row.enabled}
    _write_states(session, held, closed, moment)
    known = [outcome for outcome in outcomes if outcome.sending.delivery_id in fences]
    _write_log(session, [_log_line(outcome, held=_is_held(outcome, fences)) for outcome in known])
    _count(session, known, fences, moment)
    return {outcome.sending.delivery_id for outcome in held}


def _count(session: Session, known: Sequence[Outcome], fences: Mapping[str, int], moment: datetime) -> None:
    """Count the attempts by what came of them, and the time from each delivery's beginning to its arrival."""
    classes = [
        (outcome.error or "delivered") if _is_held(outcome, fences) else "stale_lease" for outcome in known
    ]
    arrived = (o for o in known if o.state is DeliveryState.DELIVERED and _is_held(o, fences))
    lags = [(moment - made_at(outcome.sending.delivery_id)).total_seconds() for outcome in arrived]
    tallies.count_attempts(session, classes, lags)


def _lock_ailing(session: Session, outcomes: Sequence[Outcome]) -> Sequence[WebhookEndpoint]:
    """Lock, in order, the endpoints whose health these outcomes may change; there may be none."""
    failed = {o.sending.endpoint_id for o in outcomes if o.state is not DeliveryState.DELIVERED}
    all_of_them = {outcome.sending.endpoint_id for outcome in outcomes}
    query = select(WebhookEndpoint).where(
        or_(
            col(WebhookEndpoint.id).in_(failed),
            col(WebhookEndpoint.id).in_(all_of_them) & (col(WebhookEndpoint.failures) > 0),
        )
    )
    return session.scalars(
        query.order_by(col(WebhookEndpoint.id)).with_for_update(key_share=True),
        execution_options={"populate_existing": True},
    ).all()


def _lock(session: Session, outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Lock the deliveries, in order, and give their fences."""
    ids = {outcome.sending.delivery_id for outcome in outcomes}
    query = select(col(Delivery.id), col(Delivery.fence)).where(col(Delivery.id).in_(ids))
    return {row[0]: row[1] for row in session.execute(query.order_by(col(Delivery.id)).with_for_update())}


def _is_held(outcome: Outcome, fences: Mapping[str, int]) -> bool:
    return fences.get(outcome.sending.delivery_id) == outcome.sending.fence


def _note_health(session: Session, row: WebhookEndpoint, outcomes: Sequence[Outcome]) -> None:
    """Keep an endpoint's count of failures since its last success; one that is gone or dead goes off."""
    if any(outcome.state is DeliveryState.DELIVERED for outcome in outcomes):
        row.failures, row.failing_since = 0, None
    elif outcomes:
        row.failures += len(outcomes)
        row.failing_since = row.failing_since or now()
    session.add(row)
    if not row.enabled:
        return
    if any(outcome.gone for outcome in outcomes):
        _switch_off(session, row, "gone", "It answered 410 Gone.")
    elif row.failing_since and row.failures >= FAILING_TRIES and now() - row.failing_since >= FAILING_FOR:
        _switch_off(session, row, "failing", f"It has failed for {FAILING_FOR.days} days without a success.")


def _switch_off(session: Session, row: WebhookEndpoint, because: str, message: str) -> None:
    endpoints.disable(session, row, because)
    note = EndpointNote(endpoint_id=row.id, url=row.url, message=message)
    record(session, WebhookEndpointDisabled(data=note, owner=row.owner_id))


def _write_states(session: Session, held: Sequence[Outcome], closed: set[str], moment: datetime) -> None:
    """Write the new states; what would be tried again waits with its endpoint when that is off."""
    done = [o.sending.delivery_id for o in held if o.state is DeliveryState.DELIVERED]
    if done:
        # All of these get the same values, so that one statement does for however many.
        change = update(Delivery).where(col(Delivery.id).in_(done))
        values = {"state": DeliveryState.DELIVERED, "due_at": None, "leased_by": None, "updated_at": moment}
        session.connection().execute(change.values(values))
    others = [_new_state(o, closed) for o in held if o.state is not DeliveryState.DELIVERED]
    if others:
        change = update(Delivery).where(col(Delivery.id) == bindparam("delivery"))
        change = change.values(
            state=bindparam("to"), due_at=bindparam("at"), leased_by=None, updated_at=moment
        )
        session.connection().execute(change, others)


def _new_state(outcome: Outcome, closed: set[str]) -> dict[str, Any]:
    wait = outcome.state is DeliveryState.PENDING and outcome.sending.endpoint_id in closed
    return {
        "delivery": outcome.sending.delivery_id,
        "to": DeliveryState.HELD if wait else outcome.state,
        "at": None if wait else outcome.due_at,
    }


def _write_log(session: Session, lines: Sequence[dict[str, Any]]) -> None:
    """Write attempts over what was written when they began."""
    if not lines:
        return
    change = update(Attempt).where(
        col(Attempt.delivery_id) == bindparam("of_delivery"), col(Attempt.number) == bindparam("of_number")
    )
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in LOGGED}
    session.connection().execute(change.values(values), lines)


def _log_line(outcome: Outcome, *, held: bool) -> dict[str, Any]:
    return {
        "of_delivery": outcome.sending.delivery_id,
        "of_number": outcome.sending.number,
        "new_duration_ms": outcome.duration_ms,
        "new_status": outcome.status,
        "new_error": outcome.error if held else "stale_lease",
        "new_answer": outcome.answer,
        "new_address": outcome.address,
        "new_next_attempt_at": outcome.due_at if held else None,
    }
