# SPDX-License-Identifier: Apache-2.0
"""What is done beside the deliveries, in a watch of its own: replays, and looks at endpoints that ail.

Any number of dispatchers may do this on one database: a replay's batch is a unit of work under lease and
fence, and a look holds what it changes.
"""

import time

from services import units
from twinning import outcomes, replays, verification, work
from twinning.database import HELD, Database
from twinning.replays import ENDED
from twinning.settings import Settings
from twinning.terms import Work
from twinning.work import Claim

LOOK_EVERY_S = 60.0
GIVEN_UP = "A batch of this replay failed each time it was tried."


class Errands:
    """Runs the errands of a dispatcher; `name` is what the leases say."""

    def __init__(self, database: Database, settings: Settings, name: str) -> None:
        self._database = database
        self._settings = settings
        self._name = name
        self._looked_at: float | None = None

    def go_on(self) -> bool:
        """Do the next batch of a replay, or else look at endpoints now and then.

        Gives whether there may be more to do.
        """
        if self.take():
            return True
        if self._looked_at is None or time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self.look()
            self._looked_at = time.monotonic()
        return False

    def take(self) -> bool:
        """Do the next batch of a replay that waits; gives whether there was one."""
        with self._database.snapshot() as session:
            if not work.is_due(session, Work.REPLAY):
                return False
        with self._database.transaction() as session:
            claims = work.claim(session, self._name, 1, self._settings.lease_s, [Work.REPLAY])
        for claim in claims:
            units.attempt(self._database, claim, self._do)
        return bool(claims)

    def _do(self, claim: Claim) -> None:
        """Do the next batch of a replay, and see whether there is another."""
        with self._database.writing() as session:
            more = replays.advance(session, claim.subject)
            # Where the fence does not hold, somebody else has the replay by now, and this is undone.
            if work.pass_on(session, claim) if more else work.finish(session, [claim]):
                self._database.commit(session)

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
                row = session.get(replays.Replay, replay_id, with_for_update=HELD)
                if row is not None and row.state not in ENDED:
                    replays.fail(session, row, GIVEN_UP)
                work.strike(session, Work.REPLAY, [replay_id])
