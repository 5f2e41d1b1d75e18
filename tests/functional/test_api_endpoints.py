# SPDX-License-Identifier: Apache-2.0
"""The rules of webhook endpoints, rounds' callbacks and readiness at the front door."""

from typing import Any

import pytest

from tests.factories import Door, door
from twinning import workers
from twinning.hook_examples import ENDPOINT_REQUEST

URL = "https://hooks.limerick.ie/x"


def test_a_secret_is_shown_at_creation_only(front: Door) -> None:
    """The answer to the creation has the secret; no other answer has it."""
    made = front.client.post("/v1/webhook-endpoints", json=ENDPOINT_REQUEST, headers=front.staff)
    path = made.headers["location"]
    read = front.client.get(path, headers=front.staff)
    listed = front.client.get("/v1/webhook-endpoints", headers=front.staff)
    changed = front.client.patch(path, json={"description": "New"}, headers=front.staff)

    assert made.json()["secret"].startswith("whsec_")
    shown = {**ENDPOINT_REQUEST, "headers": {"Authorization": None}}
    assert {name: made.json()[name] for name in ENDPOINT_REQUEST} == shown
    assert "bGltZXJpY2s6c2VjcmV0" not in made.text + read.text + listed.text + changed.text
    assert "whsec_" not in read.text + listed.text + changed.text
    assert (
        front.client.delete(path, headers={**front.staff, "If-Match": read.headers["etag"]}).status_code
        == 412
    )
    assert front.client.delete(path, headers=front.staff).status_code == 204


def test_what_happens_while_it_is_off_is_held(front: Door) -> None:
    """A disabled endpoint's events are held, and released when it is enabled again."""
    wanted = {"url": URL, "enabled": False}
    made = front.client.post("/v1/webhook-endpoints", json=wanted, headers=front.staff)
    path = made.headers["location"]

    def states() -> list[str]:
        items = front.client.get(f"{path}/deliveries", headers=front.staff).json()["items"]
        return [item["state"] for item in items]

    front.city()
    held = states()
    enabled = front.client.patch(path, json={"enabled": True}, headers=front.staff)
    released = states()
    front.client.patch(path, json={"enabled": False}, headers=front.staff)

    assert (made.json()["disabled_because"], enabled.json()["disabled_because"]) == ("its owner", None)
    assert (held, released, states()) == (["held"], ["pending"], ["held"])


def test_filters_and_sight_decide_what_is_sent(front: Door) -> None:
    """An endpoint hears of what it asked for and its owner may see."""
    limerick = front.city()
    coordinator = front.coordinator("IE", "SE")
    wanted = {"url": URL, "event_types": ["city.*"], "filters": {"countries": ["IE"]}}
    path = front.client.post("/v1/webhook-endpoints", json=wanted, headers=coordinator).headers["location"]
    for name, country in (("Cork", "IE"), ("Malmö", "SE"), ("Suwon", "KR")):
        front.city(name, country)
    front.practice(limerick["id"])

    assert len(front.client.get(f"{path}/deliveries", headers=coordinator).json()["items"]) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "http://hooks.limerick.ie/x"), ("url", "https://127.0.0.1/"), ("url", "https://localhost/"),
        ("url", "https://user:pw@limerick.ie/"), ("url", ""), ("url", "x" * 3000), ("url", "https://1.2.3/"),
        ("event_types", []), ("event_types", ["city.regis*"]), ("event_types", [".."]),
        ("event_types", ["x" * 300]),
        ("event_types", ["visit.*.x"]), ("headers", {"X:Y": "1"}), ("headers", {"Host": "x"}),
        ("headers", {"Content-Length": "1"}), ("headers", {"webhook-id": "1"}), ("headers", {"TE": "x"}),
        ("headers", {"Transfer-Encoding": "chunked"}), ("headers", {"X": "a\r\nb"}), ("headers", {"X": "ä"}),
        ("headers", {"X": "a" * 1025}), ("headers", {f"X-{n}": "1" for n in range(11)}),
        ("headers", {"X-a": "1", "x-A": "2"}), ("filters", {"countries": ["US"]}), ("filters", {"bogus": 1}),
        ("rate_per_second", 0), ("rate_per_second", -1), ("enabled", "yes"), ("secret", "whsec_x"),
    ],
)  # fmt: skip
def test_a_bad_endpoint_is_refused(shared: Door, field: str, value: Any) -> None:
    """What webhooks may not be is refused with a pointer, when it is made and when it is changed."""
    made = shared.client.post("/v1/webhook-endpoints", json={"url": URL, field: value}, headers=shared.staff)
    good = shared.client.post("/v1/webhook-endpoints", json={"url": URL}, headers=shared.staff)
    path = good.headers["location"]
    changed = shared.client.patch(path, json={field: value}, headers=shared.staff)

    for answer in (made, changed):
        assert answer.status_code == 422
        assert all(flaw["pointer"].startswith(f"/{field}") for flaw in answer.json()["errors"])
    shared.client.delete(path, headers=shared.staff)


def test_the_operator_may_open_networks(sqlite_url: str) -> None:
    """A receiver inside the operator's own network is taken when the settings say so."""
    with door(sqlite_url, webhook_allow_cidrs="127.0.0.0/8", webhook_allow_http=True) as front:
        wanted = {"url": "http://127.0.0.1:9999/in"}
        answer = front.client.post("/v1/webhook-endpoints", json=wanted, headers=front.staff)

        assert (answer.status_code, answer.json()["url"]) == (201, wanted["url"])


def test_a_callback_is_signed_with_a_secret_of_its_own(front: Door) -> None:
    """A round's 202 shows the secret once; its callback is in no list and hears of this round alone."""
    wanted = {"kind": "study_visit", "callback_url": URL}
    asked = front.client.post("/v1/matching-rounds", json=wanted, headers=front.staff)
    path = asked.headers["location"]
    other = front.client.post("/v1/matching-rounds", json={"kind": "twinning"}, headers=front.staff)
    cancelled = [
        front.client.post(f"{each.headers['location']}/cancel", headers=front.staff)
        for each in (asked, other)
    ]
    again = front.client.post(f"{path}/cancel", headers=front.staff)

    assert asked.status_code == 202
    assert asked.json()["callback_secret"].startswith("whsec_")
    assert other.json()["callback_secret"] is None
    assert "callback_secret" not in front.client.get(path, headers=front.staff).json()
    assert front.client.get("/v1/webhook-endpoints", headers=front.staff).json()["items"] == []
    assert [answer.json()["state"] for answer in cancelled] == ["cancelled", "cancelled"]
    assert again.status_code == 409
    with front.database.snapshot() as session:
        sent = session.connection().exec_driver_sql("SELECT count(*) FROM delivery").scalar_one()
    assert sent == 1


def test_a_callback_may_not_go_just_anywhere(shared: Door) -> None:
    """A round with a callback to a private address is refused, by the field's name."""
    wanted = {"kind": "study_visit", "callback_url": "https://10.0.0.1/"}
    answer = shared.client.post("/v1/matching-rounds", json=wanted, headers=shared.staff)

    assert answer.status_code == 422
    assert [flaw["pointer"] for flaw in answer.json()["errors"]] == ["/callback_url"]


def test_readiness_names_each_part(front: Door) -> None:
    """Without broker and workers the house is degraded, with its database away unavailable."""
    front.city()
    degraded = front.client.get("/readyz")
    with front.database.transaction() as session:
        for service in ("matcher", "dispatcher"):
            workers.beat(session, service, service)
    working = front.client.get("/readyz").json()
    with front.database.transaction() as session:
        session.connection().exec_driver_sql("ALTER TABLE delivery RENAME TO away")
    away = front.client.get("/readyz")

    assert (degraded.status_code, degraded.json()["status"]) == (200, "degraded")
    assert (degraded.json()["broker"], degraded.json()["workers"]) == ("away", "away")
    assert (working["database"], working["workers"]) == ("ok", "ok")
    assert (away.status_code, away.json()["status"], away.json()["database"]) == (503, "unavailable", "away")
    assert front.client.get("/healthz").json() == {"status": "ok"}
