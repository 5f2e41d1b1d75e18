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
from functools import partial
from typing import Any, ClassVar, Final

import anyio
import structlog
from fastapi import Request
from fastapi.routing import APIRoute
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from services.api import bodies, idempotency
from services.api.answering import Host, Work, handed_over
from services.api.bodies import Body, ReadRequest
from services.api.foresight import Foreseen
from services.api.gate import Gate, address_of, bearer_of
from services.api.grouping import Scribe
from services.api.last_use import LastUse
from services.api.reading import Clerk
from twinning import audit, keys
from twinning.audit import Actor
from twinning.database import Database
from twinning.dialects import is_deadlock
from twinning.errors import Flaw, Invalid
from twinning.keys import Caller
from twinning.settings import Settings

PREFIX: Final = "/v1"
# With the scribe and those who look keys up they stay below the 40 threads and the 40 connections: who holds
# a place never waits for a thread or a connection.
WRITERS = 16
READERS = 10
READERS_BY_ID = 8
# How often one write is the one to be undone, before whoever asked is told.
MOST_DEADLOCKS = 3

log = structlog.get_logger(__name__)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class House:
    """What every request finds: the settings, the database, who writes, and the places at it."""

    settings: Settings
    database: Database
    scribe: Scribe
    clerk: Clerk
    writers: anyio.CapacityLimiter
    readers: anyio.CapacityLimiter
    gate: Gate

    @classmethod
    def of(cls, settings: Settings, database: Database) -> "House":
        """Give each kind of database its places; SQLite takes one writer at a time."""
        writers = anyio.CapacityLimiter(1 if database.is_sqlite else WRITERS)
        gate = Gate(settings, database, LastUse(database, writers))
        readers = anyio.CapacityLimiter(READERS)
        return cls(
            settings, database, Scribe(database), Clerk(database, READERS_BY_ID), writers, readers, gate
        )


@dataclass(frozen=True, slots=True)
class Afterwards:
    """A look that is repeated after the commit, in transactions of its own, until it sees an answer."""

    look: Callable[[Session], Response | None]
    every_s: float
    most_s: float


class KeyedRoute(APIRoute):
    """A route that needs a key and runs in one transaction; its path is below `PREFIX`."""

    # What may take long, or hold much, keeps out of the transactions that others share.
    ALONE: ClassVar[frozenset[str]] = frozenset({"DELETE"})

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(PREFIX + path, handed_over(endpoint), **options)

    def get_route_handler(self) -> Handler:
        """Wrap FastAPI's handling of the route in a transaction."""
        inner = super().get_route_handler()
        has_query = bool(self.dependant.query_params)
        read = partial(_read, by_id=self.path.endswith("_id}"))

        async def handle(request: Request) -> Response:
            async with house_of(request).gate.passed(request):
                return await _handle(request)

        async def _handle(request: Request) -> Response:
            request.state.afterwards = request.state.claimed = None
            request.state.given = {}
            house = house_of(request)
            if request.method == "GET":
                nothing = ReadRequest(request, Body(b""))
                answer = await _asked(nothing, None, inner, has_query, partial(read, house, request))
                return _tagged(await _wait(request, answer))
            body = await self.read_body(request)
            await self.prepare(request, body)
            write = partial(_write, house, request, body, request.method in self.ALONE)
            answer = await _asked(ReadRequest(request, body), body.wrong, inner, has_query, write)
            if request.state.afterwards is None:
                return answer
            answer = await _wait(request, answer)
            if request.state.claimed is not None:
                await run_in_threadpool(_keep_anew, house.database, request.state.claimed, answer)
            return answer

        return handle

    async def read_body(self, request: Request) -> Body:
        """Read the body, and its JSON where the route wants one."""
        return await bodies.read(request, self.body_field is not None)

    async def prepare(self, request: Request, body: Body) -> None:
        """Do what a route needs done before its transaction begins: nothing."""


def _tagged(answer: Response) -> Response:
    """Give a read that has no version of its own, such as a list, an entity tag of its content."""
    if not isinstance(answer, StreamingResponse) and "etag" not in answer.headers:
        answer.headers["ETag"] = f'"{hashlib.sha256(bytes(answer.body)).hexdigest()[:32]}"'
    return answer


def house_of(request: Request) -> House:
    """Give what the app that serves a request works with."""
    house: House = request.app.state.house
    return house


def caller_of(request: Request, session: Session) -> Caller:
    """Find who asks by the key in the `Authorization` header; raises `Unauthorised`."""
    return keys.identify(session, bearer_of(request))


async def _asked(
    request: Request, wrong: Exception | None, inner: Handler, has_query: bool, host: Host
) -> Response:
    """Let FastAPI read a request and call its route; what is wrong with it is told to who has a key alone."""
    reached = False

    async def reach(work: Work) -> Response:
        nonlocal reached
        reached = True
        return await host(work)

    request.state.host = reach
    if wrong is not None:
        return await host(partial(_refuse, wrong))
    try:
        _refuse_query(request, has_query)
        return await inner(request)
    except Exception as error:
        if reached:
            raise
        return await host(partial(_refuse, error))


def _refuse(error: Exception, _session: Session, _caller: Caller) -> Response:
    raise error


async def _read(house: House, request: Request, work: Work, *, by_id: bool) -> Response:
    """Answer from one snapshot of the database; what is read by its id alone, in company."""

    def read(session: Session) -> Response:
        answer = work(session, _identify(request, session))
        return answer if request.state.afterwards else _tagged(answer)

    def read_alone() -> Response:
        with house.database.snapshot() as session:
            return read(session)

    if by_id:
        return await house.clerk.read(read)
    async with house.readers:
        return await run_in_threadpool(read_alone)


async def _write(house: House, request: Request, body: Body, alone: bool, work: Work) -> Response:
    """Do a request in one transaction, in company where it may; gives its answer, which is true by then."""

    def write(session: Session) -> Response:
        request.state.afterwards = request.state.claimed = None
        caller = _identify(request, session)
        claimed = idempotency.claim(request, session, caller, body.raw)
        known = idempotency.kept(session, claimed) if claimed is not None else None
        if known is not None:
            return known
        answer = work(session, caller)
        if claimed is not None and answer.status_code < 400:
            idempotency.keep(session, claimed, answer)
            request.state.claimed = claimed
        return answer

    def write_alone() -> Response:
        with house.database.writing() as session:
            answer = write(session)
            if answer.status_code < 400:
                house.database.commit(session)
            return answer

    answer = None if alone else await house.scribe.write(write, Foreseen.of(request))
    if answer is not None:
        return answer
    async with house.writers:
        return await run_in_threadpool(_until_done, write_alone)


def _until_done(write: Callable[[], Response]) -> Response:
    """Write, and again when the database undid it to end a deadlock: by then the others go on."""
    for _ in range(MOST_DEADLOCKS):
        try:
            return write()
        except DBAPIError as error:
            if not is_deadlock(error):
                raise
            log.info("a write that ended a deadlock is done again")
    return write()


def _identify(request: Request, session: Session) -> Caller:
    caller = caller_of(request, session)
    audit.act_for(session, Actor(caller.key_id, caller.name, caller.role, address_of(request)))
    return caller


def _keep_anew(database: Database, claimed: idempotency.Claim, answer: Response) -> None:
    with database.transaction() as session:
        idempotency.keep_better(session, claimed, answer)


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
