# SPDX-License-Identifier: Apache-2.0
"""A front door behind a real port, and readers of its streams: a test client waits for an answer's end."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from services.api.app import make_app
from services.api.serving import Server, server
from twinning import keys
from twinning.database import Database
from twinning.keys import ApiKeyCreate
from twinning.settings import Settings
from twinning.terms import Role

SOON_S = 20.0


@dataclass
class Street:
    """A served front door: its address, its database and its staff's key."""

    url: str
    database: Database
    served: Server
    key: str
    thread: threading.Thread

    @property
    def staff(self) -> dict[str, str]:
        """The header that bears the staff's key."""
        return {"Authorization": f"Bearer {self.key}"}

    def stop(self) -> float:
        """Tell the server to stop, wait for its end, and give how long that took, in seconds."""
        begun = time.monotonic()
        self.served.should_exit = True
        self.thread.join(timeout=SOON_S)
        assert not self.thread.is_alive(), "the server did not end"
        return time.monotonic() - begun


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def street(database_url: str, port: int = 0, key: str = "") -> Iterator[Street]:
    """Serve a front door on a local port from a thread; with the key of before when it came back."""
    port = port or free_port()
    app = make_app(Settings(database_url=database_url, rate_per_minute=0))
    database: Database = app.state.house.database
    if not key:
        with database.transaction() as session:
            _, key = keys.create(session, ApiKeyCreate(role=Role.STAFF, name="Staff"))
    served = server(app, "127.0.0.1", port)
    thread = threading.Thread(target=served.run, name="front door", daemon=True)
    thread.start()
    deadline = time.monotonic() + SOON_S
    while not served.started:
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.01)
    made = Street(f"http://127.0.0.1:{port}", database, served, key, thread)
    try:
        yield made
    finally:
        made.stop()


@dataclass(frozen=True)
class Block:
    """One block of a stream: its fields by name, and its comments."""

    fields: dict[str, str]
    comments: tuple[str, ...]


def blocks(lines: Iterator[str]) -> Iterator[Block]:
    """Read a stream of server-sent events block by block, as the standard says."""
    fields: dict[str, str] = {}
    comments: list[str] = []
    for line in lines:
        if not line:
            yield Block(fields, tuple(comments))
            fields, comments = {}, []
            continue
        name, _, value = line.partition(":")
        if name:
            fields[name] = value.removeprefix(" ")
        else:
            comments.append(value.strip())


@contextmanager
def reading(place: Street, query: str = "", **headers: str) -> Iterator[Iterator[Block]]:
    """Open a stream; every read of it ends in time."""
    with (
        httpx.Client(trust_env=False, timeout=SOON_S) as client,
        client.stream(
            "GET", f"{place.url}/v1/events/stream?{query}", headers={**place.staff, **headers}
        ) as answer,
    ):
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield blocks(answer.iter_lines())


def events(read: Iterator[Block], count: int) -> list[dict[str, str]]:
    """The next so many events, past comments and settings."""
    found: list[dict[str, str]] = []
    while len(found) < count:
        block = next(read)
        if "data" in block.fields:
            found.append(block.fields)
    return found
