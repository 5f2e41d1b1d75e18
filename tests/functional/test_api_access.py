# SPDX-License-Identifier: Apache-2.0
"""The rules of access beyond the matrix: ends of keys, drafts, and whose part of a round is whose."""

from typing import Any

from tests.factories import Door
from twinning import rounds, suggestions
from twinning.rounds import RoundRequest
from twinning.terms import Role, SuggestionKind


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
