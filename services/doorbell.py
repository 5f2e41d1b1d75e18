# SPDX-License-Identifier: Apache-2.0
"""The doorbell: how whoever has committed work tells those who do it, without ever waiting for the broker.

Dispatchers hear a message on a channel of the broker; matching workers take one of Celery's off a queue, at
once when it has been quiet, and in a run of rings a few each second, since each costs a worker a turn at the
database.
"""

import threading
import time
from types import TracebackType
from typing import Final, Self

import structlog
from kombu.connection import Connection

from services import tasks
from services.broker import broker_of, channel_of
from services.contact import Contact
from services.line import Line
from twinning.settings import Settings
from twinning.terms import Bell

# In a run of rings for matching one goes out each so many seconds; the first few go at once.
REST_S: Final = 0.05
AT_ONCE: Final = 4

log = structlog.get_logger(__name__)


class Doorbell:
    """Rings the workers' bells without ever making its caller wait.

    A ring for deliveries goes out at once where the line is open and free, all else by a daemon thread. At
    most one ring per bell waits for it: a thousand rings in a moment become a few messages. One that comes
    while a message is under way makes one more, because the worker that took the first may have looked before
    the caller's commit. What cannot be published within the socket's time-outs is dropped, and the scan finds
    the work instead.

    Raises `WrongSetting` when the settings name no broker.
    """

    def __init__(self, settings: Settings) -> None:
        url = broker_of(settings)
        self._app = tasks.make_app(settings)
        self._line = Line(url, channel_of(url))
        self._waiting: set[Bell] = set()
        self._changed = threading.Condition()
        self._closed = False
        self._contact = Contact("the broker", "work waits for the scan")
        self._away: set[Bell] = set()
        self._crowded = False
        # Each ring for matching makes the run of them, which has no length when it has been quiet, longer.
        self._run_until = 0.0
        self._connection: Connection | None = None
        self._thread: threading.Thread | None = None

    def ring(self, bell: Bell) -> None:
        """Ask for a bell to be rung soon and return at once, whatever state the broker is in."""
        with self._changed:
            if self._closed:
                return
            if self._thread is None:
                # Started by the first ring, so that it lives in the process that rings, after any fork.
                self._thread = threading.Thread(target=self._publish, name="doorbell", daemon=True)
                self._thread.start()
            if bell is not Bell.DELIVER or not self._line.shout():
                self._waiting.add(bell)
            self._changed.notify()

    def close(self, timeout_s: float = 1.0) -> None:
        """Publish what waits and stop, or give up after `timeout_s` seconds; later rings do nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _publish(self) -> None:
        """Ring what waits until the bell is closed; the thread's whole life."""
        while bells := self._next():
            for bell in bells:
                self._try(bell)
        self._hang_up()
        self._line.close()

    def _next(self) -> list[Bell]:
        """Wait for bells to ring, the urgent one first; none when the doorbell is closed and all is rung."""
        with self._changed:
            while True:
                rest_s = self._rest_s()
                ready = self._waiting - ({Bell.MATCH} if rest_s else set())
                # The answer to what was shouted is heard first: what waits besides has been rung since.
                shouted = {Bell.DELIVER} if self._line.is_under_way else set()
                bells = [bell for bell in Bell if bell in ready | shouted]
                if bells or (self._closed and not self._waiting):
                    self._waiting -= ready - shouted
                    return bells
                self._changed.wait(rest_s if self._waiting else None)

    def _rest_s(self) -> float:
        """Say how long no ring for matching may go out yet, in seconds; the last one waits for nothing."""
        rest_s = self._run_until - time.monotonic() - (AT_ONCE - 1) * REST_S
        return 0.0 if self._closed else max(0.0, rest_s)

    def _try(self, bell: Bell) -> None:
        """Ring, whatever becomes of it."""
        try:
            self._send(bell)
        # Kombu, redis-py and the resolver fail in dozens of ways, and the thread must outlive all.
        except Exception as error:  # noqa: BLE001
            self._lost(bell, error)
        else:
            self._found(bell)

    def _send(self, bell: Bell) -> None:
        """Send one message."""
        if bell is Bell.DELIVER:
            self._line.see_through()
        else:
            self._run_until = max(self._run_until, time.monotonic()) + REST_S
            self._queue()

    def _queue(self) -> None:
        """Put one message into Celery's queue, unless enough of them are waiting already."""
        if self._connection is None:
            self._connection = self._app.connection_for_write(
                # One attempt a ring: without this kombu tries for ever to connect to a broker that is away.
                transport_options={
                    **tasks.TRANSPORT,
                    "max_retries": 1,
                    "interval_start": 0,
                    "interval_max": 0.1,
                }
            )
        channel = self._connection.default_channel
        if self._crowded and tasks.is_crowded(channel):
            return
        self._app.send_task(tasks.TASK, connection=self._connection, retry=False, ignore_result=True)
        # Looked at behind the ring, which would else come later by as long as the look takes.
        self._crowded = tasks.is_crowded(channel)

    def _lost(self, bell: Bell, error: Exception) -> None:
        """Drop the connection after a failure; the broker is away until both bells ring again."""
        self._contact.lost(error)
        self._away.add(bell)
        if bell is Bell.MATCH:
            self._hang_up()

    def _found(self, bell: Bell) -> None:
        """See that a bell rings; when none has failed since, the broker is there."""
        self._away.discard(bell)
        if not self._away:
            self._contact.found()

    def _hang_up(self) -> None:
        """Forget Celery's connection; its other end has three seconds to hear of it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.release()  # type: ignore[no-untyped-call]
            except Exception as error:  # noqa: BLE001
                log.debug("closing a broken connection failed: %r", error)
