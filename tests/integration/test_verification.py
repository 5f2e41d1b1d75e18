# SPDX-License-Identifier: Apache-2.0
"""The handshake before the first delivery, on both databases: nothing goes out before the echo."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import col, select

from services.dispatcher.errands import Errands
from tests.factories import Door, door
from tests.hooks import attempts, courier, deliveries, eventually, settings_for, subscribe
from tests.receiver import Manner, Receiver
from twinning import endpoints, verification
from twinning.database import Database, now
from twinning.endpoints import WebhookEndpoint
from twinning.outbox import StoredEvent
from twinning.verification import PATIENCE

SCHEDULE = "0 0.3 0.3 0.3 0.3 0.3 0.3 0.3"
ASKS = "webhook_endpoint.verification"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def front(database_url: str) -> Iterator[Door]:
    """A front door of a house that asks every endpoint to prove itself."""
    fields = {"webhook_allow_cidrs": "127.0.0.0/8", "webhook_allow_http": True, "webhook_verify": True}
    with door(database_url, **fields) as opened:
        yield opened


def make(front: Door, url: str, **fields: Any) -> dict[str, Any]:
    answer = front.client.post("/v1/webhook-endpoints", json={"url": url, **fields}, headers=front.staff)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def read(front: Door, made: dict[str, Any]) -> WebhookEndpoint:
    with front.database.snapshot() as session:
        return endpoints.get(session, made["id"])


def change(front: Door, made: dict[str, Any], **fields: Any) -> Any:
    return front.client.patch(f"/v1/webhook-endpoints/{made['id']}", json=fields, headers=front.staff)


def types(receiver: Receiver, path: str) -> list[str]:
    return [json.loads(one.body)["type"] for one in receiver.got(path)]


def echo(front: Door, receiver: Receiver, made: dict[str, Any], path: str) -> None:
    """Have the receiver echo the present challenge from now on."""
    body = json.dumps({"challenge": read(front, made).challenge, "more": 1})
    receiver.behave(path, Manner(body=body))


def sender(front: Door) -> Any:
    return courier(front.database, settings_for(front.database.url, retry_schedule_s=SCHEDULE))


def test_nothing_else_comes_before_the_echo(front: Door, receiver: Receiver) -> None:
    """A new endpoint is sent a signed challenge alone; what is held is released in order by its echo."""
    made = make(front, receiver.url("/a"), event_types=["city.*"])
    receiver.secrets = [made["secret"]]
    for name in ("Limerick", "Cork"):
        front.city(name)
    with sender(front):
        asked = receiver.wait_for(2, "/a")
        before = front.client.get(f"/v1/webhook-endpoints/{made['id']}", headers=front.staff).json()
        echo(front, receiver, made, "/a")
        eventually(lambda: read(front, made).challenge is None)
        eventually(lambda: types(receiver, "/a").count("city.registered") == 2)
    after = front.client.get(f"/v1/webhook-endpoints/{made['id']}", headers=front.staff).json()
    told = [json.loads(one.body) for one in receiver.got("/a")]
    names = [one["data"]["name"] for one in told if one["type"] == "city.registered"]

    assert {json.loads(one.body)["type"] for one in asked} == {ASKS}
    assert all(one.verified_by for one in receiver.got("/a"))
    assert (made["verified"], before["verified"], after["verified"]) == (False, False, True)
    assert names == ["Limerick", "Cork"]
    assert types(receiver, "/a")[-2:] == ["city.registered"] * 2


@pytest.mark.parametrize(
    "body", ["", "ok", '{"challenge": "no"}', "[1]", '"x"', '{"data": {"challenge": 1}}']
)
def test_a_yes_without_the_echo_is_none(front: Door, receiver: Receiver, body: str) -> None:
    """A 2xx with anything else than the challenge is a failed attempt that says so."""
    made = make(front, receiver.url("/a"))
    receiver.behave("/a", Manner(body=body))
    with sender(front):
        receiver.wait_for(2, "/a")
    [delivery] = deliveries(front.database)
    line = attempts(front.database, delivery.id)[0]

    assert (line.status, line.error) == (200, "challenge_not_echoed")
    assert read(front, made).challenge is not None


def test_a_new_url_has_to_prove_itself(front: Door, receiver: Receiver) -> None:
    """After a change of the URL the old challenge proves nothing; the new address gets one of its own."""
    made = make(front, receiver.url("/a"), event_types=["city.*"])
    with sender(front):
        echo(front, receiver, made, "/a")
        eventually(lambda: read(front, made).challenge is None)
        unchanged = change(front, made, description="Only words")
        changed = change(front, made, url=receiver.url("/b"))
        front.city()
        receiver.wait_for(1, "/b")
        first = read(front, made).challenge
        change(front, made, url=receiver.url("/c"))
        receiver.behave("/c", Manner(body=json.dumps({"challenge": first})))
        receiver.wait_for(2, "/c")
        assert set(types(receiver, "/b") + types(receiver, "/c")) == {ASKS}
        echo(front, receiver, made, "/c")
        eventually(lambda: "city.registered" in types(receiver, "/c"))

    assert (unchanged.json()["verified"], changed.json()["verified"]) == (True, False)


def test_what_was_on_its_way_to_the_old_address_waits(front: Door, receiver: Receiver) -> None:
    """What waited, and what comes back failed, is held when the URL has changed, and not sent there."""
    made = make(front, receiver.url("/a"), event_types=["city.*"])
    with sender(front):
        echo(front, receiver, made, "/a")
        eventually(lambda: read(front, made).challenge is None)
        receiver.behave("/a", Manner(statuses=(500,), delay_s=0.5))
        for number in range(6):
            front.city(f"City {number}")
        receiver.wait(lambda got: sum(b"city.registered" in one.body for one in got) == 4)
        change(front, made, url=receiver.url("/b"))
        waited = {one.id for one in deliveries(front.database) if one.state == "held"}
        eventually(lambda: sum(one.state == "held" for one in deliveries(front.database)) == 6)
        receiver.wait_for(2, "/b")

    assert len(waited) == 2
    assert set(types(receiver, "/b")) == {ASKS}


def test_it_ends_with_a_note_and_begins_again(front: Door, receiver: Receiver) -> None:
    """After 72 hours without an echo the endpoint is off, which is told; enabling asks anew."""
    made = make(front, receiver.url("/a"))
    first = read(front, made).challenge
    errands = Errands(front.database, front.settings, "dispatcher-1")
    errands.look()
    assert read(front, made).enabled
    with front.database.transaction() as session:
        endpoints.get(session, made["id"]).unverified_since = now() - PATIENCE - timedelta(seconds=1)
    errands.look()
    errands.look()
    off = front.client.get(f"/v1/webhook-endpoints/{made['id']}", headers=front.staff).json()
    on = change(front, made, enabled=True).json()
    with front.database.snapshot() as session:
        bodies = session.exec(select(StoredEvent.body).order_by(col(StoredEvent.sequence))).all()
    kinds = [json.loads(body)["type"] for body in bodies]

    assert (off["enabled"], off["disabled_because"]) == (False, "unverified")
    assert (on["enabled"], on["verified"]) == (True, False)
    assert kinds == [ASKS, "webhook_endpoint.disabled", ASKS]
    assert "72 hours" in bodies[1]
    assert read(front, made).challenge != first


def test_an_unverified_endpoint_is_sent_nothing_by_request(front: Door, receiver: Receiver) -> None:
    """Ping and retry are refused; the challenge itself may be sent again at once."""
    made = make(front, receiver.url("/a"))
    front.city()
    path = f"/v1/webhook-endpoints/{made['id']}"
    log = front.client.get(f"{path}/deliveries", headers=front.staff).json()["items"]
    pinged = front.client.post(f"{path}/ping", headers=front.staff)
    retried = [
        front.client.post(f"/v1/deliveries/{one['id']}/retry", headers=front.staff).status_code for one in log
    ]

    assert [one["state"] for one in log] == ["held", "pending"]
    assert (pinged.status_code, retried) == (409, [409, 202])


def test_a_rounds_callback_proves_itself_too(front: Door, receiver: Receiver) -> None:
    """The callback of a round gets a challenge first, and the round's event after its echo."""
    wanted = {"kind": "study_visit", "callback_url": receiver.url("/r")}
    asked = front.client.post("/v1/matching-rounds", json=wanted, headers=front.staff)
    front.client.post(f"{asked.headers['location']}/cancel", headers=front.staff)
    with front.database.snapshot() as session:
        callback = session.exec(select(WebhookEndpoint)).one()
    with sender(front):
        receiver.wait_for(1, "/r")
        receiver.behave("/r", Manner(body=json.dumps({"challenge": callback.challenge})))
        eventually(lambda: "matching_round.cancelled" in types(receiver, "/r"))

    assert types(receiver, "/r")[0] == ASKS


def test_without_the_setting_nobody_is_asked(database_url: str) -> None:
    """By default a new endpoint is verified as it is."""
    with door(database_url) as front:
        made = make(front, "https://hooks.limerick.ie/x")

        assert made["verified"]
        assert deliveries(front.database) == []


def test_an_echo_of_long_ago_changes_nothing(database: Database) -> None:
    """Only the present challenge counts."""
    row = subscribe(database, "http://127.0.0.1:9/", challenge="new", unverified_since=now())
    with database.transaction() as session:
        held = endpoints.get(session, row.id, hold=True)
        verification.accept(session, held, "old")
        assert held.challenge == "new"
        verification.accept(session, held, "new")
        assert held.is_open
