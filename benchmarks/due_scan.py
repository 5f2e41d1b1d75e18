# SPDX-License-Identifier: Apache-2.0
"""The look for what is due, with a million deliveries that are not: how long it takes, and by which index.

    ./run bench due_scan [--rows 1000000] [--endpoints 64] [--database URL]...

Each dispatcher looks so once a second when nothing happens (`next_due`), and takes what is due after each
bell and outcome (`take_due`). Without `--database` it takes a fresh SQLite file and, where the tests'
PostgreSQL is installed, a fresh one of those. Each database named is filled and should be thrown away.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

from sqlalchemy import event, text
from sqlmodel import Session

from tests.servers import postgres_database, postgres_server
from twinning import endpoints, keys
from twinning.database import Database, now
from twinning.deliveries import next_due, take_due
from twinning.endpoints import WebhookEndpoint
from twinning.keys import ApiKeyCreate
from twinning.migrating import migrate
from twinning.terms import Role

MUST_MS = 5.0
LOOKS = 51

FILL = """
INSERT INTO event (id, sequence, type, timestamp, body)
  WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :many / :endpoints)
  SELECT 'event-' || i, i + 1000, 'practice.updated', :moment, '{}' FROM n;
INSERT INTO delivery
    (id, event_id, endpoint_id, state, due_at, fence, tries, tries_before, lane, created_at, updated_at)
  WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :many - 1)
  SELECT 'delivery-' || i, 'event-' || (i / :endpoints), 'endpoint-' || (i % :endpoints), 'pending', :due_at,
    1, 1, 0, 'usual', :moment, :moment FROM n
"""


def fill(database: Database, rows: int, count: int) -> None:
    """Write so many deliveries that are due tomorrow, to so many endpoints."""
    moment = now()
    with database.transaction() as session:
        owner, _ = keys.create(session, ApiKeyCreate(role=Role.STAFF, name="Benchmark"))
        session.flush()
        session.add_all(
            WebhookEndpoint(
                id=f"endpoint-{number}",
                owner_id=owner.id,
                url=f"https://hooks.example.org/{number}",
                event_types=["*"],
                secrets=endpoints.new_secrets(),
            )
            for number in range(count)
        )
        session.flush()
        values = {"many": rows, "endpoints": count, "moment": moment, "due_at": moment + timedelta(days=1)}
        if database.is_sqlite:
            values = {k: v.replace(tzinfo=None) if hasattr(v, "tzinfo") else v for k, v in values.items()}
        for statement in FILL.split(";"):
            used = {name: value for name, value in values.items() if f":{name}" in statement}
            session.connection().execute(text(statement), used)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE" if database.is_sqlite else "VACUUM ANALYZE delivery"))


def looked(database: Database, look: Callable[[Session], object]) -> float:
    """The median of some looks, in milliseconds, each in a session of its own."""
    took = []
    for _ in range(LOOKS):
        with database.snapshot() as session:
            session.connection()
            begun = time.perf_counter()
            look(session)
            took.append(1000 * (time.perf_counter() - begun))
    return statistics.median(took)


def plan(database: Database, look: Callable[[Session], object]) -> list[str]:
    """How the database goes about the statements of a look, a line a step."""
    seen: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, given: object, *_: object) -> None:
        seen.append((statement, given))

    event.listen(database.engine, "before_cursor_execute", note)
    with database.snapshot() as session:
        look(session)
    event.remove(database.engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
    lines = []
    with database.engine.connect() as connection:
        for statement, given in seen:
            if statement.lstrip().startswith(("SELECT", "WITH")):
                found = connection.exec_driver_sql(f"{explain} {statement}", given)  # type: ignore[arg-type]
                lines += [str(row[-1]) for row in found]
    return lines


@contextmanager
def databases(named: list[str]) -> Iterator[list[str]]:
    """The databases to measure on."""
    with ExitStack() as stack:
        if not named:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="twinning-"))
            server = stack.enter_context(postgres_server())
            named = [f"sqlite:///{folder}/due.db", stack.enter_context(postgres_database(server, "due_scan"))]
        yield named


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--endpoints", type=int, default=64)
    parser.add_argument("--database", action="append", default=[])
    asked = parser.parse_args()
    well = True
    with databases(asked.database) as urls:
        for url in urls:
            migrate(url)
            database = Database(url)
            fill(database, asked.rows, asked.endpoints)
            print(f"{database.engine.dialect.name}, {asked.rows} deliveries that are not due, ", end="")
            print(f"{asked.endpoints} endpoints")
            for name, look in LOOK_BY_NAME.items():
                took = looked(database, look)
                well &= took <= MUST_MS
                print(f"  {name:10} {took:6.2f} ms, median of {LOOKS}; must: at most {MUST_MS:g}")
            for line in plan(database, next_due):
                print(f"    {line}")
            database.close()
    return 0 if well else 1


LOOK_BY_NAME: dict[str, Callable[[Session], object]] = {
    "next_due": next_due,
    "take_due": lambda session: take_due(session, "benchmark", 200, 30.0),
}

if __name__ == "__main__":
    sys.exit(main())
