# SPDX-License-Identifier: Apache-2.0
"""Following the log of events: one look at the database for all the streams of this process.

A stream that waits holds no connection and no thread. The newest events are kept in memory, so that
however many streams there are each event is read once; a stream that is further behind than that, since it
has just begun or since its reader is slow, reads the database by itself until it has caught up.
"""

import asyncio
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from services.api.transactions import House
from twinning import keys, outbox
from twinning.errors import Unready
from twinning.keys import Caller
from twinning.outbox import StoredEvent, Told

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 0.2
# A key that ends is noticed so soon; with an event it is noticed before the event goes out.
KEYS_EVERY_S: Final = 1.0
AFTER_AN_ERROR_S: Final = 2.0
HEARTBEAT_S: Final = 15.0
RETRY_MS: Final = 2000
# How many events stay in memory, and how many are read at once.
RECENT: Final = 256
PAGE: Final = 64
MOST_STREAMS: Final = 2000
UNKNOWN: Final = -1

OPENING: Final = f"retry: {RETRY_MS}\n: the events follow\n\n".encode()
HEARTBEAT: Final = b": still here\n\n"
KEY_ENDED: Final = b": this key has ended\n\n"


def frame(event: StoredEvent) -> bytes:
    """Write an event as a server-sent event; its body is JSON of one line, as it was signed."""
    return f'id: {event.id}\nevent: {event.type}\ndata: {{"id":"{event.id}",{event.body[1:]}\n\n'.encode()


@dataclass(frozen=True, slots=True)
class Recent:
    """An event in memory, with its frame written once for all streams."""

    told: Told
    frame: bytes


@dataclass(slots=True)
class Stream:
    """One reader: who it is, what it wants, how far it has read, and when it was last told anything."""

    caller: Caller
    types: frozenset[str]
    place: int
    opening: bytes = OPENING
    told_at: float = field(default_factory=time.monotonic)

    def wants(self, told: Told) -> bool:
        """Say whether an event is for this stream."""
        return (not self.types or told.event.type in self.types) and told.is_for(self.caller)


class Follower:
    """Looks at the end of the log while anybody follows it, and wakes who waits."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._streams: Counter[str] = Counter()
        # Every event after `_begin` and up to `_end` is in memory; both are unknown before the first look.
        self._recent: list[Recent] = []
        self._begin = self._end = UNKNOWN
        self._good: set[str] = set()
        self._asked_at = 0.0
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def streams(self) -> int:
        """Say how many streams are open."""
        return self._streams.total()

    def close(self) -> None:
        """End every stream, as at a shutdown; their readers come back to whoever takes over."""
        self._closed = True
        self._wake()

    def must_have_room(self) -> None:
        """Refuse one stream too many; raises `Unready`."""
        if self.streams >= MOST_STREAMS:
            raise Unready("Too many streams are open here; read GET /v1/events with wait instead.")

    async def follow(self, stream: Stream) -> AsyncIterator[bytes]:
        """Give the frames of what a caller may see, heartbeats between, until the key or the house ends."""
        with self._listening(stream.caller.key_id):
            yield stream.opening
            while not self._closed:
                news = self._news
                if stream.caller.key_id not in self._good:
                    yield KEY_ENDED
                    return
                try:
                    frames = await self._next(stream)
                except SQLAlchemyError as error:
                    log.warning("a stream cannot read on", error=type(error).__name__)
                    return
                if not frames and stream.place >= self._end and not await self._heard(news, stream):
                    frames = [HEARTBEAT]
                if frames:
                    yield b"".join(frames)
                    stream.told_at = time.monotonic()

    @contextmanager
    def _listening(self, key_id: str) -> Iterator[None]:
        """Count a stream, and look for it as long as it lives."""
        self._streams[key_id] += 1
        # The key was good when the request came, and is asked about again at each look.
        self._good.add(key_id)
        if self._task is None:
            self._task = asyncio.create_task(self._look_on(), name="follower")
        try:
            yield
        finally:
            self._streams[key_id] -= 1
            # Who follows no more is forgotten.
            self._streams = +self._streams

    async def _heard(self, news: asyncio.Event, stream: Stream) -> bool:
        """Wait for news until the next heartbeat is due; say whether there were any."""
        left = stream.told_at + HEARTBEAT_S - time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, left)):
                await news.wait()
        except TimeoutError:
            return False
        return True

    async def _next(self, stream: Stream) -> list[bytes]:
        """Give the next frames for a stream, out of memory or from the database, and move its place on."""
        if self._end == UNKNOWN:
            return []
        if stream.place < self._begin:
            return await self._read(stream)
        begin = bisect_right(self._recent, stream.place, key=lambda each: each.told.event.sequence)
        fresh = self._recent[begin : begin + PAGE]
        if fresh:
            stream.place = fresh[-1].told.event.sequence
        return [each.frame for each in fresh if stream.wants(each.told)]

    async def _read(self, stream: Stream) -> list[bytes]:
        """Read on in the database; where nothing more is found the stream has come to the present end."""
        key_id = stream.caller.key_id

        def look() -> tuple[bool, list[bytes], int]:
            with self._house.database.snapshot() as session:
                good = bool(keys.good_among(session, {key_id}))
                rows = outbox.feed(session, stream.caller, stream.place, sorted(stream.types), PAGE)
                end = rows[-1].sequence if len(rows) == PAGE else outbox.latest(session)
                return good, [frame(row) for row in rows], end

        async with self._house.readers:
            good, frames, end = await run_in_threadpool(look)
        if not good:
            self._good.discard(key_id)
            return []
        stream.place = max(stream.place, end)
        return frames

    async def _look_on(self) -> None:
        """Look at the end of the log again and again, as long as anybody follows it."""
        try:
            while self._streams and not self._closed:
                pause = await self._look()
                await asyncio.sleep(pause)
        finally:
            self._task = None
            self._recent = []
            self._begin = self._end = UNKNOWN

    async def _look(self) -> float:
        """Look once, tell those who wait, and say how soon to look again."""
        asked, end = frozenset(self._streams), self._end
        ask = time.monotonic() - self._asked_at >= KEYS_EVERY_S

        def look() -> tuple[int, list[Told], set[str] | None]:
            with self._house.database.snapshot() as session:
                last = outbox.latest(session)
                told = outbox.told_since(session, end, RECENT) if last > end != UNKNOWN else []
                return last, told, keys.good_among(session, asked) if told or ask else None

        try:
            async with self._house.readers:
                last, told, good = await run_in_threadpool(look)
        except Exception:
            # Whatever it was, the next look may go well; without looks no stream would hear anything.
            log.exception("a look at the end of the log failed")
            return AFTER_AN_ERROR_S
        if good is not None:
            self._asked_at = time.monotonic()
            self._good = (self._good - asked) | good
        self._keep(last, told)
        if end == UNKNOWN or told or (good is not None and good < asked):
            self._wake()
        return 0.0 if len(told) == RECENT else LOOK_EVERY_S

    def _keep(self, last: int, told: Sequence[Told]) -> None:
        """Keep the newest events in memory, and let the oldest go."""
        if self._end == UNKNOWN:
            self._begin = self._end = last
        if not told:
            return
        every = [*self._recent, *(Recent(each, frame(each.event)) for each in told)]
        dropped, self._recent = every[:-RECENT], every[-RECENT:]
        if dropped:
            self._begin = dropped[-1].told.event.sequence
        self._end = told[-1].event.sequence

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
