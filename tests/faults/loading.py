# SPDX-License-Identifier: Apache-2.0
"""A load of many clients that read and write at once, while workers are killed and started again.

Each client keeps what it was told: which needs it has, and what each of them says by the last answer. At the
end everything is read back and held against that; so is the feed.
"""

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.faults.checking import read_feed
from tests.faults.house import House
from tests.faults.writing import practices, settle_in

READS = ("/needs?limit=50", "/practices?limit=50", "/suggestions?limit=20", "/events?limit=50", "/cities")
WRITES = 0.4
CHANGES = 0.5


@dataclass
class Told:
    """What the clients were told."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    read_s: list[float] = field(default_factory=list)
    write_s: list[float] = field(default_factory=list)
    needs: dict[str, str] = field(default_factory=dict)
    kills: int = 0

    @property
    def failed(self) -> int:
        """How many requests were answered by 5xx or not at all."""
        return sum(count for status, count in self.statuses.items() if status >= 500 or not status)


@dataclass(frozen=True)
class Found:
    """What was read back: needs that are missing or say something else, and those missing in the feed."""

    lost: set[str]
    untold: set[str]


def run(house: House, clients: int, seconds: float, seed: int) -> tuple[Told, Found]:
    """Let the clients at it, kill a worker now and then, and read everything back."""
    cities = settle_in(house)
    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(_kill, house, over, random.Random(seed))
        try:
            told = asyncio.run(_load(house, cities, clients, seconds, random.Random(seed)))
        finally:
            over.set()
        told.kills = killing.result()
    return told, read_back(house, told)


def _kill(house: House, over: threading.Event, rng: random.Random) -> int:
    """Kill -9 one worker after the other and start it again; gives how often."""
    kills = 0
    while not over.wait(rng.uniform(1.0, 4.0)):
        worker = house.workers[kills % len(house.workers)]
        worker.kill()
        house.start(worker)
        kills += 1
    return kills


async def _load(
    house: House, cities: Sequence[str], clients: int, seconds: float, rng: random.Random
) -> Told:
    told, begun = Told(), time.monotonic()
    texts = practices(500, rng)
    # Who waits longer than this has met something that hangs, which counts as no answer.
    patience = aiohttp.ClientTimeout(total=60)
    connector = aiohttp.TCPConnector(limit=clients)
    headers = {"Authorization": house.client.headers["Authorization"]}
    async with aiohttp.ClientSession(
        house.url, connector=connector, headers=headers, timeout=patience
    ) as http:
        each = (
            _client(http, told, begun + seconds, rng.choice(cities), texts, random.Random(rng.random()))
            for _ in range(clients)
        )
        await asyncio.gather(*each)
    told.seconds = time.monotonic() - begun
    return told


async def _client(
    http: aiohttp.ClientSession,
    told: Told,
    until: float,
    city: str,
    texts: Sequence[dict[str, Any]],
    rng: random.Random,
) -> None:
    """Read and write until the time is over; a client's needs are its own, so it knows what they must say."""
    mine: list[str] = []
    while time.monotonic() < until:
        if rng.random() >= WRITES:
            path = rng.choice(READS) if not mine or rng.random() < 0.5 else f"/needs/{rng.choice(mine)}"
            await _ask(http, told, told.read_s, "GET", path)
        elif mine and rng.random() < CHANGES:
            title = f"Changed {rng.random()}"
            need = rng.choice(mine)
            if await _ask(http, told, told.write_s, "PATCH", f"/needs/{need}", {"title": title}):
                told.needs[need] = title
        else:
            wanted = {**rng.choice(texts), "title": f"New {rng.random()}"}
            key = f"load-{rng.random()}"
            made = await _ask(http, told, told.write_s, "POST", f"/cities/{city}/needs", wanted, key)
            if made is not None:
                mine.append(made["id"])
                told.needs[made["id"]] = wanted["title"]


async def _ask(
    http: aiohttp.ClientSession,
    told: Told,
    took: list[float],
    method: str,
    path: str,
    body: Any = None,
    key: str | None = None,
) -> Any:
    """Ask once; gives what was answered by 2xx, and None for anything else, which is counted."""
    begun = time.monotonic()
    headers = {} if key is None else {"Idempotency-Key": key}
    try:
        async with http.request(method, f"/v1{path}", json=body, headers=headers) as answer:
            text = await answer.text()
            status = answer.status
    except (aiohttp.ClientError, TimeoutError):
        status, text = 0, ""
    took.append(time.monotonic() - begun)
    told.statuses[status] += 1
    return json.loads(text) if 200 <= status < 300 else None


def read_back(house: House, told: Told) -> Found:
    """Read every need and the whole feed, and hold both against what was acknowledged."""
    there: dict[str, str] = {}
    page: dict[str, Any] = {"next_cursor": ""}
    while page["next_cursor"] is not None:
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
        page = house.get("/needs", limit=200, **cursor)
        there |= {need["id"]: need["title"] for need in page["items"]}
    last = {
        event["data"]["id"]: event["data"]["title"]
        for event in read_feed(house)
        if event["type"] in {"need.registered", "need.updated"}
    }
    acknowledged = told.needs.items()
    return Found(
        lost={need for need, title in acknowledged if there.get(need) != title},
        untold={need for need, title in acknowledged if last.get(need) != title},
    )


def figures(told: Told, found: Found) -> str:
    """Say in lines what came of it."""
    untold = len(found.untold)
    lines = [
        f"{sum(told.statuses.values())} requests in {told.seconds:.0f} s, {told.kills} workers killed",
        f"  answered by 5xx or not at all {told.failed}, statuses {dict(sorted(told.statuses.items()))}",
        f"  of {len(told.needs)} acknowledged needs {len(found.lost)} lost, {untold} not in the feed",
    ]
    for name, took in (("reads", told.read_s), ("writes", told.write_s)):
        ordered = sorted(took)
        p50, p99 = (1000 * ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
        lines.append(f"  {name}: {len(took)}, p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    return "\n".join(lines)
