# SPDX-License-Identifier: Apache-2.0
"""The database: one kind of session, one transaction a request or task, SQLite or PostgreSQL.

The only file that knows what the two databases say differently.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uuid_utils
from pydantic_core import to_json
from sqlalchemy import (
    JSON,
    BigInteger,
    Connection,
    DateTime,
    Dialect,
    Engine,
    Insert,
    String,
    Table,
    bindparam,
    cast,
    create_engine,
    event,
    exists,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import ColumnElement, update
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, Session, SQLModel, col

from twinning.terms import Bell
from twinning.vault import Vault

if TYPE_CHECKING:
    from alembic.config import Config

BUSY_TIMEOUT_S = 30.0
STATEMENT_TIMEOUT_MS = 60_000
LOCK_TIMEOUT_MS = 20_000
# Who writes in company waits no longer for a row that another transaction holds.
HURRIED_LOCK_TIMEOUT_MS = 30
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SQLITE_TIME = "%Y-%m-%dT%H:%M:%f+00:00"
MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"

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


class Instant(TypeDecorator[datetime]):
    """A moment in UTC on either database; SQLite, which has no zones, keeps it bare."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Hand the database a moment in UTC."""
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Take a moment back with its zone."""
        del dialect  # Both databases give UTC; only the zone may be missing.
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Json = JSON().with_variant(JSONB(), "postgresql")
Id = String(36)
# SQLite gives a row its own number only for the type INTEGER.
Number = BigInteger().with_variant(sqlite.INTEGER(), "sqlite")


class Log(SQLModel, table=True):
    """The one counter of what was committed: changes of the catalogue and events take their numbers here.

    A number is drawn under the lock of this row, held to the commit; so the order of numbers is the
    order of commits, and a reader that has seen N never misses a smaller one that comes later.
    """

    name: str = Field(primary_key=True, max_length=20)
    value: int = Field(default=0, sa_type=BigInteger)


COMMITS = "commits"
KEEPING = "keeping"


def draw(session: Session, count: int) -> int:
    """Take `count` numbers of the log of commits; give the first."""
    statement = (
        update(Log).where(col(Log.name) == COMMITS).values(value=Log.value + count).returning(col(Log.value))
    )
    last: int = session.execute(statement).scalar_one()
    return last - count + 1


def hold_log(session: Session) -> None:
    """Have every transaction that draws numbers over by now, or begin to draw after this one's commit."""
    draw(session, 0)


# The order of what is done last in a transaction: whoever waits for another's rows does so before the log
# is held, so that nobody who holds it waits for somebody who wants it.
STEPS = ("marks", "audit", "work", "switches", "changes", "events")


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
        self.engine = _engine(url)
        self.ring = ring or (lambda _bell: None)
        look = {"sqlite_begin": "BEGIN"} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._snapshots = self.engine.execution_options(**look)

    @property
    def is_sqlite(self) -> bool:
        """Say whether this is the embedded database."""
        return self.engine.dialect.name == "sqlite"

    def writing(self) -> Session:
        """Open a transaction that its owner ends: by `commit`, or by closing it, which undoes it."""
        return Session(self.engine, expire_on_commit=False, info={"vault": self.vault})

    def reading(self) -> Session:
        """Open a look at one state of the whole database, which its owner closes."""
        return Session(self._snapshots, expire_on_commit=False, autoflush=False, info={"vault": self.vault})

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Do one thing wholly or not at all; commits at the end and then rings the bells asked for."""
        with self.writing() as session:
            yield session
            self.commit(session)

    def hurry(self, session: Session) -> None:
        """Have what is done in this transaction fail at once, as `would_wait` tells, instead of waiting."""
        if not self.is_sqlite:
            session.execute(text(f"SET LOCAL lock_timeout = {HURRIED_LOCK_TIMEOUT_MS}"))
            session.info["hurried"] = True

    @contextmanager
    def within(self, whole: Session) -> Iterator[Session]:
        """Open a part of a transaction, which is undone alone unless it is `join`ed."""
        with Session(
            whole.connection(),
            join_transaction_mode="create_savepoint",
            expire_on_commit=False,
            info={"vault": self.vault},
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
        """Do the steps put off to the end, in their order; a second time there are none."""
        session.flush()
        if session.info.pop("hurried", False):
            session.execute(text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"))
        steps = session.info.pop("steps", {})
        for name in STEPS:
            if name in steps:
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
        for bell in session.info.pop("bells", ()):
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

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()


def _engine(url: str) -> Engine:
    """Open SQLite in WAL with immediate transactions, or PostgreSQL with statement time-outs."""
    # What a statement was given may be a person's text or a key's hash, and an error is logged.
    create = partial(create_engine, json_serializer=_encode, hide_parameters=True)
    if make_url(url).get_backend_name() == "sqlite":
        engine = create(url, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create(
        url,
        pool_size=10,
        max_overflow=30,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": 5,
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c timezone=UTC "
            f"-c idle_in_transaction_session_timeout=120000 -c lock_timeout={LOCK_TIMEOUT_MS}",
        },
    )


def _encode(value: Any) -> str:
    """Write JSON as the standard library does without blanks, in a sixth of its time."""
    return to_json(value).decode()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Set what SQLite forgets with each connection; FULL, since an answered write must outlive the power."""
    connection.isolation_level = None
    # SQLite's own folds ASCII alone, and a search for Łódź must not ask for its capitals.
    connection.create_function("lower", 1, _lower, deterministic=True)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _lower(value: Any) -> Any:
    """Fold the case of a text as PostgreSQL does; what is no text stays."""
    return value.lower() if isinstance(value, str) else value


def _begin_sqlite(connection: Connection) -> None:
    """Take the writer's place at the start: a reader that turns writer in mid-transaction would fail."""
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN IMMEDIATE"))


def put(
    session: Session,
    table: type[SQLModel],
    rows: Sequence[dict[str, Any]],
    key: Sequence[str],
    change: Sequence[str],
) -> None:
    """Insert rows; where one with the same `key` stands, set its columns `change` (none: leave it)."""
    if rows:
        dialect = session.get_bind().dialect.name
        session.connection().execute(_putting(table, dialect, tuple(key), tuple(change)), list(rows))


@cache
def _putting(table: type[SQLModel], dialect: str, key: tuple[str, ...], change: tuple[str, ...]) -> Insert:
    """Write the statement of `put`, once: to write and compile one costs more than to execute it."""
    insert = (sqlite.insert if dialect == "sqlite" else postgresql.insert)(table_of(table))
    if not change:
        return insert.on_conflict_do_nothing(index_elements=list(key))
    changed = {name: insert.excluded[name] for name in change}
    return insert.on_conflict_do_update(index_elements=list(key), set_=changed)


def add_up(
    session: Session, table: type[SQLModel], rows: Sequence[dict[str, Any]], key: Sequence[str], column: str
) -> None:
    """Insert rows; where one with the same `key` stands, add to its `column`."""
    if not rows:
        return
    dialect = session.get_bind().dialect.name
    insert = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    more = {column: getattr(table, column) + insert.excluded[column]}
    statement = insert.on_conflict_do_update(index_elements=list(key), set_=more)
    session.connection().execute(statement, list(rows))


def holds(session: Session, column: Any, value: str) -> ColumnElement[bool]:
    """Ask whether a column's JSON list holds a string."""
    if session.get_bind().dialect.name == "sqlite":
        each = func.json_each(column).table_valued("value")
        return exists(select(1).select_from(each).where(each.c.value == value))
    return cast(column, JSONB).contains([value])


def table_of(model: type[SQLModel]) -> Table:
    """Give a model's table, for many rows at once: inserts of a model cost several times as much a row."""
    table: Table = model.__table__  # type: ignore[attr-defined]
    return table


def clock(session: Session) -> datetime:
    """Ask the database for the time, in UTC."""
    if session.get_bind().dialect.name == "sqlite":
        return datetime.fromisoformat(str(session.scalar(select(func.strftime(_SQLITE_TIME, "now")))))
    moment: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
    return moment


def in_batches(items: Collection[str], size: int = 500) -> Iterator[list[str]]:
    """Give some hundreds at a time, in order: no database takes a question of any length."""
    ordered = sorted(items)
    return (ordered[start : start + size] for start in range(0, len(ordered), size))


# Written once, and asked without a flush of what is not written yet: each request with a key asks it.
_TRY_LOCK = select(func.pg_try_advisory_xact_lock(bindparam("number", type_=BigInteger)))


def try_lock(session: Session, name: str) -> bool:
    """Take a lock that ends with this transaction, or say at once that another holds it.

    SQLite lets one writer in at a time, so who writes holds every lock.
    """
    if session.get_bind().dialect.name == "sqlite":
        return True
    return bool(session.connection().execute(_TRY_LOCK, {"number": _number_of(name)}).scalar_one())


def lock(session: Session, name: str) -> None:
    """Wait for a lock that ends with this transaction; what is read after it is what its last holder left."""
    if session.get_bind().dialect.name != "sqlite":
        session.execute(select(func.pg_advisory_xact_lock(_number_of(name))))


def _number_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def would_wait(error: Exception) -> bool:
    """Say whether a statement failed because another transaction holds what it needs."""
    waits = {"LockNotAvailable", "DeadlockDetected"}
    return isinstance(error, DBAPIError) and type(error.orig).__name__ in waits


def has_tables(database: Database) -> bool:
    """Say whether a database has been migrated at all."""
    return inspect(database.engine).has_table("log")


def migrate(url: str, revision: str = "head") -> None:
    """Bring the tables up to a revision; safe to run from several processes at once."""
    from alembic import command

    with _alone(url):
        command.upgrade(_migrations(url), revision)


@contextmanager
def _alone(url: str) -> Iterator[None]:
    """Keep others from migrating what lies in the same folder meanwhile, where the database is a file.

    Its own lock comes too late for those who make the file at the same moment.
    """
    path = make_url(url).database
    folder = Path(path or "").absolute().parent
    if not url.startswith("sqlite") or not folder.is_dir():
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def downgrade(url: str, revision: str) -> None:
    """Take the tables back to an earlier revision, and lose what only later ones can hold."""
    from alembic import command

    command.downgrade(_migrations(url), revision)


def _migrations(url: str) -> "Config":
    """Say where the migrations are and for which database."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    return config
