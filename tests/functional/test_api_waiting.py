# SPDX-License-Identifier: Apache-2.0
"""The rules of what is waited for: previews, test deliveries and the feed hold nothing while they wait."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlmodel import select

from services.api import asking
from tests.factories import Door
from twinning import deliveries, outcomes, previews
from twinning.match_examples import PREVIEW_ANSWER, PREVIEW_REQUEST
from twinning.outcomes import Outcome
from twinning.previews import Preview
from twinning.terms import Bell, DeliveryState

HOOK = {"url": "https://hooks.limerick.ie/x"}


def _by_and_by(found: Callable[[], Any]) -> Any:
    """Ask until there is something, as a worker's scan does."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if seen := found():
            return seen
        time.sleep(0.01)
    raise AssertionError("nothing came")


def _answer_preview(front: Door) -> None:
    """Answer the one preview that is asked for, as a matching worker would."""

    def once() -> bool:
        with front.database.transaction() as session:
            row = session.exec(select(Preview)).first()
            if row is not None:
                row.answer = PREVIEW_ANSWER
            return row is not None

    _by_and_by(once)


def _deliver(front: Door) -> None:
    """Deliver what is due, as a dispatcher would whose receiver answered 204."""

    def once() -> bool:
        with front.database.transaction() as session:
            taken = deliveries.take_due(session, "test", 10, 30.0)
            done = [_delivered(sending) for sending in taken]
            outcomes.settle(session, done)
            return bool(taken)

    _by_and_by(once)


def _delivered(sending: deliveries.Sending) -> Outcome:
    return Outcome(
        sending=sending,
        state=DeliveryState.DELIVERED,
        due_at=None,
        status=204,
        error=None,
        answer="",
        address=None,
        duration_ms=1.5,
    )


def test_a_preview_is_answered_as_soon_as_a_worker_has(front: Door) -> None:
    """The answer comes in the request that asked, and its replay is the same."""
    headers = {**front.staff, "Idempotency-Key": "one"}
    with ThreadPoolExecutor() as pool:
        working = pool.submit(_answer_preview, front)
        first = front.client.post("/v1/matches/preview", json=PREVIEW_REQUEST, headers=headers)
        working.result()
    again = front.client.post("/v1/matches/preview", json=PREVIEW_REQUEST, headers=headers)

    assert (first.status_code, first.json()) == (200, PREVIEW_ANSWER)
    assert (again.status_code, again.json()) == (200, PREVIEW_ANSWER)
    assert again.headers["idempotent-replayed"] == "true"
    assert front.bells.count(Bell.MATCH) == 1


def test_a_preview_that_takes_longer_is_asked_for_again(
    embedded: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no worker about the answer is 202 and an address, which has it later, for the asker alone."""
    monkeypatch.setattr(asking, "PREVIEW_S", 0.1)
    first = embedded.client.post("/v1/matches/preview", json=PREVIEW_REQUEST, headers=embedded.staff)
    path = first.headers["location"]
    early = embedded.client.get(path, headers=embedded.staff)
    _answer_preview(embedded)
    late = embedded.client.get(path, headers=embedded.staff)
    other = embedded.client.get(path, headers=embedded.coordinator("IE"))

    assert [first.status_code, early.status_code, late.status_code, other.status_code] == [202, 202, 200, 404]
    assert late.json() == PREVIEW_ANSWER
    with embedded.database.snapshot() as session:
        assert previews.get(session, path.rsplit("/", 1)[1]).request == PREVIEW_REQUEST


def test_a_ping_is_answered_with_its_attempt(front: Door) -> None:
    """A test delivery goes to its endpoint alone, and its outcome is the answer."""
    hooks = [HOOK, {**HOOK, "url": f"{HOOK['url']}/2"}]
    made = [
        front.client.post("/v1/webhook-endpoints", json=hook, headers=front.staff).json() for hook in hooks
    ]
    path = f"/v1/webhook-endpoints/{made[0]['id']}"
    with ThreadPoolExecutor() as pool:
        working = pool.submit(_deliver, front)
        answer = front.client.post(f"{path}/ping", headers=front.staff)
        working.result()
    told = answer.json()

    assert (answer.status_code, told["state"], told["attempts"][0]["status"]) == (200, "delivered", 204)
    assert front.client.get(f"/v1/deliveries/{told['id']}", headers=front.staff).json() == told
    assert front.client.get(f"{path}/deliveries", headers=front.staff).json()["items"] == [told]
    others = front.client.get(f"/v1/webhook-endpoints/{made[1]['id']}/deliveries", headers=front.staff)
    assert others.json()["items"] == []


def test_a_ping_to_nobody_says_where_to_look(embedded: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a dispatcher a ping is 202 with the log's address."""
    monkeypatch.setattr(asking, "PING_SLACK_S", 0.1 - embedded.settings.webhook_timeout_s)
    made = embedded.client.post("/v1/webhook-endpoints", json=HOOK, headers=embedded.staff).json()
    path = f"/v1/webhook-endpoints/{made['id']}"
    answer = embedded.client.post(f"{path}/ping", headers=embedded.staff)
    log = embedded.client.get(answer.headers["location"], headers=embedded.staff).json()["items"]

    assert (answer.status_code, [each["state"] for each in log]) == (202, ["pending"])


def test_an_endpoint_that_is_off_is_tested_all_the_same(front: Door) -> None:
    """A test delivery goes to a disabled endpoint at once, and nothing else does."""
    wanted = {**HOOK, "enabled": False}
    made = front.client.post("/v1/webhook-endpoints", json=wanted, headers=front.staff).json()
    path = f"/v1/webhook-endpoints/{made['id']}"
    front.city()
    with ThreadPoolExecutor() as pool:
        working = pool.submit(_deliver, front)
        answer = front.client.post(f"{path}/ping", headers=front.staff)
        working.result()
    log = front.client.get(f"{path}/deliveries", headers=front.staff).json()["items"]

    assert (answer.status_code, answer.json()["attempts"][0]["status"]) == (200, 204)
    assert [each["state"] for each in log] == ["delivered", "held"]


def test_the_feed_answers_when_something_happens(front: Door) -> None:
    """A reader who waits is answered by the next event, and reads on from there without a gap."""
    front.city("Limerick")
    last = front.client.get("/v1/events", headers=front.staff).json()["items"][-1]
    path = f"/v1/events?after={last['id']}&wait=20"
    begun = time.monotonic()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(front.client.get, path, headers=front.staff)
        front.city("Cork")
        told = waiting.result().json()

    assert [event["data"]["name"] for event in told["items"]] == ["Cork"]
    assert set(told["items"][0]) == {"id", "type", "timestamp", "data"}
    assert time.monotonic() - begun < 15


def test_the_feed_shows_what_the_key_may_see(front: Door) -> None:
    """A city reads the events that name it, a coordinator those of its countries, by type and page."""
    limerick, suwon = front.city(), front.city("Suwon", "KR")
    front.practice(limerick["id"])
    front.need(suwon["id"])

    def types(bearer: dict[str, str], query: str = "") -> list[str]:
        items = front.client.get(f"/v1/events?{query}", headers=bearer).json()["items"]
        return [item["type"] for item in items]

    assert types(front.of_city(limerick["id"])) == ["city.registered", "practice.registered"]
    assert types(front.coordinator("KR")) == ["city.registered", "need.registered"]
    assert types(front.staff, "types=need.*,practice.registered") == [
        "practice.registered",
        "need.registered",
    ]
    assert types(front.staff, "types=need.*&types=city.updated") == ["need.registered"]
    page = front.client.get("/v1/events?limit=3", headers=front.staff).json()
    assert page["next_cursor"] == page["items"][-1]["id"]
    assert types(front.staff, f"after={page['next_cursor']}") == ["need.registered"]


def test_waiting_readers_leave_room_for_writers(embedded: Door) -> None:
    """Many who wait at the feed hold no connection: a write is served at once, and all of them hear of it."""
    with ThreadPoolExecutor(30) as pool:
        waiting = [
            pool.submit(embedded.client.get, "/v1/events?wait=20", headers=embedded.staff) for _ in range(30)
        ]
        embedded.city()
        heard = [len(each.result().json()["items"]) for each in waiting]

    assert heard == [1] * 30
