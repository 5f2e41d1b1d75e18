# SPDX-License-Identifier: Apache-2.0
"""Letting go of what has been kept long enough, in short transactions, so that no writer is held up for long.

Nothing goes that anything still points to, and whatever is locked is left for the next time.

- An event is in the feed for 30 days. Its row stays as long as a delivery of it does, and a little longer
  than the feed for those who replay it.
- A delivery that is over goes with its attempts 90 days after its last change; one that waits never does.
- An import that has ended goes with what was refused of it after 90 days; its file went when it ended.
- What is held for an endpoint that is off for 30 days is given up.
- Of the catalogue's changes the last one of each subject stays for ever: a worker that was away reads which
  things have changed, and how often they did is nothing to it. So there is no gap, however long it was away.
- An entry of the audit log goes after two years.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, exists, func, or_, select, update
from sqlmodel import Session, col

from twinning import audit
from twinning.audit import AuditEntry
from twinning.catalogue import Change, TermCounts
from twinning.database import Database, now
from twinning.endpoints import Attempt, Delivery, WebhookEndpoint, is_state
from twinning.imports import ENDED as IMPORT_ENDED
from twinning.imports import Import, ImportRefusal
from twinning.listings import Listing
from twinning.many_rows import in_batches
from twinning.outbox import FEED_KEEPS, EventCity, StoredEvent
from twinning.rounds import ENDED, MatchingRound, RoundBlock
from twinning.terms import DeliveryState, ListingState

LOG_KEEPS: Final = timedelta(days=90)
HELD_KEEPS: Final = timedelta(days=30)
# A replay reaches back a day further than the feed, and may be under way.
EVENTS_KEEP: Final = FEED_KEEPS + timedelta(days=2)
CHANGES_KEEP: Final = timedelta(days=30)
OVER: Final = (DeliveryState.DELIVERED, DeliveryState.EXHAUSTED)
BATCH: Final = 500
# Each may have refused a hundred thousand rows.
IMPORTS_AT_ONCE: Final = 5

Step = Callable[[Database, datetime], Iterator[int]]


def prune(database: Database, most_s: float) -> bool:
    """Let go of what is old for so many seconds at most; says whether nothing is left to go."""
    moment, deadline = now(), time.monotonic() + most_s
    for step in STEPS:
        for _ in step(database, moment):
            if time.monotonic() > deadline:
                return False
    return True


def _changes(database: Database, moment: datetime) -> Iterator[int]:
    """Drop changes of the catalogue that a later change of the same thing stands for."""
    with database.snapshot() as session:
        # Changes bear no time; they share their numbers with the events, which do.
        old = col(StoredEvent.timestamp) < moment - CHANGES_KEEP
        last_old = select(col(StoredEvent.sequence)).where(old).order_by(col(StoredEvent.timestamp).desc())
        border = session.scalar(last_old.limit(1))
        if border is None:
            return
        newest = select(func.max(Change.version)).group_by(col(Change.subject_id))
        query = select(col(Change.version)).where(
            col(Change.version) <= border, col(Change.version).not_in(newest)
        )
        versions = session.scalars(query.order_by(col(Change.version))).all()
    for some in in_batches(versions, BATCH):
        with database.transaction() as session:
            session.execute(delete(Change).where(col(Change.version).in_(some)))
        yield len(some)


def _held(database: Database, moment: datetime) -> Iterator[int]:
    """Give up what an endpoint that is off has not come back for; the log shows it as exhausted."""
    # Endpoint by endpoint, which is how an index knows the states.
    anybodys = select(col(WebhookEndpoint.id))
    query = (
        select(col(Delivery.id))
        .where(
            col(Delivery.endpoint_id).in_(anybodys),
            is_state(DeliveryState.HELD),
            col(Delivery.created_at) < moment - HELD_KEEPS,
        )
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    change = {"state": DeliveryState.EXHAUSTED, "due_at": None, "updated_at": moment}
    yield from _until_none(
        database,
        lambda session: session.scalars(query).all(),
        lambda session, ids: [
            session.execute(update(Delivery).where(col(Delivery.id).in_(ids)).values(change))
        ],
    )


def _log(database: Database, moment: datetime) -> Iterator[int]:
    """Drop the deliveries of old events that are over, and long since, with their attempts."""
    before = moment - LOG_KEEPS
    for events in _walk(database, col(StoredEvent.timestamp) < before):
        with database.transaction() as session:
            query = select(col(Delivery.id)).where(
                col(Delivery.event_id).in_([row.id for row in events]),
                col(Delivery.state).in_(OVER),
                col(Delivery.updated_at) < before,
            )
            ids = session.scalars(query.with_for_update(skip_locked=True)).all()
            session.execute(delete(Attempt).where(col(Attempt.delivery_id).in_(ids)))
            session.execute(delete(Delivery).where(col(Delivery.id).in_(ids)))
        yield len(ids)


def _events(database: Database, moment: datetime) -> Iterator[int]:
    """Drop the events that are out of the feed and that no delivery carries."""
    carried = exists().where(col(Delivery.event_id) == col(StoredEvent.id))
    bare = (col(StoredEvent.timestamp) < moment - EVENTS_KEEP) & ~carried
    for events in _walk(database, bare):
        with database.transaction() as session:
            # Whoever lays out a delivery holds its event; such an event is left alone.
            again = select(col(StoredEvent.id), col(StoredEvent.sequence)).where(
                col(StoredEvent.id).in_([row.id for row in events]), ~carried
            )
            rows = session.execute(again.with_for_update(of=StoredEvent, skip_locked=True)).all()
            session.execute(
                delete(EventCity).where(col(EventCity.sequence).in_([row.sequence for row in rows]))
            )
            session.execute(delete(StoredEvent).where(col(StoredEvent.id).in_([row.id for row in rows])))
        yield len(rows)


def _walk(database: Database, which: Any) -> Iterator[Sequence[Any]]:
    """Go through events from the oldest on, some hundreds at a time."""
    place: tuple[datetime, str] | None = None
    order = (col(StoredEvent.timestamp), col(StoredEvent.id))
    while True:
        query = select(col(StoredEvent.id), col(StoredEvent.timestamp)).where(which)
        if place is not None:
            beyond = or_(order[0] > place[0], order[1] > place[1])
            query = query.where(order[0] >= place[0], beyond)
        with database.snapshot() as session:
            rows = session.execute(query.order_by(*order).limit(BATCH)).all()
        if rows:
            place = (rows[-1].timestamp, rows[-1].id)
            yield rows
        if len(rows) < BATCH:
            return


def _blocks(database: Database, _moment: datetime) -> Iterator[int]:
    """Empty what the blocks of ended rounds found: it is in the round's result. That they are done stays."""
    ended = select(col(MatchingRound.id)).where(col(MatchingRound.state).in_(ENDED))
    query = select(col(RoundBlock.round_id), col(RoundBlock.number)).where(
        func.length(RoundBlock.found) > 0, col(RoundBlock.round_id).in_(ended)
    )
    yield from _until_none(
        database,
        lambda session: session.execute(query.limit(BATCH)).all(),
        lambda session, rows: [
            session.execute(
                update(RoundBlock)
                .where(col(RoundBlock.round_id) == round_id, col(RoundBlock.number) == number)
                .values(found=b"")
            )
            for round_id, number in rows
        ],
    )


def _counts(database: Database, _moment: datetime) -> Iterator[int]:
    """Drop the counted words of listings that were withdrawn, which are matched no more."""
    withdrawn = select(col(Listing.id)).where(col(Listing.state) == ListingState.WITHDRAWN)
    query = select(col(TermCounts.listing_id)).where(col(TermCounts.listing_id).in_(withdrawn)).limit(BATCH)
    yield from _until_none(
        database,
        lambda session: session.scalars(query).all(),
        lambda session, ids: [session.execute(delete(TermCounts).where(col(TermCounts.listing_id).in_(ids)))],
    )


def _audit(database: Database, moment: datetime) -> Iterator[int]:
    """Drop the entries of the audit log that are old."""
    query = select(col(AuditEntry.id)).where(col(AuditEntry.at) < moment - audit.KEPT).limit(BATCH)
    yield from _until_none(
        database,
        lambda session: session.scalars(query).all(),
        lambda session, ids: [session.execute(delete(AuditEntry).where(col(AuditEntry.id).in_(ids)))],
    )


def _imports(database: Database, moment: datetime) -> Iterator[int]:
    """Drop imports that ended long ago, with what was refused of them."""
    old = (col(Import.state).in_(IMPORT_ENDED), col(Import.updated_at) < moment - LOG_KEEPS)
    query = select(col(Import.id)).where(*old).limit(IMPORTS_AT_ONCE)
    yield from _until_none(
        database,
        lambda session: session.scalars(query).all(),
        lambda session, ids: [
            session.execute(delete(ImportRefusal).where(col(ImportRefusal.import_id).in_(ids))),
            session.execute(delete(Import).where(col(Import.id).in_(ids))),
        ],
        IMPORTS_AT_ONCE,
    )


def _until_none(
    database: Database,
    find: Callable[[Session], Sequence[Any]],
    change: Callable[[Session, Sequence[Any]], object],
    most: int = BATCH,
) -> Iterator[int]:
    """Find some, `most` at once, and change them, in one transaction each time, until fewer are found."""
    while True:
        with database.transaction() as session:
            found = find(session)
            if found:
                change(session, found)
        yield len(found)
        if len(found) < most:
            return


# The changes go first, while the old events that tell their time are there.
STEPS: Final[tuple[Step, ...]] = (_changes, _held, _log, _events, _blocks, _counts, _audit, _imports)
