# SPDX-License-Identifier: Apache-2.0
"""Reads that come together share one look at the database: what is read by its id, which never takes long.

Each thread takes what had come before its look began, so that a reader finds whatever was written before they
asked. A look is opened and closed once for all of them, and each key in it is asked for once. A read that
fails in the database ends the look, and those behind it get another.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session
from starlette.responses import Response

from twinning.database import Database

# While one waits for the database another reckons; a third would only take the processor from them.
THREADS: Final = 2

log = structlog.get_logger(__name__)

Read = Callable[[Session], Response]


class _Waiting:
    """A read that waits, and who waits for it."""

    __slots__ = ("future", "loop", "number", "read")

    def __init__(self, read: Read) -> None:
        self.read = read
        self.number = 0
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Response] = self.loop.create_future()

    def tell(self, answer: Response | None, error: Exception | None) -> None:
        """Answer who waits, if somebody still does, from the thread that has read."""
        self.loop.call_soon_threadsafe(self._told, answer, error)

    def _told(self, answer: Response | None, error: Exception | None) -> None:
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        elif answer is not None:
            self.future.set_result(answer)


class Clerk:
    """Reads by id, in a few threads that live from the first read until `close`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._came = 0
        self._threads: list[threading.Thread] = []
        self._closed = False

    async def read(self, read: Read) -> Response:
        """Do a read in company; gives its answer, or raises as it did."""
        one = _Waiting(read)
        with self._changed:
            if not self._threads:
                self._start()
            self._came += 1
            one.number = self._came
            self._waiting.append(one)
            self._changed.notify()
        return await one.future

    def close(self) -> None:
        """Answer those who wait, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _start(self) -> None:
        self._threads = [
            threading.Thread(target=self._go_on, name=f"clerk-{number}", daemon=True)
            for number in range(THREADS)
        ]
        for thread in self._threads:
            thread.start()

    def _go_on(self) -> None:
        """Look, and look again, until there is nothing more to come: a thread's whole life."""
        while last := self._await_reads():
            try:
                self._look(last)
            except SQLAlchemyError:
                # Whoever read in it has been told; only the end of the look went wrong.
                log.exception("a look at the database could not be closed")

    def _await_reads(self) -> int:
        """Wait for reads; gives the number of the last that has come, 0 when no more will."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return self._waiting[-1].number if self._waiting else 0

    def _take(self, last: int) -> _Waiting | None:
        """Take the next read, unless it came after a look had begun."""
        with self._changed:
            if self._waiting and self._waiting[0].number <= last:
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
        one.tell(one.read(session), None)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is for who asked
        one.tell(None, error)
        return not isinstance(error, SQLAlchemyError)
    return True
