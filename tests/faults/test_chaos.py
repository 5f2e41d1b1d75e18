# SPDX-License-Identifier: Apache-2.0
"""Everything that can break breaks, as a seed says, beside receivers of every kind."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.checking import Tell, check, read_log
from tests.faults.house import LEASE_S, House, house
from tests.faults.parts import Part
from tests.faults.postgres import OwnPostgres
from tests.faults.settling import assert_as_from_nothing, refresh, wait_until_done
from tests.faults.writing import Writing, settle_in
from tests.receiver import Manner
from twinning.terms import DeliveryState

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(900)]

PER_SECOND = 20.0
# So long it goes on, with so long from one fault to the next, in seconds.
SHORT = (30.0, (1.0, 3.0))
LONG = (300.0, (3.0, 8.0))
HUNG_S = (0.5, 2.5 * LEASE_S)
MANNERS = {
    "/well": Manner(delay_s=0.01),
    "/slow": Manner(delay_s=0.1),
    "/failing": Manner((500, 200), each_event=True),
    "/busy": Manner((429, 503, 200), headers={"Retry-After": "1"}, each_event=True),
    "/refusing": Manner((403,)),
}

Fault = Callable[[House, OwnPostgres, random.Random], None]


def _killed(which: str) -> Fault:
    def strike(house: House, _postgres: OwnPostgres, _rng: random.Random) -> None:
        part: Part = getattr(house, which)
        part.kill()
        house.start(part)

    return strike


def _renewed(which: str) -> Fault:
    def strike(house: House, _postgres: OwnPostgres, _rng: random.Random) -> None:
        part: Part = getattr(house, which)
        part.stop()
        house.start(part)

    return strike


def _hung(which: str) -> Fault:
    def strike(house: House, _postgres: OwnPostgres, rng: random.Random) -> None:
        part: Part = getattr(house, which)
        part.send(signal.SIGSTOP)
        time.sleep(rng.uniform(*HUNG_S))
        part.send(signal.SIGCONT)

    return strike


def _emptied(house: House, _postgres: OwnPostgres, _rng: random.Random) -> None:
    house.broker.kill()
    house.broker.empty()
    house.start(house.broker)


PARTS = ("api", "matcher", "dispatcher", "scheduler", "broker")
FAULTS: dict[str, Fault] = {
    **{f"{which} killed": _killed(which) for which in PARTS},
    **{f"{which} renewed": _renewed(which) for which in ("api", "matcher", "dispatcher")},
    **{f"{which} hung": _hung(which) for which in ("matcher", "dispatcher", "broker")},
    "broker wiped": lambda house, _postgres, _rng: house.broker.wipe(),
    "broker emptied": _emptied,
    "database restarted": lambda _house, postgres, _rng: postgres.restart(),
    "session killed": lambda _house, postgres, _rng: postgres.kill_a_session(),
    "sessions hung": lambda _house, postgres, rng: postgres.hang(rng.uniform(*HUNG_S)),
}


def _break_things(
    house: House, postgres: OwnPostgres, writing: Writing, rng: random.Random, apart_s: tuple[float, float]
) -> Counter[str]:
    """Strike while there is writing; each fault comes once before any comes again."""
    struck: Counter[str] = Counter()
    bag: list[str] = []
    while not writing.over.wait(rng.uniform(*apart_s)):
        bag = bag or rng.sample(sorted(FAULTS), len(FAULTS))
        fault = bag.pop()
        FAULTS[fault](house, postgres, rng)
        struck[fault] += 1
    return struck


def test_chaos(
    breakable_postgres: OwnPostgres, short_folder: Path, seed: int, long: bool, tell: Tell
) -> None:
    """Whatever breaks, in whatever order, every event arrives, or is given up with its whole log."""
    rng = random.Random(seed)
    lasting_s, apart_s = LONG if long else SHORT
    with house(short_folder, breakable_postgres.url, RETRY_SCHEDULE_S="0,0.5,1,2,4,4") as one:
        for path, manner in MANNERS.items():
            one.receiver.behave(path, manner)
        one.start(one.broker, one.api, *one.workers, one.scheduler)
        for path in MANNERS:
            one.subscribe(path)
        writing = Writing(one, settle_in(one), rng)
        with ThreadPoolExecutor(1) as pool:
            breaking = pool.submit(
                _break_things, one, breakable_postgres, writing, random.Random(seed), apart_s
            )
            posted = writing.write(round(lasting_s * PER_SECOND), PER_SECOND)
            struck = breaking.result()
        # The refusing one has a single place in the air, and its whole schedule for each event.
        one.receiver.behave("/refusing", Manner())
        wait_until_done(one, 300)
        refresh(one)
        assert_as_from_nothing(one)
        verdict = check(one, posted, lag_on=["/well"])
        states = Counter(kept.state for kept in read_log(one).values())
        tell(
            verdict,
            f"{struck.total()} faults of {len(struck)} kinds",
            f"{states.total()} deliveries, {states[DeliveryState.EXHAUSTED]} given up",
        )
        assert verdict.flaws == {}
        assert struck
        assert all(part.runs for part in (one.api, *one.workers))
