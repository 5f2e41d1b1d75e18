# SPDX-License-Identifier: Apache-2.0
"""The dam before the HTTP client: what floods around a body is left in the sea, what is ordinary is not."""

import socket
from typing import Any

import aiohttp
import pytest

from services.dispatcher import dam
from services.dispatcher.client import BoundedClient
from services.dispatcher.dam import MOST_BYTES, DammedConnector, DammedHandler
from tests.integration.hostile import OK, Call, answering, head, receiver
from tests.integration.posting import HEADERS, INSIDE, in_loop
from twinning.errors import Unready

# Several times what the dam lets in and the kernel holds in the buffers of both ends of a connection.
FLOOD_BYTES = 4 * 1024 * 1024
# The library alone reads all of it in this time.
TIMEOUT_S = 2.0
LONG_S = 60.0

# What stands before the flood, what floods, and what would end the answer well after it.
FLOODS = {
    "interim answers": (b"", head("100 Continue", f"X-More: {'a' * 100}") * 500, head("204 No Content")),
    "hints with headers": (
        b"",
        head("103 Early Hints", *(f"Link: <{'a' * 1000}>" for _ in range(60))),
        head("204 No Content"),
    ),
    "a chunk's extension": (
        head("200 OK", "Transfer-Encoding: chunked") + b"0;",
        b"a" * 65536,
        b"\r\n\r\n",
    ),
    "blank lines": (b"", b"\r\n" * 32768, head("204 No Content")),
}


class Flood:
    """A manner that sends 4 MB around a body, counts what goes out, and then ends its answer well."""

    def __init__(self, name: str) -> None:
        self.before, self.piece, self.after = FLOODS[name]
        self.sent = 0

    async def __call__(self, call: Call) -> None:
        call.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        await call.read()
        await call.write(self.before)
        while self.sent < FLOOD_BYTES:
            await call.write(self.piece)
            self.sent += len(self.piece)
        await call.write(self.after)
        await call.reader.read()


@pytest.mark.parametrize("name", FLOODS)
@in_loop
async def test_a_flood_stays_outside(name: str) -> None:
    """Whoever floods around a body is not read to the end, and the post ends with its deadline."""
    flood = Flood(name)
    async with BoundedClient(INSIDE, timeout_s=TIMEOUT_S) as client, receiver(flood) as there:
        outcome = await client.post(there.url, b"{}", HEADERS)

    assert outcome.error == "timeout"
    assert MOST_BYTES < flood.sent < FLOOD_BYTES


@pytest.mark.parametrize("name", FLOODS)
@in_loop
async def test_without_a_dam_the_library_swallows_it(name: str) -> None:
    """These floods are real: the library alone reads each to its end, and takes it for a good answer."""
    flood = Flood(name)
    async with (
        receiver(flood) as there,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(LONG_S)) as session,
        session.post(there.url, data=b"{}") as answer,
    ):
        await answer.read()

    assert answer.ok
    assert flood.sent >= FLOOD_BYTES


@in_loop
async def test_each_answer_has_a_dam_of_its_own() -> None:
    """What many good answers bring by one connection, far more than the dam lets in for one, is no flood."""
    body = bytes(15_000)
    good = answering(head("200 OK", f"Content-Length: {len(body)}") + body)
    async with BoundedClient(INSIDE, timeout_s=LONG_S - 1, limit=1) as client, receiver(good) as there:
        for _ in range(MOST_BYTES // len(body) + 2):
            outcome = await client.post(there.url, b"{}", HEADERS)
            assert (outcome.status, outcome.error) == (200, None)

    assert there.accepts == 1


@in_loop
async def test_every_connection_of_the_pool_is_dammed() -> None:
    """The library makes what receives by the factory that we set: if it asks another, this fails first."""
    async with (
        receiver(answering(head("200 OK", "Content-Length: 9") + b"ok")) as there,
        aiohttp.ClientSession(connector=DammedConnector()) as session,
        session.post(there.url, data=b"{}") as answer,
    ):
        assert answer.connection is not None
        assert isinstance(answer.connection.protocol, DammedHandler)


def test_a_library_that_has_changed_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the library's factory is not where we know it, the worker does not start, and says what to do."""
    dam.must_hold()
    build = aiohttp.TCPConnector.__init__

    def renamed(self: Any, **options: Any) -> None:
        build(self, **options)
        self._protocols = self.__dict__.pop("_factory")

    monkeypatch.setattr(aiohttp.TCPConnector, "__init__", renamed)

    with pytest.raises(Unready, match=r"aiohttp \S+ .* requirements\.lock"):
        dam.must_hold()


@in_loop
async def test_no_post_goes_without_a_dam(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was made without our dam carries no answer to us."""
    monkeypatch.setattr(dam, "DammedConnector", aiohttp.TCPConnector)
    async with BoundedClient(INSIDE, timeout_s=TIMEOUT_S) as client, receiver(OK) as there:
        with pytest.raises(Unready, match="without bound"):
            await client.post(there.url, b"{}", HEADERS)
