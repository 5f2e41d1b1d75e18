# SPDX-License-Identifier: Apache-2.0
"""The one check after every fault: what was acknowledged, what the feed says, and what the receivers got."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlmodel import col, func, select

from tests.faults.house import House, Subscribed
from tests.faults.settling import work_left
from tests.faults.writing import Posted
from tests.receiver import Received
from twinning.database import now
from twinning.endpoints import Attempt, Delivery
from twinning.outbox import StoredEvent
from twinning.terms import DeliveryState
from twinning.turns import IS_LEASED

# Puts a verdict, if there is one, and other figures at the end of the report.
Tell = Callable[..., None]

# These are for one endpoint, whatever the others ask for.
FOR_ONE = ("webhook_endpoint.ping", "webhook_endpoint.verification")


@dataclass(frozen=True)
class Verdict:
    """What was found; the first block must be empty, the second are figures.

    A place is a receiver's path and an event's id.
    """

    # Acknowledged and never received, nor held, nor given up with the whole log of its attempts.
    lost: set[tuple[str, str]]
    # Received, and in no feed.
    unknown: set[tuple[str, str]]
    # Acknowledged, and in no feed.
    unrecorded: set[str]
    # In the feed in another place than the database says, or in one of them only.
    astray: list[str]
    unverified: list[str]
    # Under one id with several bodies.
    altered: set[str]
    beyond_lease: int
    # Received more often than the log has attempts.
    unlogged: set[tuple[str, str]]
    unmatched: int

    events: int
    # What came again although it had been answered 2xx.
    duplicates: int
    # From an event to its first arrival at each receiver.
    lags_s: tuple[float, ...]

    @property
    def flaws(self) -> dict[str, Any]:
        """What is wrong, by name."""
        names = (
            "lost",
            "unknown",
            "unrecorded",
            "astray",
            "unverified",
            "altered",
            "beyond_lease",
            "unlogged",
            "unmatched",
        )
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    def lag_s(self, percent: float) -> float:
        """Give a percentile of the lags, in seconds."""
        return float(np.percentile(self.lags_s or [np.nan], percent))

    def __str__(self) -> str:
        p50, p95 = self.lag_s(50) * 1000, self.lag_s(95) * 1000
        return (
            f"lost={len(self.lost)} dup={self.duplicates} p50/p95 lag {p50:.0f}/{p95:.0f} ms, "
            f"{self.events} events"
        )


@dataclass
class Kept:
    """What the database says of one event's way to one endpoint."""

    state: str
    tries: int
    log: list[Attempt]


def check(house: House, posted: Sequence[Posted] = (), lag_on: Iterable[str] | None = None) -> Verdict:
    """Compare what was acknowledged, the feed, the log of attempts and what came to each receiver.

    `lag_on` are the paths whose lag counts; without it, all.
    """
    feed = read_feed(house)
    log = read_log(house)
    came = _came(house)
    told = {event["id"] for event in feed}
    meant = [
        (path, one, event["id"])
        for path, one in house.subscribed.items()
        for event in feed
        if is_meant_for(event, one)
    ]
    got = [one for ones in came.values() for one in ones]
    bodies: dict[str, set[bytes]] = defaultdict(set)
    for one in got:
        bodies[one.webhook_id].add(one.body)
    registered = {event["data"]["id"] for event in feed if event["type"] == "practice.registered"}
    most = len(house.settings["RETRY_SCHEDULE_S"].split(","))
    return Verdict(
        lost={
            (path, event_id)
            for path, one, event_id in meant
            if not any(_verified(each, house) for each in came.get((path, event_id), ()))
            and not _accounted_for(log.get((one.id, event_id)), most)
        },
        unknown={place for place in came if place[1] not in told},
        unrecorded={one.practice_id for one in posted} - registered,
        astray=_astray(house, [event["id"] for event in feed]),
        unverified=[one.webhook_id for one in got if not _verified(one, house)],
        altered={id_ for id_, several in bodies.items() if len(several) > 1},
        beyond_lease=_beyond_lease(house),
        unlogged={
            (path, event_id)
            for (path, event_id), ones in came.items()
            if len(ones) > _logged(log.get((house.subscribed[path].id, event_id)))
        },
        # Where no matcher was ever started nothing has been matched, and nothing should have been.
        unmatched=work_left(house) if house.matcher.process is not None else 0,
        events=len(feed),
        duplicates=sum(max(0, sum(200 <= one.status <= 299 for one in ones) - 1) for ones in came.values()),
        lags_s=_lags_s(came, set(house.subscribed) if lag_on is None else set(lag_on)),
    )


def read_feed(house: House) -> list[dict[str, Any]]:
    """Read every event from the feed, as a program that polls does."""
    events: list[dict[str, Any]] = []
    while page := house.get("/events", limit=200, **({"after": events[-1]["id"]} if events else {}))["items"]:
        events += page
    return events


def read_log(house: House) -> dict[tuple[str, str], Kept]:
    """Read what the database says of each delivery, by its endpoint and event."""
    with house.database.snapshot() as session:
        attempts: dict[str, list[Attempt]] = defaultdict(list)
        for attempt in session.exec(select(Attempt).order_by(col(Attempt.delivery_id), col(Attempt.number))):
            attempts[attempt.delivery_id].append(attempt)
        return {
            (row.endpoint_id, row.event_id): Kept(row.state, row.tries, attempts[row.id])
            for row in session.exec(select(Delivery))
        }


def is_meant_for(event: Mapping[str, Any], one: Subscribed) -> bool:
    """Say whether an endpoint has asked for an event, was there when it happened, and is meant."""
    if not {"*", event["type"]} & set(one.event_types):
        return False
    if event["type"] in FOR_ONE and event["data"]["endpoint_id"] != one.id:
        return False
    return datetime.fromisoformat(event["timestamp"]) >= one.since


def most_at_once(log: Iterable[Attempt]) -> int:
    """Count how many of these attempts were under way at the same time, at most."""
    spans = [
        (attempt.started_at.timestamp(), attempt.started_at.timestamp() + attempt.duration_ms / 1000)
        for attempt in log
        if attempt.duration_ms is not None
    ]
    return max((sum(begun <= at < ended for begun, ended in spans) for at, _ in spans), default=0)


def _came(house: House) -> dict[tuple[str, str], list[Received]]:
    """Sort what came by path and event."""
    came: dict[tuple[str, str], list[Received]] = defaultdict(list)
    for one in house.receiver.got():
        if one.path in house.subscribed:
            came[one.path, one.webhook_id].append(one)
    return came


def _verified(one: Received, house: House) -> bool:
    """Say whether the secret of this endpoint signed it, and not that of another."""
    return house.subscribed[one.path].secret in one.verified_by


def _accounted_for(kept: Kept | None, most: int) -> bool:
    """Say whether an event that never came is held, or given up with the whole log of the attempts at it."""
    if kept is None:
        return False
    if kept.state == DeliveryState.HELD:
        return True
    whole = [attempt.number for attempt in kept.log] == list(range(1, kept.tries + 1))
    return kept.state == DeliveryState.EXHAUSTED and whole and kept.tries >= most


def _logged(kept: Kept | None) -> int:
    return len(kept.log) if kept else 0


def _astray(house: House, fed: Sequence[str]) -> list[str]:
    """Find where the feed, read from its beginning, and the numbers of the events part."""
    with house.database.snapshot() as session:
        stored = session.exec(select(StoredEvent.id).order_by(col(StoredEvent.sequence))).all()
    once = Counter(fed)
    apart = [one for one in {*stored, *fed} if once[one] != 1 or one not in stored]
    return apart or [one for one, other in zip(fed, stored, strict=True) if one != other]


def _lags_s(came: Mapping[tuple[str, str], Sequence[Received]], paths: set[str]) -> tuple[float, ...]:
    """Give for each event how long after it was written it first arrived, in seconds."""
    first = [ones[0] for (path, _), ones in came.items() if path in paths]
    return tuple(
        one.at - datetime.fromisoformat(json.loads(one.body)["timestamp"]).timestamp() for one in first
    )


def _beyond_lease(house: House) -> int:
    """Count deliveries that somebody holds although the lease is over."""
    with house.database.snapshot() as session:
        query = select(func.count()).select_from(Delivery).where(IS_LEASED, col(Delivery.due_at) < now())
        return session.exec(query).one()
