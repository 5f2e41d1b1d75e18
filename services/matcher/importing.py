# SPDX-License-Identifier: Apache-2.0
"""Importing files beside the matching, in a watch of its own: neither waits for the other's queue.

A batch of an import is a unit of work under lease and fence, and one transaction: its rows, their events,
what was refused, and the position. Any number of workers may do this on one database.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlmodel import Session

from services import units
from services.matcher.engine.neighbours import smallest_sums
from services.matcher.file_reading import AT_ONCE, Batch, Reading
from twinning import audit, imports, landing, outbox, work
from twinning.audit import Actor
from twinning.database import HELD, Database, now
from twinning.events import ImportCompleted
from twinning.imports import ENDED, Import
from twinning.keys import ApiKey, caller_of, is_live
from twinning.landing import Seen
from twinning.settings import Settings
from twinning.terms import ImportState, Role, Work
from twinning.work import Claim

GIVEN_UP = "A part of this import failed each time it was tried."


class Importer:
    """Imports what waits, a batch at a time; `name` is what the leases say."""

    def __init__(self, database: Database, settings: Settings, name: str) -> None:
        self._database = database
        self._settings = settings
        self._name = name
        self._reading: Reading | None = None
        # Whether a file is in hand: a batch of it is landed, or more is to come as far as this worker knows.
        self.is_busy = False

    def go_on(self) -> bool:
        """Do the next batch, or else end what cannot go on; gives whether there may be more to do."""
        more = False
        try:
            more = self.take()
        finally:
            self.is_busy = more
        if not more:
            self._give_up()
        return more

    def take(self) -> bool:
        """Do the next batch of an import that waits; gives whether there was one."""
        with self._database.snapshot() as session:
            if not work.is_due(session, Work.IMPORT):
                return False
        with self._database.transaction() as session:
            claims = work.claim(session, self._name, 1, self._settings.lease_s, [Work.IMPORT])
        # Said before the batch and not after it, or the matching would begin while one is landed.
        self.is_busy = bool(claims)
        for claim in claims:
            with _uncollected():
                self._try(claim)
            self._database.shorten_log()
        return bool(claims)

    def let_go(self) -> None:
        """Close the file that is open."""
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    def _try(self, claim: Claim) -> None:
        well = False
        try:
            well = units.attempt(self._database, claim, self._do)
        finally:
            # What has been read ahead of a failure is not trusted.
            if not well:
                self.let_go()

    def _do(self, claim: Claim) -> None:
        """Read a batch and land it; what was read under an old fence is forgotten."""
        with self._database.snapshot() as session:
            row = session.get(Import, claim.subject)
        land = self._ready(row)
        kept = False
        with self._database.writing() as session:
            more = land is not None and _advance(session, claim.subject, land)
            if work.pass_on(session, claim) if more else work.finish(session, [claim]):
                self._database.commit(session)
                kept = True
        if not (kept and more):
            self.let_go()

    def _ready(self, row: Import | None) -> Callable[[Session, Import], None] | None:
        """Read what is to be landed next, before the transaction; None where there is nothing to do."""
        if row is None or row.state in ENDED:
            return None
        moderation = self._settings.moderation
        if row.read:
            return lambda session, held: _land_waiting(session, held, moderation=moderation)
        reading = self._reading
        if reading is None or reading.import_id != row.id or reading.position > row.position:
            self.let_go()
            reading = self._reading = Reading(self._database, row)
        reading.go_on_from(row.position)
        batch = reading.next()
        seen = reading.seen
        return lambda session, held: _land_batch(session, held, batch, seen, moderation=moderation)

    def _give_up(self) -> None:
        """End the imports whose batch has failed, or ended, every worker that took it."""
        with self._database.snapshot() as session:
            stuck = work.set_aside(session, Work.IMPORT)
        for import_id in stuck:
            with self._database.transaction() as session:
                row = session.get(Import, import_id, with_for_update=HELD)
                if row is not None and row.state not in ENDED:
                    imports.end(session, row, ImportState.FAILED, GIVEN_UP)
                work.strike(session, Work.IMPORT, [import_id])


@contextmanager
def _uncollected() -> Iterator[None]:
    """Put off the search for cycles until a batch is done.

    Its many objects, all short-lived, form next to none, and would have the search go through everything
    that the process holds, the catalogue included, several times a batch.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _advance(session: Session, import_id: str, land: Callable[[Session, Import], None]) -> bool:
    """Land what was read and move the import on; gives whether there is more to do."""
    row = imports.get(session, import_id, hold=True)
    if row.state in ENDED:
        return False
    key = session.get(ApiKey, row.asked_by)
    if key is None or not is_live(key, now()):
        imports.end(session, row, ImportState.FAILED, "The key that sent this file has ended.")
        return False
    land(session, row)
    if not row.read or imports.next_waiting(session, row.id, 1):
        imports.touch(session, row, ImportState.RUNNING)
        return True
    if row.error is not None:
        imports.end(session, row, ImportState.FAILED, row.error)
        return False
    imports.end(session, row, ImportState.COMPLETED)
    session.flush()
    outbox.record(session, ImportCompleted(data=imports.public(row), asked_by=row.asked_by))
    return False


def _land_batch(session: Session, row: Import, batch: Batch, seen: Seen, *, moderation: bool) -> None:
    """Land a batch of the file, and move the position to its end."""
    _land(session, row, batch, seen, moderation=moderation)
    imports.count(row, {"rows": batch.rows})
    row.position, row.done, row.read = batch.last, min(batch.done, row.size), batch.ended
    if batch.bad is not None:
        row.error = batch.bad.sentence


def _land_waiting(session: Session, row: Import, *, moderation: bool) -> None:
    """Land the next rows that have waited for the end of the file; now their city is known or missing."""
    batch = Batch()
    for its in imports.next_waiting(session, row.id, AT_ONCE):
        batch.add(its)
    _land(session, row, batch, Seen(), moderation=moderation)
    imports.strike_waiting(session, row.id, batch.last)


def _land(session: Session, row: Import, batch: Batch, seen: Seen, *, moderation: bool) -> None:
    key = session.get(ApiKey, row.asked_by)
    assert key is not None
    audit.act_for(session, Actor(key.id, key.name, Role(key.role), row.address))
    landed = landing.land(
        session,
        caller_of(key),
        batch.records,
        seen,
        moderation=moderation,
        at_the_end=row.read,
        sums_of=smallest_sums,
    )
    imports.put_off(session, row, landed.waiting)
    imports.refuse(session, row, {**batch.wrong, **landed.refused})
    imports.count(row, {"created": landed.created, "updated": landed.updated, "unchanged": landed.unchanged})
