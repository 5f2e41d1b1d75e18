# SPDX-License-Identifier: Apache-2.0
"""Deliveries per second, and processor time for each, through the shipped courier and through bare aiohttp.

The courier claims, signs, vets the address, sends and writes the log; bare aiohttp signs and sends the same
bodies to the same receiver, a minimal one in a process of its own. Run it as

    python -m benchmarks.deliver [--count 5000] [--endpoints 64] [--rounds 3] [--database URL]...

Without `--database` it takes a fresh SQLite file. Each database named is filled and should be thrown away.
"""

import argparse
import asyncio
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import cast

import aiohttp
import uvloop
from sqlmodel import Session, func, select

from services.dispatcher.courier import Courier
from twinning import endpoints, keys, outbox, signing
from twinning.database import Database, migrate
from twinning.endpoints import Delivery, WebhookEndpoint
from twinning.events import EndpointNote, WebhookEndpointPing
from twinning.keys import ApiKeyCreate
from twinning.settings import Settings
from twinning.terms import DeliveryState, Role

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
BARE_CONNECTIONS = 50
MESSAGE = "A message of some length, so that a body weighs about as much as that of an ordinary event. " * 3
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Figures:
    """What a run took, for each delivery."""

    per_second: float
    cpu_us: float


class Receiver(asyncio.Protocol):
    """Answers each POST with an empty 200 and looks at nothing but its length."""

    def __init__(self) -> None:
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head = self._held[:end].lower()
            length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
            if len(self._held) < end + 4 + length:
                return
            self._held = self._held[end + 4 + length :]
            self._transport.write(ANSWER)


def receive(tell: Connection) -> None:
    """Run the receiver: a process's whole life."""

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Receiver, "127.0.0.1", 0)
        tell.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


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


def record(database: Database, rows: Sequence[WebhookEndpoint], count: int) -> None:
    """Record the events, each for one endpoint in turn."""
    for start in range(0, count, 500):
        with database.transaction() as session:
            for number in range(start, min(start + 500, count)):
                row = rows[number % len(rows)]
                note = EndpointNote(endpoint_id=row.id, url=row.url, message=MESSAGE)
                outbox.record(session, WebhookEndpointPing(data=note, owner=row.owner_id))


def through_courier(database: Database, rows: Sequence[WebhookEndpoint], count: int) -> Figures:
    """Let the courier deliver `count` events."""
    record(database, rows, count)
    settings = Settings(
        database_url=database.url,
        webhook_allow_cidrs="127.0.0.0/8",  # type: ignore[arg-type]
        webhook_allow_http=True,
    )
    courier = Courier(database, settings, "benchmark")
    began, spent = time.perf_counter(), time.process_time()
    courier.start()
    while waiting(database):
        if time.perf_counter() - began > PATIENCE_S:
            raise RuntimeError("the courier did not deliver everything in time")
        time.sleep(0.05)
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


def measure(url: str, receiver: str, count: int, number: int, rounds: int) -> None:
    """Print the figures of one database, courier and bare client taking turns."""
    migrate(url)
    database = Database(url)
    with database.transaction() as session:
        rows = subscribe(session, receiver, number)
    with_courier, alone = [], []
    for _ in range(rounds):
        with_courier.append(through_courier(database, rows, count))
        with database.snapshot() as session:
            body = session.exec(select(outbox.StoredEvent.body)).first() or ""
        alone.append(bare(receiver, [body.encode()] * count, signing.new_secret()))
    name = database.engine.dialect.name
    database.close()
    for label, one in ((f"courier, {name}", median(with_courier)), ("bare aiohttp", median(alone))):
        print(f"{label:22} {one.per_second:10.0f} {one.cpu_us:12.0f}")
    print(f"{'ratio of CPU':22} {'':10} {median(with_courier).cpu_us / median(alone).cpu_us:12.1f}")


def main() -> None:
    """Measure on every database that was named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--endpoints", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--database", action="append", default=[])
    asked = parser.parse_args()
    ours, theirs = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=receive, args=(theirs,), daemon=True)
    process.start()
    url = f"http://127.0.0.1:{ours.recv()}/"
    print(f"{asked.count} deliveries, {asked.endpoints} endpoints, median of {asked.rounds}")
    print(f"{'':22} {'deliv./s':>10} {'CPU us each':>12}")
    with tempfile.TemporaryDirectory() as folder:
        for database in asked.database or [f"sqlite:///{folder}/deliver.db"]:
            measure(database, url, asked.count, asked.endpoints, asked.rounds)
    process.terminate()


if __name__ == "__main__":
    main()
