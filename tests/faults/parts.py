# SPDX-License-Identifier: Apache-2.0
"""A process of the house, to be killed, hung and asked to end; and the broker, which can be wiped, too."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import redis

from services.broker import broker_alive, channel_of, redis_url
from services.cli.servers import broker_argv, broker_binary
from twinning.settings import PREFIX

LAUNCHER = Path(__file__).with_name("launching.py")
PATIENCE_S = 30.0
STOP_S = 30.0


def eventually(true: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Wait until something is true, which cannot tell by itself when it becomes so."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"after {timeout_s:g} s not yet: {what}"
        time.sleep(0.02)


class Part:
    """One process of the house with whatever it starts itself: a session of its own, to be killed as one."""

    def __init__(self, name: str, argv: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.argv = argv
        self.env = env
        self.log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.kills = 0

    @property
    def pid(self) -> int:
        """Its number while it runs."""
        assert self.process is not None, f"{self.name} has not been started"
        return self.process.pid

    def start(self) -> None:
        """Start it, and don't wait."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.argv,
                env={**inherited, **self.env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def runs(self) -> bool:
        """Whether it has been started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it and to what it started; SIGSTOP hangs it, SIGCONT lets it go on."""
        os.killpg(self.pid, number)

    def kill(self) -> None:
        """End it as kill -9 does, parent and children at once; what has ended already is left alone."""
        if self.process is None or not self.runs:
            return
        self.send(signal.SIGKILL)
        self.process.wait()
        self.kills += 1

    def stop(self) -> int:
        """Ask it to end, as a supervisor does, and wait; gives its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        assert self.process is not None
        return self.process.wait(STOP_S)

    def change(self, what: str, **given: object) -> None:
        """From its next start on run it with one thing changed, which is one of those of `launching.py`."""
        self.argv = [sys.executable, str(LAUNCHER), what, *self.argv[3:]]
        self.env = {**self.env, **{name.upper(): str(value) for name, value in given.items()}}


class Broker(Part):
    """A private broker with an append-only file, on a unix socket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "broker"
        self.folder.mkdir()
        socket = folder / "broker.sock"
        options = {"unixsocket": str(socket), "port": "0", "dir": str(self.folder)}
        super().__init__("broker", broker_argv(broker_binary(), options), folder, {})
        self.url = f"redis+socket://{quote(str(socket))}?virtual_host=0"

    def is_ready(self) -> bool:
        """Say whether it answers."""
        return broker_alive(self.url, 0.5)

    def empty(self) -> None:
        """Throw away what a killed broker had kept."""
        shutil.rmtree(self.folder)
        self.folder.mkdir()

    def wipe(self) -> None:
        """Throw away all that a running broker holds."""
        with redis.Redis.from_url(redis_url(self.url)) as client:
            client.flushall()

    def messages(self) -> int:
        """Count the bells for matching that wait to be heard; one for deliveries waits for nobody."""
        with redis.Redis.from_url(redis_url(self.url)) as client:
            return sum(client.llen(key) for key in client.scan_iter(_type="list"))

    def listeners(self) -> int:
        """Count the workers that wait for a bell."""
        with redis.Redis.from_url(redis_url(self.url)) as client:
            matchers = sum(each["cmd"] == "brpop" for each in client.client_list())
            [(_, dispatchers)] = client.pubsub_numsub(channel_of(self.url))
        return matchers + int(dispatchers)
