# SPDX-License-Identifier: Apache-2.0
"""The outbox: what is recorded with a fact, for whom, and in which order it is read."""

import json
import threading

import pytest
from sqlmodel import Session, select

from twinning import cities, keys, outbox
from twinning.city_shapes import CityCreate, CityUpdate
from twinning.database import Database, draw
from twinning.endpoints import Delivery, WebhookEndpoint, new_secrets
from twinning.events import CityRegistered, CityUpdated
from twinning.keys import ApiKeyCreate, Caller
from twinning.terms import DeliveryState, Role

STAFF = Caller("staff", Role.STAFF)


def register(session: Session, name: str, country: str) -> str:
    """Register a city and record its event; gives the event's id."""
    city = cities.register(session, CityCreate(name=name, country=country))
    session.flush()
    return outbox.record(session, CityRegistered(data=cities.public(city)))


def change(session: Session, city_id: str) -> str:
    """Change a city and record its event; gives the event's id."""
    city = cities.get(session, city_id, hold=True)
    cities.change(session, city, CityUpdate(summary="A learning city."))
    return outbox.record(session, CityUpdated(data=cities.public(city)))


def subscribe(database: Database, wanted: ApiKeyCreate, **fields: object) -> str:
    """Make a key and an endpoint of its owner; gives the endpoint's id."""
    with database.transaction() as session:
        key, _ = keys.create(session, wanted)
    with database.transaction() as session:
        endpoint = WebhookEndpoint(
            owner_id=key.id,
            url="https://hooks.city.example.org/",
            secrets=new_secrets(),
            **{"event_types": ["*"]} | fields,
        )
        session.add(endpoint)
        return endpoint.id


def deliveries(database: Database, endpoint_id: str) -> list[Delivery]:
    """Read what is on its way to an endpoint."""
    with database.snapshot() as session:
        return list(session.exec(select(Delivery).where(Delivery.endpoint_id == endpoint_id)))


def test_a_fact_undone_leaves_no_event(database: Database) -> None:
    """Event and delivery live and die with their fact."""
    endpoint = subscribe(database, ApiKeyCreate(role=Role.STAFF, name="staff"))
    with pytest.raises(ZeroDivisionError), database.transaction() as session:
        register(session, "Cork", "IE")
        raise ZeroDivisionError

    with database.snapshot() as session:
        assert outbox.feed(session, STAFF, 0, [], 10) == []
    assert deliveries(database, endpoint) == []


def test_who_may_not_see_a_city_hears_nothing_of_it(database: Database) -> None:
    """A coordinator's endpoint and feed give the events of her countries, and no others."""
    endpoint = subscribe(database, ApiKeyCreate(role=Role.COORDINATOR, name="Ireland", countries=["IE"]))
    with database.transaction() as session:
        register(session, "Cork", "IE")
        register(session, "Suwon", "KR")

    caller = Caller("c", Role.COORDINATOR, frozenset({"IE"}))
    with database.snapshot() as session:
        told = [json.loads(event.body)["data"]["name"] for event in outbox.feed(session, caller, 0, [], 10)]
    assert told == ["Cork"]
    assert len(deliveries(database, endpoint)) == 1


def test_what_was_revoked_hears_nothing_more(database: Database) -> None:
    """An endpoint whose owner's key has ended gets no delivery."""
    endpoint = subscribe(database, ApiKeyCreate(role=Role.STAFF, name="staff"))
    with database.transaction() as session:
        keys.revoke(session, session.exec(select(keys.ApiKey)).one())
    with database.transaction() as session:
        register(session, "Cork", "IE")

    assert deliveries(database, endpoint) == []


def test_a_disabled_endpoints_events_are_held(database: Database) -> None:
    """While an endpoint is off, its deliveries wait as held."""
    endpoint = subscribe(database, ApiKeyCreate(role=Role.STAFF, name="staff"), enabled=False)
    with database.transaction() as session:
        register(session, "Cork", "IE")

    assert [row.state for row in deliveries(database, endpoint)] == [DeliveryState.HELD]


def test_the_feed_never_skips_an_event_whose_commit_came_late(postgres_url: str) -> None:
    """Of two transactions that cross, a reader who follows the feed sees both, each once, in feed order.

    On SQLite there is one writer at a time, and two transactions cannot cross.
    """
    database = Database(postgres_url)
    recorded, go_on = threading.Event(), threading.Event()
    with database.transaction() as session:
        cork, suwon = (
            cities.register(session, CityCreate(name=name, country=country)).id
            for name, country in (("Cork", "IE"), ("Suwon", "KR"))
        )

    def slow() -> None:
        with database.transaction() as session:
            change(session, cork)
            session.flush()
            recorded.set()
            go_on.wait(10)

    writer = threading.Thread(target=slow)
    writer.start()
    recorded.wait(10)
    with database.transaction() as session:
        change(session, suwon)
    with database.snapshot() as session:
        seen = list(outbox.feed(session, STAFF, 0, [], 10))
    go_on.set()
    writer.join()
    with database.snapshot() as session:
        seen += outbox.feed(session, STAFF, seen[-1].sequence, [], 10)

    database.close()

    assert [json.loads(event.body)["data"]["name"] for event in seen] == ["Suwon", "Cork"]


def test_numbers_follow_each_other_whoever_draws(database: Database) -> None:
    """Who draws first draws for those, too, that are known to come; no number is left out or given twice."""
    with database.writing() as session:
        session.info["events"] = [None] * 3
        first = draw(session, 2)
        del session.info["events"]
        # One more than was known of, and then others that nobody knew of.
        others = [draw(session, 4), draw(session, 1)]
        assert others == [first + 2, first + 6]
        session.commit()
    with database.writing() as session:
        assert draw(session, 1) == first + 7


def test_a_contact_is_in_no_event(database: Database) -> None:
    """A city's contact is in no event's body, whatever else the event tells."""
    with database.transaction() as session:
        wanted = CityCreate.model_validate(
            {
                "name": "Cork",
                "country": "IE",
                "contact": {"name": "Planted Person", "email": "planted@example.org"},
            }
        )
        city = cities.register(session, wanted)
        session.flush()
        outbox.record(session, CityRegistered(data=cities.public(city)))

    with database.snapshot() as session:
        [event] = outbox.feed(session, STAFF, 0, [], 10)
    assert "lanted" not in event.body
