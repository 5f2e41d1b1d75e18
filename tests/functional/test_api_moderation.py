# SPDX-License-Identifier: Apache-2.0
"""The rules of a moderated house: a city's own words wait for its coordinator."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.factories import Door, door, need, practice

Headers = dict[str, str]


@dataclass
class Moderated:
    """A moderated front door with a city, its key, its coordinator and somebody else."""

    door: Door
    city_id: str
    city: Headers
    coordinator: Headers
    stranger: Headers

    def make(self, kind: str, wanted: dict[str, Any], key: Headers | None = None) -> Any:
        """Register a listing, as the city unless somebody else does."""
        path = f"/v1/cities/{self.city_id}/{kind}"
        return self.door.client.post(path, json=wanted, headers=key or self.city)

    def put(self, wanted: dict[str, Any], key: Headers | None = None) -> Any:
        """Send a practice by its reference."""
        path = f"/v1/cities/{self.city_id}/practices/own"
        return self.door.client.put(path, json=wanted, headers=key or self.city)

    def patch(self, path: str, key: Headers, **wanted: Any) -> Any:
        """Change a listing."""
        return self.door.client.patch(path, json=wanted, headers=key)

    def read(self, path: str, key: Headers) -> Any:
        """Read something."""
        return self.door.client.get(path, headers=key)


@pytest.fixture
def house(database_url: str) -> Iterator[Moderated]:
    """A moderated house, once on each kind of database."""
    with door(database_url, moderation=True) as opened:
        city = opened.city()
        yield Moderated(
            opened, city["id"], opened.of_city(city["id"]), opened.coordinator("IE"), opened.coordinator("KR")
        )


@pytest.mark.parametrize(("kind", "wanted"), [("practices", practice()), ("needs", need())])
def test_a_citys_own_waits_for_its_coordinator(house: Moderated, kind: str, wanted: dict[str, Any]) -> None:
    """It is submitted and unseen by others until the coordinator publishes it; each step is told."""
    made = house.make(kind, wanted)
    path = made.headers["location"]
    unseen = house.read(path, house.stranger).status_code
    forbidden = house.patch(path, house.city, state="returned").status_code
    still = house.patch(path, house.city, state="published").json()["state"]
    waiting = house.read(f"/v1/{kind}?state=submitted", house.coordinator).json()["items"]
    published = house.patch(path, house.coordinator, state="published").json()["state"]

    assert (made.json()["state"], unseen, forbidden, still) == ("submitted", 404, 403, "submitted")
    assert [item["id"] for item in waiting] == [made.json()["id"]]
    assert published == "published"
    assert house.read(path, house.stranger).status_code == 200
    assert house.door.events()[1:] == [f"{kind[:-1]}.registered", f"{kind[:-1]}.updated"]


def test_what_is_returned_comes_with_a_comment(house: Moderated) -> None:
    """The comment is needed, is for the city and its coordinators, in no event, and goes in the end."""
    path = house.make("practices", practice()).headers["location"]
    silent = house.patch(path, house.coordinator, state="returned")
    returned = house.patch(path, house.coordinator, state="returned", review_comment="Who may come?").json()
    own_word = house.patch(path, house.city, review_comment="Fine as it is")
    seen = house.read(path, house.city).json()
    rewritten = house.patch(path, house.city, description="All may come.", state="submitted").json()
    published = house.patch(path, house.coordinator, state="published").json()
    others = house.read(path, house.stranger).json()
    listed = house.read("/v1/practices", house.city).json()["items"]
    feed = house.read("/v1/events?limit=200", house.door.staff).text

    assert (silent.status_code, silent.json()["errors"][0]["pointer"]) == (422, "/review_comment")
    assert (returned["state"], returned["review_comment"]) == ("returned", "Who may come?")
    assert own_word.status_code == 403
    assert seen["review_comment"] == "Who may come?"
    assert (rewritten["state"], rewritten["review_comment"]) == ("submitted", "Who may come?")
    assert (published["state"], published["review_comment"]) == ("published", None)
    assert "review_comment" not in others
    assert "review_comment" in listed[0]
    assert "Who may come?" not in feed


def test_a_comment_alone_is_no_news(house: Moderated) -> None:
    """A comment changes the version that its readers hold, and makes no event."""
    path = house.make("practices", practice()).headers["location"]
    before = house.door.events()
    commented = house.patch(path, house.coordinator, review_comment="Nearly there.")

    assert commented.headers["etag"] == '"2"'
    assert house.door.events() == before


def test_new_words_wait_again(house: Moderated) -> None:
    """A city that rewrites what is published hands it in again; other fields and coordinators do not."""
    path = house.make("practices", practice(), house.coordinator).headers["location"]
    months = house.patch(path, house.city, hosting={"seats": 3}).json()["state"]
    words = house.patch(path, house.city, title="Something else").json()["state"]
    by_coordinator = house.patch(path, house.coordinator, title="Something better", state="published").json()
    paused = [
        house.patch(path, house.city, **change).json()["state"]
        for change in ({"state": "paused"}, {"state": "published"})
    ]
    behind = [
        house.patch(path, house.city, **change).json()["state"]
        for change in ({"state": "paused"}, {"lessons": "New ones."}, {"state": "published"})
    ]

    assert (months, words, by_coordinator["state"]) == ("published", "submitted", "published")
    assert paused == ["paused", "published"]
    assert behind == ["paused", "paused", "submitted"]


def test_a_nightly_list_does_not_ask_again(house: Moderated) -> None:
    """Sent again as it was, a listing stays submitted or returned, untold; rewritten it is handed in."""
    made = house.put(practice())
    path = f"/v1/practices/{made.json()['id']}"
    again = house.put(practice())
    house.patch(path, house.coordinator, state="returned", review_comment="Say more.")
    told = house.door.events()
    still = house.put(practice())
    untold = house.door.events()
    rewritten = house.put(practice(description="More of it."))
    house.patch(path, house.coordinator, state="published")
    kept = house.put(practice(description="More of it."))

    assert [answer.json()["state"] for answer in (made, again, still)] == [
        "submitted",
        "submitted",
        "returned",
    ]
    assert untold == told
    assert rewritten.json()["state"] == "submitted"
    assert kept.json()["state"] == "published"


def test_coordinators_and_staff_publish_at_once(house: Moderated) -> None:
    """What those register who review needs no review."""
    made = [house.make("practices", practice(), key).json() for key in (house.coordinator, house.door.staff)]

    assert [each["state"] for each in made] == ["published", "published"]


def test_a_wrong_move_is_a_conflict(house: Moderated) -> None:
    """What was never handed in is not handed back."""
    path = house.make("practices", practice(state="draft")).headers["location"]
    answer = house.patch(path, house.coordinator, state="returned", review_comment="Why?")

    assert (answer.status_code, answer.json()["type"].rpartition("/")[2]) == (409, "wrong-move")


def test_without_moderation_a_city_publishes(front: Door) -> None:
    """In a house that does not moderate a city's own is published as it comes."""
    city = front.city()["id"]
    key = front.of_city(city)
    made = front.client.post(f"/v1/cities/{city}/practices", json=practice(), headers=key).json()
    changed = front.client.patch(f"/v1/practices/{made['id']}", json={"title": "New"}, headers=key).json()

    assert (made["state"], changed["state"]) == ("published", "published")
