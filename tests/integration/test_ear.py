# SPDX-License-Identifier: Apache-2.0
"""The dispatcher's ear on a real broker: it hears each bell, and again after whatever befalls the broker."""

import os
import queue
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.broker import channel_of, connect
from services.dispatcher.ear import Ear
from services.doorbell import Doorbell
from tests.hooks import eventually
from tests.servers import Server, own_broker
from twinning.settings import Settings
from twinning.terms import Bell

PATIENCE_S = 15.0
SILENCE_S = 0.2
RUNG, BACK = "rung", "back"


class Told:
    """An ear and what it has told, in order."""

    def __init__(self, url: str) -> None:
        self._told: queue.Queue[str] = queue.Queue()
        self.ear = Ear(url, lambda: self._told.put(RUNG), lambda: self._told.put(BACK), silence_s=SILENCE_S)
        self.ear.start()

    def next(self) -> str:
        """Wait for what it tells next."""
        return self._told.get(timeout=PATIENCE_S)

    @property
    def nothing_more(self) -> bool:
        """Whether it has told nothing that nobody has asked for."""
        return self._told.empty()


@pytest.fixture
def listen() -> Iterator[Callable[[str], Told]]:
    """Start ears that are stopped after the test."""
    started = []

    def start(url: str) -> Told:
        started.append(Told(url))
        return started[-1]

    yield start
    for each in started:
        each.ear.stop(PATIENCE_S)


def ring(url: str) -> None:
    with Doorbell(Settings(broker_url=url)) as doorbell:
        doorbell.ring(Bell.DELIVER)


def count(lines: list[dict[str, object]], words: str) -> int:
    return sum(words in str(line["event"]) for line in lines)


def wait_for_line(lines: list[dict[str, object]], words: str) -> None:
    eventually(lambda: count(lines, words) > 0)


def test_each_bell_is_heard(broker: Server, listen: Callable[[str], Told]) -> None:
    """It says when it has begun to listen, and from then on hears each ring, however long it is quiet."""
    told = listen(broker.url)
    assert told.next() == BACK
    for _ in range(3):
        ring(broker.url)
        assert told.next() == RUNG
        # Beyond the silence after which it asks for the broker, and that in which it has to be answered.
        time.sleep(3 * SILENCE_S)
    assert told.nothing_more


def test_what_was_rung_before_it_listened_may_have_been_missed(
    short_folder: Path, listen: Callable[[str], Told]
) -> None:
    """An ear finds a broker that comes after it, and says once that it was away and once that it is back."""
    with own_broker(short_folder) as server:
        url = server.url
    with capture_logs() as lines:
        told = listen(url)
        wait_for_line(lines, "broker is away")
        # Several calls in vain.
        time.sleep(0.5)
        with own_broker(short_folder):
            assert told.next() == BACK
            ring(url)
            assert told.next() == RUNG
            assert (count(lines, "broker is away"), count(lines, "broker is back")) == (1, 1)


def test_a_broker_that_bounces_is_heard_again(short_folder: Path, listen: Callable[[str], Told]) -> None:
    """After each restart it listens anew, and says so, since a bell may have rung meanwhile."""
    with own_broker(short_folder) as server:
        url = server.url
        told = listen(url)
        assert told.next() == BACK
    for _ in range(2):
        with own_broker(short_folder):
            assert told.next() == BACK
            ring(url)
            assert told.next() == RUNG


def test_a_broker_that_throws_it_out_is_called_again(
    private_broker: Server, listen: Callable[[str], Told]
) -> None:
    """A connection that the broker ends, as for an operator or for want of memory, is made anew."""
    told = listen(private_broker.url)
    assert told.next() == BACK
    with connect(private_broker.url) as client:
        client.client_kill_filter(_type="pubsub")
    assert told.next() == BACK
    ring(private_broker.url)
    assert told.next() == RUNG


def test_a_wiped_broker_is_heard(private_broker: Server, listen: Callable[[str], Told]) -> None:
    """FLUSHALL takes nothing that the ear needs."""
    told = listen(private_broker.url)
    assert told.next() == BACK
    with connect(private_broker.url) as client:
        client.flushall()
    ring(private_broker.url)
    assert told.next() == RUNG


def test_a_hung_broker_is_noticed_and_heard_again(
    private_broker: Server, listen: Callable[[str], Told]
) -> None:
    """A connection that is open and dead is given up in time; when the broker goes on, bells are heard."""
    assert private_broker.pid is not None
    told = listen(private_broker.url)
    assert told.next() == BACK
    with capture_logs() as lines:
        os.kill(private_broker.pid, signal.SIGSTOP)
        wait_for_line(lines, "broker is away")
        os.kill(private_broker.pid, signal.SIGCONT)
        assert told.next() == BACK
        wait_for_line(lines, "broker is back")
    ring(private_broker.url)
    assert told.next() == RUNG


def test_another_database_of_the_broker_is_another_house(
    private_broker: Server, listen: Callable[[str], Told]
) -> None:
    """Two houses on one broker, each in a numbered database of its own, do not wake each other."""
    told = listen(private_broker.url)
    assert told.next() == BACK
    ring(private_broker.url.replace("virtual_host=0", "virtual_host=1"))
    ring(private_broker.url)
    assert told.next() == RUNG
    with connect(private_broker.url) as client:
        assert client.publish(channel_of(private_broker.url), "") == 1
    assert told.next() == RUNG
    assert told.nothing_more


@pytest.mark.parametrize("state", ["heard", "absent", "hung", "nameless"])
def test_it_stops_soon_whatever_the_broker_does(
    private_broker: Server, listen: Callable[[str], Told], state: str
) -> None:
    """Whoever stops an ear waits for a second at most, or no longer than asked."""
    url = {
        "absent": "redis+socket:///nowhere/broker.sock?virtual_host=0",
        "nameless": "redis://broker.invalid:6379/0",
    }.get(state, private_broker.url)
    told = listen(url)
    if url == private_broker.url:
        assert told.next() == BACK
    if state == "hung":
        assert private_broker.pid is not None
        os.kill(private_broker.pid, signal.SIGSTOP)
    begun = time.monotonic()
    told.ear.stop(1.0)
    assert time.monotonic() - begun < 1.5


def test_a_bell_is_heard_as_it_is_rung(broker: Server, listen: Callable[[str], Told]) -> None:
    """Whatever else the ear does between, a lone ring is heard long before it would look up."""
    told = listen(broker.url)
    assert told.next() == BACK
    with connect(broker.url) as client:
        took = []
        for _ in range(20):
            begun = time.monotonic()
            client.publish(channel_of(broker.url), "")
            assert told.next() == RUNG
            took.append(time.monotonic() - begun)
    assert sorted(took)[len(took) // 2] < 0.1
