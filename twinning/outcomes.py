# SPDX-License-Identifier: Apache-2.0
"""What became of attempts: written in batches to the log, the deliveries and the health of their endpoints.

Locks are taken in one order, endpoints before deliveries, each by id, as those do who change an
endpoint meanwhile; so nobody waits for each other in a circle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Select, Update, bindparam, literal_column, null, or_, select, update
from sqlmodel import Session, col

from twinning import switching, tallies, verification
from twinning.database import made_at, now
from twinning.deliveries import Sending
from twinning.endpoints import Attempt, Delivery, WebhookEndpoint
from twinning.events import EndpointNote, WebhookEndpointDisabled, WebhookEndpointFailing
from twinning.outbox import record
from twinning.terms import DeliveryState, Lane

# An endpoint that has failed so long without one success: its owner is warned, twice.
WARN_AFTER = (timedelta(hours=24), timedelta(hours=72))
# One that failed so often in so long without one success is switched off.
FAILING_TRIES = 10
GONE = 410
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
    # The receiver echoed its challenge, and that makes this delivered.
    echoed: bool = False


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
    closed = {row.id: row.enabled for row in ailing if not row.is_open}
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
    # What was sent again began long ago, which says nothing of how fast deliveries are.
    fresh = (o for o in known if o.sending.turn == o.sending.number)
    arrived = (o for o in fresh if o.state is DeliveryState.DELIVERED and _is_held(o, fences))
    lags = [(moment - made_at(outcome.sending.delivery_id)).total_seconds() for outcome in arrived]
    tallies.count_attempts(session, classes, lags)


def _lock_ailing(session: Session, outcomes: Sequence[Outcome]) -> Sequence[WebhookEndpoint]:
    """Lock, in order, the endpoints whose health these outcomes may change; there may be none."""
    failed = {o.sending.endpoint_id for o in outcomes if o.state is not DeliveryState.DELIVERED or o.echoed}
    all_of_them = {outcome.sending.endpoint_id for outcome in outcomes}
    named = {"failed": sorted(failed), "named": sorted(all_of_them)}
    ids = session.connection().execute(_ailing(), named).scalars().all()
    if not ids:
        return []
    locked = select(WebhookEndpoint).where(col(WebhookEndpoint.id).in_(ids)).order_by(col(WebhookEndpoint.id))
    return session.scalars(locked, execution_options={"populate_existing": True}).all()


@cache
def _ailing() -> Select[Any]:
    """Build the statement once that locks endpoints that have failed, now or since their last success."""
    query = select(col(WebhookEndpoint.id)).where(
        or_(
            col(WebhookEndpoint.id).in_(bindparam("failed", expanding=True)),
            col(WebhookEndpoint.id).in_(bindparam("named", expanding=True))
            & (col(WebhookEndpoint.failures) > 0),
        )
    )
    return query.order_by(col(WebhookEndpoint.id)).with_for_update(key_share=True)


def _lock(session: Session, outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Lock the deliveries, in order, and give their fences."""
    ids = {outcome.sending.delivery_id for outcome in outcomes}
    return {row[0]: row[1] for row in session.connection().execute(_locking(), {"ids": sorted(ids)})}


@cache
def _locking() -> Select[str, int]:
    """Build the statement once that locks deliveries."""
    query = select(col(Delivery.id), col(Delivery.fence))
    named = query.where(col(Delivery.id).in_(bindparam("ids", expanding=True)))
    return named.order_by(col(Delivery.id)).with_for_update(key_share=True)


def _is_held(outcome: Outcome, fences: Mapping[str, int]) -> bool:
    return fences.get(outcome.sending.delivery_id) == outcome.sending.fence


def _note_health(session: Session, row: WebhookEndpoint, outcomes: Sequence[Outcome]) -> None:
    """Keep an endpoint's count of failures since its last success; one that is gone or dead goes off."""
    if any(outcome.state is DeliveryState.DELIVERED for outcome in outcomes):
        row.failures, row.failing_since, row.warned = 0, None, 0
    elif outcomes:
        row.failures += len(outcomes)
        row.failing_since = row.failing_since or now()
    session.add(row)
    for outcome in outcomes:
        if outcome.echoed and outcome.sending.challenge is not None:
            verification.accept(session, row, outcome.sending.challenge)
    if not row.enabled:
        return
    if any(outcome.gone for outcome in outcomes):
        plainly = any(outcome.gone and outcome.status == GONE for outcome in outcomes)
        _switch_off(session, row, "gone", "It answered 410 Gone." if plainly else "It asked to be disabled.")
    else:
        _judge(session, row)


def _judge(session: Session, row: WebhookEndpoint) -> None:
    """Warn of an endpoint that has failed for long, each time once, or switch it off."""
    if row.failing_since is None:
        return
    failing_for = now() - row.failing_since
    if row.failures >= FAILING_TRIES and failing_for >= FAILING_FOR:
        _switch_off(session, row, "failing", f"It has failed for {FAILING_FOR.days} days without a success.")
        return
    warnings = sum(failing_for >= limit for limit in WARN_AFTER)
    if warnings > row.warned:
        row.warned = warnings
        session.add(row)
        hours = WARN_AFTER[warnings - 1] // timedelta(hours=1)
        note = EndpointNote(
            endpoint_id=row.id,
            url=row.url,
            message=f"It has failed for {hours} hours without a success. After "
            f"{FAILING_FOR // timedelta(hours=1)} hours it is switched off.",
        )
        record(session, WebhookEndpointFailing(data=note, owner=row.owner_id))


def any_to_judge(session: Session) -> bool:
    """Say whether an endpoint has failed for so long that something is to be done."""
    return session.execute(_to_judge().limit(1)).first() is not None


def judge_all(session: Session) -> None:
    """Look at every endpoint that has failed for long, also when nothing was sent to it for a while."""
    rows: Sequence[WebhookEndpoint] = session.scalars(
        _to_judge().with_for_update(key_share=True, skip_locked=True)
    ).all()
    for row in rows:
        _judge(session, row)


def _to_judge() -> Select[Any]:
    moment = now()
    since, enough = col(WebhookEndpoint.failing_since), col(WebhookEndpoint.failures) >= FAILING_TRIES
    warned = [
        (col(WebhookEndpoint.warned) <= number) & (since <= moment - limit)
        for number, limit in enumerate(WARN_AFTER)
    ]
    query = select(WebhookEndpoint).where(
        col(WebhookEndpoint.enabled), or_(*warned, enough & (since <= moment - FAILING_FOR))
    )
    return query.order_by(col(WebhookEndpoint.id))


def _switch_off(session: Session, row: WebhookEndpoint, because: str, message: str) -> None:
    switching.disable(session, row, because)
    note = EndpointNote(endpoint_id=row.id, url=row.url, message=message)
    record(session, WebhookEndpointDisabled(data=note, owner=row.owner_id))


def _write_states(
    session: Session, held: Sequence[Outcome], closed: Mapping[str, bool], moment: datetime
) -> None:
    """Write the new states; what would be tried again waits with its endpoint when that is off."""
    done = [o.sending.delivery_id for o in held if o.state is DeliveryState.DELIVERED]
    if done:
        # All of these get the same values, so that one statement does for however many.
        session.connection().execute(_delivering(), {"done": done, "moment": moment})
    others = [_new_state(o, closed) for o in held if o.state is not DeliveryState.DELIVERED]
    if others:
        change = update(Delivery).where(col(Delivery.id) == bindparam("delivery"))
        change = change.values(
            state=bindparam("to"),
            due_at=bindparam("at"),
            lane=bindparam("by"),
            leased_by=None,
            updated_at=moment,
        )
        session.connection().execute(change, others)


@cache
def _delivering() -> Update:
    """Build the statement once that writes deliveries down as delivered."""
    change = update(Delivery).where(col(Delivery.id).in_(bindparam("done", expanding=True)))
    return change.values(
        state=literal_column(f"'{DeliveryState.DELIVERED}'"),
        due_at=null(),
        leased_by=null(),
        updated_at=bindparam("moment"),
    )


def _new_state(outcome: Outcome, closed: Mapping[str, bool]) -> dict[str, Any]:
    """Say what becomes of a delivery that failed; `closed` names endpoints that hold, and those still on."""
    sending, state, due_at = outcome.sending, outcome.state, outcome.due_at
    # A challenge goes on being sent to an endpoint that is on; any other test has had its one attempt.
    lane = Lane.TEST if sending.challenge is not None else Lane.USUAL
    if state is DeliveryState.PENDING and sending.endpoint_id in closed:
        if sending.lane is not Lane.TEST:
            state, due_at = DeliveryState.HELD, None
        elif not closed[sending.endpoint_id]:
            state, due_at = DeliveryState.EXHAUSTED, None
    return {"delivery": sending.delivery_id, "to": state, "at": due_at, "by": lane}


def _write_log(session: Session, lines: Sequence[dict[str, Any]]) -> None:
    """Write attempts over what was written when they began."""
    if not lines:
        return
    session.connection().execute(_logging(), lines)


@cache
def _logging() -> Update:
    """Build the statement once that writes an attempt down."""
    change = update(Attempt).where(
        col(Attempt.delivery_id) == bindparam("of_delivery"), col(Attempt.number) == bindparam("of_number")
    )
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in LOGGED}
    return change.values(values)


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
