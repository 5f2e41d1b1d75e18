# SPDX-License-Identifier: Apache-2.0
"""The one file that knows the HTTP client: it posts to a stranger's server and is never hurt by the answer.

Each post has one deadline for everything, one look-up whose every answer is vetted, no redirect, no proxy,
no cookie and no decompression, and keeps little of what comes back. What a receiver or its DNS does wrong
comes back as an outcome; nothing of it is raised.
"""

import asyncio
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, Self, cast

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import AddrInfoType, Connection
from yarl import URL

from services.dispatcher import dam
from services.dispatcher.network import tls_context
from services.dispatcher.retries import CONTROL, WAITING_STATUSES, retry_after_seconds
from services.lookups import Resolve, SystemLookup
from twinning.addresses import AddressRefused, Rules, check_url, vet

READ_BYTES = 16 * 1024
KEPT_BYTES = 2 * 1024
LINE_BYTES = 8 * 1024
MOST_HEADERS = 100
# A name with a thousand addresses would make a port scanner of us.
MOST_ADDRESSES = 4
# Many servers drop an idle connection after 5 s; a post that meets the closing door counts as failed.
IDLE_S = 4.0
# No connection carries a post later than this after the look-up that allowed it.
POLICY_S = 60.0

SESSION_HEADERS = {
    "User-Agent": "asem-twinning-webhooks/1",
    "Content-Type": "application/json",
    "Accept-Encoding": "identity",
}
# These are the client's own; an endpoint's header of that name could send the post elsewhere.
OWN_HEADERS = re.compile(
    "host|content-length|transfer-encoding|connection|keep-alive|expect|te|trailer|upgrade|accept-encoding|proxy-.*",
    re.IGNORECASE,
)

ErrorClass = Literal[
    "url_not_allowed", "request_invalid", "dns_error", "address_not_public", "connect_error", "tls_error",
    "timeout", "protocol_error", "redirect_refused", "http_error",
]  # fmt: skip
BROKEN_OFF = (ConnectionResetError, ConnectionAbortedError)
REFUSED: dict[str, ErrorClass] = {
    "address-not-public": "address_not_public",
    "host-not-resolvable": "dns_error",
}
# The first line that fits gives the class.
CLASSES: tuple[tuple[tuple[type[Exception], ...], ErrorClass], ...] = (
    ((aiohttp.ClientSSLError, ssl.SSLError), "tls_error"),
    ((aiohttp.ConnectionTimeoutError,), "connect_error"),
    ((TimeoutError,), "timeout"),
    ((aiohttp.ClientConnectorError,), "connect_error"),
    ((aiohttp.ClientError, ConnectionError), "protocol_error"),
    ((OSError,), "connect_error"),
    ((ValueError,), "request_invalid"),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended.

    `error` is None for a whole answer of 2xx; with a status of 2xx it says how the rest of
    the answer broke off. `answer` holds the first 2 KiB, `address` the peer that was called or tried last.
    """

    status: int | None
    error: ErrorClass | None
    duration_ms: int
    answer: bytes
    retry_after_s: float | None
    address: str | None
    # What the receiver asked for by `webhook-delivery`.
    control: str | None = None


@dataclass(slots=True)
class _Attempt:
    """What is known so far of an attempt that may be cut short at any moment."""

    status: int | None = None
    error: ErrorClass | None = None
    answer: bytes = b""
    retry_after_s: float | None = None
    address: str | None = None
    control: str | None = None
    transport: asyncio.Transport | None = None

    def outcome(self, duration_s: float) -> Outcome:
        taken_ms = round(duration_s * 1000)
        return Outcome(
            self.status, self.error, taken_ms, self.answer, self.retry_after_s, self.address, self.control
        )


# The client library calls our resolver, sockets and answers without telling for which post.
_attempt: ContextVar[_Attempt] = ContextVar("attempt")


class _VettedResolver(AbstractResolver):
    """Gives the client library addresses that passed, or refuses the name."""

    def __init__(self, resolve: Resolve, rules: Rules) -> None:
        self._resolve = resolve
        self._rules = rules

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            answers = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise AddressRefused("host-not-resolvable") from error
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in vet(answers, self._rules)[:MOST_ADDRESSES]
        ]

    async def close(self) -> None:
        """Nothing is held here."""


class _NotedResponse(aiohttp.ClientResponse):
    """An answer that notes which connection it came by, kept ones included."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        attempt = _attempt.get()
        attempt.transport = connection.transport
        dam.open_sluice(connection)
        if connection.transport is not None:
            attempt.address = connection.transport.get_extra_info("peername", ("",))[0]
        return await super().start(connection)


@dataclass(slots=True, eq=False)
class _Kept:
    """A session with its pool of connections, and how many posts are under way in it."""

    session: aiohttp.ClientSession
    born: float
    posts: int = 0


class BoundedClient:
    """Posts webhooks under the rules for addresses; one for each process, used as a context manager.

    `timeout_s` bounds a whole post, `connect_s` the connection with its TLS handshake. At most `limit`
    connections are open; a post that waits for one waits inside its own deadline. `resolve` replaces
    the system's look-up of (host, port); `cafile` names certificates to trust besides the system's.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        timeout_s: float = 15.0,
        connect_s: float = 5.0,
        limit: int = 100,
        resolve: Resolve | None = None,
        cafile: str | None = None,
    ) -> None:
        self._rules = rules
        self._timeout_s = timeout_s
        self._connect_s = connect_s
        self._limit = limit
        self._lookup = None if resolve else SystemLookup()
        self._resolver = _VettedResolver(resolve or cast("SystemLookup", self._lookup), rules)
        self._tls = tls_context(cafile)
        self._target = lru_cache(maxsize=4096)(self._checked)
        self._kept: _Kept | None = None

    async def __aenter__(self) -> Self:
        self._kept = self._new()
        return self

    async def __aexit__(self, *_: object) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.session.close()
        if self._lookup is not None:
            self._lookup.close()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """One attempt, ended after `timeout_s` at the latest; what the receiver does is in the outcome."""
        began = time.perf_counter()
        attempt = _Attempt()
        token = _attempt.set(attempt)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._exchange(url, body, headers, attempt)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            attempt.error = attempt.error or _class_of(error)
            # Closing politely would wait for a peer that does not read, and leave the socket open.
            if attempt.transport is not None:
                attempt.transport.abort()
        finally:
            _attempt.reset(token)
        return attempt.outcome(time.perf_counter() - began)

    async def _exchange(self, url: str, body: bytes, headers: Mapping[str, str], attempt: _Attempt) -> None:
        """Send the post and note what comes back, as it comes."""
        target = self._target(url)
        if any(map(OWN_HEADERS.fullmatch, headers)):
            raise ValueError("the endpoint has a header that is the client's own")
        async with self._session() as session:
            response = await session.post(target, data=body, headers=headers, allow_redirects=False)
            try:
                attempt.error = _verdict(response.status)
                attempt.status = None if attempt.error == "protocol_error" else response.status
                attempt.control = response.headers.get(CONTROL, "").strip().lower() or None
                if response.status in WAITING_STATUSES:
                    asked = response.headers.get("Retry-After")
                    attempt.retry_after_s = retry_after_seconds(asked, datetime.now(UTC))
                await _read(response, attempt)
            finally:
                response.close()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiohttp.ClientSession]:
        """The session of now; one that is too old is replaced, and closed when its last post has ended."""
        before = self._kept
        if before is None:
            raise RuntimeError("the client is used inside `async with`")
        if time.monotonic() - before.born > POLICY_S - self._timeout_s:
            self._kept = self._new()
        kept = self._kept or before
        # Counted before anything is awaited, lest another post retires the session and finds it idle.
        kept.posts += 1
        try:
            if before is not kept and not before.posts:
                await before.session.close()
            yield kept.session
        finally:
            kept.posts -= 1
            if kept is not self._kept and not kept.posts:
                await kept.session.close()

    def _new(self) -> _Kept:
        connector = dam.DammedConnector(
            resolver=self._resolver,
            use_dns_cache=False,
            ssl=self._tls,
            limit=self._limit,
            keepalive_timeout=IDLE_S,
            socket_factory=self._socket,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            headers=SESSION_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            response_class=_NotedResponse,
            # The library rounds longer times up to whole seconds unless the threshold is out of reach.
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=self._connect_s, ceil_threshold=float("inf")
            ),
            trust_env=False,
            auto_decompress=False,
            read_bufsize=READ_BYTES,
            max_line_size=LINE_BYTES,
            max_field_size=LINE_BYTES,
            max_headers=MOST_HEADERS,
        )
        return _Kept(session, time.monotonic())

    def _checked(self, url: str) -> URL:
        """The URL as the client library takes it; refused when the library reads it otherwise than we do."""
        receiver = check_url(url, self._rules)
        target = URL(receiver.url, encoded=True)
        if (target.scheme, target.raw_host, target.port) != (receiver.scheme, receiver.host, receiver.port):
            raise AddressRefused("url-unparseable")
        return target

    def _socket(self, info: AddrInfoType) -> socket.socket:
        """The last door before a connection, which literals pass too: the library looks no literal up."""
        family, kind, proto, _, peer = info
        address = str(peer[0])
        vet([address], self._rules)
        _attempt.get().address = address
        return socket.socket(family=family, type=kind, proto=proto)


async def _read(response: aiohttp.ClientResponse, attempt: _Attempt) -> None:
    """Keep the beginning of the body, and break off where it goes on for too long."""
    seen = 0
    while chunk := await response.content.readany():
        attempt.answer = (attempt.answer + chunk)[:KEPT_BYTES]
        seen += len(chunk)
        if seen >= READ_BYTES:
            if not response.content.at_eof() and attempt.transport is not None:
                attempt.transport.abort()
            return


def _verdict(status: int) -> ErrorClass | None:
    """The error class that a status alone gives."""
    if not 100 <= status <= 599:
        return "protocol_error"
    if 200 <= status <= 299:
        return None
    return "redirect_refused" if 300 <= status <= 399 else "http_error"


def _class_of(error: Exception) -> ErrorClass:
    if isinstance(error, AddressRefused):
        return REFUSED.get(error.code, "url_not_allowed")
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, BROKEN_OFF):
        # The peer was there and hung up before a request: it did not like our TLS.
        return "tls_error"
    return next(name for kind, name in CLASSES if isinstance(error, kind))
