# SPDX-License-Identifier: Apache-2.0
"""The rules of when writes are taken: who is answered together comes together, and nobody waits in vain."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import event
from sqlmodel import Session
from starlette.responses import Response

from services.api.foresight import Foreseen
from services.api.grouping import Scribe, Work
from twinning.database import Database

WRITERS = 12
TIMES = 20
NOBODY = Foreseen("asem_nobody", None, None)
# How long a loop has other things to do; far longer than it is waited for.
HELD_S = 2.0
# What a write of a group takes, while the others come.
WORK_S = 0.002


@pytest.fixture
def scribe(database: Database) -> Iterator[Scribe]:
    """A scribe of a database, who goes when the test is over."""
    scribe = Scribe(database)
    yield scribe
    scribe.close()


def _nothing(_session: Session) -> Response:
    time.sleep(WORK_S)
    return Response(b"done")


def test_who_is_answered_together_is_written_together(database: Database, scribe: Scribe) -> None:
    """Writers who ask again as soon as they are answered share each commit, whoever of them is the first."""
    committed: list[object] = []

    async def write(number: int) -> None:
        for _ in range(TIMES):
            assert await scribe.write(_nothing, NOBODY)
            # Some are a little slower to come again, as those are who are heard through a socket.
            for _ in range(number % 3):
                await asyncio.sleep(0)

    async def all_of_them() -> None:
        await asyncio.gather(*map(write, range(WRITERS)))

    event.listen(database.engine, "commit", committed.append)
    asyncio.run(all_of_them())

    # Some more, where the first of all were few, or the loop was held up for long.
    assert TIMES <= len(committed) <= TIMES * 5 // 4


def test_a_loop_that_has_ended_is_not_waited_for(scribe: Scribe) -> None:
    """Whoever comes after those whose loop is gone is written as ever."""

    async def write(name: str) -> Response | None:
        return await asyncio.wait_for(scribe.write(lambda _: Response(name), NOBODY), 20)

    answers = [asyncio.run(write(name)) for name in ("Suwon", "Porto", "Cork")]

    assert [answer and answer.body for answer in answers] == [b"Suwon", b"Porto", b"Cork"]


def _noting(begun: list[float]) -> Work:
    """Give a write that notes when it is done."""

    def note(_session: Session) -> Response:
        begun.append(time.monotonic())
        return Response(b"done")

    return note


async def _write_again_and_hold(scribe: Scribe, work: Work) -> float:
    """Write, ask again as soon as that is answered, and hold up the loop; gives since when it is held up."""
    assert await scribe.write(work, NOBODY)
    second = asyncio.create_task(scribe.write(work, NOBODY))
    await asyncio.sleep(0)
    held_at = time.monotonic()
    # Nothing else runs in this loop meanwhile, such as what it has to say to the scribe.
    time.sleep(HELD_S)  # noqa: ASYNC251
    assert await second
    return held_at


def test_as_many_as_were_answered_wait_for_no_loop(scribe: Scribe, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that waits already is done at once, whatever the loop has to do before it comes round."""
    monkeypatch.setattr("services.api.grouping.LONGEST_TURNS_S", 60)
    begun: list[float] = []

    held_at = asyncio.run(_write_again_and_hold(scribe, _noting(begun)))

    assert begun[1] - held_at < HELD_S / 2


def test_a_loop_that_is_held_up_delays_nobody_for_long(scribe: Scribe) -> None:
    """Fewer than were answered last are done soon, however long a loop takes to come round."""
    begun: list[float] = []

    async def one_of_many_asks_again() -> float:
        first = asyncio.create_task(scribe.write(_nothing, NOBODY))
        many = [asyncio.create_task(scribe.write(_nothing, NOBODY)) for _ in range(WRITERS)]
        held_at = await _write_again_and_hold(scribe, _noting(begun))
        await asyncio.gather(first, *many)
        return held_at

    held_at = asyncio.run(one_of_many_asks_again())

    assert begun[1] - held_at < HELD_S / 2


def test_a_scribe_goes_without_its_loop(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is told to go in a loop that has yet to come round does not wait for it."""
    monkeypatch.setattr("services.api.grouping.LONGEST_TURNS_S", 10 * HELD_S)
    scribe = Scribe(database)

    async def write_and_close() -> float:
        assert await scribe.write(_nothing, NOBODY)
        begun = time.monotonic()
        # The loop waits for the scribe here, who therefore must not wait for the loop.
        scribe.close()
        return time.monotonic() - begun

    assert asyncio.run(write_and_close()) < HELD_S
