# SPDX-License-Identifier: Apache-2.0
"""One request is one transaction, committed before the answer leaves.

`KeyedRoute` wraps FastAPI's own handling of a route: it reads the body, opens the transaction, finds who
asks, lets the route do its work and its answer be written, commits, and only then lets the answer go. An
error or a status from 400 on undoes everything. Everything that may wait runs in threads; how many requests
may hold a connection is bounded, so that no thread waits for a place that only another thread can free.
"""

import hashlib
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import anyio
from fastapi import Request
from fastapi.routing import APIRoute
from sqlmodel import Session
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from services.api import bodies, idempotency
from services.api.bodies import Body, ReadRequest
from services.api.gate import Gate, address_of, bearer_of
from services.api.last_use import LastUse
from twinning import audit, keys
from twinning.audit import Actor
from twinning.database import Database
from twinning.errors import Flaw, Invalid
from twinning.keys import Caller
from twinning.settings import Settings

# Together below the 40 threads and the 40 connections: who holds a place never waits for a thread.
WRITERS = 16
READERS = 16

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class House:
    """What every request finds: the settings, the database, and the places at it."""

    settings: Settings
    database: Database
    writers: anyio.CapacityLimiter
    readers: anyio.CapacityLimiter
    gate: Gate

    @classmethod
    def of(cls, settings: Settings, database: Database) -> "House":
        """Give each kind of database its places; SQLite takes one writer at a time."""
        writers = anyio.CapacityLimiter(1 if database.is_sqlite else WRITERS)
        gate = Gate(settings, database, LastUse(database, writers))
        return cls(settings, database, writers, anyio.CapacityLimiter(READERS), gate)


@dataclass(frozen=True, slots=True)
class Afterwards:
    """A look that is repeated after the commit, in transactions of its own, until it sees an answer."""

    look: Callable[[Session], Response | None]
    every_s: float
    most_s: float


class KeyedRoute(APIRoute):
    """A route that needs a key and runs in one transaction."""

    def get_route_handler(self) -> Handler:
        """Wrap FastAPI's handling of the route in a transaction."""
        inner = super().get_route_handler()
        has_query = bool(self.dependant.query_params)

        async def handle(request: Request) -> Response:
            async with house_of(request).gate.passed(request):
                return await _handle(request)

        async def _handle(request: Request) -> Response:
            request.state.afterwards = None
            if request.method == "GET":
                answer = await _reading(request, inner, has_query)
                return _tagged(await _wait(request, answer))
            body = await self.read_body(request)
            await self.prepare(request, body)
            answer, claimed = await _writing(ReadRequest(request, body), body, inner, has_query)
            if request.state.afterwards is None:
                return answer
            answer = await _wait(request, answer)
            if claimed is not None:
                await run_in_threadpool(_keep_anew, house_of(request).database, claimed, answer)
            return answer

        return handle

    async def read_body(self, request: Request) -> Body:
        """Read the body, and its JSON where the route wants one."""
        return await bodies.read(request, self.body_field is not None)

    async def prepare(self, request: Request, body: Body) -> None:
        """Do what a route needs done before its transaction begins: nothing."""


def _tagged(answer: Response) -> Response:
    """Give a read that has no version of its own, such as a list, an entity tag of its content."""
    if isinstance(answer, StreamingResponse):
        return answer
    answer.headers.setdefault("ETag", f'"{hashlib.sha256(bytes(answer.body)).hexdigest()[:32]}"')
    return answer


def house_of(request: Request) -> House:
    """Give what the app that serves a request works with."""
    house: House = request.app.state.house
    return house


def caller_of(request: Request, session: Session) -> Caller:
    """Find who asks by the key in the `Authorization` header; raises `Unauthorised`."""
    return keys.identify(session, bearer_of(request))


async def _reading(request: Request, inner: Handler, has_query: bool) -> Response:
    """Answer from one snapshot of the database, which is closed before the answer leaves."""
    house = house_of(request)
    async with house.readers:
        session = house.database.reading()
        try:
            await run_in_threadpool(_identify, request, session)
            _refuse_query(request, has_query)
            return await inner(request)
        finally:
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(session.close)


async def _writing(
    request: Request, body: Body, inner: Handler, has_query: bool
) -> tuple[Response, idempotency.Claim | None]:
    """Do a request in one transaction; gives its answer, which is true by then."""
    house = house_of(request)
    async with house.writers:
        session = house.database.writing()
        try:
            claimed, answer = await run_in_threadpool(_begin, request, session, body)
            if answer is not None:
                return answer, None
            if body.wrong is not None:
                raise body.wrong
            _refuse_query(request, has_query)
            answer = await inner(request)
            if answer.status_code < 400:
                await run_in_threadpool(_commit, house.database, session, claimed, answer)
            return answer, claimed
        finally:
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(session.close)


def _identify(request: Request, session: Session) -> Caller:
    caller = caller_of(request, session)
    audit.act_for(session, Actor(caller.key_id, caller.name, caller.role, address_of(request)))
    request.state.session, request.state.caller = session, caller
    return caller


def _begin(
    request: Request, session: Session, body: Body
) -> tuple[idempotency.Claim | None, Response | None]:
    """Find who asks, and whether the request was answered before."""
    caller = _identify(request, session)
    claimed = idempotency.claim(request, session, caller, body.raw)
    return claimed, idempotency.kept(session, claimed) if claimed is not None else None


def _commit(
    database: Database, session: Session, claimed: idempotency.Claim | None, answer: Response
) -> None:
    if claimed is not None:
        idempotency.keep(session, claimed, answer)
    database.commit(session)


def _keep_anew(database: Database, claimed: idempotency.Claim, answer: Response) -> None:
    with database.transaction() as session:
        idempotency.keep(session, claimed, answer)


def _refuse_query(request: Request, has_query: bool) -> None:
    """Refuse query parameters where there are none; a route that has some refuses the rest itself."""
    if has_query or not request.query_params:
        return
    flaws = [Flaw(f"/query/{bodies.escape(name)}", "is not known here") for name in request.query_params]
    raise Invalid(f"There is no query parameter {next(iter(request.query_params))[:100]!a} here.", flaws)


async def _wait(request: Request, answer: Response) -> Response:
    """Look again and again for a better answer than the present one, holding nothing in between."""
    afterwards: Afterwards | None = request.state.afterwards
    if afterwards is None:
        return answer
    house = house_of(request)
    deadline = time.monotonic() + afterwards.most_s
    while time.monotonic() < deadline and not await request.is_disconnected():
        async with house.readers:
            found = await run_in_threadpool(_look, request, house.database, afterwards)
        if found is not None:
            return found
        await anyio.sleep(afterwards.every_s)
    return answer


def _look(request: Request, database: Database, afterwards: Afterwards) -> Response | None:
    with database.snapshot() as session:
        # The key may have been revoked in the meantime, and a revoked key sees nothing.
        caller_of(request, session)
        return afterwards.look(session)
