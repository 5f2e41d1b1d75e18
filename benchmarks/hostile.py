# SPDX-License-Identifier: Apache-2.0
"""What ten thousand answers of receivers that mean ill do to the memory of a dispatcher.

    ./run bench hostile [--answers 10000] [--endpoints 200]

The dispatcher is `twinning dispatcher` as shipped; the receivers are those of the tests: endless bodies,
chunks, headers and trailers, a gzip bomb, megabytes of headers, resets, garbage, lies about lengths,
statuses that are none, slow drips and silence. Its memory is looked at all the time.
"""

import argparse
import asyncio
import multiprocessing
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from multiprocessing.connection import Connection
from pathlib import Path

from sqlmodel import func, select

from benchmarks._processes import broker, cost, running
from benchmarks.deliver import waiting
from tests.hooks import ping, subscribe
from tests.integration.hostile import MANNERS, receiver
from twinning.database import Database
from twinning.endpoints import Attempt
from twinning.migrating import migrate
from twinning.settings import PREFIX

MUST_MB = 20.0
# One that answers 410 is disabled at once and never heard of again.
LEFT_OUT = {"answers 410"}
WARM = 400
PATIENCE_S = 900.0
SETTINGS = {
    "WEBHOOK_ALLOW_CIDRS": "127.0.0.0/8",
    "WEBHOOK_ALLOW_HTTP": "true",
    "WEBHOOK_TIMEOUT_S": "0.5",
    "RETRY_SCHEDULE_S": "0",
}


def mean_ill(tell: Connection) -> None:
    """Run all the hostile receivers: a process's whole life."""

    async def serve() -> None:
        async with AsyncExitStack() as stack:
            manners = [manner for name, (manner, _, _) in MANNERS.items() if name not in LEFT_OUT]
            there = [await stack.enter_async_context(receiver(manner)) for manner in manners]
            tell.send([each.url for each in there])
            await asyncio.Event().wait()

    asyncio.run(serve())


def suffer(database: Database, urls: list[str], pid: int, asked: argparse.Namespace) -> float:
    """Deliver to them all, warm first; gives by how many MB the memory has grown at its worst."""
    rows = [subscribe(database, urls[number % len(urls)]) for number in range(asked.endpoints)]
    warm = max(1, WARM // asked.endpoints)
    ping(database, rows, warm)
    _watch(database, pid)
    before = cost(pid)["rss_mb"]
    for _ in range(asked.answers // asked.endpoints // 10):
        ping(database, rows, 10)
    worst = _watch(database, pid)
    print(f"{before:.1f} MB when warm, {worst:.1f} MB at the worst, {cost(pid)['rss_mb']:.1f} MB afterwards")
    return worst - before


def _watch(database: Database, pid: int) -> float:
    """Wait until nothing waits any more; gives the most memory seen."""
    worst, deadline = 0.0, time.monotonic() + PATIENCE_S
    while waiting(database):
        if time.monotonic() > deadline:
            raise RuntimeError("it did not end in time")
        worst = max(worst, cost(pid)["rss_mb"])
        time.sleep(0.1)
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--answers", type=int, default=10_000)
    parser.add_argument("--endpoints", type=int, default=200)
    asked = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=mean_ill, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    with tempfile.TemporaryDirectory(prefix="twinning-") as folder, broker(Path(folder)) as broker_url:
        url = f"sqlite:///{folder}/hostile.db"
        migrate(url)
        database = Database(url)
        env = {PREFIX + name: value for name, value in SETTINGS.items()}
        env |= {f"{PREFIX}DATABASE_URL": url, f"{PREFIX}BROKER_URL": broker_url, "C_FORCE_ROOT": "1"}
        with running([sys.executable, "-m", "services.cli.main", "dispatcher"], **env) as dispatcher:
            begun = time.perf_counter()
            grown = suffer(database, ours.recv(), dispatcher.pid, asked)
            took = time.perf_counter() - begun
        with database.snapshot() as session:
            classes = session.exec(select(Attempt.error, func.count()).group_by(Attempt.error)).all()
        database.close()
    process.terminate()
    told = ", ".join(f"{count} {name or 'delivered'}" for name, count in sorted(classes, key=str))
    print(f"{sum(count for _, count in classes)} attempts in {took:.0f} s: {told}")
    print(f"{grown:+.1f} MB; must: at most {MUST_MB:+g} MB: {'yes' if grown <= MUST_MB else 'NO'}")
    return 0 if grown <= MUST_MB else 1


if __name__ == "__main__":
    sys.exit(main())
