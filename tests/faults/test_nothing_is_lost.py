# SPDX-License-Identifier: Apache-2.0
"""Nothing that was acknowledged is lost, whoever is killed and however often the broker is wiped.

A run is drawn from the seed that `--seed` names; its figures stand at the end of the report.
"""

import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.faults.checking import Tell, check, read_feed
from tests.faults.house import SCAN_S, House, house
from tests.faults.parts import Part, eventually
from tests.faults.settling import assert_as_from_nothing, refresh, wait_until_done
from tests.faults.writing import Writing, settle_in
from tests.receiver import Manner
from twinning.settings import PREFIX
from twinning.turns import MOST_IN_FLIGHT

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(180)]

PRACTICES = 500
PER_SECOND = 22.0
FAULTS = {"matcher": 4, "dispatcher": 4, "broker killed": 2, "broker flushed": 3, "broker emptied": 2}
LONGEST_PAUSE_S = 1.0
RARE_SCAN_S = 6.0
HUNG_P99_S = 0.5


def _strike(house: House, fault: str) -> None:
    """Let one thing break, and put back what a supervisor would."""
    if fault == "broker flushed":
        house.broker.wipe()
        return
    part: Part = {"matcher": house.matcher, "dispatcher": house.dispatcher}.get(fault, house.broker)
    part.kill()
    if fault == "broker emptied":
        house.broker.empty()
    house.start(part)


def _break_things(house: House, writing: Writing, rng: random.Random) -> list[str]:
    """Strike at random moments while there is writing; everybody is at work again before the next strike.

    Each kind of fault comes once before any comes again, so that a slow machine sees them all, too.
    """
    once = rng.sample(list(FAULTS), len(FAULTS))
    again = [fault for fault, times in FAULTS.items() for _ in range(times - 1)]
    rng.shuffle(again)
    struck = []
    for fault in once + again:
        if writing.over.wait(rng.uniform(0.1, LONGEST_PAUSE_S)):
            break
        _strike(house, fault)
        struck.append(fault)
    return struck


def test_nothing_is_lost_whoever_is_killed(
    database_url: str, short_folder: Path, seed: int, tell: Tell
) -> None:
    """Through kills of workers and broker and wipes of the broker every acknowledged event arrives."""
    rng = random.Random(seed)
    with house(short_folder, database_url) as one:
        one.start(one.broker, one.api, *one.workers)
        one.receiver.behave("/hooks", Manner(delay_s=0.03))
        one.subscribe()
        writing = Writing(one, settle_in(one), rng)
        with ThreadPoolExecutor(1) as pool:
            breaking = pool.submit(_break_things, one, writing, random.Random(seed))
            posted = writing.write(PRACTICES, PER_SECOND)
            struck = breaking.result()
        begun = time.monotonic()
        wait_until_done(one)
        drained_s = time.monotonic() - begun
        refresh(one)
        standing = assert_as_from_nothing(one)
        verdict = check(one, posted)
        kills = one.matcher.kills + one.dispatcher.kills + one.broker.kills
        tell(
            verdict,
            f"{len(posted)} practices",
            f"{len(struck)} faults ({kills} kills)",
            f"drained {drained_s:.1f} s after the last write",
            f"{standing} suggestions stand",
        )
        assert verdict.flaws == {}
        assert {status for post in posted for status in post.answers} == {201}
        assert set(struck) == set(FAULTS)
        assert verdict.duplicates <= 2 * MOST_IN_FLIGHT * one.dispatcher.kills


def test_without_the_scan_a_wiped_broker_loses_events(
    database_url: str, short_folder: Path, seed: int
) -> None:
    """The control: bells alone, wiped after the last write, leave all undelivered, and the check says so.

    The same rows are then delivered by workers that scan, so it is the scan that keeps the promise.
    """
    with house(short_folder, database_url, SCAN_INTERVAL_S="0") as one:
        one.start(one.broker, one.api)
        one.subscribe()
        posted = Writing(one, settle_in(one), random.Random(seed)).write(50)
        eventually(lambda: one.broker.messages() > 0, "bells wait in the broker")
        # The last bell of a run comes a moment after the write that it is for; with the API it has ended.
        one.api.stop()
        one.broker.wipe()
        one.start(one.api)
        one.start(*one.workers)
        eventually(lambda: one.broker.listeners() == len(one.workers), "the workers listen for a bell")
        with pytest.raises(AssertionError):
            one.receiver.wait_for(1, timeout_s=6 * SCAN_S)
        verdict = check(one, posted)
        assert len(verdict.lost) == verdict.events >= len(posted)
        assert verdict.unmatched >= len(posted)
        assert set(verdict.flaws) == {"lost", "unmatched"}

        for worker in one.workers:
            worker.kill()
            worker.env = {**worker.env, f"{PREFIX}SCAN_INTERVAL_S": str(SCAN_S)}
        one.start(*one.workers)
        wait_until_done(one)
        assert check(one, posted).flaws == {}


def test_an_api_killed_before_it_rings_loses_nothing(
    database_url: str, short_folder: Path, seed: int
) -> None:
    """Whoever repeats what was not acknowledged has every practice once, though no bell was ever rung."""
    rng = random.Random(seed)
    with house(short_folder, database_url) as one:
        one.api.env = {name: value for name, value in one.api.env.items() if not name.endswith("BROKER_URL")}
        one.start(one.broker, one.api, *one.workers)
        one.subscribe()
        writing = Writing(one, settle_in(one), rng)

        def kill_the_api() -> None:
            for _ in range(3):
                if not writing.over.wait(rng.uniform(0.2, LONGEST_PAUSE_S)):
                    one.api.kill()
                    one.start(one.api)

        with ThreadPoolExecutor(1) as pool:
            killing = pool.submit(kill_the_api)
            posted = writing.write(150, PER_SECOND)
            killing.result()
        assert one.api.kills > 0
        one.api.kill()
        one.start(one.api)
        wait_until_done(one)
        verdict = check(one, posted)
        assert verdict.flaws == {}
        assert {post.answers[-1] for post in posted} == {201}
        # A repeated request found what the first one had done: no practice is there twice.
        registered = [event for event in read_feed(one) if event["type"] == "practice.registered"]
        assert len(registered) == len(posted)


def test_a_broker_that_comes_late_is_missed_by_nobody(
    database_url: str, short_folder: Path, seed: int
) -> None:
    """Without a broker writes succeed and the scan delivers; when one comes up, bells work by themselves."""
    with house(short_folder, database_url, SCAN_INTERVAL_S=str(RARE_SCAN_S)) as one:
        one.start(one.api, *one.workers)
        one.subscribe()
        writing = Writing(one, settle_in(one), random.Random(seed))
        posted = writing.write(20)
        assert one.readiness() == (200, "degraded", "away")
        assert {status for post in posted for status in post.answers} == {201}
        wait_until_done(one)
        assert check(one, posted).flaws == {}

        one.start(one.broker)
        eventually(lambda: one.broker.listeners() == len(one.workers), "the workers listen for a bell")
        assert one.readiness() == (200, "ok", "ok")
        # Ten in a row, each by itself, take less than two scans would: somebody rings.
        begun = time.monotonic()
        for _ in range(10):
            before = len(one.receiver.got("/hooks"))
            posted += writing.write(1)
            one.receiver.wait_for(before + 1, "/hooks")
        assert time.monotonic() - begun < 2 * RARE_SCAN_S
        wait_until_done(one)
        assert check(one, posted).flaws == {}


def test_a_hung_broker_delays_no_answer(database_url: str, short_folder: Path, seed: int, tell: Tell) -> None:
    """While the broker is stopped but listens, 99 of 100 writes are answered within half a second."""
    with house(short_folder, database_url) as one:
        one.start(one.broker, one.api)
        one.subscribe()
        writing = Writing(one, settle_in(one), random.Random(seed))
        writing.write(20)
        one.broker.send(signal.SIGSTOP)
        posted = writing.write(200, per_second=40)
        ready = one.readiness()
        one.broker.send(signal.SIGCONT)
        seconds = [second for post in posted for second in post.seconds]
        p50, p99 = np.percentile(seconds, [50, 99])
        assert ready == (200, "degraded", "away")
        assert {status for post in posted for status in post.answers} == {201}
        assert p99 < HUNG_P99_S
        one.start(*one.workers)
        wait_until_done(one)
        verdict = check(one, writing.posted)
        tell(verdict, f"hung broker: POST p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms")
        assert verdict.flaws == {}
