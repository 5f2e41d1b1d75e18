# SPDX-License-Identifier: Apache-2.0
"""The matching worker as a process: a Celery worker for the bell, a thread that looks, one that imports.

The bell makes it fast; the look makes it sure. With the broker away only the look is left, and enough.
"""

import os
import socket
import threading

import structlog
from celery import signals

from services.broker import TASKS, Doorbell, make_app, make_worker
from services.matcher.importing import Importer
from services.matcher.matching import Matcher
from twinning import clocks
from twinning.database import Database
from twinning.settings import Settings
from twinning.terms import Bell
from twinning.workers import Heart

log = structlog.get_logger(__name__)

SERVICE = "matcher"


class Watch:
    """A thread that does what is due when no bell has rung for it."""

    def __init__(self, matcher: Matcher, scan_interval_s: float) -> None:
        self._matcher = matcher
        self._scan_interval_s = scan_interval_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin with a look at once; without an interval there is no look at all."""
        if self._scan_interval_s:
            self._thread.start()

    def stop(self) -> None:
        """End, when what is under way is done."""
        self._matcher.stop()
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=3)

    def _run(self) -> None:
        while True:
            try:
                self._matcher.plan()
                self._matcher.read()
                self._matcher.take()
            except Exception:
                # Whatever it was, the next look may go well; this thread is what makes the work sure.
                log.exception("a look at what is due failed")
            if self._stopped.wait(self._scan_interval_s):
                return


def run(settings: Settings) -> int:
    """Work until told to stop: the process behind `twinning worker`."""
    app = make_app(settings)
    doorbell = Doorbell(app)
    database = Database(settings.database, doorbell.ring)
    clocks.must_agree_at_start(database)
    name = f"{SERVICE}@{socket.gethostname()[:40]}:{os.getpid()}"
    matcher = Matcher(database, settings, name)
    watch = Watch(matcher, settings.scan_interval_s)
    # Under the matcher's name, so that the same heart renews the leases of both.
    importer = Importer(database, settings, name)
    heart = Heart(database, name, SERVICE, matcher.renew)
    heart.start()

    def rung() -> int:
        importer.wake()
        return matcher.take()

    def begin() -> None:
        importer.start()
        watch.start()

    def halt() -> None:
        importer.halt()
        matcher.stop()

    app.task(rung, name=TASKS[Bell.MATCH], ignore_result=True, acks_late=True)
    signals.worker_init.connect(lambda **_: begin(), weak=False)
    signals.worker_shutting_down.connect(lambda **_: halt(), weak=False)
    try:
        worker = make_worker(app, Bell.MATCH, name)
        worker.start()
        return int(worker.exitcode or 0)
    finally:
        watch.stop()
        importer.stop(timeout=3)
        heart.stop()
        doorbell.close()
        database.close()
