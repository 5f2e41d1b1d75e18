# SPDX-License-Identifier: Apache-2.0
"""The rules of cities at the front door."""

import pytest

from tests.factories import Door
from twinning import catalogue_examples
from twinning.terms import Bell

CONTACT = {"name": "Aoife", "email": "aoife@limerick.example"}


def test_a_city_is_registered_and_read(front: Door) -> None:
    """What was sent is answered, kept, and read again with the region that follows from the country."""
    made = front.client.post("/v1/cities", json=catalogue_examples.CITY_REQUEST, headers=front.staff)
    read = front.client.get(made.headers["location"], headers=front.staff)

    assert (made.status_code, read.status_code) == (201, 200)
    assert read.json() == made.json()
    assert made.json()["region"] == "europe"
    assert made.json()["contact"] == catalogue_examples.CITY_REQUEST["contact"]
    assert read.headers["etag"] == made.headers["etag"]
    assert front.events() == ["city.registered"]


def test_a_country_outside_asem_is_refused_by_name(shared: Door) -> None:
    """The refusal names the country and points at the field."""
    answer = shared.client.post("/v1/cities", json={"name": "Austin", "country": "US"}, headers=shared.staff)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [flaw["pointer"] for flaw in answer.json()["errors"]] == ["/country"]
    assert "'US'" in answer.json()["detail"]
    assert "ASEM" in answer.json()["detail"]


def test_a_taken_reference_is_a_conflict(front: Door) -> None:
    """An external_ref belongs to one city."""
    front.city(external_ref="limerick")
    again = {"name": "Another", "country": "IE", "external_ref": "limerick"}
    answer = front.client.post("/v1/cities", json=again, headers=front.staff)

    assert answer.status_code == 409
    assert answer.json()["type"].endswith("/problems/external-ref-taken")


def test_only_what_changed_is_an_event(front: Door) -> None:
    """A change is announced; a PATCH that changes nothing, or the contact alone, is not."""
    city = front.city()
    path = f"/v1/cities/{city['id']}"
    versions = [
        front.client.patch(path, json=wanted, headers=front.staff).headers["etag"]
        for wanted in ({"summary": "New"}, {"summary": "New"}, {"contact": CONTACT})
    ]

    assert versions == ['"2"', '"2"', '"3"']
    assert front.events() == ["city.registered", "city.updated"]


def test_a_stale_change_is_refused(front: Door) -> None:
    """Who changes an older version than the present one is told so, and nothing changes."""
    city = front.city()
    path = f"/v1/cities/{city['id']}"
    front.client.patch(path, json={"summary": "First"}, headers=front.staff)
    statuses = [
        front.client.patch(
            path, json={"summary": "Late"}, headers={**front.staff, "If-Match": tag}
        ).status_code
        for tag in ('"1"', 'W/"2"', "rubbish")
    ]
    right = front.client.patch(path, json={"summary": "Next"}, headers={**front.staff, "If-Match": '"2"'})

    assert statuses == [412, 412, 412]
    assert right.json()["summary"] == "Next"


def test_the_contact_is_for_those_who_look_after_the_city(front: Door) -> None:
    """Staff, the city and its coordinators see the contact; other keys do not, in a list or alone."""
    city = front.city(contact=CONTACT)
    other = front.city("Suwon", "KR")
    insiders = (front.staff, front.of_city(city["id"]), front.coordinator("IE"))
    outsiders = (front.of_city(other["id"]), front.coordinator("KR"))

    def seen(bearer: dict[str, str]) -> tuple[object, object]:
        alone = front.client.get(f"/v1/cities/{city['id']}", headers=bearer).json()
        listed = front.client.get("/v1/cities?country=IE", headers=bearer).json()["items"][0]
        return alone.get("contact"), listed.get("contact")

    assert [seen(bearer) for bearer in insiders] == [(CONTACT, CONTACT)] * 3
    assert [seen(bearer) for bearer in outsiders] == [(None, None)] * 2


def test_a_withdrawn_city_takes_all_with_it(front: Door) -> None:
    """Its listings are withdrawn, its key ends, its contact is nowhere, and its reference is free again."""
    city = front.city(external_ref="limerick", contact=CONTACT)
    listings = [
        f"/v1/practices/{front.practice(city['id'])['id']}",
        f"/v1/needs/{front.need(city['id'])['id']}",
    ]
    own = front.of_city(city["id"])
    answer = front.client.delete(f"/v1/cities/{city['id']}", headers=front.staff)

    assert (answer.status_code, answer.content) == (204, b"")
    gone = [f"/v1/cities/{city['id']}", *listings]
    assert [front.client.get(path, headers=front.staff).status_code for path in gone] == [404] * 3
    assert front.client.get("/v1/cities", headers=own).status_code == 401
    assert sorted(front.events()[-3:]) == ["city.withdrawn", "need.withdrawn", "practice.withdrawn"]
    assert front.city(external_ref="limerick")["id"] != city["id"]


def test_a_change_rings_for_the_matching_workers(embedded: Door) -> None:
    """A practice rings the matching bell once, after its commit; a refused one rings nothing."""
    city = embedded.city()
    embedded.bells.clear()
    embedded.client.post(f"/v1/cities/{city['id']}/practices", json={"title": "x"}, headers=embedded.staff)
    refused = list(embedded.bells)
    embedded.practice(city["id"])

    assert refused == []
    assert embedded.bells == [Bell.MATCH]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""), ("name", None), ("name", "x" * 301), ("name", "a\u0007b"), ("languages", ["english"]),
        ("languages", ["en", "en"]), ("latitude", 91), ("latitude", "52"), ("longitude", -181),
        ("population", -1),
        ("population", 1.5), ("population", 10**20), ("website", "ftp://x"), ("contact", {"name": "x"}),
        ("contact", {"name": "x", "email": "no"}), ("external_ref", "a b"), ("external_ref", ""),
        ("summary", "word " * 501), ("region", "europe"), ("networks", "one"), ("country", "ie"),
    ],
)  # fmt: skip
def test_a_bad_field_is_pointed_at(shared: Door, field: str, value: object) -> None:
    """A field that is wrong, unknown or ours to say gives 422 with a pointer to it."""
    wanted = {"name": "Limerick", "country": "IE", field: value}
    answer = shared.client.post("/v1/cities", json=wanted, headers=shared.staff)

    assert answer.status_code == 422
    assert all(flaw["pointer"].startswith(f"/{field}") for flaw in answer.json()["errors"])
