# SPDX-License-Identifier: Apache-2.0
"""The client against receivers that misbehave: what it sends, what it keeps, when it gives up."""

import asyncio
import resource
from pathlib import Path
from typing import get_args

import pytest
import uvloop

from services.dispatcher.client import CLASSES, REFUSED, BoundedClient, ErrorClass, Outcome
from tests.integration.hostile import (
    BOMB,
    MANNERS,
    OK,
    Manner,
    answering,
    hang,
    head,
    loopback,
    receiver,
)
from tests.integration.posting import GRACE_S, HEADERS, INSIDE, NAME, TIMEOUT_S, Names, in_loop, timed


def peak_mb() -> float:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("name", MANNERS)
@in_loop
async def test_hostile_receiver(name: str) -> None:
    """Each misbehaviour ends in time, takes little memory, and leaves a status, a class and the peer."""
    manner, status, error = MANNERS[name]
    async with BoundedClient(INSIDE, timeout_s=TIMEOUT_S) as client, receiver(manner) as there:
        before = peak_mb()
        body = bytes(900_000) if name == "never reads" else b"{}"
        outcome, taken_s = await timed(client.post(there.url, body, HEADERS))
        assert (outcome.status, outcome.error) == (status, error)
        assert outcome.address == "127.0.0.1"
        assert len(outcome.answer) <= 2048
        assert taken_s <= TIMEOUT_S + GRACE_S
        assert abs(outcome.duration_ms - taken_s * 1000) < 50
        assert peak_mb() - before < 20


def test_all_hostile_receivers_at_once() -> None:
    """Under the loop that workers use, misbehaving receivers hold up neither one another nor a good one."""

    async def one(client: BoundedClient, manner: Manner) -> tuple[Outcome, float]:
        async with receiver(manner) as there:
            return await timed(client.post(there.url, b"{}", HEADERS))

    async def story() -> None:
        async with BoundedClient(INSIDE, timeout_s=TIMEOUT_S) as client:
            calm = [row for name, row in MANNERS.items() if "flood" not in name and "never" not in name]
            results = await asyncio.gather(*(one(client, manner) for manner, _, _ in calm), one(client, OK))
        assert [(outcome.status, outcome.error) for outcome, _ in results] == [
            *((status, error) for _, status, error in calm),
            (200, None),
        ]
        assert max(taken_s for _, taken_s in results) <= TIMEOUT_S + GRACE_S

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story())


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@pytest.mark.parametrize("name", ["never reads", "never ends its body", "drips its body", "hangs"])
@in_loop
async def test_no_socket_stays_open(name: str) -> None:
    """A connection that was given up is cut at once, even when the peer reads nothing or sends for ever."""
    async with BoundedClient(INSIDE, timeout_s=0.3) as client, receiver(MANNERS[name][0]) as there:
        before = open_files()
        # More than the kernel buffers, so that some of it still waits to be sent.
        await client.post(there.url, bytes(16_000_000), HEADERS)
        # The loop closes what was cut in its next rounds; the receiver may still hold its own end.
        for _ in range(5):
            await asyncio.sleep(0)
        assert open_files() <= before + 1


@in_loop
async def test_a_bomb_is_kept_as_it_came() -> None:
    """Nothing is decompressed: the log holds the first bytes as they were sent."""
    bomb, _, _ = MANNERS["sends a gzip bomb"]
    async with BoundedClient(INSIDE, timeout_s=TIMEOUT_S) as client, receiver(bomb) as there:
        outcome = await client.post(there.url, b"{}", HEADERS)
    assert outcome.answer == BOMB[:2048]


@in_loop
async def test_a_connection_is_kept_but_not_beyond_its_policy() -> None:
    """Posts in a row share a connection, but none that could outlive the 60 s of its vetting."""
    there_at = loopback()
    for timeout_s, connections in ((TIMEOUT_S, 1), (60.0, 3)):
        names = Names([there_at])
        async with receiver(OK, host=there_at, port=8443) as there:
            async with BoundedClient(INSIDE, timeout_s=timeout_s, resolve=names) as client:
                for _ in range(3):
                    outcome = await client.post(f"http://{NAME}:8443/in", b"{}", HEADERS)
                    assert (outcome.status, outcome.address, outcome.answer) == (200, there_at, b"ok")
            assert (there.accepts, names.lookups) == (connections, connections)


@in_loop
async def test_posts_under_way_survive_a_change_of_session() -> None:
    """A session that became too old is closed by its last post and not under it."""
    async with (
        receiver(OK) as there,
        BoundedClient(INSIDE, timeout_s=60.0) as client,
    ):
        outcomes = await asyncio.gather(*(client.post(there.url, b"{}", HEADERS) for _ in range(20)))
    assert {(outcome.status, outcome.error) for outcome in outcomes} == {(200, None)}


@in_loop
async def test_what_is_sent() -> None:
    """The body goes out byte for byte, under the host's name, with our headers and without a cookie."""
    there_at = loopback()
    cookie = answering(head("200 OK", "Set-Cookie: a=b; Path=/", "Content-Length: 0"))
    body = '{"name":"Łódź"}\r\n\x00'.encode()
    async with receiver(cookie, host=there_at, port=8443) as there:
        async with BoundedClient(INSIDE, timeout_s=TIMEOUT_S, resolve=Names([there_at])) as client:
            for _ in range(2):
                await client.post("http://Hooks.Example.org.:8443/%0d%0aX:1?q=ü", body, HEADERS)
        lines, sent = there.requests[1].split(b"\r\n\r\n", 1)
    assert sent == body
    first, *headers = lines.decode("ascii").split("\r\n")
    assert first == "POST /%0d%0aX:1?q=%C3%BC HTTP/1.1"
    assert sorted(line.lower() for line in headers) == [
        "accept-encoding: identity",
        "accept: */*",
        f"content-length: {len(body)}",
        "content-type: application/json",
        "host: hooks.example.org:8443",
        "user-agent: asem-twinning-webhooks/1",
        "webhook-id: evt",
        "webhook-signature: v1,x",
        "webhook-timestamp: 1",
    ]


@pytest.mark.parametrize(
    "header",
    [{"Host": "internal"}, {"transfer-encoding": "chunked"}, {"X": "a\r\nY: b"}, {"X\r\nY": "b"}],
)
@in_loop
async def test_headers_that_would_change_the_request(header: dict[str, str]) -> None:
    """An endpoint's own headers can neither replace the client's nor smuggle further lines."""
    async with receiver(OK) as there, BoundedClient(INSIDE, timeout_s=TIMEOUT_S) as client:
        outcome = await client.post(there.url, b"{}", HEADERS | header)
        assert outcome.error == "request_invalid"
        assert there.requests == []


@in_loop
async def test_retry_after_is_noted() -> None:
    """The wait that a receiver asks for with 429 or 503, and with nothing else, is in the outcome."""
    async with BoundedClient(INSIDE, timeout_s=TIMEOUT_S) as client:
        for status, asked, noted in ((429, "7", 7.0), (503, "7", 7.0), (503, "soon", None), (500, "7", None)):
            busy = answering(head(f"{status} Busy", f"Retry-After: {asked}", "Content-Length: 0"))
            async with receiver(busy) as there:
                assert (await client.post(there.url, b"{}", HEADERS)).retry_after_s == noted


@in_loop
async def test_a_full_pool_waits_inside_the_deadline() -> None:
    """A post that finds every connection taken gives up with its own deadline."""
    async with receiver(hang) as there, BoundedClient(INSIDE, timeout_s=TIMEOUT_S, limit=1) as client:
        results = await asyncio.gather(*(timed(client.post(there.url, b"{}", HEADERS)) for _ in range(3)))
    assert {outcome.error for outcome, _ in results} == {"timeout"}
    assert max(taken_s for _, taken_s in results) <= TIMEOUT_S + GRACE_S


def test_classes_are_the_stated_set() -> None:
    """Nothing but the stated error classes is ever recorded."""
    stated = set(get_args(ErrorClass))
    assert {name for _, name in CLASSES} | set(REFUSED.values()) < stated
    assert {error for _, _, error in MANNERS.values()} - {None} <= stated
