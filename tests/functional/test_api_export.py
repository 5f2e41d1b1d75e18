# SPDX-License-Identifier: Apache-2.0
"""The rules of a city's export: everything about it, nothing of others, no secret, and streamed."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from sqlmodel import SQLModel

from services.matcher.importing import Importer
from tests.authorisation import HOOK, last_hour
from tests.factories import Door
from twinning import dossier, keys, previews, rounds, suggestions
from twinning.rounds import RoundRequest
from twinning.terms import SuggestionKind

# The tables that the export leaves out, each with the reason.
ELSEWHERE = {
    "city": "stands first",
    "log": "counters of the whole house",
    "catalogue_change": "names ids and nothing else",
    "term_counts": "is counted from the texts, which are there",
    "work_unit": "marks of work under way",
    "suggestion_city": "is shown within suggestions",
    "suggestion_listing": "is shown within suggestions",
    "import_part": "a file that was sent, until it has been read",
    "import_waiting": "rows of a file that has not been read to its end",
    "city_name": "the city's name as like names are told by it",
    "listing_mark": "marks of the texts, by which repeats are told",
    "round_block": "work under way; what came of it is there",
    "event_city": "is shown within events",
    "attempt": "is shown within deliveries",
    "worker": "processes of the house",
    "tally": "counts of the whole house",
}


def full(front: Door) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Give a city with something of everything, its key, and what must not be told."""
    contact = {"name": "Office", "email": "office@limerick.example"}
    city = front.city(contact=contact)
    key = front.client.post(
        "/v1/api-keys", json={"role": "city", "name": "x", "city_id": city["id"]}, headers=front.staff
    ).json()["key"]
    own = {"Authorization": f"Bearer {key}"}
    front.practice(city["id"], title="Published")
    gone = front.practice(city["id"], title="Withdrawn")
    front.client.delete(f"/v1/practices/{gone['id']}", headers=own)
    front.need(city["id"], state="draft", title="Draft")
    hook = front.client.post(
        "/v1/webhook-endpoints", json=HOOK, headers={**own, "Idempotency-Key": "hook"}
    ).json()
    path = f"/v1/webhook-endpoints/{hook['id']}/replay"
    front.client.post(path, json={**last_hour(), "only": "all"}, headers=own)
    front.client.post("/v1/matching-rounds", json={"kind": "twinning"}, headers=own)
    front.client.post("/v1/imports", files={"file": ("rows.jsonl", b"{}")}, headers=own)
    preview = {"text": "Reading", "as": "need", "country": "IE"}
    with front.database.transaction() as session:
        caller = keys.identify(session, key)
        previews.ask(session, previews.PreviewRequest.model_validate(preview), caller.key_id)
    front.client.post("/v1/imports", files={"file": ("rows.jsonl", b"{}")}, headers=own)
    Importer(front.database, front.settings, "i1").take()
    suggestion_id = front.suggest(front.city("Suwon", "KR"), city)
    with front.database.transaction() as session:
        row = rounds.ask(session, RoundRequest(kind=SuggestionKind.STUDY_VISIT), "somebody")
        session.flush()
        rounds.propose(session, row.id, [suggestions.get(session, suggestion_id)])
    front.client.patch(f"/v1/cities/{city['id']}", json={"summary": "New"}, headers=own)
    return {**city, "contact": contact}, own, [key, hook["secret"]]


def exported(front: Door, city: dict[str, Any], bearer: dict[str, str]) -> dict[str, Any]:
    """Fetch the export of a city."""
    answer = front.client.get(f"/v1/cities/{city['id']}/export", headers=bearer)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def test_a_city_gets_everything_about_it(front: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each section holds what is stored, withdrawn and draft as well, page by page, and as documented."""
    monkeypatch.setattr(dossier, "PAGE", 2)
    city, own, secrets = full(front)
    other = front.city("Cork")
    front.practice(other["id"], title="Of another city")
    told = exported(front, city, own)
    document = front.client.get("/openapi.json").json()
    schema = {"$ref": "#/components/schemas/CityExport", "components": document["components"]}

    assert [error.message for error in Draft202012Validator(schema).iter_errors(told)] == []
    assert told["city"]["contact"] == city["contact"]
    assert {(each["title"], each["state"]) for each in told["practices"]} == {
        ("Published", "published"),
        ("Withdrawn", "withdrawn"),
    }
    assert [each["state"] for each in told["needs"]] == ["draft"]
    for section in dossier.SECTIONS:
        assert told[section.name], section.name
    types = [each["type"] for each in told["events"]]
    assert types.count("practice.registered") == 2
    assert "city.updated" in types
    assert [each["action"] for each in told["audit"]][-1] == "city.updated"
    written = json.dumps(told)
    assert not [secret for secret in secrets if secret in written]
    assert "key_hash" not in written
    assert "Of another city" not in written


def test_those_who_look_after_a_city_export_it(front: Door) -> None:
    """Its coordinators and staff get the same as the city, as a file; others hear that there is none."""
    city, own, _ = full(front)
    mine = exported(front, city, own)
    answer = front.client.get(f"/v1/cities/{city['id']}/export", headers=front.staff)

    assert exported(front, city, front.coordinator("IE"))["practices"] == mine["practices"]
    assert answer.json()["practices"] == mine["practices"]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-disposition"] == f'attachment; filename="city-{city["id"]}.json"'
    outsider = front.client.get(f"/v1/cities/{city['id']}/export", headers=front.coordinator("KR"))
    assert outsider.status_code == 404


def test_after_withdrawal_staff_sees_what_is_left(front: Door) -> None:
    """The export of a withdrawn city still shows what is stored, and there is no contact any more."""
    city, own, _ = full(front)
    front.client.delete(f"/v1/cities/{city['id']}", headers=own)
    told = exported(front, city, front.staff)

    assert (told["city"]["state"], told["city"]["contact"]) == ("withdrawn", None)
    assert {each["state"] for each in told["practices"]} == {"withdrawn"}
    assert "office@limerick.example" not in json.dumps(told)
    assert all(key["revoked_at"] for key in told["api_keys"])


def test_every_table_is_in_the_export_or_left_out_for_a_reason() -> None:
    """A new table is either a section of the export, or named here with why it is none."""
    sections = {section.table.__tablename__ for section in dossier.SECTIONS}

    assert sections.isdisjoint(ELSEWHERE)
    assert sections | set(ELSEWHERE) == set(SQLModel.metadata.tables)
