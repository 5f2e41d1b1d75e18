# SPDX-License-Identifier: Apache-2.0
"""What a thread owes to a coroutine that waits, and how it is handed over whatever has become of either."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from starlette.responses import Response


class Promise:
    """An answer that is owed, made by the coroutine that waits for it: the answer, an error, or neither."""

    __slots__ = ("answer", "error", "future", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Response | None] = self.loop.create_future()
        self.answer: Response | None = None
        self.error: BaseException | None = None

    def settle(self) -> None:
        """Tell who waits, if somebody still does; in the loop."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(_for_a_future(self.error))
        else:
            self.future.set_result(self.answer)


def hand_over(promises: Iterable[Promise]) -> None:
    """Tell those who wait, from the thread that has kept its promises; with a closed loop nobody waits."""
    owed = list(promises)
    for loop in {promise.loop for promise in owed}:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, [promise for promise in owed if promise.loop is loop])


def _settle(promises: Iterable[Promise]) -> None:
    for promise in promises:
        promise.settle()


def _for_a_future(error: BaseException) -> Exception:
    """Give an error as a coroutine can be told of it, which what ends a thread or a loop is none of."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    told = RuntimeError(f"{type(error).__name__} was raised in a thread")
    told.__cause__ = error
    return told
