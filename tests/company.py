# SPDX-License-Identifier: Apache-2.0
"""Writes that come to a front door at one moment, and so share a transaction."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
from sqlalchemy import Connection, event

from tests.factories import Door

WRITERS = 24


@contextmanager
def listening(front: Door, name: str, hear: Callable[..., None]) -> Iterator[None]:
    """Hear of each event of a front door's engine."""
    event.listen(front.database.engine, name, hear)
    try:
        yield
    finally:
        event.remove(front.database.engine, name, hear)


@contextmanager
def held_up(front: Door) -> Iterator[None]:
    """Hold the first commit until the others wait, so that they come to share the next transaction."""
    held, go_on, lock = threading.Event(), threading.Event(), threading.Lock()

    def hold(_connection: Connection) -> None:
        with lock:
            first = not held.is_set()
            held.set()
        if first:
            assert go_on.wait(20)

    def register() -> None:
        front.city("Cork")

    scribe = front.client.app.state.house.scribe  # type: ignore[attr-defined]
    event.listen(front.database.engine, "commit", hold)
    with ThreadPoolExecutor(1) as pool:
        try:
            first = pool.submit(register)
            assert held.wait(20)

            def let_go() -> None:
                while len(scribe._waiting) < WRITERS:
                    time.sleep(0.005)
                go_on.set()

            threading.Thread(target=let_go, daemon=True).start()
            yield
            first.result(20)
        finally:
            go_on.set()
            event.remove(front.database.engine, "commit", hold)


def together(front: Door, ask: Callable[[int], httpx.Response]) -> list[httpx.Response]:
    """Have many ask at once, in one transaction."""
    with held_up(front), ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(ask, range(WRITERS)))
