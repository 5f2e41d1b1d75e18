# SPDX-License-Identifier: Apache-2.0
"""What the front door costs beside bare routes that do the same, through real servers and real HTTP.

    ./run bench api [--seconds 3] [--rounds 3] [--connections 32] [--only sqlite|postgresql] [--row NAME]

The house is `twinning api` as it is shipped, with a key, an `Idempotency-Key`, the outbox and a webhook
endpoint that wants every event; beside it stand the bare routes of `_bare.py` on the same database. Both are
asked in turn by a load generator in a process of its own. A rate is answers a second, CPU what the server's
process used for each; the median of the rounds counts. PostgreSQL is the tests' own, with fsync on; before
each row it counts what is in its tables, as any PostgreSQL does by itself soon after they were filled.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks._databases import KINDS, fresh_database
from benchmarks._load import NUMBER, Answers, Load, cpu_s, drive, generators, request
from services.cli.demo_data import load
from services.cli.system import free_port
from tests.servers import own_broker, running, until
from twinning import keys
from twinning.database import Database
from twinning.keys import ApiKeyCreate
from twinning.settings import PREFIX
from twinning.terms import Role

CITIES, NEEDS = 50, 500
# So many that seldom a city says the same twice, which is looked for and warned of.
BODIES = 20_000
PLACES = ("KR", "IE", "TH", "DE", "VN", "FI", "JP", "PT", "PH", "SE")
BULK_CONNECTIONS = 4


@dataclass(frozen=True)
class Row:
    """A line of the table: what is asked of us and of the bare routes, and what the ratio must be."""

    name: str
    ours: Sequence[bytes]
    bare: Sequence[bytes]
    must: float
    reach: float


@dataclass(frozen=True)
class Served:
    """A server at work."""

    port: int
    pid: int


@dataclass(frozen=True)
class Figures:
    """What a turn gave."""

    per_second: float
    cpu_us: float
    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, answers: Answers, spent_s: float) -> "Figures":
        """Divide by the number of answers; refuses a turn in which anything went wrong."""
        if any(not 200 <= status < 300 for status in answers.statuses):
            raise SystemExit(f"not all was answered well: {dict(answers.statuses)}")
        each = 1e6 * spent_s / max(1, len(answers.ms))
        return cls(answers.per_second, each, answers.quantile(0.5), answers.quantile(0.99))


class House:
    """The front door and the bare routes on one database, filled."""

    def __init__(self, url: str, stack: ExitStack) -> None:
        self.url = url
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="twinning-bench-")))
        database = Database(url)
        with database.transaction() as session:
            _, key = keys.create(session, ApiKeyCreate(role=Role.STAFF, name="Benchmark"))
        database.close()
        broker = stack.enter_context(own_broker(folder))
        env = {"DATABASE_URL": url, "BROKER_URL": broker.url, "RATE_PER_MINUTE": "0"}
        env |= {"WEBHOOK_ALLOW_CIDRS": "127.0.0.0/8", "WEBHOOK_ALLOW_HTTP": "true", "LOG_FORMAT": "json"}
        self.head = {"Authorization": f"Bearer {key}"}
        ours = [sys.executable, "-m", "services.cli.main", "api", "--port"]
        bare = [sys.executable, "-m", "benchmarks._bare", url]
        self.bare = stack.enter_context(serving(bare, folder, {}, "/openapi.json"))
        self.ours = stack.enter_context(serving(ours, folder, env, "/healthz"))
        self.cities, self.needs = self._fill()

    def rows(self, bodies: Sequence[str]) -> Iterator[Row]:
        """Give the lines of the table."""
        wanted = [
            json.dumps({"title": body[:60], "description": body, "strength": 3}).encode() for body in bodies
        ]
        keyed = {**self.head, "Idempotency-Key": NUMBER.decode()}
        places = [f"/cities/{city}/needs" for city in self.cities]
        pairs = [(places[number % CITIES], body) for number, body in enumerate(wanted)]
        yield Row(
            "registration of a need",
            [request("POST", f"/v1{place}", keyed, body) for place, body in pairs],
            [request("POST", place, {}, body) for place, body in pairs],
            1,
            4,
        )
        for name, paths in (
            ("list of 50", ["/needs?limit=50"]),
            ("one need", [f"/needs/{id_}" for id_ in self.needs]),
        ):
            ours = [request("GET", f"/v1{path}", self.head) for path in paths]
            yield Row(name, ours, [request("GET", path, {}) for path in paths], 0.5, 0.8)

    def count_rows(self) -> None:
        """Have PostgreSQL know its tables, which it plans its reads by."""
        database = Database(self.url)
        if not database.is_sqlite:
            with database.engine.begin() as connection:
                connection.exec_driver_sql("ANALYZE")
        database.close()

    def _fill(self) -> tuple[list[str], list[str]]:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{self.ours.port}/v1", headers=self.head, timeout=30
        ) as client:

            def made(path: str, wanted: object) -> str:
                return str(client.post(path, json=wanted).raise_for_status().json()["id"])

            cities = [
                made("/cities", {"name": f"City {number}", "country": PLACES[number % len(PLACES)]})
                for number in range(CITIES)
            ]
            with ThreadPoolExecutor(16) as pool:
                asked = [
                    pool.submit(
                        made,
                        f"/cities/{cities[number % CITIES]}/needs",
                        {"title": text[:60], "description": text},
                    )
                    for number, text in enumerate(sentences(NEEDS, 7))
                ]
                needs = [one.result() for one in asked]
            made("/webhook-endpoints", {"url": "http://127.0.0.1:9/hooks", "event_types": ["*"]})
        return cities, needs


def sentences(count: int, seed: int) -> list[str]:
    """Mix texts out of the demo's sentences: some 400 characters of real English each."""
    rng = random.Random(seed)
    known = [each for entry in load().practices for each in entry.fields["description"].split(". ")]
    return [". ".join(rng.sample(known, 3)) for _ in range(count)]


@contextmanager
def serving(command: list[str], folder: Path, env: dict[str, str], path: str) -> Iterator[Served]:
    """Run a server until the context ends."""
    port = free_port()
    log = folder / f"{port}.log"
    inherited = {PREFIX + name: value for name, value in env.items()}
    with running([*command, str(port)], log=log, env=inherited) as process:

        def answers() -> bool:
            try:
                return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=1).is_success
            except httpx.TransportError:
                return False

        until(answers, process, log)
        yield Served(port, process.pid)


def turn(
    pool: Executor, served: Served, requests: Sequence[bytes], connections: int, seconds: float
) -> Figures:
    """Ask a server for some seconds."""
    spent = cpu_s(served.pid)
    answers = pool.submit(drive, Load(served.port, requests, connections, seconds)).result()
    return Figures.of(answers, cpu_s(served.pid) - spent)


def median(turns: Sequence[Figures]) -> Figures:
    """Take the median of each figure."""
    return Figures(
        *(statistics.median(column) for column in zip(*(vars(one).values() for one in turns), strict=True))
    )


def measure(house: House, pool: Executor, given: argparse.Namespace) -> None:
    """Measure each row, in turns, and print it."""
    for row in house.rows(sentences(BODIES, 8)):
        if given.row not in row.name:
            continue
        house.count_rows()
        sides: tuple[list[Figures], list[Figures]] = ([], [])
        for number in range(given.rounds + 1):
            for side, served, requests in zip(
                sides, (house.ours, house.bare), (row.ours, row.bare), strict=True
            ):
                figures = turn(pool, served, requests, given.connections, given.seconds)
                if number:
                    side.append(figures)
        ours, bare = map(median, sides)
        alone = [
            turn(pool, served, requests, 1, given.seconds / 2).p50_ms
            for served, requests in ((house.ours, row.ours), (house.bare, row.bare))
        ]
        print(
            f"{row.name:<24}{ours.per_second:8.0f}/s{bare.per_second:8.0f}/s"
            f"{ours.per_second / bare.per_second:7.2f}x"
            f"   {ours.cpu_us:6.0f} us{bare.cpu_us:7.0f} us{bare.cpu_us / ours.cpu_us:7.2f}x"
            f"   {ours.p99_ms:6.1f} ms{bare.p99_ms:7.1f} ms"
            f"   {alone[0]:6.2f} ms{alone[1]:7.2f} ms"
            f"   must {row.must:g}x, reach {row.reach:g}x",
            flush=True,
        )


HEAD = (
    f"{'':<24}{'ours':>10}{'bare':>10}{'':>8}   {'CPU each':>9}{'bare':>10}{'':>8}   {'p99':>9}{'bare':>10}"
    f"   {'alone':>9}{'bare':>10}"
)


def main() -> None:
    """Measure on both databases."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--only", choices=KINDS)
    parser.add_argument("--row", default="", help="only rows with this in their name")
    given = parser.parse_args()
    for kind in (given.only,) if given.only else KINDS:
        with ExitStack() as stack:
            pool = stack.enter_context(generators(1))
            house = House(stack.enter_context(fresh_database(kind)), stack)
            print(f"\n{kind}, load of the machine {os.getloadavg()[0]:.1f}\n{HEAD}", flush=True)
            measure(house, pool, given)


if __name__ == "__main__":
    main()
