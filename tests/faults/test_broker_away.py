# SPDX-License-Identifier: Apache-2.0
"""The broker goes, bounces, hangs and comes back empty, with everybody at work."""

import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.faults.checking import Tell, check
from tests.faults.house import LONG_LEASE, House, house
from tests.faults.parts import eventually
from tests.faults.settling import undelivered, wait_until_delivered, wait_until_done
from tests.faults.writing import Posted, Writing, settle_in
from tests.receiver import Manner

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(360)]

# The scan is rare here, so that bells are missed while there are none, and heard when there are again.
RARE_SCAN_S = 6.0
DRAINED_S = 15.0
ANSWERED_S = 0.5
PER_SECOND = 20.0
# How long the broker is away, bounces, and hangs: more than the time-outs of sockets, or as in life.
SHORT_S = {"away": 5.0, "bounced": 1.0, "hung": 6.0}
LONG_S = {"away": 20.0, "bounced": 1.0, "hung": 70.0}


def _away(house: House, seconds: float) -> None:
    house.broker.stop()
    time.sleep(seconds)
    house.start(house.broker)


def _bounced(house: House, seconds: float) -> None:
    for _ in range(3):
        _away(house, seconds)


def _hung(house: House, seconds: float) -> None:
    house.broker.send(signal.SIGSTOP)
    time.sleep(seconds)
    house.broker.send(signal.SIGCONT)


FAULTS: dict[str, Callable[[House, float], None]] = {"away": _away, "bounced": _bounced, "hung": _hung}


def test_a_broker_that_comes_back_is_heard_again(
    main_url: str, short_folder: Path, seed: int, long: bool, tell: Tell
) -> None:
    """While the broker is away, bounces or hangs, writes are quick; 15 s after it all is done, by bells."""
    rng = random.Random(seed)
    lasting = LONG_S if long else SHORT_S
    with house(short_folder, main_url, SCAN_INTERVAL_S=str(RARE_SCAN_S)) as one:
        one.start(one.broker, one.api, *one.workers)
        one.subscribe()
        cities = settle_in(one)
        posted: list[Posted] = []
        told = []
        for fault, strike in FAULTS.items():
            with ThreadPoolExecutor(1) as pool:
                striking = pool.submit(strike, one, lasting[fault])
                seen = set()
                while not striking.done():
                    written = Writing(one, cities, rng).write(10, PER_SECOND)
                    posted += written
                    seen.add(one.readiness()[:2])
                striking.result()
            begun = time.monotonic()
            wait_until_done(one, DRAINED_S)
            told.append(f"{fault}: drained in {time.monotonic() - begun:.1f} s")
            _assert_bells_are_heard(one, Writing(one, cities, rng), posted, begun)
            assert (200, "degraded") in seen
            assert seen <= {(200, "degraded"), (200, "ok")}
        # Those that were written to hear the bells are delivered, and may not be matched yet.
        wait_until_done(one)
        verdict = check(one, posted)
        p99 = np.percentile([second for post in posted for second in post.seconds], 99)
        tell(verdict, *told, f"POST p99 {p99 * 1000:.0f} ms")
        assert verdict.flaws == {}
        assert {status for post in posted for status in post.answers} == {201}
        assert p99 < ANSWERED_S


def _assert_bells_are_heard(house: House, writing: Writing, posted: list[Posted], since: float) -> None:
    """See events arrive faster than the scan could bring them, within the time that draining may take."""

    def rung() -> bool:
        begun = time.monotonic()
        for _ in range(3):
            before = len(house.receiver.got("/hooks"))
            posted.extend(writing.write(1))
            house.receiver.wait_for(before + 1, "/hooks", timeout_s=2 * RARE_SCAN_S)
        return time.monotonic() - begun < RARE_SCAN_S / 4

    eventually(rung, "bells are heard again", since + DRAINED_S + 2 * RARE_SCAN_S - time.monotonic())


def test_no_write_waits_for_a_broker_that_is_away(
    main_url: str, short_folder: Path, seed: int, tell: Tell
) -> None:
    """With the broker dead none of 200 writes takes half a second or is refused, and all arrives."""
    with house(short_folder, main_url) as one:
        one.start(one.broker, one.api, one.dispatcher)
        one.subscribe()
        writing = Writing(one, settle_in(one), random.Random(seed))
        writing.write(20)
        one.broker.kill()
        posted = writing.write(200, per_second=40)
        wait_until_delivered(one)
        verdict = check(one, writing.posted)
        slowest = max(second for post in posted for second in post.seconds)
        tell(verdict, f"slowest POST {slowest * 1000:.0f} ms")
        assert verdict.flaws == {}
        assert {status for post in posted for status in post.answers} == {201}
        assert slowest < ANSWERED_S


def test_a_broker_wiped_with_everything_under_way_costs_nothing(
    main_url: str, short_folder: Path, seed: int, tell: Tell
) -> None:
    """Flushed with sixteen in the air and hundreds rung for, then started again empty: all arrives."""
    paths = [f"/{number}" for number in range(4)]
    with house(short_folder, main_url, **LONG_LEASE) as one:
        for path in paths:
            one.receiver.behave(path, Manner(delay_s=0.5))
        one.start(one.broker, one.api, one.dispatcher)
        for path in paths:
            one.subscribe(path)
        posted = Writing(one, settle_in(one), random.Random(seed)).write(125)
        eventually(lambda: _in_air(one) == 16, "sixteen are in the air")
        waiting = undelivered(one)
        one.broker.wipe()
        for path in paths:
            one.receiver.behave(path, Manner(delay_s=0.05))
        one.receiver.wait_for(len(one.receiver.got()) + 100)
        one.broker.kill()
        one.broker.empty()
        one.start(one.broker)
        begun = time.monotonic()
        wait_until_delivered(one)
        verdict = check(one, posted)
        tell(verdict, f"wiped with {waiting} on their way", f"drained in {time.monotonic() - begun:.1f} s")
        assert verdict.flaws == {}
        assert waiting >= 300
        assert verdict.duplicates == 0


def _in_air(house: House) -> int:
    """Count what the receiver has been sent and not answered yet."""
    return sum(house.receiver.in_hand(path) for path in house.subscribed)
