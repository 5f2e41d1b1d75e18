# SPDX-License-Identifier: Apache-2.0
"""Receivers that misbehave: one small server and a table of manners, each a way in which real ones fail."""

import asyncio
import gzip
import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import cast

DRIP_S = 0.05
BOMB = gzip.compress(bytes(200_000_000), compresslevel=1)


@dataclass
class Call:
    """One connection that a receiver accepted."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: list[bytes]

    async def read(self) -> None:
        """Take one request with its body and note it at the receiver."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
        self.requests.append(head + await self.reader.readexactly(length))

    async def write(self, data: bytes) -> None:
        """Send these bytes as far as the client takes them."""
        self.writer.write(data)
        await self.writer.drain()

    async def close(self) -> None:
        """End the connection the polite way."""
        self.writer.close()
        await self.writer.wait_closed()


Manner = Callable[[Call], Awaitable[None]]


@dataclass
class Receiver:
    """A running server: where it listens, how often it was called, and the requests it read."""

    host: str
    port: int
    accepts: int = 0
    requests: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/in"


def loopback() -> str:
    """A loopback address of its own, so that parallel tests can all listen on port 8443."""
    return f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(1, 254)}"


@asynccontextmanager
async def receiver(
    manner: Manner,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Receiver]:
    """Serve with this manner until the block ends; then every connection is cut."""
    running: set[asyncio.Task[None]] = set()
    listening = Receiver(host, port)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        listening.accepts += 1
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        # The client is free to hang up on us, and the end of the block cancels what still runs.
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await manner(Call(reader, writer, listening.requests))
        writer.transport.abort()
        running.discard(task)

    server = await asyncio.start_server(serve, host, port, ssl=tls, limit=1 << 21)
    listening.port = server.sockets[0].getsockname()[1]
    try:
        yield listening
    finally:
        server.close()
        ending = list(running)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending)


def answering(answer: bytes, *, then_close: bool = False) -> Manner:
    """Answer each request with the same bytes, and keep the connection or not."""

    async def manner(call: Call) -> None:
        while True:
            await call.read()
            await call.write(answer)
            if then_close:
                await call.close()
                return

    return manner


def repeating(first: bytes, again: bytes, pause_s: float) -> Manner:
    """Answer a request with a beginning and then the same bytes for ever."""

    async def manner(call: Call) -> None:
        await call.read()
        await call.write(first)
        while True:
            await call.write(again)
            await asyncio.sleep(pause_s)

    return manner


async def hang(call: Call) -> None:
    """Take the request and say nothing."""
    await call.read()
    await asyncio.Event().wait()


async def greet(call: Call) -> None:
    """Speak first, as a mail server does."""
    await call.write(b"220 mail.example.org ready\r\n" * 9)
    await asyncio.Event().wait()


async def never_read(call: Call) -> None:
    """Accept and let the request pile up in the buffers of both sides."""
    cast("asyncio.Transport", call.writer.transport).pause_reading()
    await asyncio.Event().wait()


async def reset(call: Call) -> None:
    """Take the request and answer with a TCP reset."""
    await call.read()
    raw = call.writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def hang_up(call: Call) -> None:
    """Accept and close without a word."""
    await call.close()


def head(status: str, *lines: str) -> bytes:
    """The head of an answer."""
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode("latin-1")


OK = answering(head("200 OK", "Content-Length: 2") + b"ok")

# Each manner with the status and the error class that an attempt must record.
MANNERS: dict[str, tuple[Manner, int | None, str | None]] = {
    "hangs": (hang, None, "timeout"),
    "never reads": (never_read, None, "timeout"),
    "drips its head": (repeating(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a", DRIP_S), None, "timeout"),
    "drips its body": (repeating(head("200 OK", "Content-Length: 9999"), b"a", DRIP_S), 200, "timeout"),
    "repeats 100 Continue": (repeating(b"", head("100 Continue"), DRIP_S), None, "timeout"),
    "floods with 100 Continue": (repeating(b"", head("100 Continue") * 2000, 0), None, "timeout"),
    "never ends its body": (repeating(head("200 OK"), bytes(1 << 16), 0), 200, None),
    "never ends its chunks": (
        repeating(head("200 OK", "Transfer-Encoding: chunked"), b"10000\r\n" + bytes(1 << 16) + b"\r\n", 0),
        200,
        None,
    ),
    "never ends a chunk's extension": (
        repeating(head("200 OK", "Transfer-Encoding: chunked") + b"1;", b"a" * 65536, 0),
        200,
        "timeout",
    ),
    "never ends its trailers": (
        repeating(
            head("200 OK", "Transfer-Encoding: chunked") + b"0\r\n" + b"X-T: a\r\n" * 999, b"X: a\r\n", 0
        ),
        None,
        "protocol_error",
    ),
    "sends a gzip bomb": (
        answering(head("200 OK", "Content-Encoding: gzip", f"Content-Length: {len(BOMB)}") + BOMB),
        200,
        None,
    ),
    "sends 2 MB of headers": (
        answering(head("200 OK", *(f"X-{n}: {'a' * 1000}" for n in range(2000)))),
        None,
        "protocol_error",
    ),
    "sends one header of 1 MB": (answering(head("200 OK", "X: " + "a" * 1_000_000)), None, "protocol_error"),
    "never ends its header": (
        repeating(head("200 OK")[:-2] + b"X: ", b"a" * 65536, 0),
        None,
        "protocol_error",
    ),
    "resets": (reset, None, "protocol_error"),
    "hangs up": (hang_up, None, "protocol_error"),
    "sends garbage": (answering(bytes(range(256)) * 4), None, "protocol_error"),
    "speaks TLS on a plain port": (answering(bytes.fromhex("15030100020246")), None, "protocol_error"),
    "speaks HTTP/0.9": (answering(b"hello\n", then_close=True), None, "protocol_error"),
    "speaks HTTP/2": (answering(bytes.fromhex("000000040000000000")), None, "protocol_error"),
    "answers 99": (answering(head("99 Low", "Content-Length: 0")), None, "protocol_error"),
    "answers 000": (answering(head("000 Zero", "Content-Length: 0")), None, "protocol_error"),
    "answers 600": (answering(head("600 High", "Content-Length: 0")), None, "protocol_error"),
    "answers 2000": (answering(head("2000 Many", "Content-Length: 0")), None, "protocol_error"),
    "answers 101": (
        answering(head("101 Switching Protocols", "Upgrade: x", "Connection: upgrade")),
        101,
        "http_error",
    ),
    "answers 204 with a body": (
        answering(head("204 No Content", "Content-Length: 2") + b"no"),
        None,
        "protocol_error",
    ),
    "promises more than it sends": (
        answering(head("200 OK", "Content-Length: 9") + b"abc", then_close=True),
        200,
        "protocol_error",
    ),
    "sends more than it promised": (
        answering(head("200 OK", "Content-Length: 1") + b"abc"),
        None,
        "protocol_error",
    ),
    "promises a negative length": (answering(head("200 OK", "Content-Length: -1")), None, "protocol_error"),
    "promises two lengths": (
        answering(head("200 OK", "Content-Length: 1", "Content-Length: 2") + b"ab"),
        None,
        "protocol_error",
    ),
    "redirects": (
        answering(head("302 Found", "Location: http://169.254.169.254/", "Content-Length: 0")),
        302,
        "redirect_refused",
    ),
    "answers 500": (answering(head("500 No", "Content-Length: 3") + b"no\x00"), 500, "http_error"),
    "answers 410": (answering(head("410 Gone", "Content-Length: 0")), 410, "http_error"),
    "answers 200 with a Location": (
        answering(
            head("200 OK", "Location: http://169.254.169.254/", "Refresh: 0; url=/", "Content-Length: 0")
        ),
        200,
        None,
    ),
    "sets cookies": (
        answering(head("200 OK", "Set-Cookie: a=b", "Set-Cookie: \x01=;", "Content-Length: 0")),
        200,
        None,
    ),
}
