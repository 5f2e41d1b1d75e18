# SPDX-License-Identifier: Apache-2.0
"""The outbox: an event is written in the transaction of its fact, with a delivery for each who wants it.

The same rows are the feed for those who poll. Events are numbered at the commit, under the lock of
the log, so that no reader of the feed ever misses one whose transaction was slower.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, insert
from sqlmodel import Field, Session, SQLModel, col, or_, select

from twinning import endpoints
from twinning.database import Id, Instant, Json, before_commit, draw, new_id, now, ring_after
from twinning.endpoints import Delivery, WebhookEndpoint
from twinning.errors import Invalid, NotFound
from twinning.events import Event, EventType, Facets
from twinning.keys import ApiKey, Caller, caller_of, is_live
from twinning.terms import Bell

# A longer body is sent thin.
LONGEST_BODY = 256 * 1024


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
    before_commit(session, "receivers", _find_receivers)
    before_commit(session, "events", _write_events)
    return event_id


def _write_events(session: Session) -> None:
    """Number the transaction's events, write them, and write a delivery for each endpoint that wants one."""
    recorded: list[tuple[str, Event]] = session.info.pop("events", [])
    receivers: list[tuple[WebhookEndpoint, Caller]] = session.info.pop("receivers", [])
    first = draw(session, len(recorded))
    moment = now()
    events, cities, deliveries = [], [], []
    for sequence, (event_id, event) in enumerate(recorded, first):
        facets = event.facets()
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
        deliveries += _fan_out(receivers, event_id, event.type, facets, moment)
    session.execute(insert(StoredEvent), events)
    if cities:
        session.execute(insert(EventCity), cities)
    if deliveries:
        # A None that is given is meant: what is held is not due.
        session.execute(insert(Delivery), deliveries, execution_options={"render_nulls": True})
        ring_after(session, Bell.DELIVER)


def thinned(event_id: str, body: str) -> str | None:
    """Write what is sent in place of a body that is too long: where the whole event is; None for others."""
    if len(body.encode()) <= LONGEST_BODY:
        return None
    # The type and the moment stand first, so that they need not be written twice.
    head = body.partition(',"data":')[0]
    whole = json.loads(body)["data"]
    data = {"id": whole.get("id"), "url": f"/v1/events/{event_id}"}
    return f'{head},"data":{json.dumps(data, separators=(",", ":"))}}}'


def _find_receivers(session: Session) -> None:
    """Find every endpoint with its owner as a caller; an owner whose key has ended hears nothing more.

    No endpoint may be deleted before its deliveries are written, and none that is off may be switched on
    unseen, or what is held for it would wait for the next time; the rest may change as they like.
    """
    query = select(WebhookEndpoint, ApiKey).join(ApiKey, col(ApiKey.id) == WebhookEndpoint.owner_id)
    facets = [event.facets() for _, event in session.info["events"]]
    about = {each.round_id for each in facets} - {None}
    meant = {each.only_endpoint for each in facets} - {None}
    # The callbacks of rounds that are long over are many, and none of these events is for them.
    its_callbacks = col(WebhookEndpoint.round_id).in_(about) | col(WebhookEndpoint.id).in_(meant)
    query = query.where(
        or_(col(WebhookEndpoint.round_id).is_(None), its_callbacks), col(ApiKey.revoked_at).is_(None)
    ).order_by(col(WebhookEndpoint.id))
    there = query.with_for_update(read=True, key_share=True, of=WebhookEndpoint)
    rows = {endpoint.id: (endpoint, key) for endpoint, key in session.exec(there)}
    off = [endpoint_id for endpoint_id, (endpoint, _) in rows.items() if not endpoint.is_open]
    if off:
        still = query.where(col(WebhookEndpoint.id).in_(off)).with_for_update(read=True, of=WebhookEndpoint)
        looked = session.exec(still, execution_options={"populate_existing": True})
        rows |= {endpoint.id: (endpoint, key) for endpoint, key in looked}
    moment = now()
    session.info["receivers"] = [
        (endpoint, caller_of(key)) for endpoint, key in rows.values() if is_live(key, moment)
    ]


def _fan_out(
    receivers: Sequence[tuple[WebhookEndpoint, Caller]],
    event_id: str,
    event_type: EventType,
    facets: Facets,
    moment: datetime,
) -> list[dict[str, object]]:
    """Lay out the deliveries of one event; only a test goes to an endpoint that is off."""
    return [
        endpoints.new_delivery(event_id, endpoint, moment, test=facets.test)
        for endpoint, owner in receivers
        if endpoints.wants(endpoint, owner, event_type, facets)
    ]


def feed(
    session: Session, caller: Caller, after: int, types: Sequence[str], most: int
) -> Sequence[StoredEvent]:
    """Give the next events that this caller may see, in order, after a number of the feed (0: all)."""
    query = select(StoredEvent).where(col(StoredEvent.sequence) > after)
    if not caller.is_staff:
        named = select(EventCity.sequence).where(
            or_(col(EventCity.city_id) == caller.city_id, col(EventCity.country).in_(caller.countries))
        )
        query = query.where(
            or_(col(StoredEvent.for_key) == caller.key_id, col(StoredEvent.sequence).in_(named))
        )
    if types:
        query = query.where(col(StoredEvent.type).in_(types))
    return session.exec(query.order_by(col(StoredEvent.sequence)).limit(most)).all()


def one(session: Session, caller: Caller, event_id: str) -> StoredEvent:
    """Find an event that this caller may see; raises `NotFound`."""
    row = session.get(StoredEvent, event_id)
    seen = [] if row is None else feed(session, caller, row.sequence - 1, [], 1)
    if row is None or row not in seen:
        raise NotFound("There is no such event.")
    return row


def place_of(session: Session, event_id: str) -> int:
    """Give an event's number in the feed; raises `Invalid` for what is no cursor of it."""
    sequence = session.exec(select(StoredEvent.sequence).where(StoredEvent.id == event_id)).first()
    if sequence is None:
        raise Invalid.field("/query/after", "The feed has no such event; it may be older than the feed.")
    return sequence
