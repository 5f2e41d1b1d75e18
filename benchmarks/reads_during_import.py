# SPDX-License-Identifier: Apache-2.0
"""How long reads take while a large file is imported, beside how long they take when nothing else happens.

    ./run bench reads_during_import [--rows 100000] [--rate 60] [--idle 30] [--only sqlite|postgresql]

API, matching worker and broker are processes of their own, as `twinning up` has them. First 2,000 listings
are imported and matched, which takes about a minute, so that there is something to read. Then the file goes
in by POST, half of it needs and half practices, of cities of both regions; the worker counts their words
while it imports, and matches them when the file has been read, which is not waited for. Lists of 50 and
single needs are read in turn at a fixed rate, whatever the answers take, and a late answer counts from when
it should have been asked for. How far it is goes to standard error, each five seconds.

Printed are the times of both, idle and during the import, the rows a second, and how much memory the worker
had more at most: the catalogue, of which it keeps about a kilobyte a listing, grows meanwhile. It fails when
the 99th percentile is more than 4 times that of the idle house.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._corpus import texts
from benchmarks._databases import KINDS, fresh_database
from benchmarks._load import request
from benchmarks._processes import cost, cpu_s
from benchmarks.api import PLACES, serving
from tests.servers import own_broker, running
from twinning import json_lines, keys
from twinning.database import Database
from twinning.imports import ENDED
from twinning.keys import ApiKeyCreate
from twinning.settings import PREFIX
from twinning.terms import ImportState, Role

CITIES: Final = 200
BEFORE: Final = 2_000
CONNECTIONS: Final = 16
# Reads, between two looks at how far the import is.
LOOK_EVERY: Final = 20
TELL_EVERY_S: Final = 5.0
REST_S: Final = 2.0
MUST, REACH = 4.0, 2.0


@dataclass
class Times:
    """Milliseconds of answers."""

    ms: list[float] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        """Milliseconds within which this share was answered."""
        ordered = sorted(self.ms)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def rows(count: int, first: int) -> Iterator[dict[str, Any]]:
    """The rows of a file: cities of both regions, and needs and practices of each."""
    for number in range(CITIES):
        place = PLACES[number % len(PLACES)]
        yield {"kind": "city", "ref": f"c{number}", "name": f"City {number} of {place}", "country": place}
    kinds = ("need", "practice")
    for number, text in enumerate(texts(count, "need"), first):
        yield {
            "kind": kinds[number % 2],
            "ref": f"r{number}",
            "city_ref": f"c{number // 2 % CITIES}",
            "title": f"What our adults learn, number {number}",
            "description": text,
            "languages": ["en"],
        }


class Progress:
    """Tells on standard error how far it is, but not more often than each few seconds."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._begun = self._told = time.monotonic()

    def __call__(self, what: str, *, now: bool = False) -> None:
        """Say what is done at present."""
        moment = time.monotonic()
        if now or moment - self._told >= TELL_EVERY_S:
            self._told = moment
            print(f"  {self._kind}, {moment - self._begun:.0f} s: {what}", file=sys.stderr, flush=True)


def new_key(url: str) -> str:
    """Make a staff key."""
    database = Database(url)
    with database.transaction() as session:
        _, shown = keys.create(session, ApiKeyCreate(role=Role.STAFF, name="Benchmark"))
    database.close()
    return shown


class Reader:
    """Asks at a fixed rate over some connections that are kept."""

    def __init__(self, port: int, asked: dict[str, list[bytes]], rate: float) -> None:
        self._port, self._asked, self._rate = port, asked, rate

    async def read_until(self, is_over: Callable[[], Awaitable[bool]]) -> dict[str, Times]:
        """Ask until it is over; gives the times by what was asked."""
        told = {name: Times() for name in self._asked}
        due: asyncio.Queue[tuple[float, str, bytes] | None] = asyncio.Queue()
        clients = [asyncio.create_task(self._client(due, told)) for _ in range(CONNECTIONS)]
        over = asyncio.create_task(is_over())
        begun, number = time.perf_counter(), 0
        while not over.done() or not over.result():
            if over.done() and number % LOOK_EVERY == 0:
                over = asyncio.create_task(is_over())
            at = begun + number / self._rate
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            name = list(self._asked)[number % len(self._asked)]
            requests = self._asked[name]
            due.put_nowait((at, name, requests[number // len(self._asked) % len(requests)]))
            number += 1
        for _ in clients:
            due.put_nowait(None)
        await asyncio.gather(*clients)
        return told

    async def _client(
        self, due: asyncio.Queue[tuple[float, str, bytes] | None], told: dict[str, Times]
    ) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while (one := await due.get()) is not None:
            at, name, asked = one
            writer.write(asked)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            told[name].ms.append(1000 * (time.perf_counter() - at))
        writer.close()


def measure(kind: str, given: argparse.Namespace) -> bool:
    """Measure on one kind of database and print; gives whether the reads are as quick as they must be."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="twinning-bench-")))
        url = stack.enter_context(fresh_database(kind))
        key = new_key(url)
        broker = stack.enter_context(own_broker(folder))
        env = {"DATABASE_URL": url, "BROKER_URL": broker.url, "RATE_PER_MINUTE": "0", "LOG_FORMAT": "json"}
        ours = [sys.executable, "-m", "services.cli.main"]
        served = stack.enter_context(serving([*ours, "api", "--port"], folder, env, "/healthz"))
        inherited = {PREFIX + name: value for name, value in env.items()}
        worker = stack.enter_context(running([*ours, "worker"], log=folder / "worker.log", env=inherited))
        head = {"Authorization": f"Bearer {key}"}
        client = stack.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{served.port}", headers=head, timeout=60)
        )
        progress = Progress(kind)
        fill(client, worker.pid, progress)
        return told(kind, given, *uvloop.run(compare(served.port, head, worker.pid, given, progress)))


def fill(client: httpx.Client, worker: int, progress: Progress) -> None:
    """Have a catalogue to read before the import, all of it matched, and a worker that has met an import."""
    progress(f"{BEFORE} listings are imported and matched", now=True)
    content = b"".join(json_lines.write(rows(BEFORE, 0)))
    path = client.post("/v1/imports", files={"file": ("before.jsonl", content)}).headers["location"]
    while client.get(path).json()["state"] not in ENDED or _matching_due(client) or not _rests(worker):
        progress(f"{_matching_due(client):.0f} units of matching are left")
        time.sleep(0.5)


def _rests(worker: int) -> bool:
    """Say whether the worker does next to nothing: what it has in hand is not due, and not done either."""
    spent = cpu_s(worker)
    time.sleep(REST_S)
    return cpu_s(worker) - spent < REST_S / 10


def _matching_due(client: httpx.Client) -> float:
    lines = client.get("/metrics").text.splitlines()
    due = [line for line in lines if line.startswith("twinning_work_due{") and "match_" in line]
    return sum(float(line.rpartition(" ")[2]) for line in due)


@dataclass(frozen=True)
class Import:
    """What an import came to: rows a second, and megabytes that the worker had more at most."""

    per_second: float
    more_mb: float
    file_mb: float


async def compare(
    port: int, head: dict[str, str], worker: int, given: argparse.Namespace, progress: Progress
) -> tuple[dict[str, Times], dict[str, Times], Import]:
    """Read idle and then during an import."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/v1", headers=head, timeout=60) as client:
        needs = [item["id"] for item in (await client.get("/needs?limit=100")).json()["items"]]
        asked = {
            "list of 50": [request("GET", "/v1/needs?limit=50", head)],
            "one need": [request("GET", f"/v1/needs/{id_}", head) for id_ in needs],
        }
        reader = Reader(port, asked, given.rate)
        progress(f"reads of the idle house, {given.idle:g} s", now=True)
        # The first seconds warm up: connections, statements.
        await reader.read_until(after(3))
        before = await reader.read_until(after(given.idle))
        content = b"".join(json_lines.write(rows(given.rows, BEFORE)))
        progress(f"{given.rows} rows are sent", now=True)
        memory = highest = cost(worker)["rss_mb"]
        begun = time.monotonic()
        answer = await client.post("/imports", files={"file": ("rows.jsonl", content)})
        path = f"/imports/{answer.raise_for_status().json()['id']}"
        state = ""

        async def ended() -> bool:
            nonlocal state, highest
            highest = max(highest, cost(worker)["rss_mb"])
            answer = (await client.get(path)).json()
            state = answer["state"]
            progress(f"{answer['counts']['rows']} of {given.rows + CITIES} rows are read")
            return state in ENDED

        during = await reader.read_until(ended)
    took = time.monotonic() - begun
    assert state == ImportState.COMPLETED, state
    return before, during, Import(given.rows / took, highest - memory, len(content) / 1e6)


def after(seconds: float) -> Callable[[], Awaitable[bool]]:
    """Say that it is over when these seconds have passed."""
    until = time.monotonic() + seconds

    async def over() -> bool:
        return time.monotonic() > until

    return over


def told(
    kind: str, given: argparse.Namespace, before: dict[str, Times], during: dict[str, Times], its: Import
) -> bool:
    """Print the times side by side; gives whether the 99th percentile is as it must be."""
    print(
        f"\n{kind}: {given.rows} rows ({its.file_mb:.0f} MB) imported at {its.per_second:.0f} a second; "
        f"the worker had {its.more_mb:.0f} MB more at most; {given.rate:g} reads a second"
    )
    print(f"{'':14}{'p50 idle':>12}{'import':>12}{'':>8}{'p99 idle':>14}{'import':>12}")
    well = True
    for name, idle in before.items():
        line = f"{name:<14}"
        for share, width in ((0.5, 12), (0.99, 14)):
            one, other = idle.quantile(share), during[name].quantile(share)
            line += f"{one:>{width - 3}.1f} ms{other:>9.1f} ms{other / one:>7.1f}x"
        well &= during[name].quantile(0.99) <= MUST * idle.quantile(0.99)
        print(f"{line}   must {MUST:g}x, reach {REACH:g}x", flush=True)
    return well


def main() -> int:
    """Measure on both databases; 1 where a figure is not what it must be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=60.0)
    parser.add_argument("--idle", type=float, default=30.0)
    parser.add_argument("--only", choices=KINDS)
    given = parser.parse_args()
    well = [measure(kind, given) for kind in ((given.only,) if given.only else KINDS)]
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
