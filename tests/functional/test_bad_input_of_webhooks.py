# SPDX-License-Identifier: Apache-2.0
"""Bad input to everything about webhooks, row by row: what is sent, and the problem that comes back."""

import asyncio
import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import structlog
from sqlmodel import col, update

from services import logs
from services.cli.webhooks import plain
from services.dispatcher.client import BoundedClient
from services.dispatcher.delivery import judge
from tests.factories import Door
from tests.integration.hostile import MANNERS, answering, head, receiver
from twinning.addresses import Rules
from twinning.database import now
from twinning.deliveries import Sending
from twinning.outbox import StoredEvent
from twinning.settings import Settings
from twinning.subscriptions import MOST_ENDPOINTS
from twinning.terms import Lane

URL = "https://hooks.limerick.ie/x"
ENDPOINTS = "/v1/webhook-endpoints"


def secret(size: int) -> str:
    """A signing secret of so many bytes."""
    return "whsec_" + base64.b64encode(bytes(size)).decode()


def ago(**span: float) -> str:
    """A moment in the past, or the future where it is negative."""
    return (now() - timedelta(**span)).isoformat()


@dataclass(frozen=True)
class Row:
    """One row: its name, where it goes, what is sent, and the status, problem and field that come back."""

    name: str
    path: str
    body: dict[str, Any] = field(default_factory=dict)
    pointer: str = ""
    status: int = 422
    problem: str = "invalid"


def endpoint(name: str, pointer: str, **fields: Any) -> Row:
    """A row about the fields of an endpoint."""
    return Row(name, ENDPOINTS, {"url": URL, **fields}, pointer)


def headers(name: str, value: dict[str, str]) -> Row:
    """A row about headers: one of several is what is wrong, or their number is."""
    wrong = "" if len(value) > 1 else f"/{next(iter(value))}"
    return endpoint(name, f"/headers{wrong}", headers=value)


def types(name: str, *patterns: str) -> Row:
    return endpoint(name, "/event_types/0", event_types=list(patterns))


def replay(name: str, pointer: str, **fields: Any) -> Row:
    return Row(name, "{hook}/replay", fields, pointer)


ROWS = [
    endpoint("B4 NUL", "/description", description="a\0b"),
    endpoint("B7 unknown field", "/colour", colour="red"),
    headers("B13 X:Y", {"X:Y": "1"}),
    headers("B13 Host", {"Host": "internal"}),
    headers("B13 Content-Length", {"Content-Length": "1"}),
    headers("B13 Content-Type", {"content-type": "text/plain"}),
    headers("B13 webhook-id", {"webhook-id": "1"}),
    headers("B13 webhook-signature", {"Webhook-Signature": "v1,x"}),
    headers("B13 Transfer-Encoding", {"Transfer-Encoding": "chunked"}),
    headers("B13 Connection", {"Connection": "close"}),
    headers("B13 Upgrade", {"Upgrade": "h2c"}),
    headers("B13 TE", {"TE": "trailers"}),
    headers("B13 Proxy-Authorization", {"Proxy-Authorization": "Basic x"}),
    headers("B13 User-Agent", {"User-Agent": "x"}),
    headers("B13 asem-delivery", {"asem-delivery": "x"}),
    headers("B13 value with CR LF", {"X": "a\r\nY: b"}),
    headers("B13 value with 8 bits", {"X": "ä"}),
    headers("B13 value of 1,025 bytes", {"X": "a" * 1025}),
    headers("B13 empty value", {"X": ""}),
    headers("B13 empty name", {"": "x"}),
    headers("B13 name with a blank", {"X Y": "x"}),
    headers("B13 11 headers", {f"X-{number}": "1" for number in range(11)}),
    headers("B13 twice", {"X-A": "1", "x-a": "2"}),
    endpoint("B14 not base64", "/secret", secret="whsec_§"),
    endpoint("B14 23 bytes", "/secret", secret=secret(23)),
    endpoint("B14 65 bytes", "/secret", secret=secret(65)),
    endpoint("B14 without prefix", "/secret", secret="c2VjcmV0"),
    endpoint("B14 a good one", "/secret", secret=secret(32)),
    types("B15 suggestion.sug*", "suggestion.sug*"),
    types("B15 ..", ".."),
    types("B15 300 characters", "s" * 300),
    types("B15 of no noun", "match.*"),
    types("B15 no type", "suggestion.exploded"),
    types("B15 empty", ""),
    endpoint("B15 none at all", "/event_types", event_types=[]),
    replay("B17 since after until", "/since", since=ago(hours=1), until=ago(hours=2)),
    replay("B17 in the future", "/since", since=ago(hours=-1)),
    replay("B17 31 days back", "/since", since=ago(days=31, minutes=1)),
    replay("B17 only=bogus", "/only", since=ago(hours=1), only="bogus"),
    replay("B17 until in the future", "/until", since=ago(hours=1), until=ago(hours=-1)),
]


@pytest.fixture(scope="module")
def hook(shared: Door) -> str:
    """The path of an endpoint of the module's."""
    wanted = {"url": URL, "event_types": ["need.*"]}
    return str(shared.client.post(ENDPOINTS, json=wanted, headers=shared.staff).headers["location"])


def told(answer: Any) -> tuple[int, str, list[str]]:
    """The status, problem and pointers of a refusal."""
    said = answer.json()
    return (
        answer.status_code,
        said["type"].rsplit("/", 1)[1],
        [flaw["pointer"] for flaw in said.get("errors", [])],
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_bad_input_is_refused_by_its_field(shared: Door, hook: str, row: Row) -> None:
    """Each row gives its status, its problem and a pointer to its field, and stores nothing."""
    before = shared.client.get(ENDPOINTS, headers=shared.staff).json()
    path = row.path.format(hook=hook)
    answer = shared.client.post(path, content=json.dumps(row.body), headers={**shared.staff, **JSON})

    assert told(answer) == (row.status, row.problem, [row.pointer])
    assert shared.client.get(ENDPOINTS, headers=shared.staff).json() == before


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("pattern", ["*", "suggestion.*", "suggestion.created"])
def test_b15_what_is_a_pattern_is_taken(shared: Door, pattern: str) -> None:
    """`*`, a noun with `.*` and a type are what a filter of events may be."""
    wanted = {"url": f"{URL}/{pattern}", "event_types": [pattern]}
    answer = shared.client.post(ENDPOINTS, json=wanted, headers=shared.staff)

    assert answer.status_code == 201
    shared.client.delete(answer.headers["location"], headers=shared.staff)


def test_b16_a_fourth_secret_within_the_grace_is_a_conflict(front: Door) -> None:
    """Three secrets may be live; the conflict says when the next of them ends."""
    path = front.client.post(ENDPOINTS, json={"url": URL}, headers=front.staff).headers["location"]
    rotated = [front.client.post(f"{path}/rotate-secret", json={}, headers=front.staff) for _ in range(3)]

    assert [answer.status_code for answer in rotated] == [200, 200, 409]
    assert told(rotated[-1])[1] == "secrets-live"
    assert (now() + timedelta(hours=24)).date().isoformat() in rotated[-1].json()["detail"]


LISTS = (ENDPOINTS, "/v1/deliveries", "{hook}/deliveries")


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("cursor", ["x", "WyJhIl0", "W10", "bnVsbA", "%00", "a" * 301])
def test_b18_a_cursor_that_no_list_gave(shared: Door, hook: str, path: str, cursor: str) -> None:
    """A cursor of one's own making is a 422 that names it."""
    answer = shared.client.get(f"{path.format(hook=hook)}?cursor={cursor}", headers=shared.staff)

    assert told(answer)[0] == 422
    assert told(answer)[2] == ["/query/cursor"]


def test_b18_a_place_in_the_feed_that_is_none(front: Door) -> None:
    """A random place, one of another key's feed, and one that was pruned are refused alike, by the field."""
    suwon, limerick = front.city("Suwon", "KR"), front.city("Limerick", "IE")
    events = front.client.get("/v1/events", headers=front.staff).json()["items"]
    theirs = next(event["id"] for event in events if event["data"]["id"] == suwon["id"])
    mine = next(event["id"] for event in events if event["data"]["id"] == limerick["id"])
    bearer = front.of_city(limerick["id"])
    answers = [
        front.client.get(f"/v1/events?after={after}", headers=bearer)
        for after in ("x", "0198c0de-0000-7000-8000-000000000099", theirs)
    ]
    with front.database.transaction() as session:
        old = update(StoredEvent).where(col(StoredEvent.id).in_([theirs, mine]))
        session.execute(old.values(timestamp=now() - timedelta(days=31)))
    answers.append(front.client.get(f"/v1/events?after={mine}", headers=bearer))

    assert [told(answer) for answer in answers] == [(422, "not-in-the-feed", ["/query/after"])] * 4


def test_b19_an_object_of_anothers_is_not_there(front: Door) -> None:
    """Somebody else's endpoint, delivery and replay are 404 in every way of asking."""
    path = front.client.post(ENDPOINTS, json={"url": URL}, headers=front.staff).headers["location"]
    front.city()
    [delivery] = front.client.get(f"{path}/deliveries", headers=front.staff).json()["items"]
    asked = front.client.post(f"{path}/replay", json={"since": ago(hours=1)}, headers=front.staff)
    other = front.coordinator("IE")
    ways = [
        ("GET", path), ("PATCH", path), ("DELETE", path), ("POST", f"{path}/ping"),
        ("POST", f"{path}/rotate-secret"), ("POST", f"{path}/replay"), ("GET", f"{path}/deliveries"),
        ("GET", f"/v1/deliveries/{delivery['id']}"), ("POST", f"/v1/deliveries/{delivery['id']}/retry"),
        ("GET", asked.headers["location"]), ("POST", f"{asked.headers['location']}/cancel"),
    ]  # fmt: skip
    bodies: dict[str, Any] = {f"{path}/replay": {"since": ago(hours=1)}}
    answers = {
        (method, where): front.client.request(
            method, where, json=None if method in {"GET", "DELETE"} else bodies.get(where, {}), headers=other
        ).status_code
        for method, where in ways
    }

    assert set(answers.values()) == {404}, answers


def test_b20_one_endpoint_too_many(embedded: Door) -> None:
    """A key has fifty endpoints; the next one is a conflict, and stores nothing."""
    statuses = [
        embedded.client.post(ENDPOINTS, json={"url": f"{URL}/{number}"}, headers=embedded.staff)
        for number in range(MOST_ENDPOINTS + 1)
    ]

    assert [answer.status_code for answer in statuses] == [201] * MOST_ENDPOINTS + [409]
    assert told(statuses[-1])[1] == "endpoints-full"


def test_b21_the_same_endpoint_twice(front: Door) -> None:
    """The same URL, types and filters again are a conflict, under one key of idempotency the first answer."""
    wanted = {"url": URL, "event_types": ["city.*"]}
    once = front.client.post(ENDPOINTS, json=wanted, headers={**front.staff, "Idempotency-Key": "k"})
    again = front.client.post(ENDPOINTS, json=wanted, headers={**front.staff, "Idempotency-Key": "k"})
    twice = front.client.post(ENDPOINTS, json=wanted, headers=front.staff)

    assert (once.json(), again.headers["idempotent-replayed"]) == (again.json(), "true")
    assert (twice.status_code, told(twice)[1]) == (409, "endpoint-exists")


B22 = [
    "sends one header of 1 MB", "answers 000", "answers 99", "answers 600", "answers 2000", "speaks HTTP/0.9",
    "sends garbage", "speaks HTTP/2",
]  # fmt: skip


@pytest.mark.parametrize("name", B22)
def test_b22_an_answer_that_is_none(name: str) -> None:
    """What is not HTTP is a failed attempt of the class `protocol_error`, and the next attempt goes well."""

    async def story() -> list[str | None]:
        rules = Rules.parse(["127.0.0.0/8"], allow_http=True)
        good = answering(head("204 No Content"))
        async with (
            BoundedClient(rules, timeout_s=5) as client,
            receiver(MANNERS[name][0]) as bad,
            receiver(good) as well,
        ):
            return [(await client.post(there.url, b"{}", {})).error for there in (bad, well)]

    assert asyncio.run(story()) == ["protocol_error", None]


NASTY = b"<script>alert(1)</script>\x00\x1b[31m\x1b]0;title\x07\r\n\xff"


def test_b23_a_nasty_answer_is_kept_and_shown_harmless() -> None:
    """What a receiver answers is kept as text without NUL, told as JSON, and tamed for a terminal."""

    async def story() -> Any:
        rules = Rules.parse(["127.0.0.0/8"], allow_http=True)
        manner = answering(head("200 OK", f"Content-Length: {len(NASTY)}") + NASTY)
        async with BoundedClient(rules, timeout_s=5) as client, receiver(manner) as there:
            return await client.post(there.url, b"{}", {})

    sending = Sending("d", "e", "evt", 1, 1, 1, Lane.USUAL, None, URL, {}, (), b"{}")
    kept = judge(sending, asyncio.run(story()), (0.0,), 0.0).answer
    assert kept is not None
    assert kept.startswith("<script>")
    assert "\0" not in kept
    assert "\x1b" not in json.dumps(kept)
    assert not [each for each in plain(kept) if each < " "]


@pytest.fixture
def log_format(request: pytest.FixtureRequest) -> Iterator[None]:
    """The log in one of its formats, and afterwards as it was."""
    before = structlog.get_config()
    logs.configure(Settings(log_format=request.param))
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("log_format", ["console", "json"], indirect=True)
@pytest.mark.usefixtures("log_format")
def test_b24_a_line_of_the_log_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A name with a line break, as a value or in the text, makes no second line and steers no terminal."""
    name = "Limerick\n2026-01-01 [error] forged\r\x1b[2J\u2028x"
    # The logger writes to whatever standard error is when it is made.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory())
    structlog.get_logger().warning(f"registered {name}", city=name)

    out = capsys.readouterr().out
    assert len(out.splitlines()) == 1
    assert "\x1b[2J" not in out
