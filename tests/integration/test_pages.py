# SPDX-License-Identifier: Apache-2.0
"""A page costs what it holds, however many more there are."""

from typing import Any

import pytest
from sqlalchemy import event

from twinning import listing_search
from twinning.database import Database
from twinning.keys import Caller
from twinning.terms import ListingKind, Role


@pytest.mark.parametrize("kind", ListingKind)
def test_a_page_of_listings_is_read_in_order_and_not_sorted(sqlite_url: str, kind: ListingKind) -> None:
    """SQLite goes along an index of the ids of one kind, and stops when the page is full."""
    database = Database(sqlite_url)
    asked: list[tuple[str, Any]] = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
    with database.snapshot() as session:
        listing_search.listed(session, kind, Caller("a key", Role.STAFF, frozenset(), None), 51)
        statement, parameters = asked[-1]
        steps = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        plan = " ".join(str(step[-1]) for step in steps)
    database.close()

    assert "ix_listing_kind_id" in plan
    assert "TEMP B-TREE" not in plan
