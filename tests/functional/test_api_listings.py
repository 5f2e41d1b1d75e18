# SPDX-License-Identifier: Apache-2.0
"""The rules of practices and needs at the front door."""

from datetime import timedelta

import pytest

from tests.factories import Door, need, practice
from twinning.database import now
from twinning.listings import Listing


@pytest.mark.parametrize(("kind", "wanted"), [("practice", practice()), ("need", need())])
def test_a_listing_lives_from_registration_to_withdrawal(
    front: Door, kind: str, wanted: dict[str, object]
) -> None:
    """It is registered, read, changed and withdrawn, with an event for each and none for the reading."""
    city = front.city()
    made = front.client.post(f"/v1/cities/{city['id']}/{kind}s", json=wanted, headers=front.staff)
    path = made.headers["location"]
    read = front.client.get(path, headers=front.staff)
    changed = front.client.patch(path, json={"title": "New"}, headers={**front.staff, "If-Match": '"1"'})
    stale = front.client.delete(path, headers={**front.staff, "If-Match": '"1"'})
    gone = front.client.delete(path, headers={**front.staff, "If-Match": changed.headers["etag"]})

    assert {name: made.json()[name] for name in wanted} == wanted
    assert read.json() == made.json()
    assert changed.json()["title"] == "New"
    assert [answer.status_code for answer in (made, read, changed, stale, gone)] == [201, 200, 200, 412, 204]
    assert front.events()[1:] == [f"{kind}.registered", f"{kind}.updated", f"{kind}.withdrawn"]


@pytest.mark.parametrize(("kind", "wanted"), [("practice", practice()), ("need", need(expires_on=None))])
def test_a_whole_list_may_be_sent_every_night(front: Door, kind: str, wanted: dict[str, object]) -> None:
    """Put by its city's reference a listing is created once, replaced where it differs, else left alone."""
    city = front.city()
    path = f"/v1/cities/{city['id']}/{kind}s/own-1"
    answers = [
        front.client.put(path, json=sent, headers=front.staff)
        for sent in (wanted, wanted, {**wanted, "title": "New"}, {"title": "New", "description": "Short"})
    ]

    assert [answer.status_code for answer in answers] == [201, 200, 200, 200]
    assert [answer.headers["etag"] for answer in answers] == ['"1"', '"1"', '"2"', '"3"']
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert answers[-1].json()["themes"] == []
    assert front.events()[1:] == [f"{kind}.registered", f"{kind}.updated", f"{kind}.updated"]


@pytest.mark.parametrize("kind", ["practice", "need"])
def test_a_listing_shows_the_language_it_is_written_in(front: Door, kind: str) -> None:
    """It follows the texts, is nobody's to set, and sending the same again changes nothing."""
    city = front.city()
    path = f"/v1/cities/{city['id']}/{kind}s/own-1"
    english = {"title": "Reading circles", "description": "Volunteers read with adults in our libraries."}
    korean = {"title": "독서 모임", "description": "작은도서관에서 어른들이 함께 책을 읽습니다."}
    answers = [
        front.client.put(path, json=sent, headers=front.staff) for sent in (english, korean, korean, english)
    ]
    refused = front.client.put(path, json={**english, "language": "ko"}, headers=front.staff)

    assert [answer.json()["language"] for answer in answers] == ["en", "ko", "ko", "en"]
    assert [answer.headers["etag"] for answer in answers] == ['"1"', '"2"', '"2"', '"3"']
    assert refused.status_code == 422
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/language"]


def test_a_need_that_expired_begins_a_new_term_when_it_is_sent_again(front: Door) -> None:
    """A need without a date of its own gets a new year when its city sends it after its end."""
    city = front.city()
    path = f"/v1/cities/{city['id']}/needs/own-1"
    made = front.client.put(path, json=need(expires_on=None), headers=front.staff).json()
    with front.database.transaction() as session:
        row = session.get(Listing, made["id"])
        assert row is not None
        row.state, row.expires_on = "expired", now().date() - timedelta(days=1)
    again = front.client.put(path, json=need(expires_on=None), headers=front.staff).json()

    assert again["state"] == "published"
    assert again["expires_on"] == (now().date() + timedelta(days=365)).isoformat()


def test_a_reference_that_differs_from_the_address_is_refused(shared: Door) -> None:
    """The body may repeat the reference of the address and not contradict it."""
    city = shared.city()
    path = f"/v1/cities/{city['id']}/practices/own-1"
    statuses = [
        shared.client.put(path, json=practice(external_ref=given), headers=shared.staff).status_code
        for given in ("other", "own-1")
    ]

    assert statuses == [422, 201]


def test_a_change_of_part_of_the_hosting_keeps_no_half(shared: Door) -> None:
    """Hosting is changed as a whole, so what is left out has its default again, in the store too."""
    city = shared.city()
    made = shared.practice(city["id"])
    path = f"/v1/practices/{made['id']}"
    changed = shared.client.patch(path, json={"hosting": {"seats": 3}}, headers=shared.staff).json()
    with shared.database.snapshot() as session:
        row = session.get(Listing, made["id"])

    assert changed["hosting"] == {"offers_visits": True, "seats": 3, "visits_per_year": None, "months": []}
    assert row is not None
    assert row.hosting == changed["hosting"]


def test_withdrawn_by_its_state_is_withdrawn(front: Door) -> None:
    """A PATCH to the state withdrawn is announced as the withdrawal that it is."""
    made = front.practice(front.city()["id"])
    path = f"/v1/practices/{made['id']}"
    front.client.patch(path, json={"state": "withdrawn"}, headers=front.staff)

    assert front.client.get(path, headers=front.staff).status_code == 404
    assert front.events()[-1] == "practice.withdrawn"


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("practices", "title", " "), ("practices", "description", None),
        ("practices", "description", "w " * 501),
        ("practices", "themes", ["bogus"]), ("practices", "hosting", {"months": [13]}),
        ("practices", "strength", 3),
        ("practices", "state", "gone"), ("needs", "strength", 6), ("needs", "strength", 2.5),
        ("needs", "seeks", ["x"]), ("needs", "seeks", ["twinning", "twinning"]),
        ("needs", "languages", ["zz"]), ("practices", "languages", ["EN"]),
        ("needs", "expires_on", "soon"), ("needs", "months", [1, 1]), ("needs", "hosting", {}),
        ("needs", "party_size", -1),
    ],
)  # fmt: skip
def test_a_bad_field_is_pointed_at(shared: Door, kind: str, field: str, value: object) -> None:
    """A field that is wrong, or the other kind's, gives 422 with a pointer to it."""
    wanted = {"title": "T", "description": "D", field: value}
    city = shared.city()
    answer = shared.client.post(f"/v1/cities/{city['id']}/{kind}", json=wanted, headers=shared.staff)

    assert answer.status_code == 422
    assert all(flaw["pointer"].startswith(f"/{field}") for flaw in answer.json()["errors"])
