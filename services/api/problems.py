# SPDX-License-Identifier: Apache-2.0
"""Errors as answers (RFC 9457): the only file that knows which HTTP status an error has.

`type` is the public address of a page that says what the problem means; `code` in `PROBLEMS` is its last
part and stable. A pointer into the body is a plain JSON Pointer (`/themes/0`); what is wrong with the
query, the path or a header is pointed at in the same way below `/query`, `/path` or `/header`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import compile_path

from services.api.bodies import escape
from twinning.addresses import REFUSALS
from twinning.errors import (
    Conflict,
    Flaw,
    Forbidden,
    Invalid,
    NotFound,
    Stale,
    TooMany,
    TwinningError,
    Unauthorised,
    Unready,
    WrongSetting,
)

MOST_FLAWS = 50

STATUS: Mapping[type[TwinningError], int] = {
    Invalid: 422,
    Unauthorised: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    Stale: 412,
    TooMany: 429,
    Unready: 503,
    # A wrong setting stops the start and reaches no caller; if one ever did, it is our fault.
    WrongSetting: 500,
}

# What HTTP itself refuses, by status.
CODES: Mapping[int, str] = {
    400: "malformed",
    401: "unauthorised",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    409: "conflict",
    412: "stale",
    413: "too-large",
    415: "media-type",
    422: "invalid",
    429: "too-many-requests",
    431: "headers-too-large",
    500: "internal",
    503: "unready",
}

# Every code with its title and what to do about it.
PROBLEMS: Mapping[str, tuple[str, str]] = {
    "malformed": ("Malformed request", "The body is not JSON in UTF-8, or a header is not as HTTP wants it."),
    "unauthorised": ("No valid key", "Send a live API key as `Authorization: Bearer KEY`."),
    "forbidden": ("Not allowed", "This key may see the object and not change it."),
    "not-found": ("Not found", "There is no such thing, or this key may not see it."),
    "method-not-allowed": ("Method not allowed", "The path is right and takes other methods."),
    "conflict": ("Conflict", "The state of things forbids the request; read it again first."),
    "external-ref-taken": ("Reference taken", "Another object bears this external_ref already."),
    "city-exists": (
        "City registered already",
        (
            "`existing` is a registered city of that name, or one that is spelled much like it. If yours is "
            "another one, give its latitude and longitude, or send the request again with `?force=true`."
        ),
    ),
    "wrong-move": ("Wrong move", "What is in this state cannot be brought into the state asked for."),
    "round-ended": ("Round ended", "The matching round is over and cannot be cancelled."),
    "import-ended": ("Import ended", "The import is over and cannot be cancelled."),
    "endpoint-disabled": ("Endpoint disabled", "Enable the webhook endpoint first."),
    "endpoint-unverified": ("Endpoint unverified", "The receiver has to echo its challenge first."),
    "endpoint-exists": ("Endpoint exists", "This key has an endpoint for the same events and URL already."),
    "endpoints-full": ("Too many endpoints", "Delete a webhook endpoint that is not needed any more."),
    "secrets-live": ("Too many live secrets", "Wait until a secret ends, or rotate with grace_seconds 0."),
    "delivery-under-way": ("Delivery under way", "An attempt is being made; wait until it has ended."),
    "replay-ended": ("Replay ended", "The replay is over and cannot be cancelled."),
    "not-in-the-feed": (
        "Not in the feed",
        "`after` names no event that this key's feed still has; `detail` says where the feed begins.",
    ),
    "idempotency-key-in-use": (
        "Still running",
        "The first request with this Idempotency-Key is still at work; ask again in a second.",
    ),
    "idempotency-key-reused": (
        "Key used for another request",
        "An Idempotency-Key belongs to one request; take a new one for a new request.",
    ),
    "stale": ("Stale", "The object has changed since it was read; read it again and repeat the change."),
    "too-large": ("Too large", "The body is longer than is taken."),
    "media-type": ("Wrong media type", "Send application/json in UTF-8; an import is multipart/form-data."),
    "headers-too-large": ("Too many headers", "Send fewer headers."),
    "invalid": (
        "Invalid request",
        "Each of `errors` names a wrong field by a JSON Pointer into the body or /query, /path, /header.",
    ),
    **{code: ("Receiver refused", detail) for code, detail in REFUSALS.items()},
    "too-many-requests": ("Too many requests", "Wait as many seconds as Retry-After says."),
    "internal": ("Internal error", "Something went wrong here, and was logged under the request's id."),
    "unready": ("Not ready", "A part that is needed is away for the moment; ask again soon."),
}

_HEADERS: Mapping[str, Mapping[str, str]] = {
    "unauthorised": {"WWW-Authenticate": 'Bearer realm="twinning"'},
    "unready": {"Retry-After": "1"},
    "idempotency-key-in-use": {"Retry-After": "1"},
}

log = structlog.get_logger(__name__)


class ProblemResponse(Response):
    """An answer that says what is wrong."""

    media_type = "application/problem+json"


def status_of(error: TwinningError) -> int:
    """Give the HTTP status of an error of the house."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem(
    request: Request,
    status: int,
    detail: str,
    *,
    code: str | None = None,
    flaws: Sequence[Flaw] = (),
    members: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> ProblemResponse:
    """Write a problem; its code decides title, address and headers."""
    code = code or CODES.get(status, "internal" if status >= 500 else "malformed")
    body: dict[str, Any] = {
        "type": f"{request.app.state.house.settings.public_url}/problems/{code}",
        "title": PROBLEMS[code][0],
        "status": status,
        "detail": detail,
        **(members or {}),
    }
    if status == 422:
        body["errors"] = [{"pointer": flaw.pointer, "detail": flaw.detail} for flaw in flaws[:MOST_FLAWS]]
    # Escaped to ASCII: a detail may quote what cannot be written in UTF-8.
    content = json.dumps(body).encode()
    return ProblemResponse(content, status, headers={**_HEADERS.get(code, {}), **(headers or {})})


def install(app: FastAPI) -> None:
    """Have every error of the app answered as a problem."""
    app.add_exception_handler(TwinningError, _ours)
    app.add_exception_handler(RequestValidationError, _shape)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(SQLAlchemyError, _database)
    app.add_exception_handler(ClientDisconnect, _hung_up)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, TwinningError)
    flaws = error.flaws if isinstance(error, Invalid) else ()
    members = error.members if isinstance(error, Conflict) else None
    code = error.problem if error.problem in PROBLEMS else CODES[status_of(error)]
    headers = {"Retry-After": str(error.wait_s), **error.told} if isinstance(error, TooMany) else None
    return problem(
        request, status_of(error), error.detail, code=code, flaws=flaws, members=members, headers=headers
    )


async def _shape(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    flaws = [
        # What is wrong between fields names the one that has to change.
        Flaw(_pointer((*found["loc"], *found.get("ctx", {}).get("at", ()))), _sentence(found))
        for found in error.errors()[:MOST_FLAWS]
    ]
    first = flaws[0]
    where = f"{first.pointer}: " if first.pointer else ""
    return problem(request, 422, f"{where}{first.detail}", flaws=flaws)


def _pointer(place: Sequence[int | str]) -> str:
    """Point at a field as the module's docstring says."""
    side, *rest = place
    path = "".join(f"/{escape(step)}" for step in rest)
    return path if side == "body" else f"/{side}{path}"


def _sentence(found: Mapping[str, Any]) -> str:
    """Say what is wrong, without quoting a value that may be long."""
    return str(found["msg"]).removeprefix("Value error, ")


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = {
        404: "There is nothing at this address.",
        405: f"This address does not take {request.method}.",
    }.get(error.status_code, str(error.detail))
    headers = error.headers
    if error.status_code == 405:
        headers = {"Allow": ", ".join(_methods(request))}
    return problem(request, error.status_code, detail, headers=headers)


def _methods(request: Request) -> Sequence[str]:
    """Name all methods of an address, of which the router knows only those of the first route."""
    paths = request.app.openapi()["paths"]
    here = [methods for path, methods in paths.items() if compile_path(path)[0].match(request.url.path)]
    return sorted({method.upper() for methods in here for method in methods})


async def _hung_up(request: Request, _error: Exception) -> Response:
    """Answer whoever went away in the middle of a body: nobody hears it, and it is no fault of ours."""
    return problem(request, 400, "The connection ended before the body did.")


async def _database(request: Request, error: Exception) -> Response:
    """Tell a lost race from a database that is away, and both from a fault of ours."""
    if isinstance(error, IntegrityError):
        return problem(request, 409, "Another request changed the same thing at the same moment.")
    if isinstance(error, DataError):
        # The shapes refuse all that is known to be unstorable; this is for what they do not know.
        return problem(
            request, 422, "A value cannot be stored.", flaws=[Flaw("", "A value cannot be stored.")]
        )
    if isinstance(error, PoolTimeoutError) or (isinstance(error, DBAPIError) and _is_passing(error)):
        log.warning(
            "the database is away", error=type(error.orig if hasattr(error, "orig") else error).__name__
        )
        return problem(request, 503, "The database is away or too busy; ask again soon.")
    raise error


def _is_passing(error: DBAPIError) -> bool:
    """Say whether the database, and not the statement, is to blame: gone, locked, or out of time."""
    return error.connection_invalidated or type(error.orig).__name__ in {
        "OperationalError",
        "LockNotAvailable",
        "DeadlockDetected",
        "QueryCanceled",
        "SerializationFailure",
        "AdminShutdown",
    }
