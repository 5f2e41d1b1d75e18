# SPDX-License-Identifier: Apache-2.0
"""Nothing that was acknowledged is lost, whoever is killed and however often the broker is wiped.

A run is drawn from a seed, `TEST_SEED` or 20, which its figures name; they are printed with `-s`.
"""

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.faults.checking import (
    assert_as_from_nothing,
    check,
    refresh,
    wait_until_done,
)
from tests.faults.house import House, Part, house
from tests.faults.writing import Writing, settle_in
from tests.receiver import Manner
from twinning.deliveries import MOST_IN_FLIGHT

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(180)]

SEED = int(os.environ.get("TEST_SEED", "20"))
PRACTICES = 500
PER_SECOND = 22.0
FAULTS = {"matcher": 4, "dispatcher": 4, "broker killed": 2, "broker flushed": 3, "broker emptied": 2}
LONGEST_PAUSE_S = 1.0


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
    """Strike at random moments while there is writing; everybody is at work again before the next strike."""
    faults = [fault for fault, times in FAULTS.items() for _ in range(times)]
    rng.shuffle(faults)
    struck = []
    for fault in faults:
        if writing.over.wait(rng.uniform(0.1, LONGEST_PAUSE_S)):
            break
        _strike(house, fault)
        struck.append(fault)
    return struck


def test_nothing_is_lost_whoever_is_killed(database_url: str, short_folder: Path) -> None:
    """Through kills of workers and broker and wipes of the broker every acknowledged event arrives."""
    rng = random.Random(SEED)
    with house(short_folder, database_url) as one:
        one.start(one.broker, one.api, *one.workers)
        one.receiver.behave("/hooks", Manner(delay_s=0.03))
        one.subscribe()
        writing = Writing(one, settle_in(one), rng)
        with ThreadPoolExecutor(1) as pool:
            breaking = pool.submit(_break_things, one, writing, random.Random(SEED))
            b0 = time.monotonic()
            posted = writing.write(PRACTICES, PER_SECOND)
            print(
                "WROTE",
                time.monotonic() - b0,
                np.percentile([s for p in posted for s in p.seconds], [50, 95, 99, 100]),
            )
            struck = breaking.result()
        begun = time.monotonic()
        wait_until_done(one)
        drained_s = time.monotonic() - begun
        b0 = time.monotonic()
        print("DRAINED", drained_s)
        refresh(one)
        print("REFRESH", time.monotonic() - b0)
        standing = assert_as_from_nothing(one)
        verdict = check(one, posted)
        print(
            f"\nseed {SEED}: {len(posted)} practices, {len(struck)} faults, {verdict}, "
            f"drained {drained_s:.1f} s after the last write, {standing} suggestions stand"
        )
        assert verdict.flaws == {}
        assert {status for post in posted for status in post.answers} == {201}
        assert len(struck) > len(FAULTS)
        assert verdict.duplicates <= 2 * MOST_IN_FLIGHT * one.dispatcher.kills
