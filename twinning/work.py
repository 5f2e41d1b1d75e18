# SPDX-License-Identifier: Apache-2.0
"""Units of work with lease and fence: what is due, who has it, and whose result no longer counts.

A unit is due when its `due_at` has passed. Who claims it moves `due_at` to the end of a lease and
raises the fence; so a worker that dies gives its unit back by doing nothing, and one that comes
late finds another fence and writes nothing. Asking again for work that is under way raises the
fence too: the running worker's result, made from an older state, is refused and made again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, UniqueConstraint, delete, func, select, tuple_, update
from sqlmodel import Field, Session, SQLModel, col

from twinning.database import before_commit, new_id, now, ring_after
from twinning.dialects import Id, Instant, Json
from twinning.inserting import put_all
from twinning.terms import Bell, Work

# A unit that kills or fails every worker which takes it is set aside after so many.
MOST_TRIES = 10
# Who hears of a unit; what is not named here is a matcher's.
BELLS = {Work.REPLAY: Bell.DELIVER}


class WorkUnit(SQLModel, table=True):
    """One thing to do, at most once at a time for each kind and subject."""

    __tablename__ = "work_unit"
    __table_args__ = (UniqueConstraint("kind", "subject"),)

    id: str = Field(default_factory=new_id, primary_key=True, sa_type=Id)
    kind: str = Field(max_length=20)
    subject: str = Field(max_length=80)
    payload: dict[str, Any] = Field(default_factory=dict, sa_type=Json)
    due_at: datetime | None = Field(default_factory=now, sa_type=Instant, index=True, nullable=True)
    fence: int = Field(default=0, sa_type=BigInteger)
    tries: int = 0
    leased_by: str | None = Field(default=None, max_length=80)
    error: str | None = None
    created_at: datetime = Field(default_factory=now, sa_type=Instant)


@dataclass(frozen=True, slots=True)
class Claim:
    """A unit in a worker's hands, under the fence it was taken with."""

    id: str
    kind: Work
    subject: str
    payload: dict[str, Any]
    fence: int
    tries: int


def enqueue(session: Session, kind: Work, subject: str, payload: dict[str, Any] | None = None) -> None:
    """Ask for work in this transaction; asked for again while it waits or runs, it is done (again) once."""
    enqueue_all(session, kind, [subject], payload)


def enqueue_all(
    session: Session, kind: Work, subjects: Sequence[str], payload: dict[str, Any] | None = None
) -> None:
    """Ask for the same work on some subjects."""
    if not subjects:
        return
    session.info.setdefault("work", {}).update(((kind, subject), payload or {}) for subject in subjects)
    before_commit(session, "work", write)
    ring_after(session, BELLS.get(kind, Bell.MATCH))


def write(session: Session) -> None:
    """Write what this transaction has asked for so far, in one order, as everybody who waits for such rows.

    It is done at the commit; whoever takes the turn of those who keep suggestions does it before, since they
    hold their units when they wait for that turn.
    """
    moment = now()
    asked: dict[tuple[Work, str], dict[str, Any]] = session.info.pop("work", {})
    units = [_unit(kind, subject, asked[kind, subject], moment) for kind, subject in sorted(asked)]
    put_all(
        session,
        WorkUnit,
        units,
        ["kind", "subject"],
        ["payload", "due_at", "fence", "tries", "leased_by", "error"],
    )


def plan(session: Session, kind: Work, subject: str, due_at: datetime) -> None:
    """See to it that work stands in the queue for a later time; where it stands already it is left alone.

    What was set aside gets another chance: regular work may have failed for a reason that is mended.
    """
    put_all(session, WorkUnit, [_unit(kind, subject, {}, due_at)], ["kind", "subject"], [])
    session.execute(
        update(WorkUnit)
        .where(col(WorkUnit.kind) == kind, col(WorkUnit.subject) == subject, col(WorkUnit.due_at).is_(None))
        .values(due_at=due_at, tries=0)
    )


def _unit(kind: Work, subject: str, payload: dict[str, Any], due_at: datetime) -> dict[str, Any]:
    moment = now()
    return {
        "id": new_id(),
        "kind": kind,
        "subject": subject,
        "payload": payload,
        "due_at": due_at,
        "fence": _fence_of(moment),
        "tries": 0,
        "leased_by": None,
        "error": None,
        "created_at": moment,
    }


def _fence_of(moment: datetime) -> int:
    """Start a fence from the clock in microseconds: later asks have larger fences without reading the row."""
    return int(moment.timestamp() * 1_000_000)


def claim(
    session: Session, worker: str, most: int, lease_s: float, kinds: Sequence[Work] = ()
) -> list[Claim]:
    """Take up to `most` due units, oldest first; others skip what this transaction holds.

    A unit that was taken before and did not end may have ended its worker: it is taken alone, and after
    so many tries it is set aside.
    """
    moment = now()
    due = select(WorkUnit).where(col(WorkUnit.due_at) <= moment)
    if kinds:
        due = due.where(col(WorkUnit.kind).in_(kinds))
    due = due.order_by(col(WorkUnit.tries) > 0, col(WorkUnit.due_at)).limit(most)
    rows = session.scalars(due.with_for_update(skip_locked=True)).all()
    fresh = [row for row in rows if row.tries == 0]
    taken = []
    for row in fresh or rows[:1]:
        row.leased_by = None
        if row.tries >= MOST_TRIES:
            row.due_at, row.error = None, row.error or "it has ended every worker that took it"
        else:
            row.due_at = moment + timedelta(seconds=lease_s)
            row.fence, row.tries, row.leased_by = row.fence + 1, row.tries + 1, worker
            taken.append(row)
        session.add(row)
    session.flush()
    return [
        Claim(row.id, Work(row.kind), row.subject, row.payload, row.fence, row.tries)
        for row in sorted(taken, key=lambda row: row.id)
    ]


def renew(session: Session, worker: str, lease_s: float) -> None:
    """Keep what a living worker still has in its hands from being given to another.

    What somebody holds just now is being ended, or asked for anew; at the next beat it is known which.
    """
    moment = now()
    mine = select(col(WorkUnit.id)).where(col(WorkUnit.leased_by) == worker, col(WorkUnit.due_at) > moment)
    free = session.scalars(mine.with_for_update(skip_locked=True)).all()
    session.execute(
        update(WorkUnit).where(col(WorkUnit.id).in_(free)).values(due_at=moment + timedelta(seconds=lease_s))
    )


def finish(session: Session, claims: Sequence[Claim]) -> set[str]:
    """Strike off what is done; give the ids of those whose fence still held, which alone may be kept."""
    if not claims:
        return set()
    done = _held(session, _has_fence(claims))
    session.execute(delete(WorkUnit).where(col(WorkUnit.id).in_(done)))
    return set(done)


def _has_fence(claims: Sequence[Claim]) -> ColumnElement[bool]:
    """Ask for those of these units that are still as they were claimed."""
    return tuple_(col(WorkUnit.id), col(WorkUnit.fence)).in_([(claim.id, claim.fence) for claim in claims])


def _held(session: Session, wanted: ColumnElement[bool]) -> Sequence[str]:
    """Hold units in the order in which who asks for them does, so that no two wait for each other."""
    units = select(col(WorkUnit.id)).where(wanted).order_by(col(WorkUnit.kind), col(WorkUnit.subject))
    return session.scalars(units.with_for_update()).all()


def set_back(session: Session, unit: Claim, error: str) -> None:
    """Give a failed unit back with its error; it waits longer each time and is set aside in the end."""
    pause = timedelta(seconds=min(300, 2**unit.tries))
    due_at = None if unit.tries >= MOST_TRIES else now() + pause
    session.execute(
        update(WorkUnit)
        .where(col(WorkUnit.id) == unit.id, col(WorkUnit.fence) == unit.fence)
        .values(due_at=due_at, error=error[:2000], leased_by=None)
    )


def pass_on(session: Session, unit: Claim) -> bool:
    """Give a unit back that has got on and has more to do; False when its fence does not hold any more."""
    statement = (
        update(WorkUnit)
        .where(col(WorkUnit.id) == unit.id, col(WorkUnit.fence) == unit.fence)
        .values(due_at=now(), tries=0, leased_by=None)
        .returning(col(WorkUnit.id))
    )
    return session.execute(statement).first() is not None


def set_aside(session: Session, kind: Work) -> Sequence[str]:
    """Name the subjects whose units have failed, or ended, every worker that took them."""
    query = select(col(WorkUnit.subject)).where(col(WorkUnit.kind) == kind, col(WorkUnit.due_at).is_(None))
    return session.scalars(query).all()


def release(session: Session, claims: Sequence[Claim], pause_s: float) -> None:
    """Give units back that could not be done through no fault of theirs."""
    held = _held(session, _has_fence(claims))
    session.execute(
        update(WorkUnit)
        .where(col(WorkUnit.id).in_(held))
        .values(due_at=now() + timedelta(seconds=pause_s), tries=WorkUnit.tries - 1, leased_by=None)
    )


def strike(session: Session, kind: Work, subjects: Sequence[str]) -> None:
    """Take back what was asked for and is not wanted any more."""
    held = _held(session, (col(WorkUnit.kind) == kind) & col(WorkUnit.subject).in_(subjects))
    session.execute(delete(WorkUnit).where(col(WorkUnit.id).in_(held)))


def is_due(session: Session, kind: Work | None = None) -> bool:
    """Say whether anything, or anything of a kind, waits to be taken."""
    query = select(col(WorkUnit.id)).where(col(WorkUnit.due_at) <= now())
    if kind:
        query = query.where(col(WorkUnit.kind) == kind)
    return session.scalar(query.limit(1)) is not None


def oldest_due(session: Session) -> datetime | None:
    """Give when the longest-waiting due unit became due."""
    return session.scalar(select(func.min(WorkUnit.due_at)).where(col(WorkUnit.due_at) <= now()))


def waiting(session: Session, kind: Work | None = None) -> int:
    """Count the units not yet done, those set aside left out."""
    query = select(func.count()).select_from(WorkUnit).where(col(WorkUnit.due_at).is_not(None))
    if kind:
        query = query.where(col(WorkUnit.kind) == kind)
    return session.scalar(query) or 0
