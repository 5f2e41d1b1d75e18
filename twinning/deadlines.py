# SPDX-License-Identifier: Apache-2.0
"""What the calendar does to listings: needs expire, practices that nobody confirms go stale and are paused.

It is done in short transactions of some hundred, each with its events, its lines in the change log and the
matching it calls for. Whatever somebody is changing at this moment is left for the next look; a worker that
dies leaves what is not done, and what is done is done once, however many look.
"""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Final

from sqlalchemy import ColumnElement, exists, literal_column
from sqlmodel import Session, col, select

from twinning import announcements, listings
from twinning.cities import City
from twinning.database import Database, now
from twinning.lifecycle import CONFIRM_EVERY, PATIENCE
from twinning.listings import Listing
from twinning.terms import ListingKind, ListingState

Due = Callable[[], ColumnElement[bool]]
End = Callable[[Session, Listing], None]
Tell = Callable[[Session, str, Listing], None]

BATCH: Final = 100
LOOK_EVERY: Final = timedelta(hours=1)
LOOK_AGAIN: Final = timedelta(seconds=10)


def keep(database: Database) -> datetime:
    """Do all that is due; gives when to look next, which is soon where something had to be left."""
    for due, end, tell in _STEPS:
        while _some(database, due(), end, tell) == BATCH:
            pass
    with database.snapshot() as session:
        left = any(session.scalar(select(exists().where(_is_published(), due()))) for due, _, _ in _STEPS)
    if left:
        return now() + LOOK_AGAIN
    midnight = datetime.combine(now().date() + timedelta(days=1), time(), UTC)
    return min(now() + LOOK_EVERY, midnight)


def _some(
    database: Database,
    due: ColumnElement[bool],
    end: End,
    tell: Tell | None,
) -> int:
    """End the term of some listings, in one transaction; gives how many."""
    query = (
        select(Listing, City.country)
        .join(City, col(City.id) == Listing.city_id)
        .where(_is_published(), due)
        .order_by(col(Listing.id))
        .limit(BATCH)
    )
    with database.transaction() as session:
        rows = session.exec(query.with_for_update(of=Listing, key_share=True, skip_locked=True)).all()
        for listing, country in rows:
            end(session, listing)
            if tell is not None:
                tell(session, country, listing)
    return len(rows)


def _is_published() -> ColumnElement[bool]:
    # Spelled out, for SQLite uses a partial index only where it can read its condition.
    return col(Listing.state) == literal_column(f"'{ListingState.PUBLISHED}'")


def _is_over() -> ColumnElement[bool]:
    return (col(Listing.kind) == ListingKind.NEED) & (col(Listing.expires_on) < now().date())


def _is_undated() -> ColumnElement[bool]:
    """Ask for practices from before there were confirmations, and from a version that knew none."""
    return (col(Listing.kind) == ListingKind.PRACTICE) & col(Listing.confirm_by).is_(None)


def _is_unconfirmed() -> ColumnElement[bool]:
    return (col(Listing.confirm_by) < now().date()) & ~col(Listing.stale)


def _is_long_stale() -> ColumnElement[bool]:
    return (col(Listing.confirm_by) < now().date() - PATIENCE) & col(Listing.stale)


def _date(session: Session, listing: Listing) -> None:
    """Take the registration of a practice for its confirmation."""
    listing.confirmed_at = listing.created_at
    listing.confirm_by = listing.created_at.date() + CONFIRM_EVERY
    session.add(listing)


_STEPS: Final[tuple[tuple[Due, End, Tell | None], ...]] = (
    (_is_over, listings.expire, announcements.need_expired),
    (_is_undated, _date, None),
    (_is_unconfirmed, listings.lapse, announcements.practice_lapsed),
    (_is_long_stale, listings.lapse, announcements.practice_lapsed),
)
