# SPDX-License-Identifier: Apache-2.0
"""A whole system in a throw-away folder, for as long as a demo, a benchmark or a test needs it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.cli.system import HOST, KEY_FILE, free_port
from twinning.errors import Unready
from twinning.settings import PREFIX

START_S: Final = 60.0
STOP_S: Final = 15.0
LOCAL_RECEIVERS: Final = {"WEBHOOK_ALLOW_CIDRS": "127.0.0.0/8", "WEBHOOK_ALLOW_HTTP": "true"}
"""The settings that let a receiver on this machine in."""


@dataclass(frozen=True)
class RunningSystem:
    """Where a system answers, with which staff key, and the process that keeps it."""

    url: str
    key: str
    process: subprocess.Popen[bytes]
    log: Path


@contextmanager
def throwaway_system(folder: Path, settings: Mapping[str, str]) -> Iterator[RunningSystem]:
    """Start everything on a free port with these settings (without their prefix) and nothing inherited.

    Raises `Unready` with the end of the log when it does not start within a minute.
    """
    port = free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    env |= {PREFIX + name: value for name, value in settings.items()}
    log, data = folder / "system.log", folder / "data"
    argv = [sys.executable, "-m", "services.cli.main", "up", "--port", str(port), "--data", str(data)]
    with log.open("wb") as output:
        process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        _wait(process, log)
        key = (data / KEY_FILE).read_text(encoding="ascii").strip()
        yield RunningSystem(f"http://{HOST}:{port}", key, process, log)
    finally:
        process.terminate()
        try:
            process.wait(timeout=STOP_S)
        finally:
            # The guardian sees to the children of one that had to be killed.
            process.kill()


def _wait(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while b"is ready at" not in log.read_bytes():
        if process.poll() is not None or time.monotonic() > deadline:
            raise Unready(f"the system did not start:\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.05)
