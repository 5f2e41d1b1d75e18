# SPDX-License-Identifier: Apache-2.0
"""The rules of confirming: a practice each year, a need for another term."""

from datetime import date, timedelta
from typing import Any

import pytest
from sqlmodel import col, update

from tests.factories import Door, need, practice
from twinning import deadlines
from twinning.database import now
from twinning.lifecycle import CONFIRM_EVERY, PATIENCE
from twinning.listings import Listing

YESTERDAY = now().date() - timedelta(days=1)


def _date_back(door: Door, listing_id: str, **columns: Any) -> None:
    """Move the dates of a listing, as time does, and look."""
    with door.database.transaction() as session:
        session.execute(update(Listing).where(col(Listing.id) == listing_id).values(**columns))
    deadlines.keep(door.database)


def _confirm(door: Door, listing: dict[str, Any], key: dict[str, str] | None = None) -> Any:
    path = f"/v1/{listing['kind']}s/{listing['id']}/confirm"
    return door.client.post(path, headers=key or door.staff)


def test_a_practice_is_confirmed_for_a_year(front: Door) -> None:
    """Registered it is good for a year, confirmed for another, told once and not twice in a day."""
    made = front.practice(front.city()["id"])
    same_day = _confirm(front, made)
    _date_back(front, made["id"], confirm_by=YESTERDAY)
    stale = front.client.get("/v1/practices?stale=true", headers=front.staff).json()["items"]
    confirmed = [_confirm(front, made) for _ in range(2)]
    year = (now().date() + CONFIRM_EVERY).isoformat()

    assert (made["confirm_by"], made["stale"], made["confirmed_at"][:10]) == (
        year,
        False,
        now().date().isoformat(),
    )
    assert (same_day.status_code, same_day.headers["etag"]) == (200, '"1"')
    assert [(each["id"], each["stale"], each["state"]) for each in stale] == [(made["id"], True, "published")]
    assert [answer.json()["confirm_by"] for answer in confirmed] == [year, year]
    assert [answer.headers["etag"] for answer in confirmed] == ['"3"', '"3"']
    assert front.events()[1:] == ["practice.registered", "practice.updated", "practice.updated"]


def test_a_nightly_list_confirms_nothing(front: Door) -> None:
    """Sent again, a lapsed practice stays paused; rewritten, moved by hand or confirmed it comes back."""
    path = f"/v1/cities/{front.city()['id']}/practices/own"
    made = front.client.put(path, json=practice(), headers=front.staff).json()

    def lapse() -> None:
        for confirm_by in (YESTERDAY, YESTERDAY - PATIENCE):
            _date_back(front, made["id"], confirm_by=confirm_by)

    lapse()
    told = front.events()
    unchanged = front.client.put(path, json=practice(), headers=front.staff).json()
    untold = front.events()
    back = []
    for wake in (
        lambda: front.client.put(path, json=practice(title="New"), headers=front.staff),
        lambda: front.client.patch(
            f"/v1/practices/{made['id']}", json={"state": "published"}, headers=front.staff
        ),
        lambda: _confirm(front, made),
    ):
        back.append(wake().json())
        lapse()

    assert (unchanged["state"], unchanged["stale"]) == ("paused", True)
    assert untold == told
    assert [(each["state"], each["stale"]) for each in back] == [("published", False)] * 3
    assert all(date.fromisoformat(each["confirm_by"]) > now().date() for each in back)


def test_a_need_is_wanted_for_another_year(front: Door) -> None:
    """A confirmed need gets a year from today, and one that has expired comes back."""
    city = front.city()["id"]
    made = front.need(city, expires_on=(now().date() + timedelta(days=30)).isoformat())
    longer = _confirm(front, made).json()
    _date_back(front, made["id"], expires_on=YESTERDAY)
    over = front.client.get(f"/v1/needs/{made['id']}", headers=front.staff).json()
    back = _confirm(front, made).json()
    year = (now().date() + timedelta(days=365)).isoformat()

    assert (longer["expires_on"], over["state"], back["expires_on"], back["state"]) == (
        year,
        "expired",
        year,
        "published",
    )
    assert front.events()[1:] == ["need.registered", "need.updated", "need.expired", "need.updated"]


@pytest.mark.parametrize(
    ("change", "days"),
    [({"state": "published"}, 365), ({"expires_on": None}, 365), ({"expires_on": "2099-01-01"}, None)],
)
def test_an_expired_need_comes_back_by_hand(front: Door, change: dict[str, Any], days: int | None) -> None:
    """A later day revives it; without one it begins a new term."""
    made = front.need(front.city()["id"])
    _date_back(front, made["id"], expires_on=YESTERDAY)
    back = front.client.patch(f"/v1/needs/{made['id']}", json=change, headers=front.staff).json()

    assert back["state"] == "published"
    if days:
        assert back["expires_on"] == (now().date() + timedelta(days=days)).isoformat()


def test_an_expired_need_sent_with_its_old_day_stays_expired(front: Door) -> None:
    """A nightly list that still names the day that has passed changes nothing and makes no event."""
    path = f"/v1/cities/{front.city()['id']}/needs/own"
    wanted = need(expires_on=YESTERDAY.isoformat())
    made = front.client.put(path, json=wanted, headers=front.staff).json()
    deadlines.keep(front.database)
    told = front.events()
    again = front.client.put(path, json=wanted, headers=front.staff)
    rewritten = front.client.put(path, json={**wanted, "title": "New"}, headers=front.staff)

    assert (made["state"], again.json()["state"], rewritten.json()["state"]) == (
        "published",
        "expired",
        "expired",
    )
    assert again.headers["etag"] == '"2"'
    assert front.events() == [*told, "need.updated"]


def test_who_confirms_looks_after_the_city(front: Door) -> None:
    """The city, its coordinators and staff confirm; others may not, and a draft is not to be confirmed."""
    city = front.city()["id"]
    made, draft = front.practice(city), front.practice(city, state="draft")
    keys = [front.of_city(city), front.coordinator("IE"), front.coordinator("KR")]
    answers = [_confirm(front, made, key).status_code for key in keys]
    of_draft = [_confirm(front, draft, key).status_code for key in keys]

    assert answers == [200, 200, 403]
    assert of_draft == [409, 409, 404]
