# SPDX-License-Identifier: Apache-2.0
"""What is done beside the deliveries, in a thread of its own: replays, and looks at endpoints that ail.

The bell makes it fast, the look at each interval makes it sure. Any number of dispatchers may do this on
one database: a replay's batch is a unit of work under lease and fence, and a look holds what it changes.
"""

import threading
import time

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError

from twinning import outcomes, replays, verification, work
from twinning.database import Database
from twinning.replays import ENDED
from twinning.settings import Settings
from twinning.terms import Work
from twinning.work import Claim

RETRY_S = 1.0
LOOK_EVERY_S = 60.0
# Every delivery rings the same bell, and errands are not so pressing that each ring should be a look.
SHORTEST_WAIT_S = 0.2
GIVEN_UP = "A batch of this replay failed each time it was tried."

log = structlog.get_logger(__name__)


class Errands:
    """A thread that runs errands from start to stop; `name` is what the leases say."""

    def __init__(self, database: Database, settings: Settings, name: str) -> None:
        self._database = database
        self._settings = settings
        self._name = name
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._looked_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="errands", daemon=True)

    def start(self) -> None:
        """Begin, with a look at once."""
        self._thread.start()

    def wake(self) -> None:
        """Say that something may be due; returns at once, from any thread."""
        self._bell.set()

    def halt(self) -> None:
        """Ask for the end after the batch that is under way, and return at once."""
        self._stopping.set()
        self._bell.set()

    def stop(self, timeout: float) -> None:
        """End; `timeout` is in seconds."""
        self.halt()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._bell.clear()
            try:
                while not self._stopping.is_set() and self.take():
                    pass
                self._look_now_and_then()
            except Exception:
                # Whatever it was, the next look may go well; the deliveries must not suffer by it.
                log.exception("an errand failed")
            self._bell.wait(self._settings.scan_interval_s or None)
            self._stopping.wait(SHORTEST_WAIT_S)

    def take(self) -> bool:
        """Do the next batch of a replay that waits; gives whether there was one."""
        with self._database.snapshot() as session:
            if not work.is_due(session, Work.REPLAY):
                return False
        with self._database.transaction() as session:
            claims = work.claim(session, self._name, 1, self._settings.lease_s, [Work.REPLAY])
        for claim in claims:
            self._do(claim)
        return bool(claims)

    def _do(self, claim: Claim) -> None:
        try:
            with self._database.writing() as session:
                more = replays.advance(session, claim.subject)
                # Where the fence does not hold, somebody else has the replay by now, and this is undone.
                if work.pass_on(session, claim) if more else work.finish(session, [claim]):
                    self._database.commit(session)
        except (OperationalError, InterfaceError):
            # The database is away or has chosen us to lose a race. Where even this fails, the lease ends.
            log.warning("the database refused", subject=claim.subject, exc_info=True)
            with self._database.transaction() as session:
                work.release(session, [claim], RETRY_S)
        except Exception as error:
            log.exception("a replay failed", subject=claim.subject)
            with self._database.transaction() as session:
                work.set_back(session, claim, f"{type(error).__name__}: {error}")

    def _look_now_and_then(self) -> None:
        if self._looked_at is not None and time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return
        self.look()
        self._looked_at = time.monotonic()

    def look(self) -> None:
        """Warn of endpoints that ail, switch off those that are dead, and end replays that cannot go on."""
        with self._database.snapshot() as session:
            ailing = outcomes.any_to_judge(session)
            late = verification.any_late(session)
            stuck = work.set_aside(session, Work.REPLAY)
        if ailing:
            with self._database.transaction() as session:
                outcomes.judge_all(session)
        if late:
            with self._database.transaction() as session:
                verification.expire(session)
        for replay_id in stuck:
            with self._database.transaction() as session:
                row = session.get(replays.Replay, replay_id, with_for_update=True)
                if row is not None and row.state not in ENDED:
                    replays.fail(session, row, GIVEN_UP)
                work.strike(session, Work.REPLAY, [replay_id])
