# SPDX-License-Identifier: Apache-2.0
"""The matcher: takes the units of work that are due, does each, and writes what came of it."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlmodel import Session

from services.matcher import assembling, previewing, rounds
from services.matcher.keeping import Keeper
from services.matcher.suggesting import Changed, Found, Overtaken, keep, look, look_again
from twinning import catalogue, deadlines, idempotency, previews, pruning, work
from twinning import rounds as stored_rounds
from twinning.database import Database, now
from twinning.settings import Settings
from twinning.terms import Band, RoundState, Work
from twinning.work import Claim

log = structlog.get_logger(__name__)

CHANGES: Final = (Work.MATCH_LISTING, Work.MATCH_CITY)
BATCHES: Final = (Work.MATCH_BATCH,)
SLOW: Final = (Work.DEADLINES, Work.ROUND_ASSEMBLY, Work.ROUND_BLOCK, Work.REFRESH, Work.TIDY)
# More at once would be cheaper and hold the one writer of SQLite for longer.
AT_ONCE: Final = 25
RETRY_S: Final = 1.0
# Other workers keep suggestions, too; whoever is overtaken so often in a row lets them go first.
MOST_LOOKS: Final = 20
ALL: Final = "all"
TIDY_EVERY: Final = timedelta(hours=1)
TIDY_AGAIN: Final = timedelta(minutes=1)
TIDY_S: Final = 5.0
CITIES_IN_A_REFRESH: Final = 50


class Matcher:
    """One worker's hands: a catalogue in memory and a database to work on."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        name: str,
        is_importing: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take what to work on, and what says whether this process imports a file beside it."""
        self.name = name
        self._is_importing = is_importing
        self._database = database
        self._settings = settings
        self._refresh_every = timedelta(seconds=settings.refresh_interval_s)
        self._planned = False
        self._keeper = Keeper()
        self._busy = threading.Lock()
        self._stopping = threading.Event()
        self._hands: dict[Work, Callable[[Claim], None]] = {
            Work.PREVIEW: self._preview,
            Work.MATCH_BATCH: self._batch,
            Work.ROUND_ASSEMBLY: self._round,
            Work.ROUND_BLOCK: self._block,
            Work.REFRESH: self._refresh,
            Work.TIDY: self._tidy,
            Work.DEADLINES: self._deadlines,
        }

    def renew(self, session: Session) -> None:
        """Keep what is in hand for another lease; work may take longer than one."""
        work.renew(session, self.name, self._settings.lease_s)

    def stop(self) -> None:
        """Take nothing more; what is under way is finished."""
        self._stopping.set()

    def read(self) -> None:
        """Bring the catalogue in memory up to date, so that the first unit need not wait for it."""
        with self._busy:
            with self._database.snapshot() as session:
                self._keeper.catch_up(session)
            # While a file is read nothing of it is matched, and what was counted would pile up.
            if counted := list(self._keeper.counted):
                with self._database.transaction() as session:
                    catalogue.keep_counts(session, counted)
                del self._keeper.counted[: len(counted)]

    def take(self) -> int:
        """Do all that is due; gives the number of units. Called by the bell and by the scan alike."""
        done = 0
        with self._busy:
            while not self._stopping.is_set() and (claims := self.claim()):
                self.do(claims)
                done += len(claims)
        return done

    def look(self) -> bool:
        """Look for what is due though no bell has rung for it, and do it all, so that nothing is left."""
        self.plan()
        self.read()
        self.take()
        return False

    def plan(self) -> None:
        """See to it, once, that what is done regularly stands in the queue for its time."""
        if self._planned:
            return
        with self._database.transaction() as session:
            work.plan(session, Work.REFRESH, ALL, now() + self._refresh_every)
            work.plan(session, Work.TIDY, ALL, now() + TIDY_EVERY)
            work.plan(session, Work.DEADLINES, ALL, now())
        self._planned = True

    def claim(self) -> list[Claim]:
        """Take what is quick together, or else one thing that is slow."""
        with self._database.snapshot() as session:
            if not work.is_due(session):
                return []
        with self._database.transaction() as session:
            lease_s = self._settings.lease_s
            # Somebody waits for a preview; changes are done together; what a file has brought comes after
            # what people have changed, and after the file: until then each batch would be matched against
            # another catalogue, and both would share one interpreter. Of the slow ones, one at a time.
            batches = 0 if self._is_importing() else 1
            turns = (((Work.PREVIEW,), AT_ONCE), (CHANGES, AT_ONCE), (BATCHES, batches), (SLOW, 1))
            for kinds, most in turns:
                if most and (claims := work.claim(session, self.name, most, lease_s, kinds)):
                    return claims
            return []

    def do(self, claims: Sequence[Claim]) -> None:
        """Do some units: the changes in one go, each of the others by itself."""
        changes = [claim for claim in claims if claim.kind in CHANGES]
        for claim in claims:
            if claim.kind not in CHANGES:
                self._try([claim], lambda some: self._hands[some[0].kind](some[0]))
        if changes and not self._try(changes, self._change, alone=len(changes) == 1):
            # One of them spoils the rest; apart, only that one is set back.
            for claim in changes:
                self._try([claim], self._change)

    def _try(
        self, claims: Sequence[Claim], do: Callable[[Sequence[Claim]], None], *, alone: bool = True
    ) -> bool:
        """Do units; when that fails, set a lone one back with its error. Gives whether it went well."""
        try:
            do(claims)
        except (OperationalError, InterfaceError):
            # The database is away or has chosen us to lose a race: nobody's fault. Where even this fails,
            # the lease gives the work back.
            log.warning("the database refused", kind=claims[0].kind, units=len(claims), exc_info=True)
            self._keeper = Keeper()
            with self._database.transaction() as session:
                work.release(session, claims, RETRY_S)
        except Exception as error:
            # The catalogue in memory may be half changed; it is cheap to read again.
            self._keeper = Keeper()
            log.exception("work failed", kind=claims[0].kind, subject=claims[0].subject, units=len(claims))
            if alone:
                self._set_back(claims[0], error)
            return False
        return True

    def _set_back(self, claim: Claim, error: Exception) -> None:
        """Give a unit back; a round whose unit cannot be done has failed."""
        of_a_round = claim.kind in {Work.ROUND_ASSEMBLY, Work.ROUND_BLOCK}
        with self._database.transaction() as session:
            row = (
                stored_rounds.get(session, claim.subject.partition("/")[0], hold=True) if of_a_round else None
            )
            work.set_back(session, claim, f"{type(error).__name__}: {error}")
            if row is not None and claim.tries >= work.MOST_TRIES and row.state not in stored_rounds.ENDED:
                rounds.fail(session, row, "A part of this round failed each time it was tried.")

    def _change(self, claims: Sequence[Claim]) -> None:
        """Find and keep what changes of listings and cities mean."""
        changed = Changed(
            listings={claim.subject for claim in claims if claim.kind is Work.MATCH_LISTING},
            cities={claim.subject for claim in claims if claim.kind is Work.MATCH_CITY},
        )
        self._keep(claims, lambda session: look(self._keeper, session, changed, *self._lists()))

    def _batch(self, claim: Claim) -> None:
        """Find and keep what new listings mean; where it does not go well, each is asked for by itself."""
        listings = claim.payload["listings"]
        if claim.tries == 1:
            changed = Changed(listings=set(listings))
            self._keep([claim], lambda session: look(self._keeper, session, changed, *self._lists()))
            return
        with self._database.transaction() as session:
            if work.finish(session, [claim]):
                work.enqueue_all(session, Work.MATCH_LISTING, listings)

    def _lists(self) -> tuple[int, Band]:
        """How long the lists of best partners are, and what may be on them."""
        return self._settings.per_city, self._settings.min_band

    def _keep(self, claims: Sequence[Claim], find: Callable[[Session], Found]) -> None:
        """Look and keep, again when another worker was faster."""
        for _ in range(MOST_LOOKS):
            with self._database.snapshot() as session:
                found = find(session)
            try:
                with self._database.transaction() as session:
                    # The units first: whoever changes a listing holds it while waiting for its unit.
                    work.finish(session, claims)
                    told = keep(session, found)
            except Overtaken:
                continue
            del self._keeper.counted[: len(found.counted)]
            log.info("kept", units=len(claims), version=self._keeper.version, **asdict(told))
            return
        raise RuntimeError(f"overtaken {MOST_LOOKS} times in a row by other workers")

    def _preview(self, claim: Claim) -> None:
        """Answer a preview."""
        with self._database.snapshot() as session:
            request = previews.PreviewRequest.model_validate(previews.get(session, claim.subject).request)
            answer = previewing.answer(self._keeper, session, request)
        with self._database.transaction() as session:
            previews.get(session, claim.subject).answer = answer.model_dump(mode="json")
            work.finish(session, [claim])

    def _round(self, claim: Claim) -> None:
        """Cut a new round into blocks, or put one together whose blocks are done."""
        with self._database.snapshot() as session:
            state = stored_rounds.get(session, claim.subject).state
        if state == RoundState.QUEUED:
            self._cut(claim)
        elif state == RoundState.RUNNING:
            self._assemble(claim)
        else:
            self._strike(claim)

    def _cut(self, claim: Claim) -> None:
        with self._database.snapshot() as session:
            blocks = rounds.cut(self._keeper, session, stored_rounds.get(session, claim.subject))
        with self._database.transaction() as session:
            row = stored_rounds.get(session, claim.subject, hold=True)
            if work.finish(session, [claim]) and row.state == RoundState.QUEUED:
                stored_rounds.cut(session, row, blocks)

    def _assemble(self, claim: Claim) -> None:
        """Choose and explain at leisure, then write; a database of one writer is not kept from others."""
        with self._database.snapshot() as session:
            wanted = stored_rounds.request_of(stored_rounds.get(session, claim.subject))
            blocks = stored_rounds.blocks_of(session, claim.subject)
            gathered = assembling.gather(self._keeper, session, wanted, blocks)
        with self._database.transaction() as session:
            row = stored_rounds.get(session, claim.subject, hold=True)
            if work.finish(session, [claim]) and row.state == RoundState.RUNNING:
                assembling.assemble(session, row, gathered, self._settings.public_url)

    def _block(self, claim: Claim) -> None:
        """Match one block of a round; the last one asks for the assembly."""
        round_id, _, number = claim.subject.partition("/")
        with self._database.snapshot() as session:
            wanted = stored_rounds.request_of(stored_rounds.get(session, round_id))
            learners = stored_rounds.learners_of(session, round_id, int(number))
            found = rounds.match_block(self._keeper, session, wanted, learners)
        with self._database.transaction() as session:
            # Who cancels holds the round and then wants its units; so do we, in the same order.
            stored_rounds.get(session, round_id, hold=True)
            if work.finish(session, [claim]):
                stored_rounds.end_block(session, round_id, int(number), found.pack(), self._keeper.version)

    def _refresh(self, claim: Claim) -> None:
        """Score again what stands: all of it is cut into blocks of cities, and each block is looked at."""
        if claim.subject == ALL:
            self._cut_refresh(claim)
            return
        cities = claim.payload["cities"]
        self._keep([claim], lambda session: look_again(self._keeper, session, cities, *self._lists()))

    def _cut_refresh(self, claim: Claim) -> None:
        with self._database.snapshot() as session:
            self._keeper.catch_up(session)
        cities = [str(city) for city in self._keeper.corpus.cities]
        with self._database.transaction() as session:
            work.finish(session, [claim])
            for start in range(0, len(cities), CITIES_IN_A_REFRESH):
                some = {"cities": cities[start : start + CITIES_IN_A_REFRESH]}
                work.enqueue(session, Work.REFRESH, f"block/{start // CITIES_IN_A_REFRESH}", some)
            work.plan(session, Work.REFRESH, ALL, now() + self._refresh_every)

    def _tidy(self, claim: Claim) -> None:
        """Forget what has been kept long enough; what is left after some seconds has its turn soon again."""
        done = pruning.prune(self._database, TIDY_S)
        with self._database.transaction() as session:
            idempotency.forget_old(session)
            previews.forget_old(session)
            work.finish(session, [claim])
            work.plan(session, Work.TIDY, ALL, now() + (TIDY_EVERY if done else TIDY_AGAIN))

    def _deadlines(self, claim: Claim) -> None:
        """Let needs expire, and practices lapse that nobody confirms."""
        next_look = deadlines.keep(self._database)
        with self._database.transaction() as session:
            # Asked for again meanwhile, it stands in the queue as it is.
            work.finish(session, [claim])
            work.plan(session, Work.DEADLINES, ALL, next_look)

    def _strike(self, claim: Claim) -> None:
        with self._database.transaction() as session:
            work.finish(session, [claim])
