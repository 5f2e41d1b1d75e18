# SPDX-License-Identifier: Apache-2.0
"""What there is to measure of the house as a whole, read from the database at the moment of asking."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import and_, exists, func
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from twinning import tallies, workers
from twinning.database import now
from twinning.deliveries import IS_PENDING, IS_WAITING
from twinning.endpoints import Delivery, WebhookEndpoint
from twinning.terms import Work
from twinning.work import WorkUnit

# With a worker about, nothing that could be sent at once waits so long.
STUCK_AFTER: Final = timedelta(seconds=60)
MOST_LOOKED_AT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Measures:
    """One look at the house; times are in seconds."""

    deliveries_due: int
    # Of the newest of those, the ones that nobody has begun to send.
    unpublished: int
    oldest_due_s: float
    work_due: dict[Work, int]
    workers: dict[str, int]
    tallies: dict[str, dict[str, int]]


def measure(session: Session) -> Measures:
    """Look at everything, in a few short queries along indexes."""
    moment = now()
    is_due = and_(IS_PENDING, col(Delivery.due_at) <= moment)
    deliveries_due, oldest = session.exec(select(func.count(), func.min(Delivery.due_at)).where(is_due)).one()
    # How often each was tried is in no index.
    newest = select(Delivery.tries).where(is_due).order_by(col(Delivery.due_at).desc()).limit(MOST_LOOKED_AT)
    tried = newest.subquery()
    unpublished = session.scalar(select(func.count()).select_from(tried).where(tried.c.tries == 0))
    waiting = select(WorkUnit.kind, func.count()).where(col(WorkUnit.due_at) <= moment)
    by_kind = dict(session.exec(waiting.group_by(col(WorkUnit.kind))).all())
    return Measures(
        deliveries_due=deliveries_due,
        unpublished=unpublished or 0,
        oldest_due_s=0.0 if oldest is None else max(0.0, (moment - oldest).total_seconds()),
        work_due={kind: by_kind.get(kind, 0) for kind in Work},
        workers=workers.living(session),
        tallies=tallies.read(session),
    )


def stuck_since(session: Session) -> datetime | None:
    """Give since when a delivery waits that could be sent at once: then those who send are not at work.

    A receiver that fails, is slow or has a rate of its own lets its deliveries wait, and that is in order.
    """
    other = aliased(Delivery)
    in_the_air = exists().where(
        col(other.endpoint_id) == col(WebhookEndpoint.id), col(other.leased_by).is_not(None)
    )
    idle = (
        select(func.min(Delivery.due_at))
        .join(WebhookEndpoint, col(WebhookEndpoint.id) == Delivery.endpoint_id)
        .where(
            IS_WAITING,
            col(Delivery.due_at) <= now() - STUCK_AFTER,
            col(WebhookEndpoint.enabled),
            WebhookEndpoint.failures == 0,
            col(WebhookEndpoint.rate_per_second).is_(None),
            ~in_the_air,
        )
    )
    return session.exec(idle).one()
