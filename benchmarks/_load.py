# SPDX-License-Identifier: Apache-2.0
"""A load generator of few instructions: HTTP/1.1, kept connections, each asks when it is answered.

It lives in a process of its own, so that the processor time of a server is the server's alone.
"""

import asyncio
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvloop

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
# Stands in a request for what must differ from one to the next.
NUMBER = b"@number@"


@dataclass(frozen=True)
class Load:
    """What is asked: requests in turn, over so many connections, for so many seconds."""

    port: int
    requests: Sequence[bytes]
    connections: int
    seconds: float
    pause_s: float = 0.0


@dataclass
class Answers:
    """What came back: how many of each status, and the milliseconds of each, sorted."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    ms: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return len(self.ms) / self.seconds

    def quantile(self, share: float) -> float:
        """Milliseconds within which this share was answered."""
        return self.ms[min(len(self.ms) - 1, int(share * len(self.ms)))] if self.ms else float("nan")


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """Write a request as it goes over the wire."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: bench",
        *(f"{name}: {said}" for name, said in headers.items()),
    ]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


class _Client(asyncio.Protocol):
    """One connection: sends, waits for the whole answer, sends the next."""

    def __init__(self, load: Load, numbers: Iterator[int], told: Answers, until: float) -> None:
        self._load, self._numbers, self._told, self._until = load, numbers, told, until
        self._held = b""
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.over.done():
            self._told.statuses[0] += 1
            self.over.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._held += data
        head, found, rest = self._held.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(rest) < length:
            return
        self._held = rest[length:]
        self._told.ms.append(1000 * (time.perf_counter() - self._begun))
        self._told.statuses[int(head[9:12])] += 1
        if time.perf_counter() >= self._until:
            self.over.set_result(None)
            self._transport.close()
        elif self._load.pause_s:
            asyncio.get_running_loop().call_later(self._load.pause_s, self._send)
        else:
            self._send()

    def _send(self) -> None:
        number = next(self._numbers)
        asked = self._load.requests[number % len(self._load.requests)]
        self._begun = time.perf_counter()
        self._transport.write(asked.replace(NUMBER, b"%x-%x" % (number, time.time_ns())))


def drive(load: Load) -> Answers:
    """Ask for as long as is wanted; gives what came back."""
    return uvloop.run(_drive(load))


async def _drive(load: Load) -> Answers:
    told, begun = Answers(), time.perf_counter()
    numbers = iter(range(1 << 60))
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(load.connections):
        _, client = await loop.create_connection(
            lambda: _Client(load, numbers, told, begun + load.seconds), "127.0.0.1", load.port
        )
        clients.append(client)
    await asyncio.gather(*(client.over for client in clients))
    told.seconds = time.perf_counter() - begun
    told.ms.sort()
    return told


@contextmanager
def generators(count: int) -> Iterator[ProcessPoolExecutor]:
    """Give processes that generate load."""
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
        yield pool


def cpu_s(pid: int) -> float:
    """The processor seconds that a process has used, as the kernel counts them."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S
