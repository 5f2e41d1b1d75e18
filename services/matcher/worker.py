# SPDX-License-Identifier: Apache-2.0
"""The matching worker as a process: a Celery worker for the bell, a watch that matches, one that imports.

With the broker away only the watches are left, and enough.
"""

from celery import signals

from services.doorbell import Doorbell
from services.heart import Heart
from services.matcher.giving_way import ProcessSession, give_way
from services.matcher.importing import Importer
from services.matcher.matching import Matcher
from services.tasks import TASK, make_app, make_worker
from services.watch import Watch
from twinning import clocks
from twinning.database import Database
from twinning.settings import Settings
from twinning.terms import Service
from twinning.workers import name_of

STOP_S = 3.0


def run(settings: Settings) -> int:
    """Work until told to stop: the process behind `twinning worker`."""
    app = make_app(settings)
    doorbell = Doorbell(settings)
    database = Database(settings.database, doorbell.ring)
    clocks.must_agree_at_start(database)
    name = name_of(Service.MATCHER)
    # Under one name, so that the same heart renews the leases of both.
    importer = Importer(database, settings, name)
    matcher = Matcher(database, settings, name, is_importing=lambda: importer.is_busy)
    matching = Watch("matching", matcher.look, settings.scan_interval_s)
    importing = Watch(
        "importing",
        ProcessSession().while_there_is_more(importer.go_on),
        settings.scan_interval_s,
        at_the_beginning=give_way,
        at_the_end=importer.let_go,
    )
    heart = Heart(database, name, Service.MATCHER, matcher.renew)
    heart.start()

    def rung() -> int:
        importing.wake()
        return matcher.take()

    def begin() -> None:
        importing.start()
        # Without an interval the bell alone starts the matching.
        if settings.scan_interval_s:
            matching.start()

    def halt() -> None:
        importing.halt()
        matching.halt()
        matcher.stop()

    app.task(rung, name=TASK, ignore_result=True, acks_late=True)
    signals.worker_init.connect(lambda **_: begin(), weak=False)
    signals.worker_shutting_down.connect(lambda **_: halt(), weak=False)
    try:
        worker = make_worker(app, name)
        worker.start()
        return int(worker.exitcode or 0)
    finally:
        halt()
        matching.stop(STOP_S)
        importing.stop(STOP_S)
        heart.stop()
        doorbell.close()
        database.close()
