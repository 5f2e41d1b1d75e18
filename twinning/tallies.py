# SPDX-License-Identifier: Apache-2.0
"""Tallies: what has happened so often since the house began, counted in the transaction in which it happened.

They are what `GET /metrics` cannot count from rows: rows are many, and the old ones go. A few rows share
each count, so that processes which count the same thing seldom wait for each other.
"""

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from sqlalchemy import BigInteger, func
from sqlmodel import Field, Session, SQLModel, col, select

from twinning.many_rows import add_up

SHARES: Final = 8
ATTEMPTS: Final = "attempts"
LEASES_EXPIRED: Final = "leases_expired"
LAG: Final = "delivery_lag"
LAG_MS: Final = "delivery_lag_ms"
# The upper edges of the histogram, in seconds: below a second when all is well, then the table of retries.
LAG_EDGES_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0, 3600.0, 28800.0, 86400.0)
BEYOND: Final = "+Inf"


class Tally(SQLModel, table=True):
    """How often something has happened, as one share of the processes counted it."""

    name: str = Field(primary_key=True, max_length=40)
    label: str = Field(primary_key=True, max_length=60)
    share: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    value: int = Field(sa_type=BigInteger)


def count(session: Session, counts: Mapping[tuple[str, str], int]) -> None:
    """Add to tallies, each named by name and label, in this transaction."""
    share = os.getpid() % SHARES
    rows = [
        {"name": name, "label": label, "share": share, "value": value}
        for (name, label), value in sorted(counts.items())
        if value
    ]
    add_up(session, Tally, rows, ["name", "label", "share"], "value")


def count_attempts(session: Session, classes: Iterable[str], lags_s: Iterable[float]) -> None:
    """Count attempts by what came of them, and how long after their beginning deliveries have arrived."""
    counts = Counter((ATTEMPTS, name) for name in classes)
    for lag_s in lags_s:
        counts[LAG, edge_of(lag_s)] += 1
        counts[LAG_MS, ""] += round(max(0.0, lag_s) * 1000)
    count(session, counts)


def edge_of(lag_s: float) -> str:
    """Name the narrowest bucket of the histogram that takes a time."""
    place = bisect_left(LAG_EDGES_S, lag_s)
    return f"{LAG_EDGES_S[place]:g}" if place < len(LAG_EDGES_S) else BEYOND


def read(session: Session) -> dict[str, dict[str, int]]:
    """Give every tally, by name and label."""
    query = select(Tally.name, Tally.label, func.sum(Tally.value)).group_by(col(Tally.name), col(Tally.label))
    found: dict[str, dict[str, int]] = {}
    for name, label, value in session.exec(query):
        found.setdefault(name, {})[label] = int(value)
    return found
