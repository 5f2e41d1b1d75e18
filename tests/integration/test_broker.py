# SPDX-License-Identifier: Apache-2.0
"""The doorbell on a real broker: it never makes its caller wait, and it rings again after every outage."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import celery.beat
import pytest
import redis
from structlog.testing import capture_logs

from services.broker import broker_alive, channel_of, redis_url
from services.doorbell import AT_ONCE, REST_S, Doorbell
from services.tasks import BELLS_WAITING, make_app
from tests.servers import Server, own_broker
from twinning.errors import WrongSetting
from twinning.settings import Settings
from twinning.terms import Bell

AT_ONCE_S = 0.005
PATIENCE_S = 15.0
NOBODY_THERE = "redis+socket:///nowhere/broker.sock?virtual_host=0"


def doorbell_on(url: str) -> Doorbell:
    return Doorbell(Settings(broker_url=url))


def waiting(url: str) -> int:
    """Count the messages that wait for a matching worker."""
    with redis.Redis.from_url(redis_url(url)) as client:
        return int(client.llen("twinning:match"))


class Dispatchers:
    """Whoever listens for the bell of the deliveries; counts how often it has rung."""

    def __init__(self, client: redis.Redis, url: str) -> None:
        self._channel = client.pubsub(ignore_subscribe_messages=True)
        self._channel.subscribe(channel_of(url))
        assert self._channel.get_message(timeout=PATIENCE_S) is None
        self.rung = 0

    def hear(self, timeout_s: float = 0.0) -> bool:
        """Hear the next ring, if there is one in time."""
        heard = self._channel.get_message(timeout=timeout_s) is not None
        self.rung += heard
        return heard


@contextmanager
def dispatchers(url: str) -> Iterator[Dispatchers]:
    with redis.Redis.from_url(redis_url(url)) as client:
        yield Dispatchers(client, url)


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


def slow_ring(doorbell: Doorbell, times: int, bell: Bell = Bell.MATCH) -> float:
    """Ring so often, and give the seconds that nine in ten stayed under.

    The rest may have lost the processor to somebody else, which says nothing about the doorbell; one that
    waited for the broker would hold up all of them.
    """
    seconds = []
    for _ in range(times):
        begun = time.perf_counter()
        doorbell.ring(bell)
        seconds.append(time.perf_counter() - begun)
    return sorted(seconds)[times * 9 // 10]


# A worker of its own process: Celery has no room for two in one.
WORKER = """
import sys
from services.tasks import TASK, make_app
from twinning.settings import Settings

app = make_app(Settings(broker_url=sys.argv[1]))

@app.task(name=TASK)
def take():
    print("rung", flush=True)

app.worker_main(["--quiet", "worker", "-P", "solo", "--without-gossip", "--without-mingle"])
"""


@dataclass
class Worker:
    """A running worker and what it has printed, one line for each bell it heard."""

    process: subprocess.Popen[str]

    def heard(self) -> str:
        """Wait for the next bell."""
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], PATIENCE_S)[0], "the worker heard no bell"
        return self.process.stdout.readline().strip()


@contextmanager
def listening(url: str) -> Iterator[Worker]:
    """Run a real matching worker."""
    command = [sys.executable, "-c", WORKER, url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield Worker(process)
        finally:
            process.kill()


def test_a_ring_wakes_the_matching_worker(broker: Server) -> None:
    """A ring for matching is a message that a worker takes."""
    with listening(broker.url) as worker, doorbell_on(broker.url) as doorbell:
        doorbell.ring(Bell.MATCH)
        assert worker.heard() == "rung"


def test_a_ring_reaches_every_dispatcher(broker: Server) -> None:
    """A ring for deliveries is heard by all who listen, and leaves nothing behind."""
    with (
        dispatchers(broker.url) as one,
        dispatchers(broker.url) as other,
        doorbell_on(broker.url) as doorbell,
    ):
        doorbell.ring(Bell.DELIVER)
        assert one.hear(PATIENCE_S)
        assert other.hear(PATIENCE_S)
    with redis.Redis.from_url(redis_url(broker.url)) as client:
        assert client.dbsize() == 0


def test_each_bell_is_heard_by_its_own(broker: Server) -> None:
    """A ring for matching wakes no dispatcher, and one for deliveries no matching worker."""
    with dispatchers(broker.url) as listeners:
        with doorbell_on(broker.url) as doorbell:
            doorbell.ring(Bell.MATCH)
            eventually(lambda: waiting(broker.url) == 1)
        assert not listeners.hear(0.05)
        with doorbell_on(broker.url) as doorbell:
            doorbell.ring(Bell.DELIVER)
            assert listeners.hear(PATIENCE_S)
        assert waiting(broker.url) == 1


def test_a_thousand_rings_become_a_few_messages(broker: Server) -> None:
    """Rings that come while one waits are the same ring, and each returns at once."""
    with doorbell_on(broker.url) as doorbell:
        assert slow_ring(doorbell, 1_000) < AT_ONCE_S
    assert 1 <= waiting(broker.url) <= BELLS_WAITING


def test_after_quiet_matching_is_rung_at_once(broker: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first few rings go out as they come, so that who registers one thing and another need not wait."""
    monkeypatch.setattr("services.doorbell.REST_S", 10 * PATIENCE_S)
    with doorbell_on(broker.url) as doorbell:
        for count in range(1, AT_ONCE + 1):
            doorbell.ring(Bell.MATCH)
            eventually(lambda count=count: waiting(broker.url) == count)  # type: ignore[misc]
        with dispatchers(broker.url) as listeners:
            doorbell.ring(Bell.MATCH)
            doorbell.ring(Bell.DELIVER)
            # Nobody's webhook waits for the rest of the other bell.
            assert listeners.hear(PATIENCE_S)
        assert waiting(broker.url) == AT_ONCE
    # Whoever ends has rung, whether or not it was time.
    assert waiting(broker.url) == AT_ONCE + 1


def test_a_run_of_rings_is_spread_out_and_the_last_is_not_lost(
    broker: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However fast it is rung for matching, one goes out in each rest, and one after the last ring."""
    monkeypatch.setattr("services.tasks.BELLS_WAITING", 1_000_000)
    sent: list[float] = []
    with doorbell_on(broker.url) as doorbell:
        queue = doorbell._queue
        monkeypatch.setattr(doorbell, "_queue", lambda: (sent.append(time.monotonic()), queue()))
        begun = time.monotonic()
        while time.monotonic() - begun < 10 * REST_S:
            doorbell.ring(Bell.MATCH)
        ended = time.monotonic()
        eventually(lambda: sent[-1] >= ended)
    assert len(sent) <= AT_ONCE + (sent[-1] - begun) / REST_S + 1
    assert waiting(broker.url) == len(sent)


def test_without_a_worker_the_queue_stays_short(broker: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the workers are away, bells don't fill the broker."""
    monkeypatch.setattr("services.doorbell.REST_S", 0.0)
    with doorbell_on(broker.url) as doorbell:
        for _ in range(4 * BELLS_WAITING):
            doorbell.ring(Bell.MATCH)
            time.sleep(0.002)  # not a wait for anything: it only keeps the rings apart
    assert waiting(broker.url) == BELLS_WAITING


def test_closing_publishes_what_waits(broker: Server) -> None:
    """A process that rings and ends at once has rung."""
    with dispatchers(broker.url) as listeners:
        doorbell = doorbell_on(broker.url)
        doorbell.ring(Bell.DELIVER)
        doorbell.ring(Bell.MATCH)
        doorbell.close(PATIENCE_S)
        assert listeners.hear(PATIENCE_S)
    assert waiting(broker.url) == 1


@pytest.mark.parametrize("bell", list(Bell))
def test_a_hung_broker_holds_up_nobody_and_hears_again_later(private_broker: Server, bell: Bell) -> None:
    """With the broker stopped in its tracks a ring returns at once; when it goes on, rings arrive."""
    assert private_broker.pid is not None
    doorbell = doorbell_on(private_broker.url)
    doorbell.ring(Bell.MATCH)
    eventually(lambda: waiting(private_broker.url) == 1)
    os.kill(private_broker.pid, signal.SIGSTOP)
    assert slow_ring(doorbell, 1_000, bell) < AT_ONCE_S
    assert not broker_alive(private_broker.url, timeout_s=0.2)
    begun = time.monotonic()
    doorbell.close(timeout_s=0.2)
    assert time.monotonic() - begun < 1.0
    os.kill(private_broker.pid, signal.SIGCONT)
    with dispatchers(private_broker.url) as listeners, doorbell_on(private_broker.url) as another:
        another.ring(Bell.DELIVER)
        assert listeners.hear(PATIENCE_S)


def test_an_absent_broker_is_noted_once() -> None:
    """An outage is logged once, whichever bells are rung, and costs no caller anything."""
    with capture_logs() as lines, doorbell_on(NOBODY_THERE) as doorbell:
        for _ in range(3):
            for bell in Bell:
                assert slow_ring(doorbell, 100, bell) < AT_ONCE_S
            eventually(lambda: doorbell._away == set(Bell))
    assert [line["log_level"] for line in lines if "broker is away" in line["event"]] == ["warning"]


def test_a_broker_that_restarts_is_found_again(short_folder: Path) -> None:
    """One doorbell outlives its broker: down, it drops rings; up again on the same address, they arrive."""
    with own_broker(short_folder) as first:
        doorbell = doorbell_on(first.url)
        doorbell.ring(Bell.MATCH)
        eventually(lambda: waiting(first.url) == 1)
    with capture_logs() as lines:
        doorbell.ring(Bell.DELIVER)
        eventually(lambda: any("broker is away" in line["event"] for line in lines))
    with own_broker(short_folder) as second, dispatchers(second.url) as listeners, doorbell:
        with capture_logs() as lines:
            doorbell.ring(Bell.DELIVER)
            assert listeners.hear(PATIENCE_S)
            eventually(lambda: any("broker is back" in line["event"] for line in lines))
        kept = waiting(second.url)

        def arrives() -> bool:
            doorbell.ring(Bell.MATCH)
            return waiting(second.url) > kept

        eventually(arrives)


def test_the_first_ring_after_a_bounce_is_heard(short_folder: Path) -> None:
    """A connection that a broker has closed and forgotten costs no ring."""
    with own_broker(short_folder) as first, dispatchers(first.url) as listeners:
        doorbell = doorbell_on(first.url)
        doorbell.ring(Bell.DELIVER)
        assert listeners.hear(PATIENCE_S)
    with own_broker(short_folder) as second, dispatchers(second.url) as listeners, doorbell:
        doorbell.ring(Bell.DELIVER)
        assert listeners.hear(PATIENCE_S)


def test_a_wiped_broker_still_rings(private_broker: Server) -> None:
    """FLUSHALL under a running doorbell and those who listen costs no later ring."""
    with listening(private_broker.url) as worker, dispatchers(private_broker.url) as listeners:
        doorbell = doorbell_on(private_broker.url)
        doorbell.ring(Bell.MATCH)
        assert worker.heard() == "rung"
        with redis.Redis.from_url(redis_url(private_broker.url)) as client:
            client.flushall()
        doorbell.ring(Bell.MATCH)
        assert worker.heard() == "rung"
        doorbell.ring(Bell.DELIVER)
        assert listeners.hear(PATIENCE_S)
        doorbell.close()


@pytest.mark.parametrize("state", ["absent", "hung", "nameless"])
def test_a_process_ends_whatever_the_broker_does(private_broker: Server, state: str) -> None:
    """A program that has rung ends by itself, with rc 0 and in little time, with any kind of dead broker."""
    url = {
        "absent": NOBODY_THERE,
        "hung": private_broker.url,
        "nameless": "redis://broker.invalid:6379/0",
    }[state]
    if state == "hung":
        assert private_broker.pid is not None
        os.kill(private_broker.pid, signal.SIGSTOP)
    program = (
        "import sys, time\n"
        "from services.doorbell import Doorbell\n"
        "from twinning.settings import Settings\n"
        "from twinning.terms import Bell\n"
        "bell = Doorbell(Settings(broker_url=sys.argv[1]))\n"
        "bell.ring(Bell.MATCH)\n"
        "time.sleep(0.3)\n"
        "bell.ring(Bell.DELIVER)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, url], timeout=20, capture_output=True, text=True)
    assert ended.returncode == 0
    assert "Traceback" not in ended.stdout + ended.stderr


def test_an_app_without_a_broker_is_refused_by_name() -> None:
    """Nothing falls back in silence: no URL, no worker."""
    with pytest.raises(WrongSetting, match="TWINNING_BROKER_URL"):
        make_app(Settings())
    with pytest.raises(WrongSetting, match="TWINNING_BROKER_URL"):
        Doorbell(Settings())


def schedule(scan_interval_s: float) -> dict[str, celery.beat.ScheduleEntry]:
    app = make_app(Settings(broker_url=NOBODY_THERE, scan_interval_s=scan_interval_s))
    entries: dict[str, celery.beat.ScheduleEntry] = celery.beat.Scheduler(app).schedule
    return entries


def test_beat_rings_for_matching_and_old_rings_expire() -> None:
    """Each second, or at the longer interval asked for; what no worker took in that time is void."""
    assert {(e.task, e.options["queue"], e.options["expires"]) for e in schedule(5.0).values()} == {
        ("match.take", "match", 5.0)
    }
    assert schedule(0.1)["ring-match"].schedule.seconds == 1.0


def test_without_a_scan_nothing_is_scheduled() -> None:
    """An interval of 0 leaves everything to the bell."""
    assert schedule(0) == {}


@pytest.mark.parametrize(
    ("celery_url", "client_url", "database"),
    [
        ("redis+socket:///tmp/b.sock?virtual_host=2", "unix:///tmp/b.sock?db=2", 2),
        ("redis+socket:///tmp/b.sock", "unix:///tmp/b.sock?db=0", 0),
        ("redis://:secret@host:6379/1", "redis://:secret@host:6379/1", 1),
        ("rediss://host", "rediss://host", 0),
    ],
)
def test_urls_are_spelled_for_both_libraries(celery_url: str, client_url: str, database: int) -> None:
    """Celery and redis-py agree on a broker, though they spell a unix socket differently.

    A broker's databases share their channels, so that the bell's name tells them apart.
    """
    assert redis_url(celery_url) == client_url
    assert channel_of(celery_url) == f"twinning:{database}:deliver"


def test_a_broker_is_alive_or_not(broker: Server) -> None:
    """Readiness tells a broker that answers from one that is away, or whose name leads nowhere."""
    assert broker_alive(broker.url)
    assert not broker_alive(NOBODY_THERE)
    begun = time.monotonic()
    assert not broker_alive("redis://broker.invalid:6379/0", timeout_s=0.3)
    assert time.monotonic() - begun < 2.0
