# SPDX-License-Identifier: Apache-2.0
"""What benchmarks start beside themselves, and what the kernel says that a process costs."""

import asyncio
import logging
import multiprocessing
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_uint64
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import structlog
import uvloop

from services.cli.servers import embedded_broker

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
START_S = 20.0
# A benchmark prints its figures and nothing else.
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


def _stat(pid: int) -> list[str]:
    return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()


def cpu_s(pid: int) -> float:
    """The processor seconds of a process and of all that it has started and that still runs."""
    stats = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stats[int(entry.name)] = _stat(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    family = {pid}
    while more := {each for each, stat in stats.items() if int(stat[1]) in family} - family:
        family |= more
    return sum(int(stats[each][11]) + int(stats[each][12]) for each in family if each in stats) * TICK_S


def cost(pid: int) -> dict[str, float]:
    """The kernel's figures for one process: processor seconds, memory, threads, files."""
    proc = Path("/proc") / str(pid)
    stat = _stat(pid)
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    return {
        "cpu_s": (int(stat[11]) + int(stat[12])) * TICK_S,
        "rss_mb": int(status["VmRSS"].split()[0]) / 1024,
        "threads": int(status["Threads"]),
        "files": len(list((proc / "fd").iterdir())),
    }


@contextmanager
def running(argv: list[str], **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program beside us, ended with the block."""
    with subprocess.Popen(argv, env={**os.environ, **env}, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def broker(folder: Path) -> Iterator[str]:
    """Run a broker of our own; gives its URL."""
    with embedded_broker(folder) as server, running(list(server.argv)):
        deadline = time.monotonic() + START_S
        while not server.ready():
            if time.monotonic() > deadline:
                raise RuntimeError("the broker did not start")
            time.sleep(0.02)
        yield server.url


class _Minimal(asyncio.Protocol):
    """Answers each POST with an empty 200, counts it, and looks at nothing but its length."""

    def __init__(self, count: Any) -> None:
        self._held = b""
        self._count = count

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head = self._held[:end].lower()
            length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
            if len(self._held) < end + 4 + length:
                return
            self._held = self._held[end + 4 + length :]
            self._count.value += 1
            self._transport.write(ANSWER)


def _receive(tell: Connection, count: Any) -> None:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Minimal(count), "127.0.0.1", 0)
        tell.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


@dataclass(frozen=True)
class Receiver:
    """A minimal receiver in a process of its own: where it listens, and how many posts it has answered."""

    url: str
    _count: Any

    @property
    def count(self) -> int:
        """How many posts it has answered."""
        return int(self._count.value)

    def wait_for(self, count: int, most_s: float) -> None:
        """Wait until it has answered so many."""
        deadline = time.monotonic() + most_s
        while self.count < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{count - self.count} posts did not arrive in {most_s:g} s")
            time.sleep(0.01)


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Run a minimal receiver, ended with the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    count = context.Value(c_uint64, lock=False)
    process = context.Process(target=_receive, args=(theirs, count), daemon=True)
    process.start()
    # Ours alone is left then, so that a receiver which dies is an end and no silence.
    theirs.close()
    try:
        yield Receiver(f"http://127.0.0.1:{ours.recv()}/", count)
    finally:
        process.terminate()
        process.join()
