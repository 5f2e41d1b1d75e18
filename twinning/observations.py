# SPDX-License-Identifier: Apache-2.0
"""What the matching workers observe of listings: whether needs are answered, which themes texts seem to have.

An observation is nobody's change, so it makes no new version and no event. A listing that someone is changing
at this moment is left alone: that change asks for its own matching.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, update
from sqlmodel import Session, col, select

from twinning.listings import Listing
from twinning.many_rows import in_batches


def mark_unmet(session: Session, need_ids: Iterable[str], *, unmet: bool) -> None:
    """Keep whether needs are answered."""
    _write(session, need_ids, "unmet", unmet, col(Listing.unmet).is_distinct_from(unmet))


def suggest_themes(session: Session, found: Mapping[str, list[dict[str, Any]]]) -> None:
    """Keep which themes listings seem to be about, by their ids."""
    for listing_id, themes in sorted(found.items()):
        _write(session, [listing_id], "suggested_themes", themes, None)


def _write(
    session: Session, ids: Iterable[str], column: str, value: Any, differing: ColumnElement[bool] | None
) -> None:
    for some in in_batches(frozenset(ids)):
        query = select(Listing.id).where(col(Listing.id).in_(some))
        if differing is not None:
            query = query.where(differing)
        free = session.exec(query.with_for_update(key_share=True, skip_locked=True)).all()
        if free:
            session.execute(update(Listing).where(col(Listing.id).in_(free)).values({column: value}))
