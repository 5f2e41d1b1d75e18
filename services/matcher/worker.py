# SPDX-License-Identifier: Apache-2.0
"""The matching worker as a process: a Celery worker that answers the bell, and a thread that looks by itself.

The bell makes it fast; the look makes it sure. With the broker away only the look is left, and enough.
"""

import os
import socket
import threading
import time

import structlog
from celery import signals

from services.broker import TASKS, Doorbell, make_app
from services.matcher.matching import Matcher
from twinning import workers
from twinning.database import Database
from twinning.settings import Settings
from twinning.terms import Bell

log = structlog.get_logger(__name__)

SERVICE = "matcher"


class Watch:
    """A thread that says that the worker lives, and does what is due when no bell has rung for it."""

    def __init__(self, database: Database, matcher: Matcher, scan_interval_s: float) -> None:
        self._database = database
        self._matcher = matcher
        self._scan_interval_s = scan_interval_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin; the first look comes at once."""
        self._thread.start()

    def stop(self) -> None:
        """End, and say that the worker leaves."""
        self._matcher.stop()
        self._stopped.set()
        self._thread.join(timeout=3)
        with self._database.transaction() as session:
            workers.leave(session, self._matcher.name)

    def _run(self) -> None:
        beat_at = float("-inf")
        while True:
            try:
                if time.monotonic() - beat_at >= workers.EVERY_S:
                    self._beat()
                    beat_at = time.monotonic()
                if self._scan_interval_s:
                    self._matcher.take()
            except Exception:
                # Whatever it was, the next look may go well; this thread is what makes the work sure.
                log.exception("a look at what is due failed")
            if self._stopped.wait(self._scan_interval_s or workers.EVERY_S):
                return

    def _beat(self) -> None:
        with self._database.transaction() as session:
            workers.beat(session, self._matcher.name, SERVICE)
        self._matcher.plan_refresh()


def run(settings: Settings) -> None:
    """Work until told to stop: the process behind `twinning worker`."""
    app = make_app(settings)
    doorbell = Doorbell(app)
    database = Database(settings.database, doorbell.ring)
    name = f"{SERVICE}-{socket.gethostname()}-{os.getpid()}"[:80]
    matcher = Matcher(database, settings, name)
    watch = Watch(database, matcher, settings.scan_interval_s)
    app.task(matcher.take, name=TASKS[Bell.MATCH], ignore_result=True, acks_late=True)
    signals.worker_init.connect(lambda **_: watch.start(), weak=False)
    signals.worker_shutting_down.connect(lambda **_: matcher.stop(), weak=False)
    app.worker_main(
        [
            "worker",
            "--queues",
            Bell.MATCH,
            "--pool",
            "solo",
            "--hostname",
            f"{name}@%h",
            "--without-gossip",
            "--without-mingle",
            "--loglevel",
            "WARNING",
        ]
    )
    watch.stop()
    doorbell.close()
    database.close()
