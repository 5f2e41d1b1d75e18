# SPDX-License-Identifier: Apache-2.0
"""The rules of monstrous and forged input: each kind has its status, quickly, and changes nothing."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from sqlalchemy import text

from services.api.bodies import LONGEST_BODY
from services.api.envelope import LONGEST_HEAD
from tests.factories import Door, door
from tests.streams import Street, street

JSON_TYPE = {"Content-Type": "application/json"}
CITY = {"name": "Cork", "country": "IE"}
# What the worst body may cost, of the whole process: the client of the test takes a part of it.
CPU_S = 0.05
TRIES = 5


class Case(NamedTuple):
    """A row of the table: which, what is sent, and what is answered."""

    row: str
    content: bytes
    status: int
    headers: dict[str, str] = JSON_TYPE


def _city(**fields: str) -> bytes:
    """A city with some of its fields as they are written here."""
    told = {"name": '"Cork"', "country": '"IE"', **fields}
    return ("{" + ",".join(f'"{name}": {value}' for name, value in told.items()) + "}").encode()


def _with_key(key: str) -> dict[str, str]:
    return {**JSON_TYPE, "Idempotency-Key": key}


ROOM = LONGEST_BODY
# Just as much as is taken, so that nothing but what is in it can be to blame.
CASES = [
    Case("B1 a body over 256 KiB", b" " * (ROOM + 1), 413),
    Case("B1 a body of 256 KiB is read", b" " * (ROOM - len(_city())) + _city(), 201),
    Case("B2 nested 1,000 deep", _city(summary="[" * 1000 + "]" * 1000), 400),
    Case("B2 objects nested 1,000 deep", _city(summary='{"a":' * 1000 + "1" + "}" * 1000), 400),
    Case("B2 nothing but opening brackets", b"[" * ROOM, 400),
    Case("B2 brackets in a text do not count", _city(summary='"' + "[" * 1000 + '"'), 201),
    Case("B2 brackets in a text without an end", b'"' + b"[" * (ROOM - 1), 400),
    Case("B2 quotes that are escaped to the end", b'["' + b'\\"' * ((ROOM - 4) // 2) + b"[\\", 400),
    Case("B2 nothing but quotes", b'[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["' + b'"' * (ROOM - 40), 400),
    Case("B2 a million keys", b"{" + b",".join(b'"%d":0' % n for n in range(1_000_000)) + b"}", 413),
    Case("B2 as many keys as fit", b"{" + b",".join(b'"%d":0' % n for n in range(27_000)) + b"}", 422),
    Case("B2 the last of many keys twice", b"{" + b'"a":0,' * 999 + b'"a":0}', 422),
    Case("B2 a thousand unknown fields", b"{" + b",".join(b'"x%d":0' % n for n in range(1000)) + b"}", 422),
    Case("B2 as many empty objects as fit", b"[" + b",".join([b"{}"] * 80_000) + b"]", 422),
    Case("B2 a list of as many as fit", _city(languages="[" + ",".join(['""'] * 80_000) + "]"), 422),
    Case("B2 NaN", _city(latitude="NaN"), 400),
    Case("B2 Infinity", _city(latitude="Infinity"), 400),
    Case("B2 minus Infinity", _city(latitude="-Infinity"), 400),
    Case("B2 1e999", _city(latitude="1e999"), 422),
    Case("B2 an integer of 10,000 digits", _city(population="9" * 10_000), 422),
    Case("B2 a negative integer of 10,000 digits", _city(population="-" + "9" * 10_000), 422),
    Case("B2 a fraction of 200,000 digits", _city(latitude="0." + "1" * 200_000), 422),
    Case("B2 an exponent of 10,000 digits", _city(latitude="1e" + "9" * 10_000), 422),
    Case("B3 invalid UTF-8", b'{"name": "\xff", "country": "IE"}', 400),
    Case("B3 overlong UTF-8", b'{"name": "\xc0\xaf", "country": "IE"}', 400),
    Case("B3 a byte order mark", b"\xef\xbb\xbf" + _city(), 400),
    Case("B3 UTF-16", json.dumps(CITY).encode("utf-16"), 400),
    Case("B3 UTF-16 without a mark", json.dumps(CITY).encode("utf-16-le"), 400),
    Case("B4 NUL in a text", _city(name='"a\\u0000b"'), 422),
    Case("B4 a bare NUL", _city(name='"a\0b"'), 400),
    Case("B4 a lone surrogate", _city(name='"\\ud800"'), 422),
    Case("B4 a surrogate pair is one character", _city(name='"\\ud83c\\udf0d"'), 201),
    Case("B4 NUL in a field's name", b'{"\\u0000": 1, "name": "Cork", "country": "IE"}', 422),
    Case("B5 no media type", _city(), 415, {}),
    Case("B5 text/plain", _city(), 415, {"Content-Type": "text/plain"}),
    Case("B5 JSON in UTF-16", _city(), 415, {"Content-Type": "application/json; charset=utf-16"}),
    Case("B5 JSON in UTF-8, said so", _city(), 201, {"Content-Type": 'application/json; charset="UTF-8"'}),
    Case("B5 a form", b"name=Cork", 415, {"Content-Type": "application/x-www-form-urlencoded"}),
    Case("B5 nonsense", _city(), 415, {"Content-Type": ";;;"}),
    Case("B6 a field twice", b'{"name": "Cork", "name": "Cobh", "country": "IE"}', 422),
    Case("B6 a field twice, further in", _city(contact='{"name": "a", "name": "b", "email": "a@b.ie"}'), 422),
    Case("B7 an unknown field", _city(nmae='"Cork"'), 422),
    Case("B7 an unknown field, further in", _city(contact='{"name": "a", "email": "a@b.ie", "x": 1}'), 422),
    Case("B7 a field that the house sets", _city(region='"europe"'), 422),
    Case("B12 an Idempotency-Key of 256 characters", _city(), 400, _with_key("x" * 256)),
    Case("B12 an empty Idempotency-Key", _city(), 400, _with_key("")),
    Case("B12 control characters in an Idempotency-Key", _city(), 400, _with_key("a\x07b")),
    Case("B12 255 characters are taken", _city(), 201, _with_key("x" * 255)),
]  # fmt: skip


def _rows(door: Door) -> int:
    with door.database.snapshot() as session:
        return int(session.execute(text("SELECT count(*) FROM city")).scalar_one())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.row)
def test_each_row_of_the_table(shared: Door, case: Case) -> None:
    """What is refused is a problem with its fields, stores nothing, and takes under 50 ms of CPU."""
    costs, answer = [], None
    for number in range(TRIES):
        before, begun = _rows(shared), time.process_time()
        headers = dict(case.headers)
        if case.status == 201 and "Idempotency-Key" in headers:
            headers["Idempotency-Key"] = f"{number}{headers['Idempotency-Key'][1:]}"
        answer = shared.client.post(
            "/v1/cities?force=true", content=case.content, headers={**shared.staff, **headers}
        )
        costs.append(time.process_time() - begun)

        assert answer.status_code == case.status, answer.text
        assert _rows(shared) - before == (case.status == 201)
    assert answer is not None
    if case.status >= 400:
        told = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert told["status"] == case.status
        assert len(answer.content) < 20_000
        assert case.status != 422 or told["errors"]
        assert min(costs) < CPU_S
    if case.status == 413:
        assert answer.headers["connection"] == "close"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, sqlite_file: Any) -> Iterator[Street]:
    """A front door behind a real port."""
    path = tmp_path_factory.mktemp("limits") / "twinning.db"
    path.write_bytes(sqlite_file.read_bytes())
    with street(f"sqlite:///{path}") as served:
        yield served


def _sent(place: Street, *parts: bytes) -> tuple[int, bytes]:
    """Send bytes until the server has had enough; gives how many it took, and all that it said."""
    host, port = place.url.removeprefix("http://").split(":")
    taken = 0
    with socket.create_connection((host, int(port)), timeout=20) as line:
        try:
            for part in parts:
                line.sendall(part)
                taken += len(part)
        except (BrokenPipeError, ConnectionResetError):
            pass
        said = b""
        try:
            while chunk := line.recv(65_536):
                said += chunk
        except ConnectionResetError:
            pass
    return taken, said


def _head(place: Street, method: str = "POST", **headers: str) -> bytes:
    lines = [
        f"{method} /v1/cities HTTP/1.1",
        "Host: x",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    lines.append(f"Authorization: Bearer {place.key}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def test_b1_a_body_without_an_end_is_cut_off(place: Street) -> None:
    """A chunked body is refused as soon as it is too long, and the rest of it is not read."""
    head = _head(place, **{"Content-Type": "application/json", "Transfer-Encoding": "chunked"})
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    taken, said = _sent(place, head, *[chunk] * 1000)

    assert said.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in said.lower()
    # What stood in the buffers of both ends and of the kernel between them.
    assert taken < 32 * 1024 * 1024


def test_b1_a_body_is_refused_by_its_length_unread(place: Street) -> None:
    """A length that is too great is refused before a byte of the body has come."""
    _, said = _sent(
        place, _head(place, **{"Content-Type": "application/json", "Content-Length": "1000000000"})
    )

    assert said.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Long": "x" * LONGEST_HEAD},
        {f"X-{n}": "y" * 100 for n in range(200)},
        {"Cookie": "; ".join(f"c{n}=1" for n in range(5000))},
    ],
    ids=["long", "many", "cookies"],
)
def test_heads_have_a_limit(place: Street, headers: dict[str, str]) -> None:
    """Headers of more than 16 KiB are refused, whether they come at once or in pieces."""
    _, said = _sent(place, _head(place, "GET", Connection="close", **headers))

    assert said.startswith(b"HTTP/1.1 4")
    assert b"server:" not in said.lower()
    assert b"uvicorn" not in said.lower()


def test_headers_are_counted(place: Street) -> None:
    """More than a hundred headers are refused as a problem, however short."""
    _, said = _sent(place, _head(place, "GET", Connection="close", **{f"X{n}": "" for n in range(150)}))

    assert said.startswith(b"HTTP/1.1 431 ")
    assert b"/problems/headers-too-large" in said


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /v1/cities HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /v1/cities HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"GET /v1/cities HTTP/1.1\r\nHost: x\r\n X: folded\r\n\r\n",
        b"GET  /v1/cities HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/cities HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/cities HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["length and chunks", "NUL", "folded", "two blanks", "negative length", "two lengths", "TLS"],
)  # fmt: skip
def test_what_is_no_http_is_refused(place: Street, raw: bytes) -> None:
    """What two servers could read in two ways gets 4xx, or the connection ends, and nothing is told."""
    host, port = place.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as line:
        line.sendall(raw)
        line.shutdown(socket.SHUT_WR)
        said = line.recv(65_536)

    assert said == b"" or said.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 401 "))
    assert b"server:" not in said.lower()
    assert b"Traceback" not in said


def test_no_answer_names_the_server_or_opens_to_other_sites(shared: Door) -> None:
    """Each answer has the security headers, none tells what serves it, and no other site is let in."""
    foreign = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "GET"}
    asked: list[tuple[str, str, dict[str, str]]] = [
        ("GET", "/v1/cities", shared.staff),
        ("GET", "/v1/cities", {}),
        ("OPTIONS", "/v1/cities", shared.staff),
        ("GET", "/nowhere", {}),
        ("GET", "/healthz", {}),
        ("GET", "/openapi.json", {}),
        ("TRACE", "/v1/cities", shared.staff),
    ]
    for method, path, headers in asked:
        told = shared.client.request(method, path, headers={**headers, **foreign}).headers
        assert not [name for name in told if name.startswith("access-control")], path
        assert not {"server", "x-powered-by", "via"} & set(told), path
        assert told["x-content-type-options"] == "nosniff"
        assert told["x-frame-options"] == "DENY"
        assert told["referrer-policy"] == "no-referrer"
        assert told["cache-control"] == "no-store"
        assert told["cross-origin-resource-policy"] == "same-origin"
        assert told["content-security-policy"].startswith("default-src 'none'")


def test_browsers_are_held_to_https_where_there_is_any(sqlite_url: str) -> None:
    """With a public address of https each answer says Strict-Transport-Security, and without it none."""
    with door(sqlite_url, public_url="https://twinning.example.org") as secure:
        told = secure.client.get("/healthz").headers
    with door(sqlite_url) as plain:
        untold = plain.client.get("/healthz").headers

    assert told["strict-transport-security"] == "max-age=31536000"
    assert "strict-transport-security" not in untold
