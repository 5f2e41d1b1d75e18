# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL that crashes under load: what was acknowledged is there, and everybody comes back."""

import random
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.faults.checking import Tell, check
from tests.faults.house import LONG_LEASE, house
from tests.faults.parts import Part
from tests.faults.postgres import OwnPostgres
from tests.faults.settling import assert_as_from_nothing, refresh, wait_until_delivered, wait_until_done
from tests.faults.writing import Writing, settle_in
from tests.receiver import Manner

pytestmark = [
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform != "linux", reason="looks for the server's command in /proc"),
]

# Longer than a lease and a webhook's time-out; an API client would wait for ten seconds.
HUNG_S = 4.0
HUNG_LONG_S = 10.0
ANSWER_S = 0.5


@pytest.mark.parametrize("fault", ["restarted at once", "session killed", "hung"])
def test_nothing_acknowledged_is_missing_after_a_crash_of_the_database(
    breakable_postgres: OwnPostgres, short_folder: Path, fault: str, seed: int, long: bool, tell: Tell
) -> None:
    """Who is told 503 or nothing asks again; what was told 201 is there, is matched and arrives."""
    rng = random.Random(seed)
    with house(short_folder, breakable_postgres.url) as one:
        faults: dict[str, Callable[[], None]] = {
            "restarted at once": breakable_postgres.restart,
            "session killed": breakable_postgres.kill_a_session,
            "hung": partial(breakable_postgres.hang, HUNG_LONG_S if long else HUNG_S),
        }
        strike = faults[fault]
        one.start(one.broker, one.api, *one.workers)
        one.subscribe()
        writing = Writing(one, settle_in(one), rng)

        def strikes() -> int:
            struck = 0
            while struck < 3 and not writing.over.wait(rng.uniform(0.5, 2.0)):
                strike()
                struck += 1
            return struck

        with ThreadPoolExecutor(1) as pool:
            striking = pool.submit(strikes)
            posted = writing.write(200, per_second=20)
            struck = striking.result()
        wait_until_done(one)
        refresh(one)
        assert_as_from_nothing(one)
        verdict = check(one, posted)
        refused = sum(status != 201 for post in posted for status in post.answers)
        tell(verdict, f"{struck} times {fault}", f"{refused} requests refused and repeated")
        assert verdict.flaws == {}
        assert struck > 0
        workers: tuple[Part, ...] = (one.api, *one.workers)
        assert all(part.runs for part in workers)


def test_what_is_in_the_air_when_the_database_crashes_is_known_to_it_afterwards(
    breakable_postgres: OwnPostgres, short_folder: Path, tell: Tell
) -> None:
    """A server that crashes while a receiver answers has not forgotten who took what: it is sent once."""
    with house(short_folder, breakable_postgres.url, **LONG_LEASE, WEBHOOK_TIMEOUT_S="5") as one:
        one.receiver.behave("/hooks", Manner(delay_s=ANSWER_S))
        one.start(one.broker, one.api, one.dispatcher)
        one.subscribe()
        one.make("/cities", {"name": "Cork", "country": "IE"})
        one.receiver.wait_for(1)
        breakable_postgres.kill_a_session()
        wait_until_delivered(one)
        verdict = check(one)
        tell(verdict, "crashed with a webhook in the air")
        assert verdict.flaws == {}
        assert len(one.receiver.got()) == verdict.events == 1
