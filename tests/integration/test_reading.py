# SPDX-License-Identifier: Apache-2.0
"""The rules of reads that share a look: none sees less than was there when it came, each may fail alone."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, select
from starlette.responses import Response

from services.api.reading import AT_WORK, Clerk
from tests.catalogues import Catalogue
from tests.hooks import eventually
from twinning.cities import City
from twinning.database import Database

READERS = 12
MOST = 4


@pytest.fixture
def clerk(database: Database) -> Iterator[Clerk]:
    """A clerk of a database, who goes when the test is over."""
    clerk = Clerk(database, MOST)
    yield clerk
    clerk.close()


def _names(session: Session) -> Response:
    return Response(",".join(sorted(session.exec(select(City.name)))))


class _Holding:
    """Reads that keep each thread of a clerk in its look until they are let go."""

    def __init__(self) -> None:
        self.in_hand = threading.Semaphore(0)
        self._go_on = threading.Event()

    def __call__(self, session: Session) -> Response:
        answer = _names(session)
        self.in_hand.release()
        assert self._go_on.wait(20)
        return answer

    def let_go(self) -> None:
        self._go_on.set()


async def _held(clerk: Clerk, holding: _Holding, threads: int = MOST) -> list[asyncio.Task[Response]]:
    """Have so many threads of a clerk in a look of their own: all of them, or else a few."""
    tasks = []
    for _ in range(threads):
        tasks.append(asyncio.create_task(clerk.read(holding)))
        assert await asyncio.to_thread(holding.in_hand.acquire, timeout=20)
    return tasks


def _with_company(
    clerk: Clerk, reads: list[Callable[[Session], Response]], meanwhile: Callable[[], None] = lambda: None
) -> tuple[list[bytes], list[bytes | BaseException]]:
    """Have reads wait until every thread is done with another; gives what those and what these found."""

    async def ask() -> tuple[list[bytes], list[bytes | BaseException]]:
        holding = _Holding()
        before = await _held(clerk, holding)
        meanwhile()
        tasks = [asyncio.create_task(clerk.read(read)) for read in reads]
        await asyncio.to_thread(eventually, lambda: len(clerk._waiting) == len(reads))
        holding.let_go()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        first = [bytes(answer.body) for answer in await asyncio.gather(*before)]
        return first, [each if isinstance(each, BaseException) else bytes(each.body) for each in found]

    return asyncio.run(ask())


def test_reads_that_wait_together_share_a_look(database: Database, clerk: Clerk) -> None:
    """However many wait, each thread opens one transaction for its part of them, if it comes in time."""
    begun: list[object] = []
    event.listen(database.engine, "begin", begun.append)

    _, found = _with_company(clerk, [_names] * READERS)

    assert found == [b""] * READERS
    assert MOST < len(begun) <= 2 * MOST


def test_a_reader_finds_what_was_written_before(database: Database, clerk: Clerk) -> None:
    """A read that comes while a look is open is answered from another, begun after it came."""
    catalogue = Catalogue(database)
    catalogue.city("Cork", "IE")

    def write() -> None:
        catalogue.city("Suwon", "KR")

    before, after = _with_company(clerk, [_names] * 3, write)

    assert before == [b"Cork"] * MOST
    assert after == [b"Cork,Suwon"] * 3


def test_a_read_that_fails_fails_alone(database: Database, clerk: Clerk) -> None:
    """Those before and behind a read that goes wrong are answered, whoever refused it."""
    Catalogue(database).city("Cork", "IE")

    def refused(session: Session) -> Response:
        session.execute(text("SELECT nothing FROM nowhere"))
        raise AssertionError("this was asked in vain")

    def wrong(_session: Session) -> Response:
        raise LookupError("not found")

    _, found = _with_company(clerk, [_names, refused, _names, wrong, _names])

    assert [found[0], found[2], found[4]] == [b"Cork"] * 3
    assert isinstance(found[1], DBAPIError)
    assert isinstance(found[3], LookupError)


def test_a_lost_connection_is_not_the_end(database: Database, clerk: Clerk) -> None:
    """When a connection breaks in mid-look whoever asked is told, and those behind them are answered."""
    Catalogue(database).city("Cork", "IE")

    def lose(session: Session) -> Response:
        session.connection().invalidate()
        return _names(session)

    _, found = _with_company(clerk, [lose, *[_names] * READERS])

    assert isinstance(found[0], Exception)
    assert found[1:] == [b"Cork"] * READERS


def test_nothing_of_one_read_is_left_to_the_next(database: Database, clerk: Clerk) -> None:
    """What a read changes on the rows that it has in hand is seen by nobody else."""
    city_id = Catalogue(database).city("Cork", "IE")

    def rename(session: Session) -> Response:
        row = session.get_one(City, city_id)
        name, row.name = row.name, "Dublin"
        return Response(name)

    _, found = _with_company(clerk, [rename] * READERS)

    assert found == [b"Cork"] * READERS


def test_who_waits_at_the_end_is_answered(database: Database) -> None:
    """A clerk who is told to go answers first whoever came before."""
    clerk = Clerk(database, MOST)

    async def ask() -> list[Response]:
        holding = _Holding()
        tasks = await _held(clerk, holding)
        tasks += [asyncio.create_task(clerk.read(_names)) for _ in range(READERS)]
        await asyncio.to_thread(eventually, lambda: len(clerk._waiting) == READERS)
        closing = asyncio.create_task(asyncio.to_thread(clerk.close))
        holding.let_go()
        await closing
        return await asyncio.gather(*tasks)

    assert len(asyncio.run(ask())) == MOST + READERS


def test_few_threads_do_where_few_are_enough(database: Database) -> None:
    """However many come at once, no more threads look than get on with it."""
    clerk = Clerk(database, MOST, patience_s=60)

    async def ask() -> None:
        await asyncio.gather(*(clerk.read(_names) for _ in range(READERS)))

    asyncio.run(ask())
    clerk.close()

    assert len(clerk._threads) <= AT_WORK


def test_who_is_held_up_holds_up_nobody(clerk: Clerk) -> None:
    """While some reads wait for something, others are answered, and soon."""

    async def ask() -> list[Response]:
        holding = _Holding()
        stuck = await _held(clerk, holding, MOST - 1)
        answers = [await asyncio.wait_for(clerk.read(_names), 20) for _ in range(READERS)]
        holding.let_go()
        return answers + await asyncio.gather(*stuck)

    assert len(asyncio.run(ask())) == READERS + MOST - 1


class _Panic(BaseException):
    """What ends a thread that does not take care."""


@pytest.mark.parametrize("raised", [StopIteration, _Panic, KeyError])
def test_whatever_a_read_raises_is_told(clerk: Clerk, raised: type[BaseException]) -> None:
    """No error leaves a reader waiting or ends a thread, be it one that no future takes."""

    def wrong(_session: Session) -> Response:
        raise raised

    _, found = _with_company(clerk, [wrong, _names] * READERS)

    assert all(isinstance(each, KeyError if raised is KeyError else RuntimeError) for each in found[::2])
    assert found[1::2] == [b""] * READERS
    assert all(thread.is_alive() for thread in clerk._threads)


def test_a_loop_that_is_closed_is_no_matter(clerk: Clerk) -> None:
    """Whoever went while their read was under way ends no thread, and others are answered."""
    holding = _Holding()

    async def go() -> None:
        reading = asyncio.create_task(clerk.read(holding))
        assert await asyncio.to_thread(holding.in_hand.acquire, timeout=20)
        reading.cancel()

    asyncio.run(go())
    holding.let_go()

    async def ask() -> Response:
        return await clerk.read(_names)

    assert asyncio.run(ask()).body == b""
    assert all(thread.is_alive() for thread in clerk._threads)


def test_who_comes_too_late_is_told(database: Database) -> None:
    """A clerk who has gone lets nobody wait."""
    clerk = Clerk(database, MOST)
    clerk.close()

    async def ask() -> Response:
        return await clerk.read(_names)

    with pytest.raises(RuntimeError, match="gone"):
        asyncio.run(ask())
