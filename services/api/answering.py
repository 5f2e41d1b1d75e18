# SPDX-License-Identifier: Apache-2.0
"""What a route gives becomes an answer in the thread and the transaction of its work.

FastAPI reads the request, checks its shape and calls the route; a route behind a key is called by way of
`handed_over`. It hands the route's work to whoever opens the transaction, who fills in what belongs to that:
the session, the caller, the headers of the answer. So one hand-over to a thread does all of a request.
"""

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, get_args

from fastapi import Request
from fastapi.routing import APIRoute
from sqlmodel import Session
from starlette.responses import Response

from twinning.keys import Caller

_FILLED_IN = frozenset({Session, Caller})
_ASKED_BY = "asked_by"

# The work of a route, once it is known on which session and for whom.
Work = Callable[[Session, Caller], Response]


class Host(Protocol):
    """Who opens the transaction of a request and does the work in it."""

    async def __call__(self, work: Work) -> Response:
        """Do the work; gives its answer."""


def handed_over(endpoint: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Response]]:
    """Make of a route's function what FastAPI calls: it hands the work to the request's host."""
    signature = inspect.signature(endpoint)
    filled_in = {
        name: kind
        for name, parameter in signature.parameters.items()
        if (kind := _kind(parameter.annotation)) is not None
    }

    request_name = next((n for n, p in signature.parameters.items() if p.annotation is Request), None)

    @functools.wraps(endpoint)
    async def handed(**given: Any) -> Response:
        request: Request = given[request_name] if request_name else given.pop(_ASKED_BY)
        route: APIRoute = request.scope["route"]
        request.state.given = given

        def work(session: Session, caller: Caller) -> Response:
            told = Response()
            del told.headers["content-length"]
            told.status_code = 0
            parts = {Session: session, Caller: caller, Response: told}
            found = {name: parts[kind] for name, kind in filled_in.items()}
            return _answer(route, endpoint(**given, **found), told)

        host: Host = request.state.host
        return await host(work)

    asked = [one for name, one in signature.parameters.items() if name not in filled_in]
    if request_name is None:
        asked.append(inspect.Parameter(_ASKED_BY, inspect.Parameter.KEYWORD_ONLY, annotation=Request))
    # What FastAPI sees is this function with this signature, and not the one that it stands for.
    del handed.__wrapped__
    handed.__signature__ = signature.replace(parameters=asked)  # type: ignore[attr-defined]
    return handed


def _kind(annotation: Any) -> Any:
    """Say which part of the transaction a parameter asks for, if any."""
    if annotation is Response:
        return Response
    first = get_args(annotation)[:1]
    return first[0] if first and first[0] in _FILLED_IN else None


def _answer(route: APIRoute, given: Any, told: Response) -> Response:
    """Write what a route gave as JSON, by the shape that the route declares."""
    if isinstance(given, Response):
        return given
    status = told.status_code or route.status_code or 200
    if given is None:
        answer = Response(None, status)
    else:
        answer = Response(_written(route, given), status, media_type="application/json")
    answer.headers.raw.extend(told.headers.raw)
    return answer


def _written(route: APIRoute, given: Any) -> bytes:
    field = route.response_field
    assert field is not None, f"{route.path} declares no shape"
    declared = field.field_info.annotation
    if isinstance(declared, type) and type(given) is not declared and issubclass(declared, type(given)):
        # A page that was made without saying of what: each of its items has been checked by itself.
        given = declared.model_construct(**dict(given))
    elif type(given) is not declared and type(given) not in get_args(declared):
        given, flaws = field.validate(given, {}, loc=("response",))
        if flaws:
            raise TypeError(f"{route.path} gave what its shape does not take: {len(flaws)} flaws")
    return field.serialize_json(given)
