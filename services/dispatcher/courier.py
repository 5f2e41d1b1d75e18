# SPDX-License-Identifier: Apache-2.0
"""The courier: one asyncio loop in a thread of its own that takes what is due, sends it and writes it up.

Each turn at the database is one short transaction on another thread: it writes every outcome that waits
and takes as many new deliveries as there is room for. While a turn lasts, the next outcomes gather; so
under load the batches grow by themselves, and a lone outcome never waits.
"""

import asyncio
import math
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from sqlalchemy.exc import SQLAlchemyError

from services.contact import Contact
from services.dispatcher.client import BoundedClient
from services.dispatcher.delivery import attempt
from services.lookups import Resolve
from twinning import clocks
from twinning.addresses import Rules
from twinning.database import Database, now
from twinning.deliveries import Sending, give_back, next_due, take_due
from twinning.errors import Unready, WrongSetting
from twinning.outcomes import Outcome, settle
from twinning.settings import Settings

# So many deliveries may be in the air at once from one process.
MOST_IN_AIR = 200
# A short wait gathers deliveries that become due one after another; it is far below any delay promised.
SHORTEST_WAIT_S = 0.02
DATABASE_AWAY_S = 0.5
AMISS_S = 10.0
CLOCK_EVERY_S = 60.0
# What is under way when the courier stops gets so long to end, and half of the time allowed at most.
GRACE_S = 2.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Turn:
    """What a turn at the database brought: deliveries to send, and when something is due next."""

    taken: list[Sending] = field(default_factory=list)
    next_due: datetime | None = None


class Courier:
    """Delivers webhooks from one process; any number of couriers may work on one database.

    `name` is what the leases say. `resolve` replaces the system's look-up of names, `cafile` names
    certificates to trust besides the system's.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        name: str,
        *,
        resolve: Resolve | None = None,
        cafile: str | None = None,
    ) -> None:
        self._database = database
        self._settings = settings
        self._name = name
        self._resolve = resolve
        self._cafile = cafile
        # A lease outlives the longest attempt, or two senders would have the same delivery.
        self._lease_s = max(settings.lease_s, 2 * settings.webhook_timeout_s)
        self._in_air: dict[asyncio.Task[Outcome], Sending] = {}
        self._landed: list[Outcome] = []
        self._thread: threading.Thread | None = None
        self._door = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        # Set when something may be due, or has landed; which of both it was is kept beside it.
        self._bell = asyncio.Event()
        self._rung = False
        self._stopping = False
        self._stop_by = 0.0
        self._contact = Contact("the database", "deliveries wait for it")
        self._clock_seen_at = -math.inf

    def start(self) -> None:
        """Begin to deliver, in a thread; a courier is started once."""
        ready = threading.Event()
        self._thread = threading.Thread(target=self._live, args=(ready,), name="courier", daemon=True)
        self._thread.start()
        ready.wait()

    def wake(self) -> None:
        """Say that something may be due; returns at once, from any thread."""
        with self._door:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._ring)

    def _ring(self) -> None:
        """Hear of what may be due; in the loop."""
        self._rung = True
        self._bell.set()

    def halt(self, timeout: float) -> None:
        """Ask the courier to be done within `timeout` seconds, and return at once."""
        self._stop_by = time.monotonic() + timeout
        self._stopping = True
        self.wake()

    def stop(self, timeout: float) -> None:
        """Take nothing more, let short calls end, give the rest back; `timeout` is in seconds."""
        if not self._stopping:
            self.halt(timeout)
        if self._thread is not None:
            self._thread.join(timeout)

    def _live(self, ready: threading.Event) -> None:
        """Run the loop from start to stop: the thread's whole life."""
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            with self._door:
                self._loop = runner.get_loop()
            ready.set()
            try:
                runner.run(self._work())
            finally:
                with self._door:
                    self._loop = None

    async def _work(self) -> None:
        rules = Rules(self._settings.webhook_allow_cidrs, self._settings.webhook_allow_http)
        client = BoundedClient(
            rules,
            timeout_s=self._settings.webhook_timeout_s,
            limit=MOST_IN_AIR,
            resolve=self._resolve,
            cafile=self._cafile,
        )
        async with client:
            # Without a scan the bell alone starts anything.
            if self._settings.scan_interval_s > 0:
                self._ring()
            pause: float | None = None
            while not self._stopping:
                await self._wait(pause)
                rung, self._rung = self._rung, False
                if not self._stopping:
                    pause = await self._go(client, rung=rung)
            await self._finish()

    async def _wait(self, pause: float | None) -> None:
        """Wait for a bell, an outcome, or the end of a pause in seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._bell.wait(), pause)
        self._bell.clear()

    async def _go(self, client: BoundedClient, *, rung: bool) -> float | None:
        """Take a turn at the database and send what it gave; gives how long to wait at most after it."""
        outcomes, self._landed = self._landed, []
        room = MOST_IN_AIR - len(self._in_air)
        try:
            turn = await asyncio.to_thread(self._turn, outcomes, room, rung=rung)
        except SQLAlchemyError as error:
            # Nothing is lost: the outcomes are written later, or their leases end.
            self._landed = outcomes + self._landed
            self._contact.lost(error)
            return DATABASE_AWAY_S
        except (WrongSetting, Unready) as error:
            # A row was sealed with another key since the start, or the clock has gone wrong. Whoever can
            # read it, and knows the time, may deliver it.
            self._landed = outcomes + self._landed
            log.error("deliveries wait: %s", error)  # noqa: TRY400 (the one line says all)
            return AMISS_S
        except Exception:
            # Whatever it was, the courier lives on. What could not be written is let go: it is sent again
            # when its lease has run out.
            log.exception("a turn at the database failed")
            return AMISS_S
        self._contact.found()
        for sending in turn.taken:
            task = asyncio.create_task(attempt(client, sending, self._settings.retry_schedule_s))
            self._in_air[task] = sending
            task.add_done_callback(self._land)
        return self._pause(turn.next_due)

    def _land(self, task: asyncio.Task[Outcome]) -> None:
        """Keep an attempt's outcome to be written soon."""
        if not task.cancelled():
            del self._in_air[task]
            self._landed.append(task.result())
            self._bell.set()

    def _turn(self, outcomes: list[Outcome], room: int, *, rung: bool) -> _Turn:
        """Write outcomes and take new deliveries in one transaction; where nobody has rung, look first."""
        if not outcomes and not room:
            # Nothing can be taken before something lands, which rings.
            return _Turn()
        self._look_at_the_clock()
        if not outcomes and not rung:
            with self._database.snapshot() as session:
                first = next_due(session)
            if not _is_due(first):
                return _Turn(next_due=first)
        # What is forgotten with the power alone is only sent again: it need not be on the disk before that.
        with self._database.transaction(durable=bool(outcomes)) as session:
            if outcomes:
                settle(session, outcomes)
            if not rung:
                first = next_due(session)
                if not _is_due(first):
                    return _Turn(next_due=first)
            moment = now()
            taken = take_due(session, self._name, room, self._lease_s) if room else []
            # What has been taken does not wait for an answer to what comes next: that is asked very soon.
            return _Turn(taken, moment if taken else next_due(session, after=moment))

    def _look_at_the_clock(self) -> None:
        """See now and then whether our clock is right; raises `Unready` when it is not."""
        if time.monotonic() - self._clock_seen_at > CLOCK_EVERY_S:
            with self._database.snapshot() as session:
                clocks.must_agree(session)
            self._clock_seen_at = time.monotonic()

    def _pause(self, due_at: datetime | None) -> float | None:
        """Say how long nothing need be done, in seconds; None: until a bell."""
        scan_s = self._settings.scan_interval_s
        if scan_s == 0:
            return None
        if due_at is None:
            return scan_s
        return min(scan_s, max(SHORTEST_WAIT_S, (due_at - now()).total_seconds()))

    async def _finish(self) -> None:
        """Let short calls end, break off the others, write and give back what is left."""
        left_s = max(0.0, self._stop_by - time.monotonic())
        if self._in_air:
            await asyncio.wait(self._in_air, timeout=min(GRACE_S, left_s / 2))
        broken_off = list(self._in_air.values())
        for task in self._in_air:
            task.cancel()
        await asyncio.gather(*self._in_air, return_exceptions=True)
        try:
            await asyncio.to_thread(self._leave, self._landed, broken_off)
        except SQLAlchemyError as error:
            log.warning("the database is away at the end (%s); the leases will run out", error)

    def _leave(self, outcomes: list[Outcome], broken_off: list[Sending]) -> None:
        """Write the last outcomes and give back what was broken off."""
        if not outcomes and not broken_off:
            return
        with self._database.transaction() as session:
            if outcomes:
                settle(session, outcomes)
            if broken_off:
                give_back(session, broken_off)


def _is_due(first: datetime | None) -> bool:
    return first is not None and first <= now()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Give the faster loop, where there is one."""
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop
