# SPDX-License-Identifier: Apache-2.0
"""The rules of the log of deliveries: all of one's own, newest first, by what one would ask for."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col

from tests.factories import Door
from twinning.database import now
from twinning.endpoints import Delivery


def subscribe(front: Door, bearer: dict[str, str], *types: str) -> str:
    """Make an endpoint for some types; gives its id."""
    wanted = {"url": "https://hooks.limerick.ie/x", "event_types": list(types or ("*",))}
    made: dict[str, Any] = front.client.post("/v1/webhook-endpoints", json=wanted, headers=bearer).json()
    return str(made["id"])


def log(front: Door, query: str = "", bearer: dict[str, str] | None = None) -> list[dict[str, Any]]:
    """A page of the log."""
    answer = front.client.get(f"/v1/deliveries?{query}", headers=bearer or front.staff)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def test_each_sees_the_deliveries_to_their_own_endpoints(front: Door) -> None:
    """A coordinator sees what went to their endpoints and staff what went to all, newest first."""
    ireland = front.coordinator("IE")
    mine, theirs = subscribe(front, ireland), subscribe(front, front.staff)
    front.city("Cork")
    front.city("Suwon", "KR")

    assert [each["endpoint_id"] for each in log(front, bearer=ireland)] == [mine]
    every = log(front)
    assert [each["id"] for each in every] == sorted((each["id"] for each in every), reverse=True)
    assert sorted(each["endpoint_id"] for each in every) == sorted([mine, theirs, theirs])
    assert log(front, bearer=front.coordinator("IE")) == []
    assert log(front, f"endpoint_id={theirs}", ireland) == []
    assert [each["endpoint_id"] for each in log(front, f"endpoint_id={mine}")] == [mine]


def test_the_log_is_read_by_type_state_and_time(front: Door) -> None:
    """Each filter narrows, and together they narrow more; a span takes its beginning and not its end."""
    subscribe(front, front.staff)
    city = front.city("Cork")
    front.practice(city["id"])
    practice, registered = log(front)
    moment = now().replace(microsecond=0)
    with front.database.transaction() as session:
        old = update(Delivery).where(col(Delivery.id) == registered["id"])
        session.execute(old.values(created_at=moment - timedelta(days=2), state="delivered", due_at=None))

    def found(**query: str) -> list[str]:
        joined = "&".join(f"{name}={value}" for name, value in query.items())
        return [each["id"] for each in log(front, joined)]

    def spelled(days: int) -> str:
        return (moment - timedelta(days=days)).isoformat().replace("+00:00", "Z")

    assert found(type="city.*") == [registered["id"]]
    assert found(type="practice.registered,need.registered") == [practice["id"]]
    assert found(state="pending") == [practice["id"]]
    assert found(state="delivered", type="practice.*") == []
    assert found(since=spelled(1)) == [practice["id"]]
    assert found(since=spelled(2), until=spelled(1)) == [registered["id"]]
    assert found(until=spelled(2)) == []


def test_pages_neither_repeat_nor_skip(front: Door) -> None:
    """Read page by page, every delivery comes once, though new ones come in between."""
    subscribe(front, front.staff)
    for number in range(5):
        front.city(f"City {number}")
    wanted = [each["id"] for each in log(front)]
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = front.client.get(f"/v1/deliveries?limit=2{cursor}", headers=front.staff).json()
        seen += [each["id"] for each in page["items"]]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
        front.city("Late")

    assert seen == wanted


@pytest.mark.parametrize(
    "query",
    [
        "state=lost", "type=city.born", "since=yesterday", "since=2026-01-01T00:00:00", "cursor=x",
        "since=2026-02-01T00:00:00Z&until=2026-01-01T00:00:00Z", "limit=0", "owner=me", "type=",
        "since=0001-01-01T00:00:00%2B14:00", "until=9999-12-31T23:59:59-14:00", "endpoint_id=%00",
    ],
)  # fmt: skip
def test_a_wrong_wish_is_refused(shared: Door, query: str) -> None:
    """What is no filter, no value of one, and no span of time is a 422."""
    assert shared.client.get(f"/v1/deliveries?{query}", headers=shared.staff).status_code == 422
