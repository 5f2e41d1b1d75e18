# SPDX-License-Identifier: Apache-2.0
"""How much each key may still ask, counted for all API processes together in the broker.

A sliding window of a minute (library `limits`). A process asks for a handful of a key's requests at a time,
so that most requests cost no look at the broker at all. The broker has half a second to answer; when it is
away or hangs, each process counts alone for a while. It counts along all the time, so that a broker which
comes and goes never lets a key ask for more than its rate of each process.
"""

import asyncio
import math
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import structlog
from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.storage.redis.redispy import RedispyBridge
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis import RedisError
from redis import TimeoutError as RedisTimeoutError
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from services.broker import redis_url
from twinning.errors import TooMany

WINDOW_S: Final = 60
# Long enough for a busy machine: who gives up too early counts alone, and lets through too much.
ANSWER_S: Final = 0.5
# After so many answers that did not come in time the broker is left alone, and tried by one request only.
MISSES: Final = 2
AWAY_S: Final = 10.0
# Of a rate of 600 a process asks for 12 at once; what another process asks for meanwhile is as exact as that.
HANDFULS: Final = 50
MOST_PURSES: Final = 10_000
PREFIX: Final = "twinning:rates"

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Purse:
    """What one process holds of a key's rate."""

    left: int = 0
    # When what is left is good no more, and until when there is nothing to be had; by the monotonic clock.
    good_until: float = 0.0
    shut_until: float = 0.0
    # What all processes together had left when the counter was last looked at, and when that changes.
    remaining: int = 0
    resets_at: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Rates:
    """Takes a key's requests out of its rate; 0 means that there is none."""

    def __init__(self, per_minute: int, broker_url: str = "", window_s: int = WINDOW_S) -> None:
        self._per_window = per_minute
        self._window_s = window_s
        self._item = RateLimitItemPerSecond(max(1, per_minute), window_s, namespace=PREFIX)
        self._handful = max(1, per_minute // HANDFULS)
        self._alone = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._storage = _storage(broker_url) if broker_url and per_minute else None
        self._shared = None if self._storage is None else SlidingWindowCounterRateLimiter(self._storage)
        self._misses = 0
        self._away_until = 0.0
        self._purses: OrderedDict[str, Purse] = OrderedDict()

    async def take(self, key_id: str) -> dict[str, str]:
        """Take one request of a key; gives what the answer's headers say about it, or raises `TooMany`."""
        if not self._per_window:
            return {}
        purse = self._purse(key_id)
        async with purse.lock:
            moment = time.monotonic()
            if moment < purse.shut_until:
                raise self._over(purse, moment)
            if not purse.left or moment >= purse.good_until:
                await self._fill(purse, key_id)
            if not purse.left:
                raise self._over(purse, time.monotonic())
            purse.left -= 1
            return self._headers(purse.remaining + purse.left, purse.resets_at - moment)

    async def close(self) -> None:
        """Hang up; a broker that does not hear it is left alone."""
        if self._storage is not None and isinstance(self._storage.bridge, RedispyBridge):
            with suppress(RedisError, OSError, TimeoutError):
                async with asyncio.timeout(ANSWER_S):
                    await self._storage.bridge.storage.aclose()

    def _purse(self, key_id: str) -> Purse:
        """Find a key's purse; the one that was used longest ago makes room."""
        purse = self._purses.setdefault(key_id, Purse())
        self._purses.move_to_end(key_id)
        if len(self._purses) > MOST_PURSES:
            self._purses.popitem(last=False)
        return purse

    async def _fill(self, purse: Purse, key_id: str) -> None:
        """Ask for a handful, or for one when that is too much; of the broker if it answers in time."""
        moment = time.monotonic()
        if self._shared is not None and moment >= self._away_until:
            if self._misses >= MISSES:
                self._away_until = moment + AWAY_S
            try:
                async with asyncio.timeout(ANSWER_S):
                    await self._ask(self._shared, purse, key_id)
            except (RedisError, OSError, TimeoutError) as error:
                self._lost(error)
            else:
                self._found()
                if purse.left:
                    await self._alone.hit(self._item, key_id, cost=purse.left)
                return
        await self._ask(self._alone, purse, key_id)

    async def _ask(self, limiter: SlidingWindowCounterRateLimiter, purse: Purse, key_id: str) -> None:
        # Nothing is held while it is asked: an answer that comes too late must not be spent.
        purse.left = left = 0
        for cost in sorted({self._handful, 1}, reverse=True):
            if await limiter.hit(self._item, key_id, cost=cost):
                left = cost
                break
        stats = await limiter.get_window_stats(self._item, key_id)
        moment, wait = time.monotonic(), max(0.0, stats.reset_time - time.time())
        purse.left, purse.good_until = left, moment + self._window_s
        purse.remaining, purse.resets_at = max(0, stats.remaining), moment + wait
        purse.shut_until = 0.0 if left else moment + min(wait, self._window_s)

    def _over(self, purse: Purse, moment: float) -> TooMany:
        wait = math.ceil(max(purse.shut_until - moment, 0.001))
        detail = f"This key may ask {self._per_window} times a minute; ask again in {wait} s."
        return TooMany(detail, wait, self._headers(0, wait))

    def _headers(self, remaining: int, resets_in_s: float) -> dict[str, str]:
        """Say what the rate is and what is left of it (draft-ietf-httpapi-ratelimit-headers)."""
        wait = math.ceil(max(0.0, resets_in_s))
        return {
            "RateLimit-Policy": f'"key";q={self._per_window};w={self._window_s}',
            "RateLimit": f'"key";r={remaining};t={wait}',
        }

    def _lost(self, error: Exception) -> None:
        """Leave the broker alone for a while, and say so once until it answers again.

        One answer that comes too late may be this machine's own fault; a broker that refuses is away.
        """
        before = self._misses
        late = isinstance(error, TimeoutError | RedisTimeoutError)
        self._misses = before + 1 if late else max(before, MISSES)
        if self._misses >= MISSES:
            self._away_until = time.monotonic() + AWAY_S
        if before < MISSES <= self._misses:
            log.warning("the broker is away; each process counts rates alone", error=type(error).__name__)

    def _found(self) -> None:
        if self._misses >= MISSES:
            log.info("the broker is back; rates are counted together")
        self._misses, self._away_until = 0, 0.0


def _storage(broker_url: str) -> RedisStorage:
    """Reach the counters in the broker; the URL of a unix socket is spelt in yet another way here."""
    url = redis_url(broker_url)
    return RedisStorage(
        f"async+redis+{url}" if url.startswith("unix:") else f"async+{url}",
        implementation="redispy",
        key_prefix=PREFIX,
        socket_timeout=ANSWER_S,
        socket_connect_timeout=ANSWER_S,
        retry=Retry(NoBackoff(), 0),  # type: ignore[arg-type]
    )
