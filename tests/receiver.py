# SPDX-License-Identifier: Apache-2.0
"""A receiver of webhooks that keeps what it got, and behaves on each path as it was told.

A server on a loopback port and a thread of its own. Signatures are judged by the package
`standardwebhooks`, which is other people's code. From another process it is told how to behave by
`PUT /control` with `{"path", "manner": {...}}`, and gives what it got at `GET /control`.
"""

import asyncio
import binascii
import contextlib
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

START_S = 10.0


@dataclass(frozen=True, slots=True)
class Manner:
    """How a path answers: its statuses one after another, the last for ever, each after a delay.

    `each_event` begins with the first status for each event anew.
    """

    statuses: Sequence[int] = (200,)
    delay_s: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    each_event: bool = False


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came: `attempt` counts from 1 for each id and path, `at` is seconds since 1970."""

    path: str
    webhook_id: str
    attempt: int
    timestamp: str
    signature: str
    # The secrets, of those the receiver knows, with which the signature verified.
    verified_by: tuple[str, ...]
    status: int
    at: float
    body: bytes
    headers: dict[str, str]


class Receiver:
    """A running receiver, used as a context manager; `secrets` are those that it verifies with."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self.secrets = list(secrets)
        self.port = 0
        self._manners: dict[str, Manner] = {}
        self._answered: Counter[str] = Counter()
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._in_hand: Counter[str] = Counter()
        self.most_in_hand: dict[str, int] = defaultdict(int)
        self._got: list[Received] = []
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._live, name="receiver", daemon=True)
        self._started = threading.Event()
        self._over: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(START_S):
            raise RuntimeError("the receiver did not start")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._over is not None
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(START_S)

    def url(self, path: str = "/") -> str:
        """The URL of one of its paths."""
        return f"http://127.0.0.1:{self.port}{path}"

    def behave(self, path: str, manner: Manner) -> None:
        """From now on answer like this on a path; its statuses begin anew."""
        with self._changed:
            self._manners[path] = manner
            self._answered[path] = 0

    def got(self, path: str | None = None) -> list[Received]:
        """What came, on one path or on all, in the order of coming."""
        with self._changed:
            return [one for one in self._got if path in {None, one.path}]

    def in_hand(self, path: str) -> int:
        """How many requests on a path wait for their answer now."""
        with self._changed:
            return self._in_hand[path]

    def wait(self, ready: Callable[[list[Received]], bool], timeout_s: float = 20.0) -> list[Received]:
        """Wait until what came satisfies a condition; AssertionError when it does not in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: ready(self._got), timeout_s):
                came = [(one.path, one.webhook_id, one.status) for one in self._got]
                raise AssertionError(f"after {timeout_s} s {len(came)} had come: {came[-20:]}")
            return list(self._got)

    def wait_for(self, count: int, path: str | None = None, timeout_s: float = 20.0) -> list[Received]:
        """Wait until so many requests have come, on one path or on all."""

        def enough(got: list[Received]) -> bool:
            return len([one for one in got if path in {None, one.path}]) >= count

        self.wait(enough, timeout_s)
        return self.got(path)

    def _live(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_put("/control", self._control)
        app.router.add_get("/control", self._report)
        app.router.add_post("/{path:.*}", self._receive)
        # A client that hangs up while an answer is delayed ends its handler, as it should.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        self._started.set()
        await self._over.wait()
        await runner.cleanup()

    async def _control(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        self.behave(wanted["path"], Manner(**wanted["manner"]))
        return web.Response(status=204)

    async def _report(self, _request: web.Request) -> web.Response:
        shown: list[dict[str, Any]] = [{**asdict(one), "body": one.body.decode()} for one in self.got()]
        return web.json_response(shown)

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        manner, status = self._keep(request, body)
        try:
            await asyncio.sleep(manner.delay_s)
        finally:
            with self._changed:
                self._in_hand[request.path] -= 1
        return web.Response(status=status, headers=manner.headers, body=manner.body.encode())

    def _keep(self, request: web.Request, body: bytes) -> tuple[Manner, int]:
        """Note a request and decide on its answer."""
        path, headers = request.path, {name.lower(): value for name, value in request.headers.items()}
        webhook_id = headers.get("webhook-id", "")
        verified_by = tuple(secret for secret in self.secrets if verifies(secret, body, headers))
        with self._changed:
            manner = self._manners.get(path, Manner())
            before = self._attempts[path, webhook_id] if manner.each_event else self._answered[path]
            status = manner.statuses[min(before, len(manner.statuses) - 1)]
            self._answered[path] += 1
            self._attempts[path, webhook_id] += 1
            self._in_hand[path] += 1
            self.most_in_hand[path] = max(self.most_in_hand[path], self._in_hand[path])
            self._got.append(
                Received(
                    path=path,
                    webhook_id=webhook_id,
                    attempt=self._attempts[path, webhook_id],
                    timestamp=headers.get("webhook-timestamp", ""),
                    signature=headers.get("webhook-signature", ""),
                    verified_by=verified_by,
                    status=status,
                    at=time.time(),
                    body=body,
                    headers=headers,
                )
            )
            self._changed.notify_all()
        return manner, status


def verifies(secret: str, body: bytes, headers: dict[str, str]) -> bool:
    """Say whether a webhook was signed with a secret; the package raises three kinds of error when not."""
    with contextlib.suppress(WebhookVerificationError, ValueError, binascii.Error):
        Webhook(secret).verify(body, headers)
        return True
    return False
