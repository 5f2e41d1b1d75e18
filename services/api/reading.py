# SPDX-License-Identifier: Apache-2.0
"""Reads that come together share one look at the database: what is read by its id, which seldom takes long.

Each thread takes what had come before its look began, so that a reader finds whatever was written before they
asked. A look is opened and closed once for all of them, and each key in it is asked for once. A read that
fails in the database ends the look, and those behind it get another.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session
from starlette.responses import Response

from services.api.promises import Promise, hand_over
from twinning.database import Database

# While one waits for the database another reckons; more would only take the processor from them.
AT_WORK: Final = 2
# Who is at one read for so long counts no more, and what waits for so long gets another thread.
PATIENCE_S: Final = 0.05

log = structlog.get_logger(__name__)

Read = Callable[[Session], Response]


class _Waiting(Promise):
    """A read that waits."""

    __slots__ = ("number", "read")

    def __init__(self, read: Read) -> None:
        super().__init__()
        self.read = read
        self.number = 0


class Clerk:
    """Reads by id, in a few threads, or in `most` where some of them are held up."""

    def __init__(self, database: Database, most: int, *, patience_s: float = PATIENCE_S) -> None:
        self._database = database
        self._most = most
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._came = 0
        self._threads: list[threading.Thread] = []
        # How many of those that have nothing to do are called, and have not come yet.
        self._called = 0
        # Since when each of the others is at the read that it has in hand.
        self._busy_since: dict[int, float] = {}
        self._closed = False

    async def read(self, read: Read) -> Response:
        """Do a read in company; gives its answer, or raises as it did."""
        one = _Waiting(read)
        with self._changed:
            if self._closed:
                raise RuntimeError("the clerk has gone")
            self._came += 1
            one.number = self._came
            self._waiting.append(one)
            if self._at_work() < AT_WORK:
                self._call()
        late = one.loop.call_later(self._patience_s, self._hurry, one)
        try:
            answer = await one.future
        finally:
            late.cancel()
        assert answer is not None
        return answer

    def close(self) -> None:
        """Answer those who wait, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _at_work(self) -> int:
        """Count the threads that get on with what they have in hand, or are about to."""
        moment = time.monotonic()
        return self._called + sum(moment - since < self._patience_s for since in self._busy_since.values())

    def _hurry(self, one: _Waiting) -> None:
        """Call another thread for what has waited for long."""
        with self._changed:
            if self._waiting and self._waiting[0].number <= one.number:
                self._call()

    def _call(self) -> None:
        """Have a thread that does nothing look, or else a new one, while there may be more."""
        if len(self._threads) - len(self._busy_since) > self._called:
            self._called += 1
            self._changed.notify()
        elif len(self._threads) < self._most:
            name = f"clerk-{len(self._threads)}"
            thread = threading.Thread(target=self._go_on, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
            # At work from now on, though it waits for this lock before it looks.
            self._busy_since[thread.ident or 0] = time.monotonic()

    def _go_on(self) -> None:
        """Look, and look again, until there is nothing more to come: a thread's whole life."""
        while last := self._await_reads():
            try:
                self._look(last)
            except Exception:
                # Whoever read in it has been told; only the end of the look went wrong.
                log.exception("a look at the database could not be closed")

    def _await_reads(self) -> int:
        """Wait for reads; gives the number of the last that has come, 0 when no more will."""
        with self._changed:
            self._busy_since.pop(threading.get_ident(), None)
            while not (self._waiting or self._closed):
                self._changed.wait()
                self._called = max(0, self._called - 1)
            self._busy_since[threading.get_ident()] = time.monotonic()
            return self._waiting[-1].number if self._waiting else 0

    def _take(self, last: int) -> _Waiting | None:
        """Take the next read, unless it came after a look had begun."""
        with self._changed:
            if self._waiting and self._waiting[0].number <= last:
                self._busy_since[threading.get_ident()] = time.monotonic()
                return self._waiting.popleft()
            return None

    def _look(self, last: int) -> None:
        """Do in one look what had come before it."""
        one = self._take(last)
        if one is None:
            return
        with self._database.reading() as session:
            while one is not None and _did(session, one):
                # The next one reads all anew, of the same state.
                session.expunge_all()
                one = self._take(last)


def _did(session: Session, one: _Waiting) -> bool:
    """Do one read and tell what came of it; says whether another can be done in the same look."""
    try:
        one.answer = one.read(session)
    # Whatever it is, it is for who asked, and the thread lives on.
    except BaseException as error:  # noqa: BLE001
        one.error = error
    hand_over([one])
    return one.error is None or (
        isinstance(one.error, Exception) and not isinstance(one.error, SQLAlchemyError)
    )
