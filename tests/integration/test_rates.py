# SPDX-License-Identifier: Apache-2.0
"""The rules of rates: one count for all processes, exact, cheap, and no request waits for a broker."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from services.api import rates
from services.api.rates import Rates
from tests.servers import Server
from twinning.errors import TooMany

KEY = "0198c0de-0000-7000-8000-00000000000a"
# In a window that slides by a minute a test would now and then see some of a rate come back.
DAY_S = 86_400


async def taken(counter: Rates, most: int, key: str = KEY) -> int:
    """Take a key's requests until there are no more; gives how many there were."""
    for number in range(most):
        try:
            await counter.take(key)
        except TooMany:
            return number
    return most


def at_once(job: Callable[[], Awaitable[Any]]) -> Any:
    """Run a job in a loop of its own."""

    async def run() -> Any:
        return await job()

    return asyncio.run(run())


@pytest.mark.parametrize(("rate", "idle"), [(7, 0), (60, 0), (600, 11)])
def test_processes_count_together(broker: Server, rate: int, idle: int) -> None:
    """Two that share a broker let through one rate between them; at most a handful lies idle with one."""

    async def job() -> tuple[int, int]:
        one, other = (Rates(rate, broker.url, DAY_S) for _ in range(2))
        first = sum([await taken(each, 1) for each in (one, other, one)])
        return first + await taken(one, 2 * rate), await taken(other, 2 * rate)

    mine, others = at_once(job)

    assert mine + others == rate
    # What the other had asked for and not used was still its own.
    assert others <= idle


def test_who_asks_too_often_hears_when_to_come_back(broker: Server) -> None:
    """Over the rate a key hears for how long; another key goes on; after the wait the first may ask again."""

    async def job() -> None:
        counter = Rates(5, broker.url, window_s=1)
        told = await counter.take(KEY)
        assert told["RateLimit-Policy"] == '"key";q=5;w=1'
        assert told["RateLimit"].startswith('"key";r=4;t=')
        assert await taken(counter, 10) == 4
        with pytest.raises(TooMany) as refused:
            await counter.take(KEY)
        assert refused.value.wait_s == 1
        assert await taken(counter, 1, "another") == 1
        await asyncio.sleep(refused.value.wait_s + 0.3)
        assert await taken(counter, 1) == 1

    at_once(job)


@pytest.mark.parametrize("rate", [100, 600])
def test_most_requests_ask_nobody(broker: Server, rate: int) -> None:
    """Requests are taken from the broker by the handful, so few of them look at it."""

    async def job() -> int:
        counter = Rates(rate, broker.url, DAY_S)
        asked = 0
        ask = counter._ask

        async def counted(*arguments: Any) -> None:
            nonlocal asked
            asked += 1
            await ask(*arguments)

        counter._ask = counted  # type: ignore[method-assign]
        assert await taken(counter, rate) == rate
        return asked

    assert at_once(job) <= rates.HANDFULS


@pytest.mark.parametrize("state", ["absent", "hung", "nameless"])
def test_without_a_broker_each_process_counts_alone(private_broker: Server, state: str) -> None:
    """A broker that is away, hangs or has no address holds up one request for a moment; the rate is kept."""
    urls = {
        "absent": "redis://127.0.0.1:1/0",
        "hung": private_broker.url,
        "nameless": "redis://no-such-broker.invalid:6379/0",
    }
    if state == "hung":
        assert private_broker.pid is not None
        os.kill(private_broker.pid, signal.SIGSTOP)

    async def job() -> tuple[int, float]:
        counter = Rates(120, urls[state], DAY_S)
        longest, begun = 0.0, time.perf_counter()
        let_in = 0
        for _ in range(200):
            begun = time.perf_counter()
            try:
                await counter.take(KEY)
            except TooMany:
                break
            longest = max(longest, time.perf_counter() - begun)
            let_in += 1
        return let_in, longest

    let_in, longest = at_once(job)

    assert let_in == 120
    # Half a second, and what a busy machine makes of it.
    assert longest < 2.0


def test_a_broker_that_goes_gives_nothing_away(
    private_broker: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a process took while the broker was there counts when it counts alone, and is counted on later."""
    monkeypatch.setattr(rates, "AWAY_S", 0.0)
    monkeypatch.setattr(rates, "ANSWER_S", 0.1)
    assert private_broker.pid is not None
    pid = private_broker.pid

    async def job() -> tuple[int, int, int]:
        counter, fresh = (Rates(60, private_broker.url, DAY_S) for _ in range(2))
        there = await taken(counter, 40)
        os.kill(pid, signal.SIGSTOP)
        away = await taken(counter, 100)
        os.kill(pid, signal.SIGCONT)
        return there, away, await taken(fresh, 100)

    there, away, rest = at_once(job)

    assert (there, away) == (40, 20)
    # Those of the time away may or may not have reached the broker before they were given up.
    assert rest <= 20


def test_no_rate_is_no_limit() -> None:
    """A rate of 0 counts nothing and says nothing."""

    async def job() -> dict[str, str]:
        counter = Rates(0)
        assert await taken(counter, 1000) == 1000
        return await counter.take(KEY)

    assert at_once(job) == {}
