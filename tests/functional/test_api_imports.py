# SPDX-License-Identifier: Apache-2.0
"""Imports through the front door: what lands, what is refused, and that nothing is done twice."""

import io
import json
from collections.abc import Sequence
from typing import Any

import pytest
from sqlmodel import select

from services.matcher.importing import Importer
from services.matcher.matching import Matcher
from tests.factories import Door
from twinning import catalogue_examples, table_files, work
from twinning.columns import COLUMNS
from twinning.imports import LONGEST_FILE, ImportPart, ImportWaiting
from twinning.table_files import TableFormat
from twinning.terms import Role, Work

CITY = {"kind": "city", "ref": "cork", "name": "Cork", "country": "IE"}
PRACTICE = {
    "kind": "practice", "ref": "p1", "city_ref": "cork", "title": "Reading circles",
    "description": "Volunteers read with adults in the library.", "themes": ["sdg-4"],
    "hosting": {"offers_visits": True, "seats": 4},
}  # fmt: skip
NEED = {
    "kind": "need", "ref": "n1", "city_ref": "cork", "title": "Digital skills",
    "description": "How do older people learn to use the internet?", "expires_on": "2099-03-01",
}  # fmt: skip
ROWS = [CITY, PRACTICE, NEED]


def file_of(rows: Sequence[dict[str, Any]], form: TableFormat = TableFormat.JSONL) -> bytes:
    """A file of these rows."""
    file = io.BytesIO()
    table_files.write(form, file, list(COLUMNS), rows)
    return file.getvalue()


def send(front: Door, content: bytes, name: str = "rows.jsonl", **more: Any) -> Any:
    """Send a file."""
    headers = more.pop("headers", front.staff)
    return front.client.post("/v1/imports", files={"file": (name, content)}, headers=headers, **more)


def done(front: Door, answer: Any, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Have an import done and read it."""
    assert answer.status_code == 202, answer.text
    importer = Importer(front.database, front.settings, "i1")
    while importer.take():
        pass
    read = front.client.get(answer.headers["location"], headers=headers or front.staff)
    assert read.status_code == 200
    found: dict[str, Any] = read.json()
    return found


def imported(front: Door, rows: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Import some rows."""
    return done(front, send(front, file_of(rows), **more), more.get("headers"))


def refused(report: dict[str, Any]) -> list[tuple[int, str, str | None]]:
    """Which rows were refused, by what column and value."""
    return [(each["row"], each["column"], each["value"]) for each in report["refusals"]]


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


# The upload ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "status", "pointer"),
    [
        ({"json": {"file": "x"}}, 415, None),
        ({"files": {"file": ("a.xls", b"x")}}, 415, None),
        ({"files": {"other": ("a.csv", b"x")}}, 422, "/other"),
        ({"files": {"file": ("a.csv", b"x")}, "data": {"more": "x"}}, 422, "/more"),
        ({"files": {"file": (None, b"x")}}, 422, "/file"),
        ({"files": [("file", ("a.csv", b"x")), ("file", ("b.csv", b"x"))]}, 400, None),
        (
            {"content": b"--x\r\nnonsense", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
            422,
            "/file",
        ),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, None),
    ],
)
def test_what_is_no_file_is_refused(
    shared: Door, request_: dict[str, Any], status: int, pointer: str | None
) -> None:
    """A body that is no form with one file of a known format is refused in the words of the problem."""
    headers = {**shared.staff, **request_.pop("headers", {})}
    answer = shared.client.post("/v1/imports", headers=headers, **request_)

    assert answer.status_code == status, answer.text
    assert [flaw["pointer"] for flaw in answer.json().get("errors", ())] == ([pointer] if pointer else [])


def test_a_file_of_a_gigabyte_is_refused_before_it_is_read(shared: Door) -> None:
    """Its announced length is enough; one that announces nothing is cut off where the limit is."""
    sent = 0

    def endless() -> Any:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
        for _ in range(1024):
            sent += 1024 * 1024
            yield b"a" * 1024 * 1024

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    announced = shared.client.post(
        "/v1/imports", content=b"", headers={**shared.staff, **kind, "Content-Length": str(1024**3)}
    )
    streamed = shared.client.post("/v1/imports", content=endless(), headers={**shared.staff, **kind})

    assert (announced.status_code, streamed.status_code) == (413, 413)
    assert announced.json()["type"].endswith("/too-large")
    assert str(LONGEST_FILE) in announced.json()["detail"]


def test_nobody_uploads_without_a_key(shared: Door) -> None:
    """A bad key is told before the file is looked at."""
    answers = [
        shared.client.post("/v1/imports", files={"file": ("a.csv", b"x")}, headers=headers)
        for headers in ({}, {"Authorization": "Bearer asem_wrong"})
    ]

    assert [answer.status_code for answer in answers] == [401, 401]


def test_a_file_sent_twice_under_one_idempotency_key_is_one_import(front: Door) -> None:
    """The boundary between the parts may differ, the file may not."""
    headers = {**front.staff, "Idempotency-Key": "nightly-1"}
    first, again = (send(front, file_of(ROWS), headers=headers) for _ in range(2))
    other = send(front, file_of(ROWS[:1]), headers=headers)

    assert [answer.status_code for answer in (first, again, other)] == [202, 202, 422]
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    assert len(front.client.get("/v1/imports", headers=front.staff).json()["items"]) == 1


@pytest.mark.parametrize("form", list(TableFormat))
def test_templates_are_there_to_download(shared: Door, form: TableFormat) -> None:
    """Each format has a template with its media type, which every key may read."""
    answer = shared.client.get(f"/v1/imports/templates/{form}", headers=shared.staff)
    unknown = shared.client.get("/v1/imports/templates/pdf", headers=shared.staff)

    assert answer.headers["content-type"].startswith(table_files.MEDIA_TYPES[form])
    assert len(answer.content) == int(answer.headers["content-length"])
    assert "attachment" in answer.headers["content-disposition"]
    assert list(table_files.read(form, io.BytesIO(answer.content)))
    assert unknown.status_code == 422


# The work -----------------------------------------------------------------------------------------------


def many(count: int) -> list[dict[str, Any]]:
    """A city and so many needs of it."""
    return [CITY, *({**NEED, "ref": f"n{number}"} for number in range(count))]


def test_what_was_refused_is_read_page_by_page(front: Door) -> None:
    """The report shows the first thousand flaws, the list of refusals all of them, each once."""
    answer = send(
        front,
        file_of(
            [{"kind": "city", "ref": f"c{number}", "name": "C", "country": "US"} for number in range(1100)]
        ),
    )
    report = done(front, answer)
    rows: list[int] = []
    cursor = ""
    while cursor is not None:
        page = front.client.get(
            f"{report['refusals_url']}?limit=200" + (f"&cursor={cursor}" if cursor else ""),
            headers=front.staff,
        ).json()
        rows += [each["row"] for each in page["items"]]
        cursor = page["next_cursor"]

    assert len(report["refusals"]) == 1000
    assert rows == list(range(1, 1101))


def test_two_workers_share_an_import(front: Door) -> None:
    """Batches may be done by any worker in turn; a duplicate is told however far apart the two stand."""
    rows = [*many(1200), {**NEED, "ref": "n0"}, {**NEED, "ref": "n1199", "title": "Other"}]
    answer = send(front, file_of(rows))
    workers = [Importer(front.database, front.settings, name) for name in ("i1", "i2")]
    turns = 0
    while workers[turns % 2].take():
        turns += 1
    report = done(front, answer)

    assert turns >= 3
    assert report["counts"] == {"rows": 1203, "created": 1201, "updated": 0, "unchanged": 0, "refused": 2}
    assert refused(report) == [(1202, "ref", "n0"), (1203, "ref", "n1199")]


def test_a_worker_that_comes_late_writes_nothing(front: Door) -> None:
    """Between its reading and its writing another has taken the import over: nothing of it is kept."""
    answer = send(front, file_of(many(3)))
    late = Importer(front.database, front.settings, "late")
    with front.database.transaction() as session:
        (claim,) = work.claim(session, "late", 1, 30.0, [Work.IMPORT])
    with front.database.transaction() as session:
        work.enqueue(session, Work.IMPORT, claim.subject)
    late._do(claim)
    with front.database.snapshot() as session:
        assert not front.client.get("/v1/needs", headers=front.staff).json()["items"]
    report = done(front, answer)

    assert report["counts"]["created"] == 4


def test_an_import_that_fails_every_worker_is_given_up(front: Door) -> None:
    """A unit that was set aside ends its import, which says so."""
    answer = send(front, file_of(ROWS))
    import_id = answer.json()["id"]
    with front.database.transaction() as session:
        unit = session.exec(select(work.WorkUnit).where(work.WorkUnit.subject == import_id)).one()
        unit.due_at = None
        session.add(unit)
    Importer(front.database, front.settings, "i1")._give_up()
    report = front.client.get(answer.headers["location"], headers=front.staff).json()

    assert report["state"] == "failed"
    assert "each time" in report["error"]


def test_the_examples_of_the_documents_can_be_imported(front: Door) -> None:
    """The template lands as it is; it says the examples of the documents."""
    answer = front.client.get("/v1/imports/templates/csv", headers=front.staff)
    report = done(front, send(front, answer.content, "template.csv"))
    (practice,) = front.client.get("/v1/practices", headers=front.staff).json()["items"]

    assert report["counts"]["created"] == 3
    for name, value in catalogue_examples.PRACTICE_REQUEST.items():
        assert practice[name] == value
