# SPDX-License-Identifier: Apache-2.0
"""No scheduler, one, two, and one that is killed all the time: it only costs or saves a moment."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.checking import Tell, check
from tests.faults.house import LONG_LEASE, house
from tests.faults.parts import eventually
from tests.faults.settling import wait_until_done, wait_until_matched
from tests.faults.writing import Writing, settle_in
from twinning.settings import PREFIX

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(300)]

SCAN_S = 10.0
LATEST_S = 15.0
# The scheduler rings each second, some of which the machine may take.
RUNG_S = 4.0
PER_SECOND = 10.0


def test_the_scheduler_is_missed_by_nobody(
    main_url: str, short_folder: Path, seed: int, long: bool, tell: Tell
) -> None:
    """Without one the workers' looks bring all within 15 s; two make matching quick, and send none twice."""
    rng = random.Random(seed)
    lasting = 6 if long else 1
    with house(short_folder, main_url, SCAN_INTERVAL_S=str(SCAN_S), **LONG_LEASE) as one:
        # Nobody but the scheduler rings here.
        one.api.env = {name: value for name, value in one.api.env.items() if not name.endswith("BROKER_URL")}
        one.scheduler.env = {**one.scheduler.env, f"{PREFIX}SCAN_INTERVAL_S": "1"}
        one.start(one.broker, one.api, *one.workers)
        one.subscribe()
        cities = settle_in(one)
        writing = Writing(one, cities, rng)
        posted = writing.write(100 * lasting, PER_SECOND)
        wait_until_matched(one, LATEST_S)
        wait_until_done(one)
        none_s = check(one, posted).lag_s(100)

        two = [one.scheduler, one.another(one.scheduler)]
        one.start(*two)
        eventually(lambda: one.broker.listeners() == len(one.workers), "the workers listen for a bell")
        # Were nobody to ring, the second of them would wait for the whole of a scan's interval.
        matched_s = []
        for _ in range(3):
            begun = time.monotonic()
            posted += Writing(one, cities, rng).write(1)
            wait_until_matched(one)
            matched_s.append(time.monotonic() - begun)

        killed = Writing(one, cities, rng)
        with ThreadPoolExecutor(1) as pool:
            written = pool.submit(killed.write, 50 * lasting, PER_SECOND)
            while not killed.over.wait(rng.uniform(0.3, 1.5)):
                part = rng.choice(two)
                part.kill()
                one.start(part)
            posted += written.result()
        wait_until_done(one)
        verdict = check(one, posted)
        kills = sum(part.kills for part in two)
        tell(
            verdict,
            f"latest without a scheduler {none_s:.1f} s, matched with two in {max(matched_s):.1f} s",
            f"{kills} kills in mid-tick",
        )
        assert verdict.flaws == {}
        assert verdict.duplicates == 0
        assert none_s < LATEST_S
        assert max(matched_s) < RUNG_S
        assert kills > 0
