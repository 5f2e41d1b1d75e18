# SPDX-License-Identifier: Apache-2.0
"""The delivery worker: a courier, its errands, and Celery's ear for the bell, in one process."""

import signal

from celery import signals

from services.broker import make_app, make_worker
from services.dispatcher import dam
from services.dispatcher.courier import Courier
from services.dispatcher.errands import Errands
from services.dispatcher.tasks import register
from services.heart import Heart
from services.watch import Watch
from twinning import clocks, keyring
from twinning.database import Database
from twinning.settings import Settings
from twinning.terms import Bell, Service
from twinning.vault import vault_of
from twinning.workers import name_of

# From SIGTERM to the end of the process no supervisor should have to wait for longer.
STOP_S = 3.0
# Every delivery rings the same bell, and errands are not so pressing that each ring should be a look.
REST_S = 0.2


def run(settings: Settings) -> int:
    """Deliver until SIGTERM or SIGINT; gives the exit code of the process.

    The courier starts before the broker is reached and works without it, by its scan. Raises
    `WrongSetting` when the settings name no broker, `Unready` when the clock is not the database's or the
    HTTP client is one that we cannot bound.
    """
    dam.must_hold()
    app = make_app(settings)
    # The task takes microseconds, so there is nothing that a soft shutdown could wait for.
    app.conf.update(worker_soft_shutdown_timeout=0.0, worker_enable_soft_shutdown_on_idle=False)
    name = name_of(Service.DISPATCHER)

    def wake() -> None:
        courier.wake()
        errands.wake()

    database = Database(
        settings.database, lambda _bell: wake(), vault_of(settings.secrets_key, settings.secrets_key_old)
    )
    keyring.must_open(database)
    clocks.must_agree_at_start(database)
    courier = Courier(database, settings, name)
    errands = Watch(
        "errands", Errands(database, settings, name).go_on, settings.scan_interval_s, rest_s=REST_S
    )
    register(app, wake)

    def halt(**_: object) -> None:
        errands.halt()
        courier.halt(STOP_S)

    signals.worker_shutting_down.connect(halt, weak=False)
    # Until Celery listens to signals itself, a second or more from now, this does.
    signal.signal(signal.SIGTERM, _end)
    heart = Heart(database, name, Service.DISPATCHER)
    heart.start()
    courier.start()
    errands.start()
    try:
        worker = make_worker(app, Bell.DELIVER, name)
        worker.start()
        return int(worker.exitcode or 0)
    finally:
        errands.halt()
        courier.stop(STOP_S)
        errands.stop(STOP_S)
        heart.stop()
        database.close()


def _end(*_: object) -> None:
    raise SystemExit(0)
