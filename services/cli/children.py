# SPDX-License-Identifier: Apache-2.0
"""The processes a supervisor keeps: what each is, what it last said, and when it may start again."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

LAST_LINES: Final = 20
SETTLED_S: Final = 1.0
STEADY_S: Final = 30.0
BACK_OFF_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
COLOURS: Final = (36, 33, 35, 32, 34, 31)


@dataclass(frozen=True)
class Child:
    """A process to be kept running.

    `ready` says whether it does its work yet, without waiting for longer than half a second; a child
    without it counts as ready once it has lived for a second. `stop_s` is how long it may take over
    SIGTERM before it is killed; all children together get no more than five seconds.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] | None = None
    stop_s: float = 3.0
    start_s: float = 60.0


class Running:
    """A child and what is known of its present life."""

    def __init__(self, child: Child, prefix: str) -> None:
        self.child = child
        self.process: subprocess.Popen[bytes] | None = None
        self.begun = 0.0
        self.due = 0.0
        self.deaths = 0
        self.rest = b""
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._prefix = prefix

    def is_ready(self) -> bool:
        """Say whether it does its work."""
        if self.process is None or self.process.poll() is not None:
            return False
        if self.child.ready is not None:
            return self.child.ready()
        return time.monotonic() - self.begun > SETTLED_S

    def next_delay(self, now: float) -> float:
        """Seconds to wait before the next start; a life of half a minute clears the record."""
        self.deaths = 0 if now - self.begun > STEADY_S else self.deaths
        delay = BACK_OFF_S[min(self.deaths, len(BACK_OFF_S) - 1)]
        self.deaths += 1
        return delay

    def hear(self, chunk: bytes) -> None:
        """Print what the child wrote, line by line, under its name."""
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        for raw in lines:
            line = raw.decode(errors="replace").rstrip("\r")
            self.last_lines.append(line)
            _print(f"{self._prefix} {line}")


def label(name: str, place: int, width: int) -> str:
    """Write a child's name as the beginning of its lines, in a colour of its own on a terminal."""
    text = f"{name:<{width}} |"
    if not sys.stderr.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{COLOURS[place % len(COLOURS)]}m{text}\x1b[0m"


def say(text: str) -> None:
    """Say something in the supervisor's own name."""
    _print(f"twinning: {text}")


def _print(line: str) -> None:
    """Write a line on stderr; a terminal that has gone away ends nothing."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def outcome(process: "subprocess.Popen[bytes] | None") -> str:
    """Say how a process ended, when it has."""
    code = process.poll() if process is not None else None
    if code is None:
        return ""
    return f" with exit code {code}" if code >= 0 else f" by {signal.Signals(-code).name}"
