# SPDX-License-Identifier: Apache-2.0
"""The rule of bad input: it is refused as a problem, quickly, and never gives a 500."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories import Door
from twinning import catalogue_examples, examples, hook_examples, match_examples

JSON_TYPE = {"Content-Type": "application/json"}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
TAKERS = [
    ("POST", "/v1/cities", catalogue_examples.CITY_REQUEST),
    ("PATCH", "/v1/cities/{city}", catalogue_examples.CITY_REQUEST),
    ("POST", "/v1/cities/{city}/practices", catalogue_examples.PRACTICE_REQUEST),
    ("POST", "/v1/cities/{city}/needs", catalogue_examples.NEED_REQUEST),
    ("PUT", "/v1/cities/{city}/needs/ref", catalogue_examples.NEED_REQUEST),
    ("POST", "/v1/matching-rounds", match_examples.ROUND_REQUEST),
    ("POST", "/v1/webhook-endpoints", hook_examples.ENDPOINT_REQUEST),
    ("POST", "/v1/api-keys", examples.KEY_REQUEST),
]


@pytest.fixture(scope="module")
def city(shared: Door) -> str:
    """The id of a city."""
    return str(shared.city()["id"])


def _is_problem(answer: Any) -> bool:
    """Say whether an answer is a refusal as every caller may expect it."""
    told = answer.json()
    shaped = {"type", "title", "status", "detail"} <= told.keys() and told["status"] == answer.status_code
    return shaped and answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("method", "path", "example"), TAKERS)
@settings(max_examples=max(30, settings.default.max_examples // 10))
@given(data=st.data())
def test_no_body_gives_a_500(
    shared: Door, city: str, method: str, path: str, example: dict[str, Any], data: st.DataObject
) -> None:
    """An example with any of its fields replaced by anything is taken or refused as a problem."""
    names = st.sampled_from(sorted(example)) | st.text(max_size=8)
    changes = data.draw(st.dictionaries(names, ANYTHING, min_size=1, max_size=3))
    body = data.draw(ANYTHING) if data.draw(st.integers(0, 9)) == 0 else {**example, **changes}
    answer = shared.client.request(
        method, path.format(city=city), content=json.dumps(body), headers={**shared.staff, **JSON_TYPE}
    )

    assert answer.status_code in {200, 201, 202} or (answer.status_code < 500 and _is_problem(answer))


@given(
    path=st.sampled_from(
        ["cities", "practices", "needs", "suggestions", "events", "matching-rounds", "api-keys"]
    ),
    name=st.sampled_from(["limit", "cursor", "text", "country", "theme", "after", "types", "wait", "city_id"])
    | st.text(max_size=5),
    value=st.text(max_size=30) | st.integers().map(str),
)
def test_no_query_gives_a_500(shared: Door, path: str, name: str, value: str) -> None:
    """Any query parameter with any value is taken or refused as a problem."""
    value = value if name != "wait" else "0"
    encoded = {name.encode("utf-8", "replace").decode(): value.encode("utf-8", "replace").decode()}
    answer = shared.client.get(f"/v1/{path}", params=encoded, headers=shared.staff)

    assert answer.status_code == 200 or (answer.status_code < 500 and _is_problem(answer))


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"\xef\xbb\xbf{}", "application/json", 400),
        ("{}".encode("utf-16"), "application/json", 400),
        (b'{"name": NaN}', "application/json", 400),
        (b"[" * 200_000, "application/json", 400),
        (b'{"name": "x", "name": "y"}', "application/json", 422),
        (b'{"name": "\\u0000", "country": "IE"}', "application/json", 422),
        (b'{"name": "\\ud800", "country": "IE"}', "application/json", 422),
        (b'{"name": "x", "country": "IE", "population": ' + b"9" * 5000 + b"}", "application/json", 422),
        (b"[]", "application/json", 422),
        (b"null", "application/json", 422),
        (b"{}", "text/plain", 415),
        (b"{}", "application/json; charset=utf-16", 415),
        (b"{}", "application/jsonx", 415),
        (b"{}", None, 415),
        (b" " * (1024 * 1024 + 1), "application/json", 413),
    ],
)
def test_a_bad_body_is_refused(shared: Door, content: bytes, media_type: str | None, status: int) -> None:
    """Each kind of bad body has its status, as a problem, within a moment."""
    headers = {**shared.staff, **({"Content-Type": media_type} if media_type else {})}
    begun = time.perf_counter()
    answer = shared.client.post("/v1/cities", content=content, headers=headers)

    assert (answer.status_code, _is_problem(answer)) == (status, True)
    assert time.perf_counter() - begun < 2


def test_a_chunked_body_is_measured_as_it_comes(shared: Door) -> None:
    """A body without a length is refused as soon as it is longer than is taken."""
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b" " * 65_536

    answer = shared.client.post("/v1/cities", content=chunks(), headers={**shared.staff, **JSON_TYPE})

    assert (answer.status_code, _is_problem(answer)) == (413, True)


def test_a_bad_length_is_no_reason_to_fail(shared: Door) -> None:
    """A Content-Length that is no number is the server's to refuse and never ours to fail on."""
    headers = {**shared.staff, **JSON_TYPE, "Content-Length": "ten"}
    answer = shared.client.post("/v1/cities", content=b"{}", headers=headers)

    assert answer.status_code < 500


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/practices/01", "DELETE, GET, PATCH"),
        ("PATCH", "/v1/cities", "GET, POST"),
        ("POST", "/healthz", "GET"),
    ],
)
def test_a_wrong_method_is_told_all_the_right_ones(
    shared: Door, method: str, path: str, allowed: str
) -> None:
    """`Allow` names every method of an address, not only those of one route (RFC 9110, section 10.2.1)."""
    answer = shared.client.request(method, path, headers=shared.staff)

    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize(
    "day", [0, 20_000, "20000", "2027-1-1", "2027-02-30", "tomorrow", "2027-01-31T00:00:00Z"]
)
def test_a_day_is_written_as_rfc_3339_has_it(shared: Door, city: str, day: object) -> None:
    """A number of days since 1970 is no date that a city meant."""
    body = {**catalogue_examples.NEED_REQUEST, "external_ref": None, "expires_on": day}
    answer = shared.client.post(f"/v1/cities/{city}/needs", json=body, headers=shared.staff)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/expires_on"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nowhere", 404),
        ("GET", "/v1/cities/", 404),
        ("PUT", "/v1/cities", 405),
        ("DELETE", "/healthz", 405),
        ("GET", "/v1/cities/x", 404),
        ("GET", "/v1/cities/%00", 404),
        ("GET", "/v1/cities/%ff", 404),
        ("GET", "/v1/cities?bogus=1", 422),
        ("GET", "/v1/cities?limit=0", 422),
        ("GET", "/v1/cities?limit=201", 422),
        ("GET", "/v1/cities?limit=x", 422),
        ("GET", "/v1/cities?cursor=bogus", 422),
        ("GET", "/v1/cities?cursor=W10", 422),
        ("GET", "/v1/cities?cursor=WyJhIl0", 422),
        ("GET", "/v1/cities?country=US", 422),
        ("GET", "/v1/cities?text=%00", 422),
        ("GET", "/v1/needs?theme=bogus", 422),
        ("GET", "/v1/suggestions?theme=bogus", 422),
        ("GET", "/v1/reference/themes?limit=1", 422),
        ("GET", "/v1/deliveries?since=0.5", 422),
        ("GET", "/v1/deliveries?until=2026-11-29", 422),
        ("GET", "/v1/deliveries?until=2026-11-29T12:00:00", 422),
        ("GET", "/v1/events?after=nonsense", 422),
        ("GET", "/v1/events?wait=26", 422),
        ("GET", "/v1/events?types=bogus", 422),
        ("GET", "/v1/suggestions?min_band=good", 422),
    ],
)
def test_a_bad_address_is_refused(shared: Door, method: str, path: str, status: int) -> None:
    """Unknown paths, methods, ids and query parameters are refused as problems."""
    answer = shared.client.request(method, path, headers=shared.staff)

    assert (answer.status_code, _is_problem(answer)) == (status, True)


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer x", "Basic eDp5", "Bearer \u00e4", "bearer x y"]
)
def test_no_or_a_bad_key_is_refused(shared: Door, header: str) -> None:
    """Without a live key every path below /v1 answers 401, and says how to send one."""
    headers = [("Authorization", header.encode("latin-1"))]
    read = shared.client.get("/v1/cities", headers=headers)
    written = shared.client.post("/v1/cities", content=b"{", headers=headers)

    assert [read.status_code, written.status_code] == [401, 401]
    assert read.headers["www-authenticate"].startswith("Bearer")
    assert _is_problem(read)


def test_every_problem_has_its_page(shared: Door) -> None:
    """The type of a problem is an address that says what it means, and needs no key."""
    problem = shared.client.get("/v1/cities").json()
    page = shared.client.get(problem["type"].removeprefix(shared.settings.public_url))

    assert page.status_code == 200
    assert page.json()["title"] == problem["title"]


def test_answers_bear_their_headers(shared: Door) -> None:
    """Each answer has an id to ask after, may not be kept or guessed at, and names no server."""
    answer = shared.client.get("/v1/cities", headers={**shared.staff, "X-Request-Id": "mine"})
    forged = shared.client.get("/v1/cities", headers={**shared.staff, "X-Request-Id": "a b"})

    assert answer.headers["x-request-id"] == "mine"
    assert forged.headers["x-request-id"] != "a b"
    assert (answer.headers["x-content-type-options"], answer.headers["cache-control"]) == (
        "nosniff",
        "no-store",
    )
    assert "server" not in answer.headers
