# SPDX-License-Identifier: Apache-2.0
"""What surrounds every request: its id, its log line, its count, the headers of its answer, the last net.

The log holds method, path, status and time, and never a query, a body, a key or a person.
"""

import re
import time
from collections.abc import Callable

import structlog
from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twinning.database import new_id

REQUEST_ID = "X-Request-Id"
_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}

log = structlog.get_logger(__name__)


class Envelope:
    """The outermost layer of our own: what fails inside it is answered by `last_net` and logged in full."""

    def __init__(
        self,
        app: ASGIApp,
        last_net: Callable[[Request], Response],
        answered: Callable[[Scope, int, float], None],
    ) -> None:
        self.app = app
        self.last_net = last_net
        self.answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _SAFE_ID.fullmatch(given) else new_id()
        begun = time.perf_counter()
        status = 0

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self.answered(scope, status, time.perf_counter() - begun)
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, told)
            # The last net: whatever went wrong is logged here and told to nobody.
            except Exception:
                log.exception("a request failed", method=scope["method"], path=scope["path"])
                if status:
                    raise
                await self.last_net(Request(scope))(scope, receive, told)
            finally:
                took = round((time.perf_counter() - begun) * 1000, 1)
                log.info("request", method=scope["method"], path=scope["path"], status=status, ms=took)
