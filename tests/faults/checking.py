# SPDX-License-Identifier: Apache-2.0
"""The one check after every fault: what was acknowledged, what the feed says, and what the receiver got."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from sqlmodel import col, func, select

from services.matcher.engine.pairing import propose
from services.matcher.keeping import Keeper
from services.matcher.matching import ALL
from services.matcher.proposing import pair_key
from tests.faults.house import House, eventually
from tests.faults.writing import Posted
from twinning import standing, work
from twinning.database import now
from twinning.deliveries import IS_LEASED, IS_PENDING
from twinning.endpoints import Attempt, Delivery
from twinning.settings import Settings
from twinning.terms import SuggestionKind, Work
from twinning.work import WorkUnit

# What stands in the queue for its hour, whatever happens.
PLANNED = (Work.REFRESH, Work.TIDY)


@dataclass(frozen=True)
class Verdict:
    """What was found; the first block must be empty, the second are figures."""

    lost: set[str]
    unknown: set[str]
    unrecorded: set[str]
    unverified: list[str]
    altered: set[str]
    beyond_lease: int
    unlogged: set[str]
    unmatched: int

    events: int
    duplicates: int
    lag_p50_s: float
    lag_p95_s: float

    @property
    def flaws(self) -> dict[str, Any]:
        """What is wrong, by name."""
        names = (
            "lost",
            "unknown",
            "unrecorded",
            "unverified",
            "altered",
            "beyond_lease",
            "unlogged",
            "unmatched",
        )
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    def __str__(self) -> str:
        lag = f"lag p50 {self.lag_p50_s * 1000:.0f} ms, p95 {self.lag_p95_s * 1000:.0f} ms"
        return f"{self.events} events, {len(self.lost)} lost, {self.duplicates} duplicates, {lag}"


def check(house: House, posted: Sequence[Posted]) -> Verdict:
    """Compare what was acknowledged, the feed, the log of attempts and what the receiver got."""
    feed = read_feed(house)
    got = house.receiver.got("/hooks")
    verified = {one.webhook_id for one in got if one.verified_by}
    bodies: dict[str, set[bytes]] = {}
    for one in got:
        bodies.setdefault(one.webhook_id, set()).add(one.body)
    registered = {event["data"]["id"] for event in feed if event["type"] == "practice.registered"}
    lag = np.array([at - written for at, written in _first_arrivals(house)] or [np.nan])
    return Verdict(
        lost={event["id"] for event in feed} - verified,
        unknown=set(bodies) - {event["id"] for event in feed},
        unrecorded={one.practice_id for one in posted} - registered,
        unverified=[one.webhook_id for one in got if not one.verified_by],
        altered={id_ for id_, several in bodies.items() if len(several) > 1},
        beyond_lease=_beyond_lease(house),
        unlogged=_unlogged(house),
        unmatched=work_left(house),
        events=len(feed),
        duplicates=len(got) - len(bodies),
        lag_p50_s=float(np.percentile(lag, 50)),
        lag_p95_s=float(np.percentile(lag, 95)),
    )


def read_feed(house: House) -> list[dict[str, Any]]:
    """Read every event from the feed, as a program that polls does."""
    events: list[dict[str, Any]] = []
    while page := house.get("/events", limit=200, **({"after": events[-1]["id"]} if events else {}))["items"]:
        events += page
    return events


def _first_arrivals(house: House) -> list[tuple[float, float]]:
    """Give for each event when it first arrived and when it was written, in seconds since 1970."""
    first = [one for one in house.receiver.got("/hooks") if one.attempt == 1]
    return [(one.at, datetime.fromisoformat(json.loads(one.body)["timestamp"]).timestamp()) for one in first]


def _beyond_lease(house: House) -> int:
    """Count deliveries that somebody holds although the lease is over."""
    with house.database.snapshot() as session:
        query = select(func.count()).select_from(Delivery).where(IS_LEASED, col(Delivery.due_at) < now())
        return session.exec(query).one()


def _unlogged(house: House) -> set[str]:
    """Find events that arrived more often than the log has attempts at them."""
    with house.database.snapshot() as session:
        query = select(Delivery.event_id, func.count()).join(
            Attempt, col(Attempt.delivery_id) == col(Delivery.id)
        )
        logged: dict[str, int] = dict(session.exec(query.group_by(col(Delivery.event_id))).all())
    arrived: dict[str, int] = {}
    for one in house.receiver.got("/hooks"):
        arrived[one.webhook_id] = max(one.attempt, arrived.get(one.webhook_id, 0))
    return {id_ for id_, times in arrived.items() if times > logged.get(id_, 0)}


def work_left(house: House) -> int:
    """Count the units of work not done, those set aside too; what is planned for later is left out."""
    to_come = col(WorkUnit.leased_by).is_(None) & (col(WorkUnit.due_at) > now())
    planned = col(WorkUnit.kind).in_(PLANNED) & to_come
    with house.database.snapshot() as session:
        return session.exec(select(func.count()).select_from(WorkUnit).where(~planned)).one()


def undelivered(house: House) -> int:
    """Count the deliveries that are still on their way."""
    with house.database.snapshot() as session:
        return session.exec(select(func.count()).select_from(Delivery).where(IS_PENDING)).one()


def wait_until_done(house: House, timeout_s: float = 40.0) -> None:
    """Wait until all is matched and all is delivered."""
    eventually(
        lambda: not work_left(house) and not undelivered(house), "all is matched and delivered", timeout_s
    )


def refresh(house: House) -> None:
    """Have everything that stands scored again, and wait for it and its events."""
    with house.database.transaction() as session:
        work.enqueue(session, Work.REFRESH, ALL)
    wait_until_done(house)


def assert_as_from_nothing(house: House) -> int:
    """Hold what stands, after a refresh, against a round over the same catalogue; gives how many stand."""
    defaults = Settings()
    keeper = Keeper()
    with house.database.snapshot() as session:
        keeper.cut(session)
        stands = {(row.kind, row.pair_key): row.score for row in standing.all_listed(session)}
    expected = {
        (pair.kind, pair_key(pair)): pair.score
        for kind in (SuggestionKind.STUDY_VISIT, SuggestionKind.TWINNING)
        for pair in propose(keeper.corpus, kind, keeper.corpus.cities, defaults.per_city, defaults.min_band)
    }
    assert stands == pytest.approx(expected, abs=1e-9)
    return len(stands)
