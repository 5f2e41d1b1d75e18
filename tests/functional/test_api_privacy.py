# SPDX-License-Identifier: Apache-2.0
"""The rule of privacy: a contact is shown to those who look after the city, and stands nowhere else."""

import io
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from sqlalchemy import text
from sqlmodel import SQLModel

from services import logs
from tests.authorisation import Makers
from tests.factories import Door, door
from tests.functional.test_api_authorisation import BRACE, LINES, STREAM, ask
from twinning import idempotency
from twinning.database import Database
from twinning.idempotency import KeptAnswer
from twinning.settings import Settings

PLANTED = {"name": "Siobhán Plánted", "email": "planted.person@limerick.example"}
TRACES = ("lánted", "l\\u00e1nted", "lanted")


def traces(told: str) -> list[str]:
    """Give which marks of the planted contacts a text bears."""
    return [trace for trace in TRACES if trace in told]


def tables_with_traces(database: Database) -> set[str]:
    """Read every row of every table and name the tables in which a planted contact stands."""
    found = set()
    with database.snapshot() as session:
        for name, table in SQLModel.metadata.tables.items():
            rows = session.execute(table.select()).all()
            told = " ".join(
                value.decode(errors="replace") if isinstance(value, bytes) else str(value)
                for row in rows
                for value in row
            )
            if traces(told):
                found.add(name)
    return found


@pytest.fixture
def planted(front: Door) -> Makers:
    """A world whose Irish city has a planted contact, registered under an `Idempotency-Key`."""
    makers = Makers(front)
    makers.city = front.client.post(
        "/v1/cities?force=true",
        json={"name": "Limerick", "country": "IE", "contact": PLANTED},
        headers={**makers.keys["own_coordinator"], "Idempotency-Key": "once"},
    ).json()
    makers.keys["own_city"] = front.of_city(makers.city["id"])
    return makers


def test_a_contact_is_shown_to_those_who_look_after_the_city(planted: Makers) -> None:
    """Staff, the city itself and its coordinators read the contact; other keys read the city without it."""
    path = f"/v1/cities/{planted.city['id']}"
    for role, bearer in planted.keys.items():
        one = planted.door.client.get(path, headers=bearer).json()
        listed = planted.door.client.get("/v1/cities?country=IE", headers=bearer).json()["items"]
        same = next(item for item in listed if item["id"] == planted.city["id"])
        shown = PLANTED if role in {"staff", "own_coordinator", "own_city"} else None

        assert (role, one.get("contact"), same.get("contact")) == (role, shown, shown)


def test_nobody_else_reads_a_contact_anywhere(planted: Makers) -> None:
    """No operation shows others the contact, whatever it answers; nor does the feed to anybody."""
    front = planted.door
    for line in LINES:
        if line.template == STREAM or line.path.endswith("/ping") or line.template == "/v1/matches/preview":
            continue
        for role in ("other_coordinator", "other_city"):
            path = BRACE.sub(lambda found: planted.make(found[2] or found[1]), line.path)
            answer = ask(front, line, path, planted.keys[role])
            assert traces(answer.text) == [], line
    for path in ("/v1/events?limit=200", "/v1/audit?limit=200", "/v1/suggestions", "/v1/deliveries"):
        assert traces(front.client.get(path, headers=front.staff).text) == [], path
    for path in ("/metrics", "/readyz", "/openapi.json"):
        assert traces(front.client.get(path).text) == [], path


def test_a_refused_contact_is_not_quoted(planted: Makers) -> None:
    """A problem about a contact names the field, and repeats nothing of what was sent."""
    for contact in (
        {"name": PLANTED["name"], "email": "planted person"},
        {"name": PLANTED["name"] * 50, "email": PLANTED["email"]},
        {"name": PLANTED["name"], "email": PLANTED["email"], "more": PLANTED["name"]},
        PLANTED["name"],
    ):
        wanted = {"name": "Cork", "country": "IE", "contact": contact}
        answer = planted.door.client.post("/v1/cities", json=wanted, headers=planted.door.staff)
        assert (answer.status_code, traces(answer.text)) == (422, [])
        assert answer.json()["errors"][0]["pointer"].startswith("/contact")


def test_a_contact_stands_in_one_place_and_goes_with_the_city(planted: Makers) -> None:
    """It is kept with the city alone, and for a day in the answer that showed it; after DELETE nowhere.

    The rest stays for the statistics, and the first answer can still be asked for, without the contact.
    """
    front = planted.door
    front.suggest(front.city("Suwon", "KR"), planted.city)
    planted.make("delivery_id")
    before = tables_with_traces(front.database)
    listings = front.client.get("/v1/practices", headers=front.staff).json()["items"]
    deleted = front.client.delete(f"/v1/cities/{planted.city['id']}", headers=planted.keys["own_city"])
    again = front.client.post(
        "/v1/cities?force=true",
        json={"name": "Limerick", "country": "IE", "contact": PLANTED},
        headers={**planted.keys["own_coordinator"], "Idempotency-Key": "once"},
    )

    assert before == {"city", "kept_answer"}
    assert deleted.status_code == 204
    assert tables_with_traces(front.database) == set()
    assert again.headers["idempotent-replayed"] == "true"
    assert (again.json()["id"], again.json()["contact"]) == (planted.city["id"], None)
    with front.database.snapshot() as session:
        kept = session.execute(text("SELECT count(*) FROM listing WHERE state = 'withdrawn'")).scalar_one()
    assert kept == len(listings) > 0


def test_a_contact_that_was_changed_is_not_kept(planted: Makers) -> None:
    """Who has a contact corrected or taken out finds the former nowhere, kept answers included."""
    front, path = planted.door, f"/v1/cities/{planted.city['id']}"
    changed = front.client.patch(path, json={"contact": None}, headers=planted.keys["own_city"])

    assert changed.json()["contact"] is None
    assert tables_with_traces(front.database) == set()


def test_a_sealed_answer_is_erased_as_well(sqlite_url: str) -> None:
    """A kept answer that the operator's key sealed holds no contact after DELETE, and is sealed still."""
    with door(sqlite_url, secrets_key="a key for this test alone") as opened:
        headers = {**opened.staff, "Idempotency-Key": "once"}
        wanted = {"name": "Limerick", "country": "IE", "contact": PLANTED}
        city = opened.client.post("/v1/cities", json=wanted, headers=headers).json()
        opened.client.delete(f"/v1/cities/{city['id']}", headers=opened.staff)
        with opened.database.snapshot() as session:
            row = next(iter(session.exec(idempotency.select(KeptAnswer))))
            sealed, shown = row.body.decode(), idempotency.body_of(session, row).decode()

    assert row.key_id is not None
    assert "contact" not in sealed
    assert (traces(shown), json.loads(shown)["contact"]) == ([], None)


@pytest.fixture(params=["json", "console"])
def logged(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What the log says, in each of its formats."""
    written = io.StringIO()
    before = structlog.get_config()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", written)
        logs.configure(Settings(log_format=request.param))
    yield written.getvalue
    structlog.configure(**before)


def test_the_log_holds_nothing_that_anybody_wrote(embedded: Door, logged: Any) -> None:
    """No text, contact, key, reference or query reaches the log, of what succeeds nor of what fails."""
    client, staff = embedded.client, embedded.staff
    written = "wrïtten-by-somebody"
    city = client.post(
        "/v1/cities", json={"name": written, "country": "IE", "contact": PLANTED}, headers=staff
    ).json()
    client.put(f"/v1/cities/{city['id']}/needs/{written}", json={"title": written}, headers=staff)
    client.get(f"/v1/cities?text={written}", headers=staff)
    client.get(f"/v1/cities/{written}", headers=staff)
    client.get(f"/{written}", headers=staff)
    client.request(written.upper().encode().decode("ascii", "ignore"), "/v1/cities", headers=staff)
    client.post("/v1/cities", content=written.encode(), headers=staff)
    client.get("/v1/cities", headers=[("Authorization", f"Bearer {written}".encode("latin-1"))])
    with embedded.database.transaction() as session:
        session.execute(text("ALTER TABLE listing RENAME TO elsewhere"))
    body = {"title": written, "description": written}
    failed = client.post(f"/v1/cities/{city['id']}/practices", json=body, headers=staff)
    told = logged()

    assert failed.status_code >= 500
    assert told.count("request_id") >= 9
    assert "tten-by" not in told
    assert "TTEN-BY" not in told
    assert traces(told) == []
    assert staff["Authorization"].removeprefix("Bearer ") not in told


def test_b24_a_line_break_makes_no_line_of_the_log(embedded: Door, logged: Any) -> None:
    """Whatever stands in a name or a path, a request has one line in the log."""
    forged = "x\nforged=true event=request"
    embedded.client.post("/v1/cities", json={"name": forged, "country": "IE"}, headers=embedded.staff)
    embedded.client.get("/v1/cities/x%0Aforged%3Dtrue", headers=embedded.staff)
    embedded.client.get("/v1/x%0D%0Aforged=true", headers={**embedded.staff, "X-Request-Id": "a\tforged"})

    lines = logged().splitlines()

    assert len(lines) == 3
    assert not any("forged" in line for line in lines)
