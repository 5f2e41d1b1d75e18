# SPDX-License-Identifier: Apache-2.0
"""What is asked before anything else is done for a request: is its key known, and may it ask so often.

A key that this process has not met is looked up once; after that the gate knows it without the database,
which still decides in each request's own transaction whether the key is good. Who shows wrong keys is
refused after some of them, by address, without a look-up, while good keys from the same address are let in.
What the gate remembers is bounded.
"""

import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

import anyio
import structlog
from fastapi import Request
from starlette.concurrency import run_in_threadpool

from services.api.last_use import LastUse
from services.api.rates import Rates
from twinning import keys
from twinning.database import Database
from twinning.errors import TooMany, Unauthorised
from twinning.settings import Settings

WINDOW_S: Final = 60.0
# So many points in a minute shut an address out: 30 different wrong keys, or the same one 300 times.
SHUT_AT: Final = 300
NEW_WRONG_KEY: Final = 10
MOST_KNOWN: Final = 50_000
MOST_WRONG: Final = 10_000
MOST_ADDRESSES: Final = 10_000
# How often all good keys are read again while some address is shut.
LEARN_EVERY_S: Final = 10.0
LOOKERS: Final = 4

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Record:
    """What wrong keys have come from an address, since when."""

    since: float
    points: int = 0


class Gate:
    """Lets a request in, or raises `Unauthorised` or `TooMany`."""

    def __init__(self, settings: Settings, database: Database, last_use: LastUse) -> None:
        self._database = database
        self._rates = Rates(settings.rate_per_minute, settings.broker_url)
        self._last_use = last_use
        # By hash: the ids of good keys, and which were wrong; a wrong key never becomes a good one.
        self._known: OrderedDict[str, str] = OrderedDict()
        self._wrong: OrderedDict[str, None] = OrderedDict()
        self._records: OrderedDict[str, Record] = OrderedDict()
        # With the readers and writers these stay below the 40 threads and the 40 connections.
        self._lookers = anyio.CapacityLimiter(LOOKERS)
        self._learnt_at = -math.inf

    @asynccontextmanager
    async def passed(self, request: Request) -> AsyncIterator[None]:
        """Let a request in whose key is known and within its rate; hear of it when it proves to be ended."""
        shown = keys.digest(bearer_of(request))
        key_id = self._known.get(shown) or await self._meet(shown, block_of(request))
        headers = await self._rates.take(key_id)
        # The envelope adds these to whatever the answer turns out to be.
        request.scope["told"].update(headers)
        self._last_use.note(key_id)
        try:
            yield
        except Unauthorised:
            self._known.pop(shown, None)
            self._count(shown, block_of(request))
            raise

    async def close(self) -> None:
        """Hang up."""
        self._last_use.close()
        await self._rates.close()

    async def _meet(self, shown: str, block: str) -> str:
        """Look a key up that is not known here; gives its id."""
        record = self._records.get(block)
        if record is not None and record.points >= SHUT_AT:
            wait = record.since + WINDOW_S - time.monotonic()
            if wait > 0 and shown not in await self._learnt():
                raise TooMany("Too many wrong keys came from your address.", math.ceil(wait))
        if shown not in self._wrong:
            async with self._lookers:
                found = await run_in_threadpool(self._look_up, shown)
            if found is not None:
                self._remember({shown: found})
                return found
        self._count(shown, block)
        raise Unauthorised(keys.REFUSED)

    def _look_up(self, shown: str) -> str | None:
        with self._database.snapshot() as session:
            return keys.good_by_hash(session, shown)

    async def _learnt(self) -> OrderedDict[str, str]:
        """Read all good keys, seldom, so that nobody is shut out by what others do from the same address."""
        if time.monotonic() - self._learnt_at >= LEARN_EVERY_S:
            self._learnt_at = time.monotonic()
            async with self._lookers:
                self._remember(await run_in_threadpool(self._read_all))
        return self._known

    def _read_all(self) -> dict[str, str]:
        with self._database.snapshot() as session:
            return keys.live_hashes(session, MOST_KNOWN)

    def _remember(self, good: dict[str, str]) -> None:
        self._known.update(good)
        _shorten(self._known, MOST_KNOWN)

    def _count(self, shown: str, block: str) -> None:
        """Count a wrong key against the address that it came from."""
        moment = time.monotonic()
        record = self._records.get(block)
        if record is None or moment - record.since >= WINDOW_S:
            record = self._records[block] = Record(moment)
            self._records.move_to_end(block)
            _shorten(self._records, MOST_ADDRESSES)
        before = record.points
        record.points += 1 if shown in self._wrong else NEW_WRONG_KEY
        if before < SHUT_AT <= record.points:
            log.warning("too many wrong keys from one address", address=block)
        self._wrong[shown] = None
        _shorten(self._wrong, MOST_WRONG)


def bearer_of(request: Request) -> str:
    """Give the key in the `Authorization` header; raises `Unauthorised` when there is none."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Unauthorised("Send an API key as Authorization: Bearer KEY.")
    return key.strip()


def address_of(request: Request) -> str | None:
    """Give the address that a request came from; behind a trusted proxy, the one that the proxy names."""
    return _spelled(request.client.host if request.client else "")


@lru_cache(maxsize=1024)
def _spelled(host: str) -> str | None:
    """Spell an address in the one way in which all of ours are; None for what is none."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address).partition("%")[0]


def block_of(request: Request) -> str:
    """Give the address by which wrong keys are counted: of IPv6 the half that names the network."""
    address = address_of(request)
    if address is None or ":" not in address:
        return address or "unknown"
    return str(IPv6Address(int(IPv6Address(address)) >> 64 << 64)) + "/64"


def _shorten(memory: OrderedDict[str, Any], most: int) -> None:
    """Forget what was remembered first."""
    while len(memory) > most:
        memory.popitem(last=False)
