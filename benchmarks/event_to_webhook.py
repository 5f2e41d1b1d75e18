# SPDX-License-Identifier: Apache-2.0
"""From the client's POST to the verified webhook in the receiver's hands, beside the bare Redis-stream shape.

    ./run bench event_to_webhook [--rate 100] [--seconds 8] [--rounds 3]

Ours is `twinning up`: a city is registered over HTTP with a key, and its `city.registered` comes signed,
out of the outbox, through guard and log, while the matcher takes in the city beside it. The peer inserts,
adds to a stream and posts, with nothing else (`_stream_shape.py`). Both are asked at an even rate, whether
or not they keep up, and take turns; what the peer sends is not signed, so nothing is verified of it.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import uvloop
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from benchmarks import _stream_shape
from benchmarks._processes import broker, cpu_s, running
from services.broker import redis_url
from services.cli.system import free_port
from services.cli.throwaway import LOCAL_RECEIVERS, throwaway_system

MUST, REACH = 3.0, 1.5
WARM_S = 2.0
SETTLE_S = 3.0
START_S = 30.0
OURS, PEER = "twinning up", "bare Redis stream"


@dataclass
class Inbox:
    """When the webhook about each name was in our hands, verified where there is a secret."""

    secret: str = ""
    arrived: dict[str, float] = field(default_factory=dict)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        """Take one webhook."""
        body = await request.read()
        if self.secret:
            told = Webhook(self.secret).verify(body, dict(request.headers))
        else:
            told = await request.json()
        self.arrived.setdefault(told["data"]["name"], time.perf_counter())
        self.came.set()
        return web.Response(status=204)


@dataclass(frozen=True)
class System:
    """One of the two: where it answers, with which key, and the processes that it consists of."""

    url: str
    key: str
    pids: list[int]


@dataclass(frozen=True)
class Run:
    """How long each webhook of a run took, sorted, and the processor time of an event, in milliseconds."""

    took_ms: list[float]
    cpu_ms: float


@asynccontextmanager
async def receiving(inbox: Inbox, port: int) -> AsyncIterator[None]:
    """Receive on a port for as long as the block lasts."""
    app = web.Application()
    app.router.add_post("/hook", inbox.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


@contextmanager
def stream_shape(folder: Path, hook: str) -> Iterator[System]:
    """Run the peer."""
    port = free_port()
    with broker(folder) as broker_url:
        env = {_stream_shape.BROKER: redis_url(broker_url), _stream_shape.FILE: str(folder / "stream.db")}
        module = [sys.executable, "-m", "benchmarks._stream_shape"]
        env["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)
        with (
            running([*module, "api", str(port)], **env) as api,
            running([*module, "consumer", hook], **env) as consumer,
        ):
            yield System(f"http://127.0.0.1:{port}", "", [api.pid, consumer.pid])


async def ask(
    session: aiohttp.ClientSession, url: str, prefix: str, rate: float, seconds: float
) -> dict[str, float]:
    """Register cities at an even rate; gives when each was sent."""
    sent: dict[str, float] = {}

    async def one(name: str) -> None:
        sent[name] = time.perf_counter()
        async with session.post(f"{url}/v1/cities", json={"name": name, "country": "IE"}) as answer:
            answer.raise_for_status()
            await answer.read()

    begun, tasks = time.perf_counter(), []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, begun + number / rate - time.perf_counter()))
        tasks.append(asyncio.create_task(one(f"{prefix} {number}")))
    await asyncio.gather(*tasks)
    return sent


async def measure(system: System, inbox: Inbox, prefix: str, asked: argparse.Namespace) -> Run:
    """Warm one of them up, ask it, and give how long each webhook took and what it cost."""
    url, key = system.url, system.key
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        await _until_up(session, url)
        if key and not inbox.secret:
            wanted = {"url": HOOK.format(asked.port), "event_types": ["city.registered"]}
            async with session.post(f"{url}/v1/webhook-endpoints", json=wanted) as made:
                inbox.secret = (await made.json())["secret"]
        await ask(session, url, f"{prefix} warm", asked.rate / 4, WARM_S)
        before = sum(map(cpu_s, system.pids))
        sent = await ask(session, url, prefix, asked.rate, asked.seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                while sent.keys() - inbox.arrived.keys():
                    inbox.came.clear()
                    await inbox.came.wait()
    cpu_ms = 1000 * (sum(map(cpu_s, system.pids)) - before) / len(sent)
    took = [1000 * (inbox.arrived[name] - at) for name, at in sent.items() if name in inbox.arrived]
    late = len(sent) - len(took)
    if late:
        print(f"  {prefix}: {late} of {len(sent)} webhooks had not come {SETTLE_S:g} s after the end")
    return Run(sorted([*took, *([1000 * (asked.seconds + SETTLE_S)] * late)]), cpu_ms)


HOOK = "http://127.0.0.1:{}/hook"


async def _until_up(session: aiohttp.ClientSession, url: str) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            async with session.get(f"{url}/healthz") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.05)
    raise RuntimeError(f"{url} does not answer")


async def turns(systems: dict[str, System], asked: argparse.Namespace) -> dict[str, list[Run]]:
    """Have both take turns."""
    found: dict[str, list[Run]] = {name: [] for name in systems}
    inboxes = {name: Inbox() for name in systems}
    for number in range(asked.rounds):
        for name, system in systems.items():
            async with receiving(inboxes[name], asked.port):
                found[name].append(await measure(system, inboxes[name], f"{name} {number}", asked))
    return found


def p50(run: Run) -> float:
    """The median of a run's times."""
    return statistics.median(run.took_ms)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    asked.port = free_port()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="twinning-")))
        system = stack.enter_context(throwaway_system(folder, {**LOCAL_RECEIVERS, "RATE_PER_MINUTE": "0"}))
        peer = stack.enter_context(stream_shape(folder, HOOK.format(asked.port)))
        ours = System(system.url, system.key, [system.process.pid])
        systems = {OURS: ours, PEER: peer}
        found = uvloop.run(turns(systems, asked))

    def figure(name: str, of: Callable[[Run], float]) -> float:
        return statistics.median(of(run) for run in found[name])

    print(f"from POST to webhook at {asked.rate:g} a second, milliseconds, median of {asked.rounds} rounds")
    for name in (OURS, PEER):
        p99 = figure(name, lambda run: run.took_ms[int(0.99 * (len(run.took_ms) - 1))])
        cpu_ms = figure(name, lambda run: run.cpu_ms)
        print(f"  {name:20} p50 {figure(name, p50):6.1f}   p99 {p99:6.1f}   CPU {cpu_ms:5.2f} an event")
    ratio = figure(OURS, p50) / figure(PEER, p50)
    print(f"  ours is {ratio:.1f} times the peer's p50; must: at most {MUST:g}, reach {REACH:g}")
    return 0 if ratio <= MUST else 1


if __name__ == "__main__":
    sys.exit(main())
