# SPDX-License-Identifier: Apache-2.0
"""Writes that come together share one transaction, one commit for all.

A thread takes all that waits, does one after the other, and commits; only then is any of them answered. When
one is refused, or fails, all is undone and done again, each in a savepoint, so that it is undone alone. In
company nobody waits for a row that another transaction holds: who would have to is done again alone, by who
asked; and so are all when what they write together at the end cannot be written. A commit that fails is never
repeated, since nobody knows what became of it: all are told.
"""

import threading
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog
from sqlmodel import Session
from starlette.responses import Response

from services.api.foresight import Foreseen, foresee
from services.api.promises import Promise, hand_over
from twinning.database import Database
from twinning.dialects import would_wait

MOST_TOGETHER: Final = 64
# A loop that has come round so often since answers went out has heard of those who ask again at once; one
# that is held up is not waited for longer.
TURNS: Final = 3
LONGEST_TURNS_S: Final = 0.05

log = structlog.get_logger(__name__)

Work = Callable[[Session], Response]


class Waiting(Promise):
    """A write that waits; one that gets neither answer nor error is to be done alone."""

    __slots__ = ("foreseen", "work")

    def __init__(self, work: Work, foreseen: Foreseen) -> None:
        super().__init__()
        self.work = work
        self.foreseen = foreseen


class Scribe:
    """Does writes together, in one thread that lives from the first of them until `close`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changed = threading.Condition()
        self._waiting: deque[Waiting] = deque()
        self._thread: threading.Thread | None = None
        # How many were answered last, until the loop has come round.
        self._answered = 0
        self._closed = False

    async def write(self, work: Work, foreseen: Foreseen) -> Response | None:
        """Do a write in company; gives its answer, which is true by then, or None: it is to be done alone."""
        one = Waiting(work, foreseen)
        with self._changed:
            if self._closed:
                raise RuntimeError("the scribe has gone")
            if self._thread is None:
                self._thread = threading.Thread(target=self._go_on, name="scribe", daemon=True)
                self._thread.start()
            self._waiting.append(one)
            if self._have_gathered():
                self._changed.notify()
        return await one.future

    def close(self) -> None:
        """Write what waits, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _go_on(self) -> None:
        """Take and write until there is nothing more to come: the thread's whole life."""
        while group := self._take():
            try:
                self._write(group)
            # Whatever it is, those who wait are told, and the thread lives on.
            except BaseException as error:  # noqa: BLE001
                for one in group:
                    one.error, one.answer = one.error or error, None
            hand_over(group)
            self._let_turn(group)

    def _let_turn(self, group: Sequence[Waiting]) -> None:
        """Have as many gather as were answered, or else the loop come round, before anything is taken.

        A process has one loop; of several one would be waited for.
        """
        loop = group[0].loop
        self._answered = len(group)
        try:
            loop.call_soon_threadsafe(self._turn, loop, TURNS)
        except RuntimeError:
            # It is closed, and nobody in it will ask again.
            self._answered = 0

    def _turn(self, loop: AbstractEventLoop, left: int) -> None:
        """Come round once more, or say that it was the last time; in the loop."""
        if left:
            loop.call_soon(self._turn, loop, left - 1)
            return
        with self._changed:
            self._answered = 0
            self._changed.notify()

    def _take(self) -> list[Waiting]:
        """Wait for writes, and take all there are; nothing is taken any more when the scribe is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._have_gathered() or self._closed, LONGEST_TURNS_S)
            self._answered = 0
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_TOGETHER))]

    def _have_gathered(self) -> bool:
        """Say whether as many wait as were answered last."""
        return len(self._waiting) >= self._answered

    def _write(self, group: Sequence[Waiting]) -> None:
        """Do a group's writes in one transaction and commit it."""
        if not self._at_once(group):
            self._one_by_one(group)

    def _at_once(self, group: Sequence[Waiting]) -> bool:
        """Do them in one session, as if nothing could go wrong; says whether nothing did, or all is told."""
        with self._database.writing() as session:
            self._database.hurry(session)
            if len(group) > 1 and not self._foresaw(session, group):
                return False
            for one in group:
                if not self._did(session, one, self._database.divide):
                    # Nobody else is there to be spared.
                    return len(group) == 1
            return self._committed(session, group)

    def _foresaw(self, session: Session, group: Sequence[Waiting]) -> bool:
        """Ask what each will ask first; says whether nobody would have to be waited for."""
        connection = session.connection()
        try:
            foresee(session, [one.foreseen for one in group])
        except Exception as error:
            if connection.invalidated or not would_wait(error):
                raise
            return False
        return True

    def _one_by_one(self, group: Sequence[Waiting]) -> None:
        """Do each in a savepoint of its own, so that one which goes wrong is undone alone."""
        with self._database.writing() as whole:
            self._database.hurry(whole)
            done = []
            for one in group:
                one.answer = one.error = None
                with self._database.within(whole) as part:
                    if self._did(part, one, partial(self._database.join, whole)):
                        done.append(one)
            if done and not self._committed(whole, done):
                for one in done:
                    one.answer = None

    def _did(self, session: Session, one: Waiting, end: Callable[[Session], None]) -> bool:
        """Do one write and end it; says whether it is to be kept. Raises when the connection is lost."""
        connection = session.connection()
        try:
            one.answer = one.work(session)
            if one.answer.status_code >= 400:
                return False
            end(session)
        except Exception as error:
            one.answer = None
            if connection.invalidated:
                raise
            if not would_wait(error):
                one.error = error
            return False
        return True

    def _committed(self, session: Session, done: Sequence[Waiting]) -> bool:
        """Do the last steps and commit; says whether they could be done. A failing commit is told to all."""
        # Asked for before: a session whose flush has failed gives no connection any more.
        connection = session.connection()
        try:
            self._database.prepare(session)
        except Exception as error:
            if connection.invalidated:
                raise
            # It may be the fault of one of them, or of somebody who holds what they need together.
            log.info("some writes are done again, one by one", writes=len(done), error=type(error).__name__)
            return False
        try:
            self._database.commit(session)
        except Exception as error:  # noqa: BLE001 - told to each of them, as if it were alone
            for one in done:
                one.error = error
        return True
