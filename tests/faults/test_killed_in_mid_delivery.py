# SPDX-License-Identifier: Apache-2.0
"""Kill -9 of the dispatcher, again and again, with its hands full; and what the scan has to do with it."""

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.checking import Tell, check
from tests.faults.house import SCAN_S, House, house
from tests.faults.parts import eventually
from tests.faults.settling import undelivered, wait_until_delivered
from tests.faults.writing import Writing, settle_in
from tests.receiver import Manner
from twinning.settings import PREFIX
from twinning.turns import MOST_IN_FLIGHT

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(240)]

# Events and kills.
SHORT = (1_000, 5)
LONG = (3_000, 10)
ANSWER_S = 0.05
DRAINED_S = 60.0


def test_events_outlive_kills_in_mid_delivery(
    main_url: str, short_folder: Path, seed: int, long: bool, tell: Tell
) -> None:
    """Each of 1,000 (3,000) events outlives 5 (10) kills; no more come twice than the killed had in hand."""
    rng = random.Random(seed)
    events, kills = LONG if long else SHORT
    with house(short_folder, main_url) as one:
        one.receiver.behave("/hooks", Manner(delay_s=ANSWER_S))
        one.start(one.broker, one.api, one.dispatcher)
        one.subscribe()
        writing = Writing(one, settle_in(one), rng)
        with ThreadPoolExecutor(1) as pool:
            posted = pool.submit(writing.write, events)
            for _ in range(kills):
                _kill_with_full_hands(one, rng)
            posted.result()
        wait_until_delivered(one, DRAINED_S)
        verdict = check(one, writing.posted)
        tell(verdict, f"{one.dispatcher.kills} kills")
        assert verdict.flaws == {}
        assert verdict.events >= events
        assert one.dispatcher.kills == kills
        assert verdict.duplicates <= 2 * MOST_IN_FLIGHT * kills


def _kill_with_full_hands(house: House, rng: random.Random) -> None:
    """Kill the dispatcher a moment after it has begun to send again, and start it anew."""
    house.receiver.wait_for(len(house.receiver.got()) + rng.randint(20, 160), timeout_s=DRAINED_S)
    house.dispatcher.kill()
    house.start(house.dispatcher)


def test_without_the_scan_a_kill_loses_events(
    main_url: str, short_folder: Path, seed: int, tell: Tell
) -> None:
    """The control: with the bell alone, what a killed dispatcher had not sent stays; the scan brings it."""
    with house(short_folder, main_url, SCAN_INTERVAL_S="0") as one:
        one.receiver.behave("/hooks", Manner(delay_s=ANSWER_S))
        one.start(one.broker, one.api, one.dispatcher)
        one.subscribe()
        eventually(lambda: one.broker.listeners() == 1, "the dispatcher listens for a bell")
        posted = Writing(one, settle_in(one), random.Random(seed)).write(100)
        one.receiver.wait_for(1)
        one.dispatcher.kill()
        one.broker.wipe()
        one.start(one.dispatcher)
        eventually(lambda: one.broker.listeners() == 1, "the dispatcher listens for a bell")
        left = undelivered(one)
        with pytest.raises(AssertionError):
            one.receiver.wait_for(len(one.receiver.got()) + 1, timeout_s=6 * SCAN_S)
        lost = check(one, posted)
        tell(None, f"as it must without the scan: lost={len(lost.lost)} of {lost.events}")
        assert 0 < len(lost.lost) <= left
        assert undelivered(one) == left

        one.dispatcher.kill()
        one.dispatcher.env = {**one.dispatcher.env, f"{PREFIX}SCAN_INTERVAL_S": str(SCAN_S)}
        one.start(one.dispatcher)
        wait_until_delivered(one)
        assert check(one, posted).flaws == {}
