# SPDX-License-Identifier: Apache-2.0
"""Switching endpoints off and on, and what becomes of their deliveries: held, released, sent again.

Others write deliveries meanwhile. They look at the endpoints while they hold the log, so what waits is held
or released under the log as well, last in the transaction: each delivery is either seen here, or its writer
sees the switch.
"""

from collections.abc import Callable, Sequence

from sqlalchemy import Update, case, update
from sqlmodel import Session, col

from twinning.database import before_commit, hold_log, now, ring_after
from twinning.endpoints import Delivery, WebhookEndpoint
from twinning.terms import Bell, DeliveryState, Lane


def disable(session: Session, row: WebhookEndpoint, because: str) -> None:
    """Switch an endpoint off; what waits for it is held, and what is under way follows when it comes back."""
    row.enabled = False
    row.disabled_because = because
    row.updated_at = now()
    row.version += 1
    session.add(row)
    session.flush()
    hold_back(session, row.id)


def enable(session: Session, row: WebhookEndpoint) -> None:
    """Switch an endpoint on; what was held for it goes out, unless it has still to prove itself."""
    row.enabled = True
    row.disabled_because = None
    row.failing_since = None
    row.failures = 0
    row.warned = 0
    session.add(row)
    session.flush()
    if row.is_open:
        release(session, row.id)


def hold_back(session: Session, endpoint_id: str) -> None:
    """Hold, at the commit, what waits for an endpoint; the caller holds the endpoint."""
    _switch(session, endpoint_id, _hold_back)


def release(session: Session, endpoint_id: str) -> None:
    """Have what was held for an endpoint sent after the commit, one by one in the order of the events."""
    _switch(session, endpoint_id, _release)


def _switch(session: Session, endpoint_id: str, move: Callable[[Session, str], None]) -> None:
    session.info.setdefault("switches", []).append((move, endpoint_id))
    before_commit(session, "switches", _move)


def _move(session: Session) -> None:
    """Hold and release, in the order in which it was asked for."""
    hold_log(session)
    for move, endpoint_id in session.info.pop("switches", []):
        move(session, endpoint_id)


def _hold_back(session: Session, endpoint_id: str) -> None:
    values = {"state": DeliveryState.HELD, "due_at": None, "updated_at": now()}
    session.execute(_unleased(endpoint_id, DeliveryState.PENDING).values(values))


def _release(session: Session, endpoint_id: str) -> None:
    moment = now()
    values = {"state": DeliveryState.PENDING, "due_at": moment, "updated_at": moment}
    anew = _unleased(endpoint_id, DeliveryState.HELD).values(
        lane=Lane.IN_ORDER, tries_before=Delivery.tries, **values
    )
    session.execute(anew)
    ring_after(session, Bell.DELIVER)


def _unleased(endpoint_id: str, state: DeliveryState) -> Update:
    return update(Delivery).where(
        col(Delivery.endpoint_id) == endpoint_id,
        col(Delivery.state) == state,
        col(Delivery.leased_by).is_(None),
    )


def send_again(session: Session, delivery_ids: Sequence[str], state: DeliveryState) -> None:
    """Have deliveries sent again by a whole new schedule: now (`pending`), or when released (`held`).

    The caller holds the endpoint and the deliveries.
    """
    moment = now()
    due_at = moment if state is DeliveryState.PENDING else None
    # A test stays one: a challenge must reach an endpoint that gets nothing else.
    lane = case((col(Delivery.lane) == Lane.TEST, Lane.TEST.value), else_=Lane.USUAL.value)
    anew = {"state": state, "due_at": due_at, "lane": lane, "updated_at": moment}
    again = update(Delivery).where(col(Delivery.id).in_(delivery_ids))
    session.execute(again.values(tries_before=Delivery.tries, **anew))
    ring_after(session, Bell.DELIVER)
