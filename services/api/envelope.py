# SPDX-License-Identifier: Apache-2.0
"""What surrounds every request: its id, its log line, its count, the headers of its answer, the last net.

The log holds method, route, the ids in the path, status and time, and never anything that somebody wrote:
no query, no body, no key, no reference of a city's own.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog
from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from twinning.database import is_id, new_id

REQUEST_ID = "X-Request-Id"
_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}
MOST_HEADERS: Final = 100
LONGEST_HEAD: Final = 16 * 1024
TOO_MUCH: Final = f"{MOST_HEADERS} headers and {LONGEST_HEAD} bytes of them are taken at most."

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
FAILED: Final = "Something went wrong here; the log has it under the request's id."

log = structlog.get_logger(__name__)


class Envelope:
    """The outermost layer of our own: what fails inside it is answered by `refuse` and logged in full."""

    def __init__(
        self,
        app: ASGIApp,
        refuse: Callable[[Request, int, str], Response],
        answered: Callable[[Scope, int, float], None],
        headers: Mapping[str, str],
    ) -> None:
        self.app = app
        self.refuse = refuse
        self.answered = answered
        # Laid out once as they are sent: each answer gets them.
        self.headers = Headers({**_HEADERS, **headers}).raw

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _SAFE_ID.fullmatch(given) else new_id()
        begun = time.perf_counter()
        status = 0
        # What the gate has to say beside the answer, whatever the answer turns out to be.
        scope["told"] = {}

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self.answered(scope, status, time.perf_counter() - begun)
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                for name, value in scope["told"].items():
                    headers.setdefault(name, value)
                there = {name for name, _ in headers.raw}
                headers.raw.extend(each for each in self.headers if each[0] not in there)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                if _is_too_much(scope["headers"]):
                    await self.refuse(Request(scope), 431, TOO_MUCH)(scope, receive, told)
                else:
                    await self.app(scope, receive, told)
            # The last net: whatever went wrong is logged here and told to nobody.
            except Exception:
                log.exception("a request failed", method=method_of(scope), route=route_of(scope))
                if status:
                    raise
                await self.refuse(Request(scope), 500, FAILED)(scope, receive, told)
            finally:
                took = round((time.perf_counter() - begun) * 1000, 1)
                asked = {"method": method_of(scope), "route": route_of(scope), **_ids(scope)}
                log.info("request", **asked, status=status, ms=took)


def _is_too_much(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Say whether these are more headers than anybody needs; the server bounds only what comes in pieces."""
    size = sum(len(name) + len(value) for name, value in headers)
    return len(headers) > MOST_HEADERS or size > LONGEST_HEAD


def method_of(scope: Mapping[str, Any]) -> str:
    """Give the method of a request; what no client of ours sends is all the same."""
    return scope["method"] if scope["method"] in METHODS else "other"


def route_of(scope: Mapping[str, Any]) -> str:
    """Give the template of the route that took a request; what no route took is all the same."""
    template = getattr(scope.get("route"), "path", None)
    if template is None:
        return "unmatched"
    # A route knows its path below the router that it stands in; what is before that has no parameters.
    own = template.count("/")
    return "/".join(scope["path"].split("/")[:-own]) + str(template)


def _ids(scope: Mapping[str, Any]) -> dict[str, str]:
    """Give those parameters of a path that are ids of ours."""
    given = scope.get("path_params", {})
    return {name: value for name, value in given.items() if is_id(str(value))}
