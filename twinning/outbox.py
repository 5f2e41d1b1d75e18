# SPDX-License-Identifier: Apache-2.0
"""The outbox: an event is written in the transaction of its fact, with a delivery for each who wants it.

The same rows are the feed for those who poll. Events are numbered at the commit, under the lock of
the log, so that no reader of the feed ever misses one whose transaction was slower.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, ScalarSelect, func, true
from sqlmodel import Field, Session, SQLModel, col, or_, select

from twinning import endpoints, receivers
from twinning.database import before_commit, draw, new_id, now, ring_after
from twinning.dialects import Id, Instant, Json
from twinning.endpoints import Delivery
from twinning.errors import Invalid, NotFound
from twinning.events import Event, EventType, Facets, spelled
from twinning.inserting import insert_all
from twinning.keys import Caller
from twinning.receivers import Receiver
from twinning.terms import Bell

# A longer body is sent thin.
LONGEST_BODY = 256 * 1024

FEED_KEEPS: Final = timedelta(days=30)


class StoredEvent(SQLModel, table=True):
    """An event with its body as it is signed and sent, frozen."""

    __tablename__ = "event"

    id: str = Field(primary_key=True, sa_type=Id)
    sequence: int = Field(sa_type=BigInteger, unique=True)
    type: str = Field(max_length=60)
    timestamp: datetime = Field(sa_type=Instant, index=True)
    body: str
    # What is sent in place of a body that is too long for webhooks.
    thin: str | None = None
    for_key: str | None = Field(default=None, sa_type=Id)
    # What filters look at beside the cities and the key, for those who subscribe or mend a filter later.
    facets: dict[str, Any] | None = Field(default=None, sa_type=Json)


class EventCity(SQLModel, table=True):
    """A city that an event names; its key and its coordinators see the event."""

    __tablename__ = "event_city"

    sequence: int = Field(primary_key=True, sa_type=BigInteger)
    city_id: str = Field(primary_key=True, sa_type=Id, index=True)
    country: str = Field(max_length=2, index=True)


def record(session: Session, event: Event) -> str:
    """Record an event in this transaction; gives its id, which every attempt and the feed will show."""
    event_id = new_id()
    session.info.setdefault("events", []).append((event_id, event))
    before_commit(session, "events", _write_events)
    return event_id


def _write_events(session: Session) -> None:
    """Number the transaction's events, write them, and write a delivery for each endpoint that wants one."""
    recorded: list[tuple[str, Event]] = session.info.pop("events", [])
    first = draw(session, len(recorded))
    about = [event.facets() for _, event in recorded]
    # The log is held: whoever switches an endpoint on or off, or deletes it, holds the log for it, too. So no
    # delivery is left waiting for one that is off, held for one that is on, or without its endpoint.
    hearing = receivers.of_events(session, about)
    moment = now()
    events, cities, deliveries = [], [], []
    for sequence, ((event_id, event), facets) in enumerate(zip(recorded, about, strict=True), first):
        body = event.body(moment)
        events.append(
            {
                "id": event_id,
                "sequence": sequence,
                "type": event.type,
                "timestamp": moment,
                "body": body,
                "thin": thinned(event_id, body),
                "for_key": facets.for_key,
                "facets": facets.kept(),
            }
        )
        named = dict(facets.cities)
        cities += [
            {"sequence": sequence, "city_id": city_id, "country": country}
            for city_id, country in named.items()
        ]
        deliveries += _fan_out(hearing, event_id, event.type, facets, moment)
    insert_all(session, StoredEvent, events)
    insert_all(session, EventCity, cities)
    insert_all(session, Delivery, deliveries)
    if deliveries:
        ring_after(session, Bell.DELIVER)


def thinned(event_id: str, body: str) -> str | None:
    """Write what is sent in place of a body that is too long: where the whole event is; None for others."""
    # No character takes more than four bytes, which spares most bodies being counted.
    if 4 * len(body) <= LONGEST_BODY or len(body.encode()) <= LONGEST_BODY:
        return None
    # The type and the moment stand first, so that they need not be written twice.
    head = body.partition(',"data":')[0]
    whole = json.loads(body)["data"]
    data = {"id": whole.get("id"), "url": f"/v1/events/{event_id}"}
    return f'{head},"data":{json.dumps(data, separators=(",", ":"))}}}'


def _fan_out(
    hearing: Sequence[Receiver], event_id: str, event_type: EventType, facets: Facets, moment: datetime
) -> list[dict[str, object]]:
    """Lay out the deliveries of one event; only a test goes to an endpoint that is off."""
    return [
        endpoints.new_delivery(event_id, one.id, moment, is_open=one.is_open, test=facets.test)
        for one in hearing
        if one.wants(event_type, facets)
    ]


def feed(
    session: Session, caller: Caller, after: int, types: Sequence[str], most: int
) -> Sequence[StoredEvent]:
    """Give the next events that this caller may see, in order, after a number of the feed (0: all).

    The feed goes back as far as `FEED_KEEPS`; what is older may still be stored, for its deliveries.
    """
    query = select(StoredEvent).where(
        col(StoredEvent.sequence) > after, col(StoredEvent.sequence) >= _beginning(), _visible(caller, after)
    )
    if types:
        query = query.where(col(StoredEvent.type).in_(types))
    return session.exec(query.order_by(col(StoredEvent.sequence)).limit(most)).all()


def one(session: Session, caller: Caller, event_id: str) -> StoredEvent:
    """Give an event of the caller's feed; raises `NotFound` for what is not in it."""
    found = _seen(session, caller, event_id)
    if found is None:
        raise NotFound("There is no such event.")
    return found


def _seen(session: Session, caller: Caller, event_id: str) -> StoredEvent | None:
    """Look for an event that the feed still has and this caller may see."""
    query = select(StoredEvent).where(StoredEvent.id == event_id, col(StoredEvent.sequence) >= _beginning())
    found = session.exec(query).first()
    if found is None:
        return None
    seen = select(StoredEvent.sequence).where(
        StoredEvent.sequence == found.sequence, _visible(caller, found.sequence - 1)
    )
    return None if session.exec(seen).first() is None else found


def _beginning() -> ScalarSelect[int]:
    """Ask for the number of the feed's first event; there is none when all of them are too old."""
    query = select(StoredEvent.sequence).where(col(StoredEvent.timestamp) >= now() - FEED_KEEPS)
    return query.order_by(col(StoredEvent.timestamp), col(StoredEvent.sequence)).limit(1).scalar_subquery()


def _visible(caller: Caller, after: int = 0) -> ColumnElement[bool]:
    """Ask whether a caller may see an event: what is for their key, and what names their cities."""
    if caller.is_staff:
        return true()
    # The number stands in both, or each look at the end of the feed would read all that names a country.
    named = select(EventCity.sequence).where(
        col(EventCity.sequence) > after,
        or_(col(EventCity.city_id) == caller.city_id, col(EventCity.country).in_(caller.countries)),
    )
    return or_(col(StoredEvent.for_key) == caller.key_id, col(StoredEvent.sequence).in_(named))


def place_of(session: Session, caller: Caller, event_id: str) -> int:
    """Give the number of an event in the caller's feed; raises `Invalid` for what is not in it.

    What was never there, what has grown too old and what is for others is refused in the same words.
    """
    found = _seen(session, caller, event_id)
    if found is not None:
        return found.sequence
    oldest = next(iter(feed(session, caller, 0, [], 1)), None)
    kept = f"The feed has no such event for this key; it goes back {FEED_KEEPS.days} days."
    begin = (
        "It is empty now" if oldest is None else f"It begins with {oldest.id} of {spelled(oldest.timestamp)}"
    )
    raise Invalid.field(
        "/query/after", f"{kept} {begin}: leave `after` out to read from there on.", code="not-in-the-feed"
    )


def latest(session: Session) -> int:
    """Give the number of the last event of all; 0 when there is none."""
    return session.scalar(select(func.max(StoredEvent.sequence))) or 0


def last_seen_by(session: Session, caller: Caller) -> StoredEvent | None:
    """Give the last event that a caller may see."""
    query = select(StoredEvent).where(col(StoredEvent.sequence) >= _beginning(), _visible(caller))
    return session.exec(query.order_by(col(StoredEvent.sequence).desc()).limit(1)).first()


@dataclass(frozen=True, slots=True)
class Told:
    """An event with whom it is for, so that who may see it can be decided without asking again."""

    event: StoredEvent
    cities: frozenset[tuple[str, str]]

    def is_for(self, caller: Caller) -> bool:
        """Say whether a caller may see it."""
        return self.event.for_key == caller.key_id or caller.sees(self.cities)


def told_since(session: Session, after: int, most: int) -> list[Told]:
    """Give the next events of all, in order, after a number of the feed."""
    query = select(StoredEvent).where(col(StoredEvent.sequence) > after)
    events = session.exec(query.order_by(col(StoredEvent.sequence)).limit(most)).all()
    cities: dict[int, set[tuple[str, str]]] = {event.sequence: set() for event in events}
    named = select(EventCity).where(col(EventCity.sequence).in_(cities))
    for row in session.exec(named):
        cities[row.sequence].add((row.city_id, row.country))
    return [Told(event, frozenset(cities[event.sequence])) for event in events]
