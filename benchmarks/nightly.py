# SPDX-License-Identifier: Apache-2.0
"""Prints what a whole list sent every night costs, through the front door, on SQLite and PostgreSQL.

``./run bench nightly`` registers 10,000 practices of one city, past the front door for speed, sends all
of them again by PUT as they are, and counts what that made: events, lines of the change log, units of work.
It must be none of any, or it fails. ``--listings N`` sends another number.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sqlalchemy import func, select

from tests.factories import Door, door, practice
from tests.servers import postgres_database, postgres_server
from twinning import catalogue
from twinning import listings as stored_listings
from twinning.forms import PracticeCreate
from twinning.migrating import migrate
from twinning.outbox import StoredEvent
from twinning.work import WorkUnit

AT_ONCE = 500


def listings(count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Make a city's list: references and practices of some fifty words of their own."""
    for number in range(count):
        words = " ".join(f"word{number * 50 + place}" for place in range(50))
        yield f"own-{number}", practice(title=f"Practice {number}", description=words)


def register(front: Door, city_id: str, count: int) -> None:
    """Register the list, some hundreds in a transaction."""
    waiting = list(listings(count))
    for start in range(0, count, AT_ONCE):
        with front.database.transaction() as session:
            for reference, wanted in waiting[start : start + AT_ONCE]:
                shape = PracticeCreate(**{**wanted, "external_ref": reference})
                stored_listings.register(session, city_id, shape)


def send(front: Door, city: str, count: int) -> tuple[float, set[int]]:
    """Send the list once; gives listings a second and the statuses of the answers."""
    statuses = set()
    begun = time.perf_counter()
    for reference, wanted in listings(count):
        path = f"/v1/cities/{city}/practices/{reference}"
        statuses.add(front.client.put(path, json=wanted, headers=front.staff).status_code)
    return count / (time.perf_counter() - begun), statuses


def facts(front: Door) -> tuple[int, int, int]:
    """Count events and changes of the catalogue; the last fence rises with each unit that is asked for."""
    with front.database.snapshot() as session:
        events = session.scalar(select(func.count()).select_from(StoredEvent))
        changes = session.scalar(select(func.count()).select_from(catalogue.Change))
        fence = session.scalar(select(func.max(WorkUnit.fence)))
    return events or 0, changes or 0, fence or 0


def measure(name: str, url: str, count: int) -> bool:
    """Print one database's figures; says whether the second night made nothing."""
    with door(url, rate_per_minute=0) as front:
        city = front.city()["id"]
        register(front, city, count)
        before = facts(front)
        again, kept = send(front, city, count)
        events, changes, asked = (after - old for after, old in zip(facts(front), before, strict=True))
    print(f"{name}: {count} practices sent again at {again:.0f} a second, all answered {sorted(kept)};")
    print(f"  made {events} events, {changes} changes, matching work: {'some' if asked else 'none'}")
    return (kept, events, changes, asked) == ({200}, 0, 0, 0)


def main() -> None:
    """Measure on both databases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listings", type=int, default=10_000)
    count = parser.parse_args().listings
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="twinning-bench-"))
        server = stack.enter_context(postgres_server())
        postgres = stack.enter_context(postgres_database(server, "nightly"))
        urls = {"SQLite": f"sqlite:///{folder}/twinning.db", "PostgreSQL": postgres}
        for url in urls.values():
            migrate(url)
        good = [measure(name, url, count) for name, url in urls.items()]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
