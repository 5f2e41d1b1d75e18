# SPDX-License-Identifier: Apache-2.0
"""Listings a second of an import, beside a route that only validates one listing a request.

    ./run bench imports [--count 10000] [--rounds 3] [--database URL]...

The peer is a bare FastAPI route with our form of a need as its body, served by uvicorn in a process of its
own and asked over 32 connections that are kept; it stores nothing. The import is the shipped one, from the
file's arrival to its end: parts kept, read, checked, landed with events, audit entries, change log and
matching work, counted and cleared away. Both take turns. Processor time of the process decides, since a
shared machine makes seconds worthless: the peer's client and the server of PostgreSQL are not counted,
SQLite is.
Without `--database` it takes a fresh SQLite file. Each database named is filled and should be thrown away.
"""

import argparse
import asyncio
import io
import json
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from fastapi import FastAPI

from benchmarks import _processes
from benchmarks._corpus import texts
from services.matcher.importing import Importer
from twinning import imports, keys, table_files
from twinning.columns import COLUMNS
from twinning.database import Database
from twinning.forms import NeedCreate
from twinning.keys import ApiKeyCreate
from twinning.migrating import migrate
from twinning.settings import Settings
from twinning.table_files import TableFormat
from twinning.terms import ImportState, Role

CONNECTIONS = 32
CITIES = 100
# Drawn words alone look like no language; offices write sentences.
SENTENCE = "The city and its libraries have asked which of their readers are with the volunteers: "
MUST, REACH = 1.0, 2.0


def need(number: int, text: str, generation: str) -> dict[str, Any]:
    """A need of about 0.9 kB."""
    return {
        "title": f"What our adults want to learn, number {number}",
        "description": SENTENCE + text,
        "external_ref": f"{generation}-{number}",
        "themes": ["cl1", "sdg-4"],
        "target_groups": ["adults with low literacy"],
        "languages": ["en"],
        "strength": 3,
    }


def rows(bodies: list[str], generation: str) -> Iterator[dict[str, Any]]:
    """The rows of a file: some cities, and the needs of each."""
    for number in range(CITIES):
        yield {"kind": "city", "ref": f"c{number}", "name": f"City {number}", "country": "IE"}
    for number, text in enumerate(bodies):
        fields = need(number, text, generation)
        ref = fields.pop("external_ref")
        yield {"kind": "need", "ref": ref, "city_ref": f"c{number % CITIES}", **fields}


def serve(port: int) -> None:
    """Serve the route that only validates."""
    app = FastAPI()

    @app.post("/needs")
    def validate(wanted: NeedCreate) -> dict[str, bool]:
        return {"valid": bool(wanted.title)}

    @app.post("/needs-async")
    async def validate_at_once(wanted: NeedCreate) -> dict[str, bool]:
        return {"valid": bool(wanted.title)}

    @app.get("/spent")
    async def spent() -> float:
        return time.process_time()

    uvicorn.run(app, port=port, log_level="warning", access_log=False)


@contextmanager
def served() -> Iterator[int]:
    """The port of the route, served in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(port,), daemon=True)
    process.start()
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.join()


async def _ask(port: int, path: str, bodies: Iterator[bytes]) -> None:
    """Post bodies one after another over a connection of one's own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for body in bodies:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answered = await reader.readuntil(b"\r\n\r\n")
        assert answered.startswith(b"HTTP/1.1 200"), answered
        length = int(answered.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
    writer.close()


async def _spent(port: int) -> float:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /spent HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return float(answer.partition(b"\r\n\r\n")[2])


def validated(port: int, path: str, bodies: list[bytes]) -> tuple[float, float]:
    """Have every body validated; gives listings a second, and the server's processor time for each in us."""

    async def all_of_them() -> float:
        waiting = iter(bodies)
        before = await _spent(port)
        await asyncio.gather(*(_ask(port, path, waiting) for _ in range(CONNECTIONS)))
        return await _spent(port) - before

    began = time.perf_counter()
    spent = uvloop.run(all_of_them())
    return len(bodies) / (time.perf_counter() - began), spent / len(bodies) * 1e6


def imported(database: Database, form: TableFormat, content: bytes, count: int) -> tuple[float, float]:
    """Import a file; gives listings a second, and our processor time for each in us."""
    with database.transaction() as session:
        key, _ = keys.create(session, ApiKeyCreate(role=Role.STAFF, name="benchmark"))
    importer = Importer(database, Settings(), "benchmark")
    began, spent = time.perf_counter(), time.process_time()
    with database.transaction() as session:
        row = imports.ask(session, key.id, f"rows.{form}", form, len(content), io.BytesIO(content))
    while importer.take():
        pass
    took, cost = time.perf_counter() - began, time.process_time() - spent
    with database.snapshot() as session:
        row = imports.get(session, row.id)
    assert row.state == ImportState.COMPLETED, row.error
    assert row.counts["created"] + row.counts["unchanged"] >= count, row.counts
    return count / took, cost / count * 1e6


def measure(url: str, port: int, asked: argparse.Namespace) -> bool:
    """Let all take turns on one database; gives whether the import is as fast as it must be."""
    migrate(url)
    database = Database(url)
    bodies = texts(asked.count, "need")
    sent = [json.dumps(need(number, text, "v")).encode() for number, text in enumerate(bodies)]
    runs: dict[str, list[tuple[float, float]]] = {}
    memory = 0.0
    for turn in range(asked.rounds + 1):
        found = {
            "validate only, def": validated(port, "/needs", sent),
            "validate only, async def": validated(port, "/needs-async", sent),
        }
        for form in TableFormat:
            file = io.BytesIO()
            table_files.write(form, file, list(COLUMNS), rows(bodies, f"{turn}-{form}"))
            found[f"import, {form}"] = imported(database, form, file.getvalue(), asked.count)
            found[f"import, {form}, again"] = imported(database, form, file.getvalue(), asked.count)
        # The first turn warms up: compiled statements, the model of languages.
        memory = memory or _processes.cost(os.getpid())["rss_mb"]
        for name, figures in found.items() if turn else ():
            runs.setdefault(name, []).append(figures)
    database.close()
    more = _processes.cost(os.getpid())["rss_mb"] - memory
    rows_read = 2 * len(TableFormat) * asked.rounds * asked.count
    print(f"{rows_read} rows after the first turn: {more:.0f} MB more of memory")
    return told("SQLite" if database.is_sqlite else "PostgreSQL", runs)


def told(name: str, runs: dict[str, list[tuple[float, float]]]) -> bool:
    """Print the medians, and how many times as long the peer takes."""
    medians = {
        label: tuple(statistics.median(column) for column in zip(*each, strict=True))
        for label, each in runs.items()
    }
    peer = min(cost for label, (_, cost) in medians.items() if label.startswith("validate"))
    well = True
    for label, (per_second, cost) in medians.items():
        goal = ""
        if label in {"import, csv", "import, jsonl"}:
            well &= peer / cost >= MUST
            goal = f"must: {MUST:g}, reach {REACH:g}"
        shown = label if label.startswith("validate") else f"{label}, {name}"
        print(f"{shown:36} {per_second:10.0f} {cost:10.0f} {peer / cost:8.2f}x   {goal}".rstrip(), flush=True)
    return well


def main() -> int:
    """Measure on every database that was named; 1 where a figure is not what it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--database", action="append", default=[])
    asked = parser.parse_args()
    print(f"{asked.count} listings of {CITIES} cities, median of {asked.rounds} turns")
    print(f"{'':36} {'listings/s':>10} {'CPU us':>10} {'ratio':>9}")
    with tempfile.TemporaryDirectory(prefix="twinning-") as folder, served() as port:
        databases = asked.database or [f"sqlite:///{Path(folder)}/imports.db"]
        well = [measure(database, port, asked) for database in databases]
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
