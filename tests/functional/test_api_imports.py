# SPDX-License-Identifier: Apache-2.0
"""What of a file lands, for whom, what of it is refused, and that nothing is done twice."""

import json

import pytest
from sqlmodel import select

from services.matcher.matching import Matcher
from tests.factories import Door
from tests.imports import CITY, NEED, PRACTICE, ROWS, done, file_of, imported, refused, send
from twinning import work
from twinning.imports import ImportPart, ImportWaiting
from twinning.table_files import TableFormat
from twinning.terms import Role


@pytest.mark.parametrize("form", list(TableFormat))
def test_a_file_lands_once(front: Door, form: TableFormat) -> None:
    """Its rows are registered with events; sent again it changes and tells nothing and asks no matching."""
    content = file_of(ROWS, form)
    first = done(front, send(front, content, f"rows.{form}"))
    Matcher(front.database, front.settings, "m1").take()
    practice = front.client.get("/v1/practices", headers=front.staff).json()["items"][0]
    events = front.events()
    second = done(front, send(front, content, f"rows.{form}"))
    with front.database.snapshot() as session:
        waiting = work.waiting(session)
        parts = session.exec(select(ImportPart)).all()

    assert first["state"] == second["state"] == "completed"
    assert first["counts"] == {"rows": 3, "created": 3, "updated": 0, "unchanged": 0, "refused": 0}
    assert second["counts"] == {"rows": 3, "created": 0, "updated": 0, "unchanged": 3, "refused": 0}
    assert first["progress"] == {"done": len(content), "total": len(content)}
    assert (practice["external_ref"], practice["hosting"]["seats"], practice["themes"]) == (
        "p1",
        4,
        ["sdg-4"],
    )
    assert events[:4] == ["city.registered", "practice.registered", "need.registered", "import.completed"]
    assert front.events() == [*events, "import.completed"]
    assert (waiting, list(parts)) == (0, [])


def test_what_is_new_changes_and_what_is_not_said_stays(front: Door) -> None:
    """A row changes the fields that it says; null empties one in JSON Lines; withdrawn takes one out."""
    imported(
        front,
        [{**CITY, "summary": "A city", "contact": {"name": "Jo", "email": "jo@cork.example"}}, *ROWS[1:]],
    )
    report = imported(
        front,
        [
            {**CITY, "name": "Corcaigh"},
            {**PRACTICE, "themes": [], "hosting": None},
            {**NEED, "state": "withdrawn"},
        ],
    )
    (city,) = front.client.get("/v1/cities", headers=front.staff).json()["items"]
    (practice,) = front.client.get("/v1/practices", headers=front.staff).json()["items"]

    assert report["counts"]["updated"] == 3
    assert (city["name"], city["summary"], city["contact"]["name"]) == ("Corcaigh", "A city", "Jo")
    assert (practice["themes"], practice["hosting"], practice["title"]) == ([], None, "Reading circles")
    assert front.events()[-4:] == ["city.updated", "practice.updated", "need.withdrawn", "import.completed"]
    # What is out already stays out.
    assert imported(front, [{**NEED, "state": "withdrawn"}])["counts"]["unchanged"] == 1


def test_good_rows_land_and_bad_ones_are_told(front: Door) -> None:
    """Each refused row is told with row, column, value and reason, in the file's order; the others land."""
    rows = [
        CITY,
        {**CITY, "ref": "x", "country": "US"},
        {**NEED, "city_ref": "nowhere"},
        {**PRACTICE, "themes": ["bogus"], "description": " "},
        PRACTICE,
        {**PRACTICE, "title": "Another"},
        {"kind": "town"},
    ]
    report = imported(front, rows)

    assert report["state"] == "completed"
    assert report["counts"] == {"rows": 7, "created": 2, "updated": 0, "unchanged": 0, "refused": 5}
    assert refused(report) == [
        (2, "country", "US"), (3, "city_ref", "nowhere"), (4, "description", " "), (4, "themes", "bogus"),
        (6, "ref", "p1"), (7, "kind", "town"),
    ]  # fmt: skip
    assert "row 5" in report["refusals"][4]["reason"]


def test_a_listing_may_stand_before_its_city(front: Door) -> None:
    """A city is found wherever it stands in the file, by its reference or id, and also when it was there."""
    there = front.city("Limerick", external_ref="limerick")
    rows = [
        NEED,
        {**NEED, "ref": "n2", "city_ref": there["id"]},
        {**NEED, "ref": "n3", "city_ref": "limerick"},
        # The same city by another name: the second of two alike.
        {**NEED, "ref": "n3", "city_ref": there["id"]},
        CITY,
    ]
    report = imported(front, rows)
    with front.database.snapshot() as session:
        waiting = session.exec(select(ImportWaiting)).all()

    assert report["counts"] == {"rows": 5, "created": 4, "updated": 0, "unchanged": 0, "refused": 1}
    assert refused(report) == [(4, "ref", "n3")]
    assert list(waiting) == []


def test_a_key_imports_what_it_may_change(front: Door) -> None:
    """Every row is held to the key that sent the file: a coordinator's countries, a city's own city."""
    other = front.city("Porto", "PT", external_ref="porto")
    mine = front.city("Cork", external_ref="cork")
    rows = [
        {**CITY, "summary": "New"}, {**CITY, "ref": "galway", "name": "Galway"},
        {**CITY, "ref": "porto", "name": "Porto", "country": "PT", "summary": "New"},
        {**NEED, "ref": "a"}, {**NEED, "ref": "b", "city_ref": "porto"}, {**CITY, "country": "PT"},
    ]  # fmt: skip
    coordinator, city = front.coordinator("IE"), front.of_city(mine["id"])
    by_coordinator = imported(front, rows, headers=coordinator)
    by_city = imported(front, [{**CITY, "summary": "Newer"}, *rows[1:5]], headers=city)
    away = imported(front, [{**CITY, "country": "PT"}], headers=coordinator)

    assert [row for row, _, _ in refused(by_coordinator)] == [3, 5, 6]
    assert by_coordinator["counts"]["updated"] == 1
    assert by_coordinator["counts"]["created"] == 2
    assert [row for row, _, _ in refused(by_city)] == [2, 3, 5]
    assert by_city["counts"] == {"rows": 5, "created": 0, "updated": 1, "unchanged": 1, "refused": 3}
    assert away["counts"]["refused"] == 1
    assert front.client.get(f"/v1/cities/{other['id']}", headers=front.staff).json()["summary"] is None


def test_an_import_is_its_senders(front: Door) -> None:
    """The key that sent a file and staff see its import and its event; for others there is none."""
    mine, others = front.coordinator("IE"), front.coordinator("IE")
    answer = send(front, file_of(ROWS), headers=mine)
    report = done(front, answer, mine)
    path = answer.headers["location"]
    seen = [
        front.client.request(method, f"{path}{rest}", headers=headers).status_code
        for headers in (others, front.staff, mine)
        for method, rest in (("GET", ""), ("GET", "/refusals"), ("POST", "/cancel"))
    ]
    heard = [
        [
            event
            for event in front.client.get("/v1/events", headers=headers).json()["items"]
            if event["type"] == "import.completed"
        ]
        for headers in (mine, others)
    ]

    assert report["state"] == "completed"
    assert seen == [404, 404, 404, 200, 200, 409, 200, 200, 409]
    assert [len(events) for events in heard] == [1, 0]
    assert heard[0][0]["data"]["counts"] == report["counts"]
    assert [
        len(front.client.get("/v1/imports", headers=headers).json()["items"]) for headers in (mine, others)
    ] == [1, 0]


def test_a_key_that_ends_takes_its_import_with_it(front: Door) -> None:
    """What a revoked key has sent is not read further."""
    with front.database.transaction() as session:
        from twinning import keys

        row, key = keys.create(session, keys.ApiKeyCreate(role=Role.STAFF, name="leaves"))
        key_id = row.id
    answer = send(front, file_of(ROWS), headers={"Authorization": f"Bearer {key}"})
    front.client.delete(f"/v1/api-keys/{key_id}", headers=front.staff)
    report = done(front, answer)

    assert (report["state"], report["counts"]["rows"]) == ("failed", 0)
    assert "key" in report["error"]


def test_an_import_can_be_stopped(front: Door) -> None:
    """A cancelled import reads nothing more, lets its file go, and cannot be cancelled twice."""
    answer = send(front, file_of(ROWS))
    path = f"{answer.headers['location']}/cancel"
    statuses = [front.client.post(path, headers=front.staff).status_code for _ in range(2)]
    report = done(front, answer)

    assert statuses == [200, 409]
    assert (report["state"], report["counts"]["rows"]) == ("cancelled", 0)
    assert "import.completed" not in front.events()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b"kind,name\n", "Row 1, ref"),
        ("a.xlsx", b"kind,ref\n", "not an XLSX workbook"),
        ("a.xlsx", b"", "not an XLSX workbook"),
    ],
)
def test_a_file_that_cannot_be_read_fails(front: Door, name: str, content: bytes, said: str) -> None:
    """The import says where the reading ended; what stood before it has landed."""
    report = done(front, send(front, content, name))
    broken = b'kind,ref,name,country\ncity,cork,Cork,IE\ncity,b,"B"x,IE\n'
    half = done(front, send(front, broken, "b.csv"))

    assert (report["state"], report["counts"]["rows"]) == ("failed", 0)
    assert said in report["error"]
    assert (half["state"], half["counts"]["created"]) == ("failed", 1)
    assert half["error"].startswith("Row 3, row: is not CSV")


def test_no_contact_is_told_of_an_import(front: Door) -> None:
    """Neither a report nor an event holds a contact, whatever column it stood in."""
    content = (
        "kind,ref,name,country,population,contact.name,contact.email\n"
        "city,a,A,IE,,Planted Person,planted@secret.example\n"
        "city,b,B,IE,planted@secret.example,Planted Person,planted\n"
        "city,c,C,planted@secret.example,,Planted Person,planted@secret.example\n"
    )
    report = done(front, send(front, content.encode(), "a.csv"))
    events = front.client.get("/v1/events", headers=front.staff).text

    assert report["counts"]["refused"] == 2
    assert "planted" not in (json.dumps(report) + events).lower()
