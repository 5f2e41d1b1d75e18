# SPDX-License-Identifier: Apache-2.0
"""The look for what is due reads an index and never walks the deliveries that are not."""

import pytest
from sqlmodel import Session

from benchmarks.due_scan import LOOK_BY_NAME, fill, plan
from tests.hooks import deliveries, ping, subscribe
from twinning.database import Database
from twinning.deliveries import next_due, take_due

ROWS, ENDPOINTS = 20_000, 16
BY_INDEX = {
    "sqlite": "SEARCH delivery USING INDEX ix_delivery_due",
    "postgresql": "Index Only Scan using ix_delivery_due on delivery",
}
# How each database says that it walks a table, or an index, from end to end.
WALKS = ("SCAN delivery", "Seq Scan on delivery", "Bitmap Heap Scan on delivery")
# This one holds what is in the senders' hands alone, of which there are some hundreds at most.
SHORT = "ix_delivery_leased"


def walks(lines: list[str]) -> list[str]:
    """The steps of a plan that read deliveries from end to end."""
    return [line for line in lines if line.strip(" ->").startswith(WALKS) and SHORT not in line]


@pytest.fixture
def full(database: Database) -> Database:
    """A database with deliveries that are due tomorrow."""
    fill(database, ROWS, ENDPOINTS)
    return database


def test_the_idle_look_reads_one_index(full: Database) -> None:
    """What an idle dispatcher asks each second is answered from the first entry of an index."""
    lines = plan(full, next_due)

    assert any(BY_INDEX[full.engine.dialect.name] in line for line in lines)
    assert walks(lines) == []


@pytest.mark.parametrize("name", LOOK_BY_NAME)
def test_no_look_walks_the_deliveries(full: Database, name: str) -> None:
    """Neither the idle look nor a turn that takes what is due reads every delivery."""
    lines = plan(full, LOOK_BY_NAME[name])

    assert lines
    assert walks(lines) == []


def test_what_is_due_is_found_among_them(full: Database) -> None:
    """One due delivery among all that are not is found and taken, and nothing else."""
    row = subscribe(full, "http://127.0.0.1:9/")
    [event_id] = ping(full, [row])

    def due(session: Session) -> list[str]:
        return [sending.event_id for sending in take_due(session, "courier-1", 200, 30.0)]

    with full.transaction() as session:
        taken = due(session)

    assert taken == [event_id]
    assert [one.leased_by for one in deliveries(full, row)] == ["courier-1"]
