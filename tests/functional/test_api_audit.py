# SPDX-License-Identifier: Apache-2.0
"""The rules of the audit log: who did what, when and from where, with the fact or not at all."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tests.factories import Door, door
from twinning import audit
from twinning.audit import AuditEntry
from twinning.database import now
from twinning.pruning import prune
from twinning.terms import Role


def entries(front: Door, **query: str) -> list[dict[str, Any]]:
    """Read the log, newest first."""
    answer = front.client.get("/v1/audit", params=query, headers=front.staff)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def told(front: Door, **query: str) -> list[tuple[str, list[str]]]:
    """Give actions with the fields that they named, oldest first."""
    return [(entry["action"], entry["fields"]) for entry in reversed(entries(front, **query))]


def test_each_change_is_noted_with_its_fields(front: Door) -> None:
    """An entry names the fields that were sent or really changed; what changed nothing has none."""
    city = front.city(contact={"name": "Office", "email": "office@limerick.example"})
    own, path = front.of_city(city["id"]), f"/v1/cities/{city['id']}"
    front.client.patch(path, json={"summary": "New", "country": "IE"}, headers=own)
    front.client.patch(path, json={"summary": "New"}, headers=own)
    front.client.patch(
        path, json={"contact": {"name": "Desk", "email": "desk@limerick.example"}}, headers=own
    )
    need = {"title": "Reading", "description": "Adults"}
    front.client.put(f"{path}/needs/mine", json=need, headers=own)
    front.client.put(f"{path}/needs/mine", json=need, headers=own)
    front.client.put(f"{path}/needs/mine", json={**need, "strength": 5}, headers=own)
    front.client.delete(path, headers=own)

    assert told(front, city_id=city["id"]) == [
        ("city.registered", ["contact", "country", "name"]),
        ("city.updated", ["summary"]),
        ("city.updated", ["contact"]),
        ("need.registered", ["description", "external_ref", "title"]),
        ("need.updated", ["strength"]),
        ("need.withdrawn", []),
        ("api_key.revoked", []),
        ("city.withdrawn", []),
    ]


def test_an_entry_says_who_when_and_from_where(sqlite_url: str) -> None:
    """The key's id, name and role, the moment, and the address that a trusted proxy names, stand in it."""
    with door(sqlite_url, trusted_proxies="127.0.0.0/8, ::1/128") as front:
        wanted = {"role": "coordinator", "name": "Coordinator, Ireland", "countries": ["IE"]}
        key = front.client.post("/v1/api-keys", json=wanted, headers=front.staff).json()
        bearer = {"Authorization": f"Bearer {key['key']}", "X-Forwarded-For": "203.0.113.9, 192.0.2.7"}
        begun = now()
        city = front.client.post("/v1/cities", json={"name": "Cork", "country": "IE"}, headers=bearer).json()
        entry = entries(front, object_id=city["id"])[0]

    assert begun.isoformat() <= entry.pop("at") <= now().isoformat()
    entry.pop("id")
    assert entry == {
        "key_id": key["id"],
        "key_name": "Coordinator, Ireland",
        "role": "coordinator",
        "action": "city.registered",
        "object_type": "city",
        "object_id": city["id"],
        "city_id": city["id"],
        "fields": ["country", "name"],
        "address": "192.0.2.7",
    }


@pytest.mark.parametrize("address", ["'; DROP TABLE audit", "x" * 500, "", "unknown", "[::1", "::1%eth0"])
def test_an_address_that_is_none_is_not_kept(sqlite_url: str, address: str) -> None:
    """What a proxy passes on and is no address stands nowhere, and fails nothing."""
    with door(sqlite_url, trusted_proxies="127.0.0.0/8") as front:
        headers = {**front.staff, "X-Forwarded-For": address}
        answer = front.client.post("/v1/cities", json={"name": "Cork", "country": "IE"}, headers=headers)
        kept = entries(front)[0]["address"]

    assert answer.status_code == 201
    assert kept in {None, "127.0.0.1", "::1"}


def test_the_fact_and_its_entry_are_written_together(front: Door) -> None:
    """When the entry cannot be written nothing is; when the change is refused there is no entry."""
    refuse = {
        "sqlite": "CREATE TRIGGER refuse BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END",
        "postgresql": "ALTER TABLE audit ADD CONSTRAINT refuse CHECK (action = 'none') NOT VALID",
    }
    front.city("Cork", external_ref="cork")
    taken = front.client.post(
        "/v1/cities", json={"name": "Cork", "country": "IE", "external_ref": "cork"}, headers=front.staff
    )
    count = len(entries(front))
    with front.database.transaction() as session:
        session.execute(text(refuse[front.database.engine.dialect.name]))
    lost = front.client.post("/v1/cities", json={"name": "Galway", "country": "IE"}, headers=front.staff)
    names = [each["name"] for each in front.client.get("/v1/cities", headers=front.staff).json()["items"]]

    assert taken.status_code == 409
    assert lost.status_code >= 400
    assert names == ["Cork"]
    assert count == len(entries(front)) == 1
    assert front.events() == ["city.registered"]


def test_the_log_is_filtered(front: Door) -> None:
    """It is narrowed by key, action, noun, object, city and span, and read page by page, newest first."""
    cork, galway = front.city("Cork"), front.city("Galway")
    middle = now().isoformat()
    practice = front.practice(cork["id"])
    coordinator = front.coordinator("IE")
    front.client.patch(f"/v1/practices/{practice['id']}", json={"title": "New"}, headers=coordinator)
    everything = entries(front)
    key_id = everything[0]["key_id"]

    def found(**query: str) -> list[str]:
        return [entry["id"] for entry in entries(front, **query)]

    ids = [entry["id"] for entry in everything]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 4
    assert found(key_id=key_id) == found(action="practice.updated") == ids[:1]
    assert found(action="practice.*") == found(object_type="practice") == found(since=middle) == ids[:2]
    assert found(object_id=practice["id"]) == ids[:2]
    assert found(city_id=cork["id"]) == [ids[0], ids[1], ids[3]]
    assert found(city_id=galway["id"]) == [ids[2]]
    assert found(until=middle) == ids[2:]
    assert found(action="city.%") == found(action="nothing") == []
    first = front.client.get("/v1/audit?limit=3", headers=front.staff).json()
    rest = front.client.get(
        "/v1/audit", params={"limit": "3", "cursor": first["next_cursor"]}, headers=front.staff
    ).json()
    assert [entry["id"] for entry in first["items"] + rest["items"]] == ids
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    "query", ["limit=0", "cursor=x", "since=yesterday", "since=2026-01-01T00:00:00", "bogus=1", "action=%00"]
)
def test_a_bad_question_is_refused(shared: Door, query: str) -> None:
    """What cannot be looked for is a 422 that names the field."""
    answer = shared.client.get(f"/v1/audit?{query}", headers=shared.staff)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("/query/")


def test_what_workers_do_by_themselves_is_not_noted(front: Door) -> None:
    """A transaction that acts for nobody leaves no entry."""
    with front.database.transaction() as session:
        audit.note(session, "need.expired", "x")

    assert entries(front) == []


def test_old_entries_go(front: Door) -> None:
    """An entry is kept for two years."""
    front.city("Cork")
    front.city("Galway")
    with front.database.transaction() as session:
        oldest = audit.listed(session, audit.Wanted(), 2)[1]
        kept = session.get(AuditEntry, oldest.id)
        assert kept is not None
        kept.at = now() - audit.KEPT - timedelta(minutes=1)
    prune(front.database, 60)

    assert len(entries(front)) == 1
    assert front.key(Role.STAFF)
