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
from celery import Celery
from structlog.testing import capture_logs

from services.broker import BELLS_WAITING, Doorbell, broker_alive, make_app, redis_url
from tests.servers import Server, own_broker
from twinning.errors import WrongSetting
from twinning.settings import Settings
from twinning.terms import Bell

AT_ONCE_S = 0.005
PATIENCE_S = 15.0
NOBODY_THERE = "redis+socket:///nowhere/broker.sock?virtual_host=0"


def app_on(url: str, scan_interval_s: float = 1.0) -> Celery:
    return make_app(Settings(broker_url=url, scan_interval_s=scan_interval_s))


def waiting(url: str, bell: Bell) -> int:
    with redis.Redis.from_url(redis_url(url)) as client:
        return int(client.llen(f"twinning:{bell}"))


def eventually(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


def slow_ring(doorbell: Doorbell, times: int) -> float:
    """Ring so often, and give the seconds that nine in ten stayed under.

    The rest may have lost the processor to somebody else, which says nothing about the doorbell; one that
    waited for the broker would hold up all of them.
    """
    seconds = []
    for _ in range(times):
        begun = time.perf_counter()
        doorbell.ring(Bell.MATCH)
        seconds.append(time.perf_counter() - begun)
    return sorted(seconds)[times * 9 // 10]


# A worker of its own process: Celery has no room for two in one.
WORKER = """
import sys
from services.broker import TASKS, make_app
from twinning.settings import Settings
from twinning.terms import Bell

bell = Bell(sys.argv[2])
app = make_app(Settings(broker_url=sys.argv[1]))

@app.task(name=TASKS[bell])
def take():
    print(bell, flush=True)

app.worker_main(["--quiet", "worker", "-P", "solo", "-Q", bell, "--without-gossip", "--without-mingle"])
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
def listening(url: str, bell: Bell) -> Iterator[Worker]:
    """Run a real worker for one bell."""
    command = [sys.executable, "-c", WORKER, url, bell]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield Worker(process)
        finally:
            process.kill()


@pytest.mark.parametrize("bell", list(Bell))
def test_a_ring_wakes_the_worker_of_its_queue(broker: Server, bell: Bell) -> None:
    """A bell reaches a worker that listens to its queue alone."""
    with listening(broker.url, bell) as worker, Doorbell(app_on(broker.url)) as doorbell:
        doorbell.ring(bell)
        assert worker.heard() == bell


def test_a_bell_does_not_ring_in_the_other_queue(broker: Server) -> None:
    """Delivering never waits behind matching: each bell has a queue of its own."""
    with Doorbell(app_on(broker.url)) as doorbell:
        doorbell.ring(Bell.MATCH)
        eventually(lambda: waiting(broker.url, Bell.MATCH) == 1)
    assert waiting(broker.url, Bell.DELIVER) == 0


def test_a_thousand_rings_become_a_few_messages(broker: Server) -> None:
    """Rings that come while one waits are the same ring, and each returns at once."""
    with Doorbell(app_on(broker.url)) as doorbell:
        assert slow_ring(doorbell, 1_000) < AT_ONCE_S
    assert 1 <= waiting(broker.url, Bell.MATCH) <= BELLS_WAITING


def test_without_a_worker_the_queue_stays_short(broker: Server) -> None:
    """However long the workers are away, bells don't fill the broker."""
    with Doorbell(app_on(broker.url)) as doorbell:
        for _ in range(4 * BELLS_WAITING):
            doorbell.ring(Bell.MATCH)
            time.sleep(0.002)  # not a wait for anything: it only keeps the rings apart
    assert waiting(broker.url, Bell.MATCH) <= BELLS_WAITING


def test_closing_publishes_what_waits(broker: Server) -> None:
    """A process that rings and ends at once has rung."""
    doorbell = Doorbell(app_on(broker.url))
    doorbell.ring(Bell.DELIVER)
    doorbell.close(PATIENCE_S)
    assert waiting(broker.url, Bell.DELIVER) == 1


def test_a_hung_broker_holds_up_nobody_and_hears_again_later(private_broker: Server) -> None:
    """With the broker stopped in its tracks a ring returns at once; when it goes on, rings arrive."""
    assert private_broker.pid is not None
    doorbell = Doorbell(app_on(private_broker.url))
    doorbell.ring(Bell.MATCH)
    eventually(lambda: waiting(private_broker.url, Bell.MATCH) == 1)
    os.kill(private_broker.pid, signal.SIGSTOP)
    assert slow_ring(doorbell, 1_000) < AT_ONCE_S
    assert not broker_alive(private_broker.url, timeout_s=0.2)
    begun = time.monotonic()
    doorbell.close(timeout_s=0.2)
    assert time.monotonic() - begun < 1.0
    os.kill(private_broker.pid, signal.SIGCONT)
    with Doorbell(app_on(private_broker.url)) as another:
        another.ring(Bell.DELIVER)
        eventually(lambda: waiting(private_broker.url, Bell.DELIVER) == 1)


def test_an_absent_broker_is_noted_once() -> None:
    """An outage is logged once and costs no caller anything."""
    with capture_logs() as lines, Doorbell(app_on(NOBODY_THERE)) as doorbell:
        for _ in range(3):
            assert slow_ring(doorbell, 100) < AT_ONCE_S
            eventually(lambda: bool(lines))
    assert [line["log_level"] for line in lines if "broker is away" in line["event"]] == ["warning"]


def test_a_broker_that_restarts_is_found_again(short_folder: Path) -> None:
    """One doorbell outlives its broker: down, it drops rings; up again on the same address, they arrive."""
    with own_broker(short_folder) as first:
        doorbell = Doorbell(app_on(first.url))
        doorbell.ring(Bell.MATCH)
        eventually(lambda: waiting(first.url, Bell.MATCH) == 1)
    with capture_logs() as lines:
        doorbell.ring(Bell.MATCH)
        eventually(lambda: any("broker is away" in line["event"] for line in lines))
    with own_broker(short_folder) as second, doorbell:
        kept = waiting(second.url, Bell.MATCH)

        def arrives() -> bool:
            doorbell.ring(Bell.DELIVER)
            return waiting(second.url, Bell.DELIVER) > 0

        eventually(arrives)
        assert waiting(second.url, Bell.MATCH) == kept


def test_a_wiped_broker_still_rings(private_broker: Server) -> None:
    """FLUSHALL under a running doorbell and a running worker costs no later ring."""
    with listening(private_broker.url, Bell.MATCH) as worker:
        doorbell = Doorbell(app_on(private_broker.url))
        doorbell.ring(Bell.MATCH)
        assert worker.heard() == "match"
        with redis.Redis.from_url(redis_url(private_broker.url)) as client:
            client.flushall()
        doorbell.ring(Bell.MATCH)
        assert worker.heard() == "match"
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
        "from services.broker import Doorbell, make_app\n"
        "from twinning.settings import Settings\n"
        "from twinning.terms import Bell\n"
        "bell = Doorbell(make_app(Settings(broker_url=sys.argv[1])))\n"
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


def test_beat_rings_both_bells_and_old_rings_expire() -> None:
    """Each second, or at the longer interval asked for; what no worker took in that time is void."""
    entries = celery.beat.Scheduler(app_on(NOBODY_THERE, scan_interval_s=5.0)).schedule
    assert {(e.task, e.options["queue"], e.options["expires"]) for e in entries.values()} == {
        ("match.take", "match", 5.0),
        ("deliver.take", "deliver", 5.0),
    }
    assert app_on(NOBODY_THERE, scan_interval_s=0.1).conf.beat_schedule["ring-match"]["schedule"] == 1.0


def test_without_a_scan_nothing_is_scheduled() -> None:
    """An interval of 0 leaves everything to the bell."""
    assert celery.beat.Scheduler(app_on(NOBODY_THERE, scan_interval_s=0)).schedule == {}


@pytest.mark.parametrize(
    ("celery_url", "client_url"),
    [
        ("redis+socket:///tmp/b.sock?virtual_host=2", "unix:///tmp/b.sock?db=2"),
        ("redis+socket:///tmp/b.sock", "unix:///tmp/b.sock?db=0"),
        ("redis://:secret@host:6379/1", "redis://:secret@host:6379/1"),
    ],
)
def test_urls_are_spelled_for_both_libraries(celery_url: str, client_url: str) -> None:
    """Celery and redis-py agree on a broker, though they spell a unix socket differently."""
    assert redis_url(celery_url) == client_url


def test_a_broker_is_alive_or_not(broker: Server) -> None:
    """Readiness tells a broker that answers from one that is away, or whose name leads nowhere."""
    assert broker_alive(broker.url)
    assert not broker_alive(NOBODY_THERE)
    begun = time.monotonic()
    assert not broker_alive("redis://broker.invalid:6379/0", timeout_s=0.3)
    assert time.monotonic() - begun < 2.0
