# SPDX-License-Identifier: Apache-2.0
"""Deliveries a second, and processor time for each, through the shipped courier and through its peers.

    ./run bench deliver [--count 5000] [--endpoints 64] [--rounds 5] [--database URL]...

The courier claims, signs, vets the address, sends, writes the log and plans retries. The peers sign and
send the same bodies to the same receiver, a minimal one in a process of its own: bare aiohttp on uvloop,
and one Celery task for each, with a client that is kept or by `httpx.post`. All take turns.
Without `--database` it takes a fresh SQLite file. Each database named is filled and should be thrown away.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import uvloop
from sqlmodel import Session, func, select

from benchmarks import _celery_peers
from benchmarks._processes import Receiver, broker, receiver
from services.dispatcher.courier import Courier
from twinning import endpoints, keys, outbox, signing
from twinning.database import Database
from twinning.endpoints import Delivery, WebhookEndpoint
from twinning.events import EndpointNote, WebhookEndpointPing
from twinning.keys import ApiKeyCreate
from twinning.migrating import migrate
from twinning.settings import Settings
from twinning.terms import DeliveryState, Role

BARE_CONNECTIONS = 50
MESSAGE = "A message of some length, so that a body weighs about as much as that of an ordinary event. " * 3
PATIENCE_S = 120.0
OURS = "courier"
BARE = "bare aiohttp on uvloop"
KEPT = "a Celery task each, client kept"
EACH = "a Celery task each, httpx.post"
# What the others must cost in processor time against ours, and what we reach for.
MUST = {KEPT: (6.0, 10.0), EACH: (60.0, 120.0)}
BARE_MUST, BARE_REACH = 5.0, 2.5


@dataclass(frozen=True)
class Figures:
    """What a run took, for each delivery."""

    per_second: float
    cpu_us: float


def bare(url: str, bodies: Sequence[bytes], secret: str) -> Figures:
    """Sign and post every body by aiohttp alone."""

    async def post_all() -> None:
        waiting = iter(enumerate(bodies))
        connector = aiohttp.TCPConnector(limit=BARE_CONNECTIONS)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def post() -> None:
                for number, body in waiting:
                    headers = signing.headers(f"event-{number}", int(time.time()), body, [secret])
                    headers["content-type"] = "application/json"
                    async with session.post(url, data=body, headers=headers) as answer:
                        await answer.read()

            await asyncio.gather(*(post() for _ in range(BARE_CONNECTIONS)))

    began, spent = time.perf_counter(), time.process_time()
    uvloop.run(post_all())
    return figures(len(bodies), began, spent)


def figures(count: int, began: float, spent: float) -> Figures:
    """Divide what has passed since by the number of deliveries."""
    cpu_us = 1e6 * (time.process_time() - spent) / count
    return Figures(count / (time.perf_counter() - began), cpu_us)


def subscribe(session: Session, url: str, count: int) -> list[WebhookEndpoint]:
    """Make the endpoints, all with one owner."""
    owner, _ = keys.create(session, ApiKeyCreate(role=Role.STAFF, name="Benchmark"))
    session.flush()
    rows = [
        WebhookEndpoint(
            owner_id=owner.id, url=f"{url}{number}", event_types=["*"], secrets=endpoints.new_secrets()
        )
        for number in range(count)
    ]
    session.add_all(rows)
    return rows


def record(database: Database, rows: Sequence[WebhookEndpoint], count: int, first: int = 0) -> None:
    """Record the events, each for one endpoint in turn; `first` says whose turn it is."""
    for start in range(first, first + count, 500):
        with database.transaction() as session:
            for number in range(start, min(start + 500, first + count)):
                row = rows[number % len(rows)]
                note = EndpointNote(endpoint_id=row.id, url=row.url, message=MESSAGE)
                outbox.record(session, WebhookEndpointPing(data=note, owner=row.owner_id))


def through_courier(
    database: Database, rows: Sequence[WebhookEndpoint], count: int, receiver: Receiver
) -> Figures:
    """Let the courier deliver `count` events."""
    record(database, rows, count)
    settings = Settings(
        database_url=database.url,
        webhook_allow_cidrs="127.0.0.0/8",  # type: ignore[arg-type]
        webhook_allow_http=True,
    )
    courier = Courier(database, settings, "benchmark")
    before = receiver.count
    began, spent = time.perf_counter(), time.process_time()
    courier.start()
    receiver.wait_for(before + count, PATIENCE_S)
    while waiting(database):
        time.sleep(0.01)
    taken = figures(count, began, spent)
    courier.stop(5)
    return taken


def waiting(database: Database) -> int:
    """Count what is not delivered."""
    query = select(func.count()).select_from(Delivery).where(Delivery.state == DeliveryState.PENDING)
    with database.snapshot() as session:
        return session.exec(query).one()


def median(runs: Sequence[Figures]) -> Figures:
    """Give the median of each figure."""
    return Figures(statistics.median(r.per_second for r in runs), statistics.median(r.cpu_us for r in runs))


def measure(url: str, receiver: Receiver, broker_url: str, asked: argparse.Namespace) -> bool:
    """Print the figures on one database, all taking turns; gives whether they are what they must be."""
    migrate(url)
    database = Database(url)
    with database.transaction() as session:
        rows = subscribe(session, receiver.url, asked.endpoints)
    runs: dict[str, list[Figures]] = {name: [] for name in (OURS, BARE, KEPT, EACH)}
    for _ in range(asked.rounds):
        runs[OURS].append(through_courier(database, rows, asked.count, receiver))
        with database.snapshot() as session:
            body = session.exec(select(outbox.StoredEvent.body)).first() or ""
        runs[BARE].append(bare(receiver.url, [body.encode()] * asked.count, signing.new_secret()))
        for name, kind, share in ((KEPT, "kept", 5), (EACH, "each", 40)):
            bodies = [body] * max(50, asked.count // share)
            runs[name].append(Figures(*_celery_peers.cpu_us(kind, broker_url, receiver, bodies)))
    name = database.engine.dialect.name
    database.close()
    medians = {label: median(each) for label, each in runs.items()}
    ours = medians[OURS].cpu_us
    well = True
    for label, one in medians.items():
        goal, ratio = MUST.get(label), one.cpu_us / ours
        told = ""
        if label == BARE:
            ratio = ours / one.cpu_us
            well &= ratio <= BARE_MUST
            told = f"ours is {ratio:.1f} times this; must: at most {BARE_MUST:g}, reach {BARE_REACH:g}"
        elif goal:
            well &= ratio >= goal[0]
            told = f"{ratio:.1f} times ours; must: at least {goal[0]:g}, reach {goal[1]:g}"
        shown = f"{label}, {name}" if label == OURS else label
        print(f"{shown:44} {one.per_second:10.0f} {one.cpu_us:12.0f}   {told}".rstrip())
    return well


def main() -> int:
    """Measure on every database that was named; 1 where a figure is not what it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--endpoints", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--database", action="append", default=[])
    asked = parser.parse_args()
    print(f"{asked.count} deliveries, {asked.endpoints} endpoints, median of {asked.rounds} rounds")
    print(f"{'':44} {'deliv./s':>10} {'CPU us each':>12}")
    with tempfile.TemporaryDirectory(prefix="twinning-") as folder:
        place = Path(folder)
        with receiver() as there, broker(place) as broker_url:
            databases = asked.database or [f"sqlite:///{place}/deliver.db"]
            well = [measure(database, there, broker_url, asked) for database in databases]
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
