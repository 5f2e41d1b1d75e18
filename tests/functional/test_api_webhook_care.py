# SPDX-License-Identifier: Apache-2.0
"""The rules of looking after webhooks at the front door: new secrets, retries, replays, limits."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlmodel import select

from services.dispatcher.errands import Errands
from tests.factories import Door
from twinning import endpoints, keyring
from twinning.database import now
from twinning.endpoints import Delivery, WebhookEndpoint
from twinning.subscriptions import MOST_ENDPOINTS
from twinning.terms import DeliveryState

URL = "https://hooks.limerick.ie/x"


def _hook(front: Door, **fields: Any) -> dict[str, Any]:
    answer = front.client.post("/v1/webhook-endpoints", json={"url": URL, **fields}, headers=front.staff)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return {**made, "path": answer.headers["location"], "etag": answer.headers["etag"]}


def _rotate(front: Door, hook: dict[str, Any], grace_s: Any = 86_400, **headers: str) -> Any:
    path = f"{hook['path']}/rotate-secret"
    return front.client.post(path, json={"grace_seconds": grace_s}, headers={**front.staff, **headers})


def _live(front: Door, hook: dict[str, Any]) -> tuple[str, ...]:
    with front.database.snapshot() as session:
        return keyring.live_secrets(session, endpoints.get(session, hook["id"]), now())


def _set(front: Door, hook: dict[str, Any], **fields: Any) -> None:
    with front.database.transaction() as session:
        for delivery in session.exec(select(Delivery).where(Delivery.endpoint_id == hook["id"])):
            for name, value in fields.items():
                setattr(delivery, name, value)
            session.add(delivery)


def test_a_new_secret_is_shown_once_and_the_old_one_signs_on(front: Door) -> None:
    """Rotation answers with the new secret; within the time of grace both sign, the new one first."""
    hook = _hook(front)
    answer = _rotate(front, hook)
    read = front.client.get(hook["path"], headers=front.staff)

    assert answer.status_code == 200
    assert answer.json()["secret"] != hook["secret"]
    assert _live(front, hook) == (answer.json()["secret"], hook["secret"])
    assert "whsec_" not in read.text
    assert answer.headers["etag"] == read.headers["etag"] != hook["etag"]


def test_without_grace_the_older_secrets_end(front: Door) -> None:
    """With a grace of 0 seconds only the new secret signs."""
    hook = _hook(front)
    _rotate(front, hook)
    answer = _rotate(front, hook, 0)

    assert _live(front, hook) == (answer.json()["secret"],)


def test_three_secrets_at_most_are_live(front: Door) -> None:
    """A fourth within the time of grace is a conflict that says when the next one ends."""
    hook = _hook(front)
    first, second = _rotate(front, hook, 100), _rotate(front, hook, 200)
    refused = _rotate(front, hook)
    with front.database.snapshot() as session:
        ends = [entry["ends_at"] for entry in endpoints.get(session, hook["id"]).secrets]

    assert (first.status_code, second.status_code, refused.status_code) == (200, 200, 409)
    assert refused.json()["type"].endswith("/problems/secrets-live")
    assert ends[2] in refused.json()["detail"]
    assert datetime.fromisoformat(ends[2]) < now() + timedelta(seconds=101)
    assert _rotate(front, hook, 0).status_code == 200


def test_rotation_keeps_the_rules_of_every_change(front: Door) -> None:
    """The same Idempotency-Key shows the same secret again; a stale If-Match changes nothing."""
    hook = _hook(front)
    once = _rotate(front, hook, **{"Idempotency-Key": "k"})
    again = _rotate(front, hook, **{"Idempotency-Key": "k"})
    stale = _rotate(front, hook, **{"If-Match": hook["etag"]})

    assert once.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert stale.status_code == 412
    assert len(_live(front, hook)) == 2


@pytest.mark.parametrize("grace_s", [-1, 604_801, 1.5, "1", True, None])
def test_a_bad_time_of_grace_is_refused(shared: Door, grace_s: Any) -> None:
    """The time of grace is a whole number of seconds, a week at most."""
    hook = _hook(shared, url=f"{URL}/{grace_s}")
    answer = _rotate(shared, hook, grace_s)

    assert answer.status_code == 422
    assert [flaw["pointer"] for flaw in answer.json()["errors"]] == ["/grace_seconds"]


@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.EXHAUSTED, DeliveryState.PENDING])
def test_a_retry_begins_the_schedule_anew(front: Door, state: DeliveryState) -> None:
    """Whatever became of a delivery, a retry makes it due now under the same event, its schedule whole."""
    hook = _hook(front)
    front.city()
    _set(front, hook, state=state, tries=3, due_at=now() + timedelta(hours=5))
    [before] = front.client.get(f"{hook['path']}/deliveries", headers=front.staff).json()["items"]
    answer = front.client.post(f"/v1/deliveries/{before['id']}/retry", headers=front.staff)
    with front.database.snapshot() as session:
        row = endpoints.delivery(session, before["id"])

    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/deliveries/{before['id']}")
    assert (answer.json()["state"], answer.json()["event_id"]) == ("pending", before["event_id"])
    assert row.due_at is not None
    assert row.due_at <= now()
    assert (row.tries, row.tries_before) == (3, 3)


def test_what_is_held_or_under_way_is_not_retried(front: Door) -> None:
    """A retry of a held delivery says that the endpoint is off; one under way has to end first."""
    hook = _hook(front)
    front.city()
    [before] = front.client.get(f"{hook['path']}/deliveries", headers=front.staff).json()["items"]
    path = f"/v1/deliveries/{before['id']}/retry"
    _set(front, hook, leased_by="somebody")
    under_way = front.client.post(path, headers=front.staff)
    _set(front, hook, leased_by=None)
    front.client.patch(hook["path"], json={"enabled": False}, headers=front.staff)
    held = front.client.post(path, headers=front.staff)

    assert [answer.status_code for answer in (under_way, held)] == [409, 409]
    assert under_way.json()["type"].endswith("delivery-under-way")
    assert held.json()["type"].endswith("endpoint-disabled")


def _span(since: timedelta, until: timedelta | None = None, **fields: Any) -> dict[str, Any]:
    moments = {"since": (now() + since).isoformat()}
    if until is not None:
        moments["until"] = (now() + until).isoformat()
    return {**moments, **fields}


@pytest.mark.parametrize(
    ("wanted", "pointer"),
    [
        (_span(timedelta(hours=-1), timedelta(hours=-2)), "/since"),
        (_span(timedelta(hours=1)), "/since"),
        (_span(timedelta(days=-31)), "/since"),
        (_span(timedelta(hours=-1), timedelta(hours=1)), "/until"),
        (_span(timedelta(hours=-1), only="bogus"), "/only"),
        ({"since": "2026-11-01T00:00:00"}, "/since"),
        ({"since": "yesterday"}, "/since"),
        ({}, "/since"),
        (_span(timedelta(hours=-1), bogus=1), "/bogus"),
    ],
)
def test_a_bad_replay_is_refused(shared: Door, wanted: dict[str, Any], pointer: str) -> None:
    """A replay of no span, of the future, of what is gone, or of no known kind is refused by its field."""
    with shared.database.transaction() as session:
        for row in session.exec(select(WebhookEndpoint)):
            endpoints.remove(session, row)
    hook = _hook(shared)
    answer = shared.client.post(f"{hook['path']}/replay", json=wanted, headers=shared.staff)

    assert answer.status_code == 422
    assert [flaw["pointer"] for flaw in answer.json()["errors"]] == [pointer]


def test_a_replay_is_a_job_that_tells_how_far_it_is(front: Door) -> None:
    """A replay is 202 with an address; there it stands queued, then completed with its counts."""
    for name in ("Limerick", "Cork", "Galway"):
        front.city(name)
    hook = _hook(front)
    wanted = _span(timedelta(hours=-1), only="missing")
    asked = front.client.post(f"{hook['path']}/replay", json=wanted, headers=front.staff)
    path = asked.headers["location"]
    queued = front.client.get(path, headers=front.staff).json()
    errands = Errands(front.database, front.settings, "dispatcher")
    while errands.take():
        pass
    completed = front.client.get(path, headers=front.staff)
    deliveries = front.client.get(f"{hook['path']}/deliveries", headers=front.staff).json()["items"]
    over = front.client.post(f"{path}/cancel", headers=front.staff)

    assert (asked.status_code, asked.json()) == (202, queued)
    assert (queued["state"], queued["only"]) == ("queued", "missing")
    assert completed.json()["state"] == "completed"
    assert completed.json()["progress"] == {"done": 3, "total": 3}
    assert completed.json()["counts"] == {"resent": 0, "created": 3, "skipped": 0}
    assert len(deliveries) == 3
    assert over.status_code == 409


def test_a_cancelled_replay_does_nothing_more(front: Door) -> None:
    """A replay that was cancelled before it began sends nothing."""
    front.city()
    hook = _hook(front)
    wanted = _span(timedelta(hours=-1), only="all")
    path = front.client.post(f"{hook['path']}/replay", json=wanted, headers=front.staff).headers["location"]
    cancelled = front.client.post(f"{path}/cancel", headers=front.staff)
    took = Errands(front.database, front.settings, "dispatcher").take()

    assert (cancelled.status_code, cancelled.json()["state"], took) == (200, "cancelled", False)
    assert front.client.get(f"{hook['path']}/deliveries", headers=front.staff).json()["items"] == []


def test_an_endpoint_with_a_replay_can_be_deleted(front: Door) -> None:
    """An endpoint goes with its replays; their work finds nothing to do."""
    hook = _hook(front)
    asked = front.client.post(f"{hook['path']}/replay", json=_span(timedelta(hours=-1)), headers=front.staff)
    deleted = front.client.delete(hook["path"], headers=front.staff)
    errands = Errands(front.database, front.settings, "dispatcher")

    assert deleted.status_code == 204
    assert front.client.get(asked.headers["location"], headers=front.staff).status_code == 404
    assert (errands.take(), errands.take()) == (True, False)


def test_a_key_has_so_many_endpoints_at_most(embedded: Door) -> None:
    """One endpoint more than a key may have is a conflict; another key has its own."""
    for number in range(MOST_ENDPOINTS):
        _hook(embedded, url=f"{URL}/{number}")
    one_more = embedded.client.post(
        "/v1/webhook-endpoints", json={"url": f"{URL}/more"}, headers=embedded.staff
    )
    other = embedded.client.post(
        "/v1/webhook-endpoints", json={"url": f"{URL}/more"}, headers=embedded.coordinator("IE")
    )

    assert (one_more.status_code, other.status_code) == (409, 201)
    assert one_more.json()["type"].endswith("/problems/endpoints-full")


def test_the_same_endpoint_twice_is_a_conflict(front: Door) -> None:
    """The same URL, types and filters are refused unless one Idempotency-Key asked twice."""
    wanted = {"url": URL, "event_types": ["city.*", "need.*"], "filters": {"countries": ["IE"]}}

    def made(key: str | None = None, **fields: Any) -> Any:
        headers = {**front.staff, **({"Idempotency-Key": key} if key else {})}
        return front.client.post("/v1/webhook-endpoints", json={**wanted, **fields}, headers=headers)

    once, again = made("k"), made("k")
    twice = made(event_types=["need.*", "city.*"], description="Another")
    other = made(filters={"countries": ["SE"]})

    assert [answer.status_code for answer in (once, again, twice, other)] == [201, 201, 409, 201]
    assert once.json()["id"] == again.json()["id"]
    assert once.json()["id"] in twice.json()["detail"]


def test_a_header_keeps_its_value_without_showing_it(front: Door) -> None:
    """What is read can be sent back: a header whose value is null keeps the one that it has."""
    hook = _hook(front, headers={"X-Token": "tulip", "X-Old": "rose"})
    headers = {"X-Token": None, "X-New": "iris"}
    changed = front.client.patch(hook["path"], json={"headers": headers}, headers=front.staff)
    with front.database.snapshot() as session:
        kept = keyring.headers_of(session, endpoints.get(session, hook["id"]))

    unknown = front.client.patch(hook["path"], json={"headers": {"X-No": None}}, headers=front.staff)

    assert unknown.status_code == 422
    assert changed.json()["headers"] == {"X-Token": None, "X-New": None}
    assert kept == {"X-Token": "tulip", "X-New": "iris"}
    assert "tulip" not in changed.text


def test_one_event_can_be_read_in_full(front: Door) -> None:
    """An event has an address, where it reads as in the feed, for those who may see it."""
    city = front.city()
    [listed] = front.client.get("/v1/events", headers=front.staff).json()["items"]
    path = f"/v1/events/{listed['id']}"
    read = front.client.get(path, headers=front.of_city(city["id"]))

    assert (read.status_code, read.json()) == (200, listed)
    assert front.client.get(path, headers=front.coordinator("SE")).status_code == 404
