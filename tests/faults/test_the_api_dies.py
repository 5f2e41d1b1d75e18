# SPDX-License-Identifier: Apache-2.0
"""The API dies after a commit and before its bell; and many at once ask for the same thing."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.faults.checking import Tell, check, read_feed
from tests.faults.house import House, house
from tests.faults.settling import wait_until_delivered
from tests.faults.writing import AGAIN, Posted, Writing, insist, practices, settle_in

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(120)]

WRITES = 40
# A practice that wakes the matcher and the dispatcher rings twice.
EVERY = 12
AT_ONCE = 50


def test_a_commit_whose_bell_was_never_rung_is_delivered(
    main_url: str, short_folder: Path, seed: int, tell: Tell
) -> None:
    """An API that dies right after a commit has promised nothing and lost nothing: all is there once."""
    with house(short_folder, main_url) as one:
        one.start(one.broker, one.api, one.dispatcher)
        one.subscribe()
        cities = settle_in(one)
        one.api.kill()
        one.api.change("dies_before_the_bell", every=EVERY)
        one.start(one.api)
        deaths = 0
        over = threading.Event()

        def start_again() -> None:
            nonlocal deaths
            while not over.is_set():
                assert one.api.process is not None
                if one.api.process.wait() == 9 and not over.is_set():
                    deaths += 1
                    one.start(one.api)

        with ThreadPoolExecutor(1) as pool:
            starting = pool.submit(start_again)
            writing = Writing(one, cities, random.Random(seed))
            try:
                posted = writing.write(WRITES)
            finally:
                over.set()
                one.api.kill()
            starting.result()
        one.start(one.api)
        wait_until_delivered(one)
        verdict = check(one, posted)
        tell(verdict, f"{deaths} deaths between commit and bell")
        assert verdict.flaws == {}
        assert deaths >= 2
        registered = [event for event in read_feed(one) if event["type"] == "practice.registered"]
        assert len(registered) == len(posted)


def test_one_key_from_fifty_sides_makes_one_thing(
    database_url: str, short_folder: Path, seed: int, tell: Tell
) -> None:
    """Fifty requests at once under one idempotency key make one resource, and all are told of the same."""
    with house(short_folder, database_url) as one:
        one.start(one.broker, one.api, one.dispatcher)
        one.subscribe()
        city = settle_in(one)[0]
        [body] = practices(1, random.Random(seed))
        gate = threading.Barrier(AT_ONCE)

        def ask(_number: int) -> Posted:
            asked = Posted(key="the-same-for-all")
            with _client(one) as client:
                gate.wait()
                insist(client, f"/v1/cities/{city}/practices", body, asked)
            return asked

        with ThreadPoolExecutor(AT_ONCE) as pool:
            asked = list(pool.map(ask, range(AT_ONCE)))
        wait_until_delivered(one)
        verdict = check(one, asked)
        tell(verdict, f"{sum(len(each.answers) for each in asked)} requests for one practice")
        assert verdict.flaws == {}
        assert len({each.practice_id for each in asked}) == 1
        assert {status for each in asked for status in each.answers} <= {201} | AGAIN
        registered = [event for event in read_feed(one) if event["type"] == "practice.registered"]
        assert len(registered) == 1


def _client(house: House) -> httpx.Client:
    return httpx.Client(base_url=house.url, headers=house.client.headers, timeout=30, trust_env=False)
