# SPDX-License-Identifier: Apache-2.0
"""The rules of access, as one table: who may do what, and what the rest are told."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from tests.factories import Door, need, practice
from twinning import rounds, suggestions
from twinning.database import now
from twinning.rounds import RoundRequest
from twinning.terms import Role, SuggestionKind

ROLES = ("staff", "own_coordinator", "own_city", "other_coordinator", "other_city")
CITY = {"name": "Cork", "country": "IE"}
HOOK = {"url": "https://hooks.limerick.ie/x"}
LAST_HOUR = {"since": (now() - timedelta(hours=1)).isoformat(), "only": "all"}

# Each request with the status that each role of ROLES is answered; {...} are ids of one Irish city's things.
TABLE = """
GET    /v1/reference/countries            200 200 200 200 200
GET    /v1/cities                         200 200 200 200 200
POST   /v1/cities?force=true              201 201 403 403 403
GET    /v1/cities/{city}                  200 200 200 200 200
PATCH  /v1/cities/{city}                  200 200 200 403 403
POST   /v1/cities/{city}/practices        201 201 201 403 403
POST   /v1/cities/{city}/needs            201 201 201 403 403
PUT    /v1/cities/{city}/practices/mine   201 200 200 403 403
PUT    /v1/cities/{city}/needs/mine       201 200 200 403 403
GET    /v1/practices                      200 200 200 200 200
GET    /v1/practices/{practice}           200 200 200 200 200
PATCH  /v1/practices/{practice}           200 200 200 403 403
GET    /v1/practices/{draft}              200 200 200 404 404
PATCH  /v1/practices/{draft}              200 200 200 404 404
GET    /v1/needs/{need}                   200 200 200 200 200
PATCH  /v1/needs/{need}                   200 200 200 403 403
GET    /v1/needs/{practice}               404 404 404 404 404
GET    /v1/suggestions                    200 200 200 200 200
GET    /v1/suggestions/{suggestion}       200 200 200 404 404
GET    /v1/matching-rounds                200 200 200 200 200
POST   /v1/matching-rounds                202 202 202 202 202
GET    /v1/matching-rounds/{round}        200 404 404 404 404
GET    /v1/matching-rounds/{round}/suggestions 200 404 404 404 404
POST   /v1/matching-rounds/{round}/cancel 200 404 404 404 404
POST   /v1/webhook-endpoints              201 201 201 201 201
GET    /v1/webhook-endpoints              200 200 200 200 200
GET    /v1/webhook-endpoints/{endpoint}   200 404 200 404 404
PATCH  /v1/webhook-endpoints/{endpoint}   200 404 200 404 404
GET    /v1/webhook-endpoints/{endpoint}/deliveries 200 404 200 404 404
POST   /v1/webhook-endpoints/{endpoint}/rotate-secret 200 404 200 404 404
POST   /v1/webhook-endpoints/{endpoint}/replay 202 404 202 404 404
GET    /v1/replays/{replay}               200 404 200 404 404
POST   /v1/replays/{replay}/cancel        200 404 409 404 404
GET    /v1/deliveries/{delivery}          200 404 200 404 404
POST   /v1/deliveries/{delivery}/retry    202 404 202 404 404
GET    /v1/events/{event}                 200 200 200 404 404
GET    /v1/events                         200 200 200 200 200
GET    /v1/api-keys                       200 403 403 403 403
POST   /v1/api-keys                       201 403 403 403 403
DELETE /v1/api-keys/{key}                 204 403 403 403 403
DELETE /v1/practices/{practice}           204 404 404 404 404
DELETE /v1/needs/{need}                   204 404 404 404 404
DELETE /v1/webhook-endpoints/{endpoint}   204 404 404 404 404
DELETE /v1/cities/{city}                  204 404 401 404 404
"""

BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/v1/cities?force=true"): CITY,
    ("PATCH", "/v1/cities/{city}"): {"summary": "x"},
    ("POST", "/v1/cities/{city}/practices"): practice(),
    ("POST", "/v1/cities/{city}/needs"): need(),
    ("PUT", "/v1/cities/{city}/practices/mine"): practice(),
    ("PUT", "/v1/cities/{city}/needs/mine"): need(),
    ("PATCH", "/v1/practices/{practice}"): {"title": "x"},
    ("PATCH", "/v1/practices/{draft}"): {"title": "x"},
    ("PATCH", "/v1/needs/{need}"): {"title": "x"},
    ("POST", "/v1/matching-rounds"): {"kind": "twinning"},
    ("POST", "/v1/webhook-endpoints"): HOOK,
    ("PATCH", "/v1/webhook-endpoints/{endpoint}"): {"description": "x"},
    ("POST", "/v1/webhook-endpoints/{endpoint}/rotate-secret"): {},
    ("POST", "/v1/webhook-endpoints/{endpoint}/replay"): LAST_HOUR,
    ("POST", "/v1/api-keys"): {"role": "staff", "name": "x"},
}


@dataclass
class World:
    """An Irish city with all that may hang on one, and a key of each role, near and far."""

    ids: dict[str, str]
    keys: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def world(shared: Door) -> World:
    """The world of the table."""
    city, other = shared.city(), shared.city("Suwon", "KR")
    keys = {
        "staff": shared.staff,
        "own_coordinator": shared.coordinator("IE", "SE"),
        "own_city": shared.of_city(city["id"]),
        "other_coordinator": shared.coordinator("KR"),
        "other_city": shared.of_city(other["id"]),
    }
    wanted = {**HOOK, "description": "The one of the table", "url": f"{HOOK['url']}/2"}
    hook = shared.client.post("/v1/webhook-endpoints", json=wanted, headers=keys["own_city"]).json()
    ids = {
        "city": city["id"],
        "practice": shared.practice(city["id"])["id"],
        "draft": shared.practice(city["id"], state="draft")["id"],
        "need": shared.need(city["id"])["id"],
        "endpoint": hook["id"],
        "suggestion": shared.suggest(shared.city("Malmö", "SE"), city),
    }
    asked = shared.client.post("/v1/matching-rounds", json={"kind": "twinning"}, headers=shared.staff)
    made = shared.client.post("/v1/api-keys", json={"role": "staff", "name": "x"}, headers=shared.staff)
    log = shared.client.get(f"/v1/webhook-endpoints/{hook['id']}/deliveries", headers=shared.staff).json()
    path = f"/v1/webhook-endpoints/{hook['id']}/replay"
    replay = shared.client.post(path, json=LAST_HOUR, headers=shared.staff).json()
    ids |= {"round": asked.json()["id"], "key": made.json()["id"], "replay": replay["id"]}
    ids |= {"delivery": log["items"][0]["id"], "event": log["items"][0]["event_id"]}
    return World(ids, keys)


def test_each_role_may_do_what_the_table_says(shared: Door, world: World) -> None:
    """What a key may not see is not there; what it may see and not change is forbidden; the rest is done."""
    wrong = []
    for line in TABLE.strip().splitlines():
        method, path, *statuses = line.split()
        for role, status in zip(ROLES, statuses, strict=True):
            body = BODIES.get((method, path))
            answer = shared.client.request(
                method, path.format(**world.ids), json=body, headers=world.keys[role]
            )
            if answer.status_code != int(status):
                wrong.append((method, path, role, answer.status_code, status))

    assert wrong == []


def test_nothing_below_v1_is_open(shared: Door) -> None:
    """Every path of the table wants a key."""
    for line in TABLE.strip().splitlines():
        method, path, *_ = line.split()
        assert shared.client.request(method, path, json=BODIES.get((method, path))).status_code == 401


def test_an_expired_or_revoked_key_ends_at_once(embedded: Door) -> None:
    """From the moment of its end a key opens nothing, in a list or in a feed."""
    made = embedded.client.post("/v1/api-keys", json={"role": "staff", "name": "x"}, headers=embedded.staff)
    bearer = {"Authorization": f"Bearer {made.json()['key']}"}
    before = embedded.client.get("/v1/cities", headers=bearer).status_code
    embedded.client.delete(f"/v1/api-keys/{made.json()['id']}", headers=embedded.staff)
    expired = embedded.key(Role.STAFF, expires_at="2020-01-01T00:00:00Z")

    assert before == 200
    assert [embedded.client.get("/v1/cities", headers=key).status_code for key in (bearer, expired)] == [
        401,
        401,
    ]


def test_drafts_are_listed_for_those_who_look_after_them(front: Door) -> None:
    """A list shows what is published, and what is not to the city itself, its coordinators and staff."""
    city, other = front.city(), front.city("Suwon", "KR")
    front.practice(city["id"], title="Draft", state="draft")
    front.practice(city["id"], title="Published")

    def seen(bearer: dict[str, str]) -> list[str]:
        items = front.client.get("/v1/practices", headers=bearer).json()["items"]
        return [item["title"] for item in items]

    insiders = [front.staff, front.of_city(city["id"]), front.coordinator("IE")]
    outsiders = [front.of_city(other["id"]), front.coordinator("KR")]
    assert [seen(bearer) for bearer in insiders] == [["Draft", "Published"]] * 3
    assert [seen(bearer) for bearer in outsiders] == [["Published"]] * 2


def test_a_round_is_held_to_the_askers_own_cities(front: Door) -> None:
    """A coordinator's and a city's round has their own cities as learners; naming others is forbidden."""
    city, other = front.city(), front.city("Suwon", "KR")
    coordinator, own = front.coordinator("IE", "SE"), front.of_city(city["id"])

    def ask(bearer: dict[str, str], **scope: Any) -> Any:
        answer = front.client.post(
            "/v1/matching-rounds", json={"kind": "study_visit", **scope}, headers=bearer
        )
        told = answer.json()
        return (told["countries"], told["city_ids"]) if answer.status_code == 202 else answer.status_code

    assert ask(front.staff) == ([], [])
    assert ask(coordinator) == (["IE", "SE"], [])
    assert ask(coordinator, countries=["SE"]) == (["SE"], [])
    assert ask(coordinator, city_ids=[city["id"]]) == ([], [city["id"]])
    assert ask(coordinator, countries=["KR"]) == 403
    assert ask(coordinator, city_ids=[other["id"]]) == 403
    assert ask(own) == ([], [city["id"]])
    assert ask(own, countries=["SE"]) == 403
    assert ask(own, city_ids=[other["id"]]) == 403
    assert ask(front.staff, city_ids=["nobody"]) == 422


def test_a_rounds_result_is_read_in_its_order(front: Door) -> None:
    """A round's suggestions come in the round's own order, page by page, and by filter."""
    city = front.city()
    found = [front.suggest(front.city(f"City {n}", "KR"), city, score=50 - n) for n in range(5)]
    with front.database.transaction() as session:
        row = rounds.ask(session, RoundRequest(kind=SuggestionKind.STUDY_VISIT), "somebody")
        session.flush()
        rows = [suggestions.get(session, each) for each in found[:4]]
        rounds.propose(session, row.id, rows)
    path, seen, cursor = f"/v1/matching-rounds/{row.id}/suggestions", [], None
    while cursor is not None or not seen:
        query = {"limit": "3", **({"cursor": cursor} if cursor else {})}
        page = front.client.get(path, params=query, headers=front.staff).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    filtered = front.client.get(f"/v1/suggestions?round_id={row.id}", headers=front.staff).json()["items"]

    assert seen == found[:4]
    assert [item["id"] for item in filtered] == found[:4]


def test_a_city_reads_its_part_of_a_round_and_no_more(front: Door) -> None:
    """Who is named in a round's result reads the round and what names them; where it is sent stays hidden."""
    city = front.city()
    mine = front.suggest(front.city("Suwon", "KR"), city)
    other = front.suggest(front.city("Okayama", "JP"), front.city("Espoo", "FI"))
    wanted = RoundRequest(kind=SuggestionKind.STUDY_VISIT, callback_url="https://hooks.city.example.org/in")
    with front.database.transaction() as session:
        row = rounds.ask(session, wanted, "somebody")
        session.flush()
        rounds.propose(session, row.id, [suggestions.get(session, each) for each in (mine, other)])
    path, bearer = f"/v1/matching-rounds/{row.id}", front.of_city(city["id"])
    stranger = front.coordinator("MT")

    read = front.client.get(path, headers=bearer)
    listed = front.client.get(f"{path}/suggestions", headers=bearer).json()["items"]

    assert (read.status_code, read.json()["callback_url"]) == (200, None)
    assert [item["id"] for item in listed] == [mine]
    assert front.client.get(path, headers=stranger).status_code == 404
    assert front.client.post(f"{path}/cancel", headers=bearer).status_code == 404
