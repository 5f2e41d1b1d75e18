# SPDX-License-Identifier: Apache-2.0
"""What the tests of the client post with: rules, headers, names that change their address, a clock."""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from services.dispatcher.client import Outcome
from twinning.addresses import Rules

INSIDE = Rules.parse(["127.0.0.0/8"], allow_http=True)
HEADERS = {"webhook-id": "evt", "webhook-timestamp": "1", "webhook-signature": "v1,x"}
TIMEOUT_S = 0.8
# What an attempt may take beyond its deadline on a busy machine.
GRACE_S = 0.5
NAME = "hooks.example.org"


def in_loop(story: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test that is a coroutine in a loop of its own."""

    @functools.wraps(story)
    def test(*args: Any, **kwargs: Any) -> None:
        asyncio.run(story(*args, **kwargs))

    return test


class Names:
    """A resolver that gives prepared answers, one list a look-up, and counts how often it is asked."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.lookups = 0

    async def __call__(self, *_: object) -> list[str]:
        self.lookups += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def timed(attempt: Awaitable[Outcome]) -> tuple[Outcome, float]:
    began = time.perf_counter()
    return await attempt, time.perf_counter() - began
