# SPDX-License-Identifier: Apache-2.0
"""The database: one kind of session, one transaction a request or task, one log of what was committed."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

import uuid_utils
from sqlalchemy import BigInteger, bindparam, text
from sqlalchemy.sql import update
from sqlalchemy.sql.selectable import ForUpdateArg
from sqlmodel import Field, Session, SQLModel, col

from twinning.dialects import LOCK_TIMEOUT_MS, is_sqlite, wait_at_most
from twinning.engines import open_engine, passing, shorten_log, snapshots
from twinning.inserting import together
from twinning.terms import Bell
from twinning.vault import Vault

# Who writes in company waits no longer for a row that another transaction holds.
HURRIED_LOCK_TIMEOUT_MS = 30
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# Names of constraints follow one rule, so that a migration can name what it changes.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


def new_id() -> str:
    """Make a UUIDv7: ids sort by the time they were made."""
    return str(uuid_utils.uuid7())


def is_id(text: str) -> bool:
    """Say whether a text has the shape of an id."""
    return _ID.fullmatch(text) is not None


def made_at(id_: str) -> datetime:
    """Read from an id when it was made, to the millisecond (RFC 9562, section 5.7)."""
    return datetime.fromtimestamp(int(id_[:8] + id_[9:13], 16) / 1000, UTC)


def now() -> datetime:
    """Tell the time, in UTC."""
    return datetime.now(UTC)


class Log(SQLModel, table=True):
    """The one counter of what was committed: changes of the catalogue and events take their numbers here.

    A number is drawn under the lock of this row, held to the commit; so the order of numbers is the
    order of commits, and a reader that has seen N never misses a smaller one that comes later.
    """

    name: str = Field(primary_key=True, max_length=20)
    value: int = Field(default=0, sa_type=BigInteger)


# How a row is held until the commit. Its key never changes, so who writes what refers to it need not wait:
# were it held FOR UPDATE, a foreign key's check would, and two who hold what the other checks stand for ever.
HELD: Final = ForUpdateArg(key_share=True)

COMMITS = "commits"
# What gets a number each when a transaction ends, as its session's info names it until then.
NUMBERED: Final = ("changes", "events")
KEEPING = "keeping"


# Written once: to write a statement and lay it out costs more than to execute it.
_DRAWING = (
    update(Log)
    .where(col(Log.name) == COMMITS)
    .values(value=Log.value + bindparam("count", type_=BigInteger))
    .returning(col(Log.value))
)


def draw(session: Session, count: int) -> int:
    """Take `count` numbers of the log of commits; give the first.

    The first to draw in a transaction does so for those, too, that are known to come after.
    """
    numbers: range = session.info.get("drawn", range(0))
    if count > len(numbers):
        wanted = count - len(numbers) + sum(len(session.info.get(name, ())) for name in NUMBERED)
        last: int = session.connection().execute(_DRAWING, {"count": wanted}).scalar_one()
        # What was drawn before stands right before this: nobody else has drawn since.
        numbers = range(last - wanted - len(numbers) + 1, last + 1)
    session.info["drawn"] = numbers[count:]
    return numbers.start


def hold_log(session: Session) -> None:
    """Have every transaction that draws numbers over by now, or begin to draw after this one's commit."""
    session.connection().execute(_DRAWING, {"count": 0})


# The order of what is done last in a transaction: whoever waits for another's rows does so before the log
# is held, so that nobody who holds it waits for somebody who wants it.
BEFORE_THE_LOG = ("marks", "answers", "audit", "work")
UNDER_THE_LOG = ("switches", "changes", "events")


def before_commit(session: Session, name: str, step: Callable[[Session], None]) -> None:
    """Have `step` done once, last in the transaction: numbers are drawn late, to hold no lock for long."""
    session.info.setdefault("steps", {}).setdefault(name, step)


def ring_after(session: Session, bell: Bell) -> None:
    """Have a bell rung when, and only when, the transaction has been committed."""
    session.info.setdefault("bells", set()).add(bell)


class Database:
    """A database to work on; `ring` is told of the bells of every committed transaction."""

    def __init__(
        self, url: str, ring: Callable[[Bell], None] | None = None, vault: Vault | None = None
    ) -> None:
        self.url = url
        # What seals secrets at rest, for those who read or write them; every session knows it.
        self.vault = vault
        self.engine = open_engine(url)
        self.ring = ring or (lambda _bell: None)
        self._snapshots = snapshots(self.engine)
        self._passing = passing(self.engine)

    @property
    def is_sqlite(self) -> bool:
        """Say whether this is the embedded database."""
        return is_sqlite(self.engine)

    def writing(self, *, durable: bool = True) -> Session:
        """Open a transaction that its owner ends: by `commit`, or by closing it, which undoes it.

        One that is not `durable` outlives the end of any process, and need not outlive the machine's power.
        """
        bind = self.engine if durable else self._passing
        return Session(bind, expire_on_commit=False, info={"vault": self.vault})

    def reading(self) -> Session:
        """Open a look at one state of the whole database, which its owner closes."""
        return Session(self._snapshots, expire_on_commit=False, autoflush=False, info={"vault": self.vault})

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Session]:
        """Do one thing wholly or not at all; commits at the end and then rings the bells asked for."""
        with self.writing(durable=durable) as session:
            yield session
            self.commit(session)

    def hurry(self, session: Session) -> None:
        """Have what is done in this transaction fail at once, as `would_wait` tells, instead of waiting."""
        wait_at_most(session, HURRIED_LOCK_TIMEOUT_MS)
        session.info["hurried"] = True

    @contextmanager
    def within(self, whole: Session) -> Iterator[Session]:
        """Open a part of a transaction, which is undone alone unless it is `join`ed.

        It finds what the parts before it have put off to the end.
        """
        before = {name: dict(held) for name, held in whole.info.items() if isinstance(held, dict)}
        with Session(
            whole.connection(),
            join_transaction_mode="create_savepoint",
            expire_on_commit=False,
            info={"vault": self.vault, **before},
        ) as part:
            yield part

    def join(self, whole: Session, part: Session) -> None:
        """Keep a part, and put what it has put off to the end with that of the others."""
        part.commit()
        for name, held in part.info.items():
            if isinstance(held, list):
                whole.info.setdefault(name, []).extend(held)
            elif isinstance(held, dict | set):
                whole.info.setdefault(name, type(held)()).update(held)

    def divide(self, session: Session) -> None:
        """End a part of a transaction: the next one reads all anew. What is new is written in the end."""
        if session.dirty or session.deleted:
            session.flush()
        for row in session.identity_map.values():
            session.expunge(row)

    def prepare(self, session: Session) -> None:
        """Do the steps put off to the end, in their order; a second time there are none.

        What was registered in this transaction is no longer the session's then: later changes of it are lost.
        """
        steps = session.info.pop("steps", {})
        with together(session):
            # What else is new is flushed; new listings go in at once behind it, by a step of their own.
            steps.pop("listings", Session.flush)(session)
            for name in filter(steps.__contains__, BEFORE_THE_LOG):
                steps[name](session)
        # Whoever has come so far may wait for the log, which nobody holds for long.
        if session.info.pop("hurried", False):
            wait_at_most(session, LOCK_TIMEOUT_MS)
        with together(session):
            for name in filter(steps.__contains__, UNDER_THE_LOG):
                steps[name](session)

    def commit(self, session: Session) -> None:
        """Do the steps put off to the end, commit, ring."""
        self.prepare(session)
        connection = session.connection()
        try:
            session.commit()
        except Exception:
            # A connection whose commit failed may still be in its transaction, so nobody else gets it.
            connection.invalidate()
            raise
        bells = session.info.pop("bells", ())
        for bell in Bell:
            if bell in bells:
                self.ring(bell)

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """Read one state of the whole database, however others write meanwhile; writes nothing."""
        with self.reading() as session:
            yield session

    def alive(self) -> bool:
        """Say whether the database answers and holds our tables."""
        with self.snapshot() as session:
            session.execute(text("SELECT value FROM log"))
        return True

    def shorten_log(self) -> None:
        """Keep what is written from slowing down what is read: for those who write much, and now and then."""
        shorten_log(self.engine)

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()
