# SPDX-License-Identifier: Apache-2.0
"""What idle streams of events cost a front door, and how soon an event reaches all of them.

A front door in a process of its own on a fresh SQLite file; its processor time, memory, threads and open
files are the kernel's figures for it. Run it as

    python -m benchmarks.streams [--streams 200] [--idle 20] [--events 20]
"""

import argparse
import asyncio
import multiprocessing
import statistics
import tempfile
import time

import aiohttp

from benchmarks._processes import cost
from services.api.app import make_app
from services.api.serving import server
from services.cli.system import free_port
from twinning import keys
from twinning.database import Database
from twinning.keys import ApiKeyCreate
from twinning.migrating import migrate
from twinning.settings import Settings
from twinning.terms import Role


def _serve(url: str, port: int) -> None:
    server(make_app(Settings(database_url=url, rate_per_minute=0)), "127.0.0.1", port).run()


async def _follow(
    session: aiohttp.ClientSession, url: str, opened: asyncio.Queue[int], heard: asyncio.Queue[float]
) -> None:
    async with session.get(f"{url}/v1/events/stream") as answer:
        async for line in answer.content:
            if line.startswith(b"retry:"):
                opened.put_nowait(1)
            if line.startswith(b"data:"):
                heard.put_nowait(time.perf_counter())


async def _measure(url: str, key: str, pid: int, options: argparse.Namespace) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(headers=headers, connector=connector, timeout=timeout) as session:
        await _until_up(session, url)
        bare = cost(pid)
        opened: asyncio.Queue[int] = asyncio.Queue()
        heard: asyncio.Queue[float] = asyncio.Queue()
        begun = time.perf_counter()
        tasks = [asyncio.create_task(_follow(session, url, opened, heard)) for _ in range(options.streams)]
        for _ in tasks:
            await opened.get()
        print(f"{options.streams} streams opened in {time.perf_counter() - begun:.2f} s")
        await asyncio.sleep(2)
        before = cost(pid)
        await asyncio.sleep(options.idle)
        after = cost(pid)
        share = (after["cpu_s"] - before["cpu_s"]) / options.idle
        more = {name: after[name] - bare[name] for name in ("rss_mb", "threads", "files")}
        print(f"idle: {100 * share:.1f} % of a core, {more['rss_mb']:.1f} MB more than without, ", end="")
        print(f"{more['threads']:.0f} threads more, {more['files']:.0f} files more")
        lags = await _lags(session, url, options, heard)
        print(f"an event is with the last of them after {1000 * statistics.median(lags):.0f} ms ", end="")
        print(f"(median of {len(lags)}; slowest {1000 * max(lags):.0f} ms)")
        for task in tasks:
            task.cancel()


async def _lags(
    session: aiohttp.ClientSession, url: str, options: argparse.Namespace, heard: asyncio.Queue[float]
) -> list[float]:
    """Register cities one after another; how long after its answer each event is with the last stream."""
    lags = []
    for number in range(options.events):
        async with session.post(
            f"{url}/v1/cities", json={"name": f"City {number}", "country": "IE"}
        ) as answer:
            answer.raise_for_status()
        begun = time.perf_counter()
        lags.append(max([await heard.get() for _ in range(options.streams)]) - begun)
    return lags


async def _until_up(session: aiohttp.ClientSession, url: str) -> None:
    while True:
        try:
            async with session.get(f"{url}/healthz") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--idle", type=float, default=20.0)
    parser.add_argument("--events", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="twinning-bench-") as folder:
        url, port = f"sqlite:///{folder}/twinning.db", free_port()
        migrate(url)
        database = Database(url)
        with database.transaction() as session:
            _, key = keys.create(session, ApiKeyCreate(role=Role.STAFF, name="Benchmark"))
        database.close()
        door = multiprocessing.get_context("spawn").Process(target=_serve, args=(url, port), daemon=True)
        door.start()
        try:
            asyncio.run(_measure(f"http://127.0.0.1:{port}", key, door.pid or 0, options))
        finally:
            door.terminate()
            door.join()


if __name__ == "__main__":
    main()
