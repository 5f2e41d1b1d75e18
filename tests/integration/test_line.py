# SPDX-License-Identifier: Apache-2.0
"""The line to a real broker: a message goes out at once where it is open and free, and none is lost on it."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from services.broker import ANSWER_S, channel_of
from services.doorbell import Doorbell
from services.line import Line
from tests.integration.test_broker import (
    AT_ONCE_S,
    NOBODY_THERE,
    PATIENCE_S,
    dispatchers,
    eventually,
    slow_ring,
)
from tests.servers import Server, own_broker
from twinning.settings import Settings
from twinning.terms import Bell


def line_to(url: str) -> Line:
    return Line(url, channel_of(url))


@contextmanager
def stopped(broker: Server) -> Iterator[None]:
    """Stop a broker in its tracks, and let it go on."""
    assert broker.pid is not None
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(broker.pid, signal.SIGCONT)


def test_what_is_shouted_is_heard_by_itself(broker: Server) -> None:
    """Once the line is open a message goes out without anybody's waiting, and one at a time."""
    line = line_to(broker.url)
    with dispatchers(broker.url) as listeners:
        assert not line.shout()
        line.see_through()
        assert listeners.hear(PATIENCE_S)

        assert line.shout()
        assert listeners.hear(PATIENCE_S)
        assert not line.shout()
        line.see_through()
        assert line.shout()
        assert listeners.hear(PATIENCE_S)
    line.close()


def test_what_nobody_heard_is_said_again(short_folder: Path) -> None:
    """A message to a broker that has closed the line and gone reaches the one that is there now."""
    with own_broker(short_folder) as first:
        assert first.pid is not None
        line = line_to(first.url)
        line.see_through()
        os.kill(first.pid, signal.SIGSTOP)
        assert line.shout()
        os.kill(first.pid, signal.SIGKILL)
    with own_broker(short_folder) as second, dispatchers(second.url) as listeners:
        line.see_through()
        assert listeners.hear(PATIENCE_S)
        assert line.shout()
    line.close()


def test_a_line_to_nobody_says_so() -> None:
    """Nothing is shouted, and who sees a message through hears that nobody is there."""
    line = line_to(NOBODY_THERE)
    with pytest.raises(redis.ConnectionError):
        line.see_through()
    assert not line.shout()
    assert not line.is_under_way


def test_a_broker_that_hangs_holds_up_no_ring_on_an_open_line(private_broker: Server) -> None:
    """Rings return at once; what was rung while one message was under way makes one more, and no third."""
    with (
        dispatchers(private_broker.url) as listeners,
        Doorbell(Settings(broker_url=private_broker.url)) as doorbell,
    ):
        doorbell.ring(Bell.DELIVER)
        assert listeners.hear(PATIENCE_S)
        eventually(lambda: not doorbell._line._in_use.locked())
        with stopped(private_broker):
            doorbell.ring(Bell.DELIVER)
            eventually(doorbell._line._in_use.locked)
            begun = time.monotonic()
            assert slow_ring(doorbell, 1_000, Bell.DELIVER) < AT_ONCE_S
            assert time.monotonic() - begun < ANSWER_S / 2
        assert listeners.hear(PATIENCE_S)
        assert listeners.hear(PATIENCE_S)
        assert not listeners.hear(0.1)
