# SPDX-License-Identifier: Apache-2.0
"""Rules of the letter of HTTP at the front door: cursors, bodies, preconditions, hang-ups, and pointers."""

import socket
from itertools import permutations
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests.factories import Door, need, practice
from tests.hooks import eventually
from tests.streams import street
from twinning import rounds
from twinning.rounds import RoundRequest
from twinning.suggestions import Suggestion
from twinning.terms import RoundState, SuggestionKind

LISTS = ("cities", "needs", "practices", "audit", "api-keys")
NOTHING = [
    ({"content": b"{bad", "headers": {"Content-Type": "application/json"}}, 400),
    ({"json": {"unknown": 1}}, 422),
    ({"json": []}, 422),
    ({"content": b"{}", "headers": {"Content-Type": "text/plain"}}, 415),
    ({"content": b"{}", "headers": {"Content-Type": "application/json", "Content-Encoding": "gzip"}}, 415),
    ({"json": {}}, 200),
    ({}, 200),
]
BETWEEN_FIELDS = [
    ({"role": "city"}, "/city_id", "A city's key needs city_id."),
    ({"role": "coordinator"}, "/countries", "A coordinator's key needs countries."),
    ({"role": "staff", "countries": ["IE"]}, "/countries", "countries is for a coordinator's key alone."),
]


def test_a_cursor_is_good_for_its_own_list_alone(front: Door) -> None:
    """A cursor of another list, or of the same with another filter, is refused by its field."""
    for name in ("Cork", "Suwon"):
        city = front.city(name)["id"]
        front.need(city)
        front.practice(city)
        front.of_city(city)

    def ask(name: str, **query: Any) -> Any:
        return front.client.get(f"/v1/{name}", params={"limit": 1, **query}, headers=front.staff)

    cursors = {name: ask(name).json()["next_cursor"] for name in LISTS}
    crossed = [ask(name, cursor=cursors[other]) for name, other in permutations(LISTS, 2)]
    crossed.append(ask("cities", cursor=cursors["cities"], country="IE"))

    assert {answer.status_code for answer in crossed} == {422}
    assert {answer.json()["errors"][0]["pointer"] for answer in crossed} == {"/query/cursor"}
    assert {ask(name, cursor=cursors[name], limit=2).status_code for name in LISTS} == {200}


def test_the_feed_is_read_on_by_its_cursor_too(front: Door) -> None:
    """`next_cursor` of the feed is taken as `cursor`, as any list's, and not beside `after`."""
    for name in ("Cork", "Suwon", "Porto"):
        front.city(name)
    first = front.client.get("/v1/events", params={"limit": 1}, headers=front.staff).json()
    query = {"cursor": first["next_cursor"]}
    rest = front.client.get("/v1/events", params=query, headers=front.staff).json()["items"]
    twice = front.client.get("/v1/events", params={**query, "after": "latest"}, headers=front.staff)

    assert [event["data"]["name"] for event in rest] == ["Suwon", "Porto"]
    assert twice.json()["errors"][0]["pointer"] == "/query/cursor"


@pytest.mark.parametrize(("sent", "status"), NOTHING)
def test_what_takes_no_body_reads_what_is_sent(front: Door, sent: dict[str, Any], status: int) -> None:
    """Where nothing is asked for, nothing or an empty object is taken; all else is refused as anywhere."""
    path = f"/v1/practices/{front.practice(front.city()['id'])['id']}/confirm"
    headers = {**front.staff, **sent.get("headers", {})}

    assert front.client.post(path, **{**sent, "headers": headers}).status_code == status


@pytest.mark.parametrize("tag", ["*", '"0"', '"1"'])
@pytest.mark.parametrize(("kind", "wanted"), [("practices", practice()), ("needs", need())])
def test_no_tag_matches_what_is_not_there(front: Door, tag: str, kind: str, wanted: dict[str, Any]) -> None:
    """A PUT with If-Match makes nothing new."""
    path = f"/v1/cities/{front.city()['id']}/{kind}/own"
    answer = front.client.put(path, json=wanted, headers={**front.staff, "If-Match": tag})

    assert answer.status_code == 412
    assert front.client.get(f"/v1/{kind}", headers=front.staff).json()["items"] == []


@pytest.mark.parametrize(
    ("path", "media_type", "body"),
    [
        ("/v1/cities", "application/json", b'{"name":'),
        ("/v1/imports", "multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data"),
    ],
)
def test_who_hangs_up_is_no_fault_of_ours(sqlite_url: str, path: str, media_type: str, body: bytes) -> None:
    """A client that goes away in the middle of its body is counted as its own error."""
    with street(sqlite_url) as served:
        host, port = served.url.removeprefix("http://").split(":")
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.key}\r\n"
            f"Content-Length: 100\r\nContent-Type: {media_type}\r\n\r\n"
        )
        with socket.create_connection((host, int(port)), timeout=20) as line:
            line.sendall(head.encode() + body)
        statuses: set[str] = set()

        def told() -> bool:
            lines = httpx.get(f"{served.url}/metrics").text.splitlines()
            asked = [each for each in lines if each.startswith("twinning_http_requests_total{")]
            statuses.update(each.partition('status="')[2][:3] for each in asked if "POST" in each)
            return bool(statuses)

        eventually(told)

    assert not {each for each in statuses if each.startswith("5")}


@pytest.mark.parametrize(("wanted", "pointer", "words"), BETWEEN_FIELDS)
def test_what_is_wrong_between_fields_points_at_one(
    shared: Door, wanted: dict[str, Any], pointer: str, words: str
) -> None:
    """A key whose scope does not fit its role is refused by the field that has to change, and says how."""
    answer = shared.client.post("/v1/api-keys", json={"name": "x", **wanted}, headers=shared.staff)

    assert answer.json()["errors"] == [{"pointer": pointer, "detail": words}]


def test_an_ended_need_is_not_among_those_that_wait_for_an_answer(front: Door) -> None:
    """`unmet` gives published needs alone, whatever was known of one before it ended."""
    city = front.city()["id"]
    made = {state: front.need(city, title=state)["id"] for state in ("published", "expired", "paused")}
    with front.database.transaction() as session:
        for state, id_ in made.items():
            values = {"state": state, "id": id_}
            session.execute(text("UPDATE listing SET unmet = true, state = :state WHERE id = :id"), values)
    items = front.client.get("/v1/needs", params={"unmet": "true"}, headers=front.staff).json()["items"]

    assert [item["id"] for item in items] == [made["published"]]


def test_the_endpoints_of_a_key_end_with_it(front: Door) -> None:
    """Once its key is revoked an endpoint is off, says why, and takes no ping, on which nobody would hear."""
    coordinator = front.coordinator("IE")
    wanted = {"url": "https://hooks.limerick.ie/x"}
    path = front.client.post("/v1/webhook-endpoints", json=wanted, headers=coordinator).headers["location"]
    keys = front.client.get("/v1/api-keys", headers=front.staff).json()["items"]
    [key_id] = [key["id"] for key in keys if key["role"] == "coordinator"]
    front.client.delete(f"/v1/api-keys/{key_id}", headers=front.staff)
    shown = front.client.get(path, headers=front.staff).json()
    ping = front.client.post(f"{path}/ping", headers=front.staff)

    assert (shown["enabled"], shown["disabled_because"]) == (False, "the end of its key")
    assert (ping.status_code, ping.json()["detail"]) == (
        409,
        "The key that this endpoint belongs to has ended.",
    )


@pytest.mark.parametrize("name", ["Host", "a b", "X-Long"])
def test_a_header_that_is_refused_is_pointed_at(shared: Door, name: str) -> None:
    """Of a webhook's headers the one that cannot be sent is named."""
    wanted = {"url": "https://hooks.limerick.ie/x", "headers": {"X-Fine": "1", name: "x" * 2000}}
    answer = shared.client.post("/v1/webhook-endpoints", json=wanted, headers=shared.staff)

    assert answer.json()["errors"][0]["pointer"] == f"/headers/{name}"


def test_an_address_that_is_no_utf_8_is_refused(front: Door) -> None:
    """Two references that are bytes of nothing are not taken for one."""
    path = f"/v1/cities/{front.city()['id']}/practices/"

    assert front.client.put(path + "%fe", json=practice(), headers=front.staff).status_code == 422


@pytest.mark.parametrize(
    ("website", "status"),
    [
        ("https://x.ie", 201),
        ("HTTPS://X.ie/a?b#c", 201),
        ("https://x.ie\n<script>", 422),
        ("https://x.ie/ a", 422),
        ("https://me:secret@x.ie", 422),
        ("ftp://x.ie", 422),
    ],
)
def test_a_website_is_an_address_from_end_to_end(front: Door, website: str, status: int) -> None:
    """An address of a city is http or https, has no blank in it, and bears no name and password."""
    wanted = {"name": "Cork", "country": "IE", "website": website}

    assert front.client.post("/v1/cities", json=wanted, headers=front.staff).status_code == status


def test_a_rounds_list_is_in_the_order_of_its_scores_whatever_has_changed(front: Door) -> None:
    """Scored again, a suggestion takes its new place in list and export; fallen, it leaves the export."""
    cities = [
        front.city(name, country) for name, country in (("Cork", "IE"), ("Suwon", "KR"), ("Osan", "KR"))
    ]
    ids = [front.suggest(cities[0], cities[1], 70.0), front.suggest(cities[0], cities[2], 30.0)]
    with front.database.transaction() as session:
        asked = rounds.ask(session, RoundRequest(kind=SuggestionKind.STUDY_VISIT), "key")
        session.flush()
        rounds.propose(session, asked.id, [session.get_one(Suggestion, id_) for id_ in ids])
        asked.state = RoundState.COMPLETED
        path = f"/v1/matching-rounds/{asked.id}"

    def listed() -> list[float]:
        items = front.client.get(f"{path}/suggestions", headers=front.staff).json()["items"]
        return [item["score"] for item in items]

    before = listed()
    with front.database.transaction() as session:
        session.execute(text("UPDATE suggestion SET score = 90 WHERE id = :id"), {"id": ids[1]})
    after = listed()
    exported = front.client.get(f"{path}/export?format=jsonl", headers=front.staff).text.splitlines()
    with front.database.transaction() as session:
        session.execute(text("UPDATE suggestion SET status = 'withdrawn' WHERE id = :id"), {"id": ids[1]})
    left = front.client.get(f"{path}/export?format=jsonl", headers=front.staff).text.splitlines()

    assert (before, after) == ([70.0, 30.0], [90.0, 70.0])
    assert ['"score":90.0' in line for line in exported] == [True, False]
    assert len(left) == 1
