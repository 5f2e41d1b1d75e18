# SPDX-License-Identifier: Apache-2.0
"""The delivery worker as a process: a courier, its errands, and an ear for the bell.

With the broker away the courier's own look at what is due is left, and enough.
"""

import signal

from services.broker import broker_of
from services.dispatcher import dam
from services.dispatcher.courier import Courier
from services.dispatcher.ear import Ear
from services.dispatcher.errands import Errands
from services.heart import Heart
from services.watch import Watch
from twinning import clocks, keyring
from twinning.database import Database
from twinning.settings import Settings
from twinning.terms import Service
from twinning.vault import vault_of
from twinning.workers import name_of

# From SIGTERM to the end of the process no supervisor should have to wait for longer.
STOP_S = 3.0
# Every delivery rings the same bell, and errands are not so pressing that each ring should be a look.
REST_S = 0.2
STOPPING = {signal.SIGTERM, signal.SIGINT}


def run(settings: Settings) -> int:
    """Deliver until SIGTERM or SIGINT; gives the exit code of the process.

    The courier starts before the broker is reached and works without it, by its scan. Raises
    `WrongSetting` when the settings name no broker, `Unready` when the clock is not the database's or the
    HTTP client is one that we cannot bound.
    """
    dam.must_hold()
    name = name_of(Service.DISPATCHER)

    def wake() -> None:
        courier.wake()
        errands.wake()

    def back() -> None:
        # Without an interval the bell alone starts anything.
        if settings.scan_interval_s:
            wake()

    ear = Ear(broker_of(settings), wake, back)
    database = Database(
        settings.database, lambda _bell: wake(), vault_of(settings.secrets_key, settings.secrets_key_old)
    )
    keyring.must_open(database)
    clocks.must_agree_at_start(database)
    courier = Courier(database, settings, name)
    errands = Watch(
        "errands", Errands(database, settings, name).go_on, settings.scan_interval_s, rest_s=REST_S
    )
    heart = Heart(database, name, Service.DISPATCHER)
    # Held back in all threads, which inherit this, a signal waits until the main thread asks for it.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    heart.start()
    courier.start()
    errands.start()
    ear.start()
    try:
        signal.sigwait(STOPPING)
        return 0
    finally:
        errands.halt()
        courier.stop(STOP_S)
        errands.stop(STOP_S)
        ear.stop(STOP_S)
        heart.stop()
        database.close()
