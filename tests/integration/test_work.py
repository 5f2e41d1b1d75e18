# SPDX-License-Identifier: Apache-2.0
"""Units of work: who has them, and whose result no longer counts."""

import threading
from datetime import timedelta

import pytest
from sqlmodel import select

from services.matcher.matching import ALL, Matcher
from twinning import work
from twinning.database import Database, now
from twinning.idempotency import KeptAnswer
from twinning.previews import Preview
from twinning.settings import Settings
from twinning.terms import Bell, Work


@pytest.fixture
def rung(database: Database) -> list[Bell]:
    """The bells that were rung."""
    bells: list[Bell] = []
    database.ring = bells.append
    return bells


def ask(database: Database, subject: str = "a") -> None:
    """Ask for the matching of a listing."""
    with database.transaction() as session:
        work.enqueue(session, Work.MATCH_LISTING, subject)


def take(database: Database, worker: str = "one", lease_s: float = 60) -> list[work.Claim]:
    """Take what is due."""
    with database.transaction() as session:
        return work.claim(session, worker, 10, lease_s)


def finish(database: Database, claims: list[work.Claim]) -> set[str]:
    """Strike off what is done."""
    with database.transaction() as session:
        return work.finish(session, claims)


def test_a_bell_is_rung_for_committed_work_only(database: Database, rung: list[Bell]) -> None:
    """Work rings when its transaction is committed, and not when it is undone."""
    with pytest.raises(ZeroDivisionError), database.transaction() as session:
        work.enqueue(session, Work.MATCH_LISTING, "a")
        raise ZeroDivisionError
    assert rung == []

    ask(database)

    assert rung == [Bell.MATCH]


def test_work_in_a_workers_hands_is_not_given_to_another(database: Database) -> None:
    """A claimed unit is nobody else's until its lease ends."""
    ask(database)

    assert len(take(database)) == 1
    assert take(database, "two") == []


def test_a_dead_workers_work_is_taken_again(database: Database) -> None:
    """A unit whose lease has ended is due again, and the first holder's end is refused."""
    ask(database)
    first = take(database, lease_s=0.0)
    second = take(database, "two")

    assert second[0].fence != first[0].fence
    assert finish(database, first) == set()
    assert finish(database, second) == {second[0].id}


def test_work_asked_for_again_while_it_runs_is_done_again(database: Database) -> None:
    """What was asked for during the work is not taken for answered by the older result."""
    ask(database)
    running = take(database)
    ask(database)

    assert finish(database, running) == set()
    assert len(take(database)) == 1


def test_asking_twice_is_one_unit(database: Database) -> None:
    """A listing that changes twice before anybody looks is matched once."""
    ask(database)
    ask(database)

    assert len(take(database)) == 1


def test_work_that_fails_waits_and_is_set_aside_in_the_end(database: Database) -> None:
    """A failing unit keeps its error, comes back later, and after so many tries not at all."""
    ask(database)
    [claim] = take(database)
    with database.transaction() as session:
        work.set_back(session, claim, "it broke")
    assert take(database) == []

    last = work.Claim(claim.id, claim.kind, claim.subject, {}, claim.fence, work.MOST_TRIES)
    with database.transaction() as session:
        work.set_back(session, last, "it broke again")

    with database.snapshot() as session:
        assert work.waiting(session) == 0
        assert session.get_one(work.WorkUnit, claim.id).error == "it broke again"


def test_two_workers_share_what_is_due(database: Database) -> None:
    """Two workers that take at the same moment never take the same unit, and together take all."""
    for number in range(20):
        ask(database, f"listing-{number}")
    taken: list[str] = []
    start = threading.Barrier(2)

    def worker(name: str) -> None:
        start.wait()
        while claims := take(database, name):
            taken.extend(claim.subject for claim in claims)

    threads = [threading.Thread(target=worker, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(taken) == sorted(f"listing-{number}" for number in range(20))


def test_what_was_kept_long_enough_is_forgotten(database: Database) -> None:
    """Answers and previews older than a day go, younger ones stay, and the next tidying is planned."""
    old, young = now() - timedelta(hours=25), now() - timedelta(hours=23)
    with database.transaction() as session:
        for name, created_at in (("old", old), ("young", young)):
            session.add(
                KeptAnswer(
                    caller="c",
                    key=name,
                    request_hash="",
                    status=201,
                    headers={},
                    body=b"",
                    created_at=created_at,
                )
            )
            session.add(Preview(id=name, asked_by="c", request={}, created_at=created_at))
        work.enqueue(session, Work.TIDY, ALL)

    Matcher(database, Settings(), "m1").take()

    with database.snapshot() as session:
        assert [row.key for row in session.exec(select(KeptAnswer))] == ["young"]
        assert [row.id for row in session.exec(select(Preview))] == ["young"]
        assert work.waiting(session, Work.TIDY) == 1
