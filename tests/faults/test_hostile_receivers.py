# SPDX-License-Identifier: Apache-2.0
"""Thousands of hostile answers to a shipped dispatcher: its time, its memory, and who waits behind."""

import asyncio
import random
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest

from tests import hooks
from tests.faults.checking import Tell, check, read_log
from tests.faults.house import LONG_LEASE, house
from tests.faults.settling import wait_until_delivered
from tests.faults.writing import Writing, settle_in
from tests.integration import hostile
from twinning.terms import DeliveryState

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(400)]

DEADLINE_S = 2.0
GRACE_S = 0.5
GROWTH_MB = 20.0
LAG_S = 2.0
# A 410 switches its endpoint off, which is told elsewhere.
MANNERS = {name: row for name, row in hostile.MANNERS.items() if name != "answers 410"}
# Those that last as long as they are let get fewer, or the test would last as long.
LASTING = [name for name, (_, _, error) in MANNERS.items() if error == "timeout"]
ANSWERS = 3_000
ANSWERS_LONG = 10_000
LASTING_EACH = 4


@contextmanager
def street() -> Iterator[dict[str, str]]:
    """Serve every manner from a thread of its own; gives their URLs."""
    urls: dict[str, str] = {}
    ready, loops = threading.Event(), []
    over = asyncio.Event()

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        async with AsyncExitStack() as stack:
            for name, (manner, _, _) in MANNERS.items():
                urls[name] = (await stack.enter_async_context(hostile.receiver(manner))).url
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="hostile street", daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield urls
    finally:
        loops[0].call_soon_threadsafe(over.set)
        thread.join(10)


def test_ten_thousand_hostile_answers_hurt_nobody(
    main_url: str, short_folder: Path, seed: int, long: bool, tell: Tell
) -> None:
    """Each hostile attempt ends in time under its class; memory stays; a good receiver waits for nobody."""
    answers = ANSWERS_LONG if long else ANSWERS
    each = (answers - LASTING_EACH * len(LASTING)) // (len(MANNERS) - len(LASTING)) + 1
    settings = {"WEBHOOK_TIMEOUT_S": f"{DEADLINE_S}", "RETRY_SCHEDULE_S": "0", **LONG_LEASE}
    with street() as urls, house(short_folder, main_url, **settings) as one:
        one.start(one.broker, one.api, one.dispatcher)
        one.subscribe()
        rng = random.Random(seed)
        cities = settle_in(one)
        Writing(one, cities, rng).write(20)
        wait_until_delivered(one)
        # A kind that nobody asks for: these get what is sent to each of them by name.
        rows = {
            name: hooks.subscribe(one.database, url, event_types=["need.withdrawn"])
            for name, url in urls.items()
        }
        quick = [row for name, row in rows.items() if name not in LASTING]
        lasting = [row for name, row in rows.items() if name in LASTING]
        hooks.ping(one.database, quick, 8)
        wait_until_delivered(one, 60)
        before = _memory_mb(one.dispatcher.pid)
        with ThreadPoolExecutor(1) as pool:
            writing = Writing(one, cities, rng)
            posted = pool.submit(writing.write, 100, 10.0)
            # One after the other: beside those that flood, this process would be late with quick answers.
            hooks.ping(one.database, quick, each)
            wait_until_delivered(one, 300)
            hooks.ping(one.database, lasting, LASTING_EACH)
            wait_until_delivered(one, 60)
            posted.result()
        wait_until_delivered(one)
        grown = _memory_mb(one.dispatcher.pid) - before
        log = read_log(one)
        seen = dict.fromkeys(rows, 0)
        names = {row.id: name for name, row in rows.items()}
        slowest_ms = 0.0
        for (endpoint_id, _), kept in log.items():
            if endpoint_id not in names:
                continue
            name = names[endpoint_id]
            _, status, error = MANNERS[name]
            [attempt] = kept.log
            assert (name, attempt.status, attempt.error) == (name, status, error)
            well = status is not None and 200 <= status <= 299
            assert kept.state == (DeliveryState.DELIVERED if well else DeliveryState.EXHAUSTED)
            assert attempt.duration_ms is not None
            slowest_ms = max(slowest_ms, attempt.duration_ms)
            seen[name] += 1
        verdict = check(one, writing.posted)
        tell(
            verdict,
            f"{sum(seen.values())} hostile answers",
            f"memory +{grown:.1f} MB",
            f"slowest attempt {slowest_ms:.0f} ms of {DEADLINE_S * 1000:.0f}",
        )
        assert verdict.flaws == {}
        assert sum(seen.values()) >= answers
        assert slowest_ms <= (DEADLINE_S + GRACE_S) * 1000
        assert grown < GROWTH_MB
        assert verdict.lag_s(95) < LAG_S


def _memory_mb(pid: int) -> float:
    """Read how much memory a process has held at most so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found.group(1)) / 1024
