# SPDX-License-Identifier: Apache-2.0
"""The rules of writes that share a transaction: each may fail alone, none is answered before the commit."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, select

from tests.company import WRITERS, listening, together
from tests.factories import Door, door, practice
from tests.hooks import eventually
from twinning.listings import Listing
from twinning.outbox import StoredEvent


@contextmanager
def _commits(front: Door) -> Iterator[list[int]]:
    count: list[int] = []

    def note(_connection: Connection) -> None:
        count.append(1)

    with listening(front, "commit", note):
        yield count


def test_who_comes_together_shares_one_commit(front: Door) -> None:
    """Writes that wait at the same moment are committed at once, and the feed has each of them in order."""
    path = f"/v1/cities/{front.city()['id']}/practices"
    with _commits(front) as count:
        answers = together(
            front,
            lambda number: front.client.post(
                path, json=practice(external_ref=f"p-{number}"), headers=front.staff
            ),
        )
    with front.database.snapshot() as session:
        numbers = session.exec(select(StoredEvent.sequence).order_by(StoredEvent.sequence)).all()

    assert {answer.status_code for answer in answers} == {201}
    assert front.events().count("practice.registered") == WRITERS
    assert len(set(numbers)) == len(numbers) == WRITERS + 2
    assert len(count) <= 4


def test_one_that_is_refused_is_undone_alone(front: Door) -> None:
    """In one transaction some are refused late and leave nothing behind; the others are kept."""
    city = front.city()
    front.practice(city["id"], external_ref="taken")
    path = f"/v1/cities/{city['id']}/practices"

    def ask(number: int) -> httpx.Response:
        reference = "taken" if number % 3 == 0 else f"p-{number}"
        return front.client.post(path, json=practice(external_ref=reference), headers=front.staff)

    statuses = [answer.status_code for answer in together(front, ask)]

    assert statuses == [409 if number % 3 == 0 else 201 for number in range(WRITERS)]
    assert front.events().count("practice.registered") == 1 + statuses.count(201)


def test_one_key_in_one_transaction_does_its_work_once(front: Door) -> None:
    """Requests under one idempotency key that share a transaction get one answer."""
    headers = {**front.staff, "Idempotency-Key": "one"}
    answers = together(
        front,
        lambda _: front.client.post("/v1/cities", json={"name": "Suwon", "country": "KR"}, headers=headers),
    )

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1


def test_two_under_one_key_cost_the_others_nothing(front: Door) -> None:
    """Of those that share a transaction two may have one key: the second gets the first's answer."""
    path = f"/v1/cities/{front.city()['id']}/practices"

    def ask(number: int) -> httpx.Response:
        key = "one" if number < 2 else f"key-{number}"
        return front.client.post(path, json=practice(), headers={**front.staff, "Idempotency-Key": key})

    answers = together(front, ask)

    assert {answer.status_code for answer in answers} == {201}
    assert answers[0].content == answers[1].content
    assert front.events().count("practice.registered") == WRITERS - 1


def test_what_cannot_be_written_in_the_end_fails_alone(front: Door) -> None:
    """When all that is new cannot be written together, each is done by itself, and one alone is refused."""
    city = front.city()["id"]
    path, failing = f"/v1/cities/{city}/practices", "out of place"

    def misplace(_session: Session, row: object) -> None:
        if isinstance(row, Listing) and row.title == failing:
            row.city_id = "nowhere"

    def ask(number: int) -> httpx.Response:
        title = failing if number == 3 else f"Practice {number}"
        return front.client.post(path, json=practice(title=title), headers=front.staff)

    event.listen(Session, "after_attach", misplace)
    try:
        answers = together(front, ask)
    finally:
        event.remove(Session, "after_attach", misplace)

    assert [answer.status_code for answer in answers] == [409 if n == 3 else 201 for n in range(WRITERS)]


def test_in_one_transaction_one_version_is_changed_once(front: Door) -> None:
    """Of those that change one version together one wins, and the rest are told that they came too late."""
    path = f"/v1/cities/{front.city()['id']}"
    headers = {**front.staff, "If-Match": '"1"'}
    answers = together(
        front, lambda number: front.client.patch(path, json={"summary": f"{number}"}, headers=headers)
    )

    assert sorted(answer.status_code for answer in answers) == [200] + [412] * (WRITERS - 1)


def test_a_commit_that_fails_fails_for_all(front: Door) -> None:
    """When the commit that many share fails, none of them is told that it went well, and nothing is there."""
    path = f"/v1/cities/{front.city()['id']}/practices"
    gone = OperationalError("COMMIT", None, type("OperationalError", (Exception,), {})("gone"))
    commits: list[int] = []

    def fail(_connection: Connection) -> None:
        # The first belongs to the one that holds the others up.
        commits.append(1)
        if len(commits) > 1:
            raise gone

    event.listen(front.database.engine, "commit", fail)
    try:
        answers = together(front, lambda _: front.client.post(path, json=practice(), headers=front.staff))
    finally:
        event.remove(front.database.engine, "commit", fail)

    assert {answer.status_code for answer in answers} == {503}
    assert front.client.get("/v1/practices", headers=front.staff).json()["items"] == []


def test_what_cannot_be_written_together_is_written_alone(front: Door) -> None:
    """When the end of a shared transaction fails before its commit, each write is done again by itself."""
    path = f"/v1/cities/{front.city()['id']}/practices"
    prepare, failed = front.database.prepare, threading.Event()

    def fail_once(session: object) -> None:
        if len(session.info.get("events", [])) > 1 and not failed.is_set():  # type: ignore[attr-defined]
            failed.set()
            raise ValueError("one of them cannot be written")
        prepare(session)  # type: ignore[arg-type]

    front.database.prepare = fail_once  # type: ignore[method-assign]
    answers = together(front, lambda _: front.client.post(path, json=practice(), headers=front.staff))

    assert failed.is_set()
    assert {answer.status_code for answer in answers} == {201}
    assert front.events().count("practice.registered") == WRITERS


@pytest.fixture
def grown(postgres_url: str) -> Iterator[Door]:
    """A front door on PostgreSQL; on SQLite nobody holds a row while another writes."""
    with door(postgres_url) as opened:
        yield opened


def test_a_row_that_is_held_holds_up_nobody_else(grown: Door) -> None:
    """While one write waits for a row that another transaction holds, others are answered; then it is."""
    held, free = grown.city(), grown.city("Cork")
    with ThreadPoolExecutor(1) as pool:
        with grown.database.transaction() as session:
            session.execute(text("SELECT id FROM city WHERE id = :id FOR UPDATE"), {"id": held["id"]})
            waiting = pool.submit(grown.practice, held["id"])
            for _ in range(3):
                grown.practice(free["id"])
            early = waiting.done()
        made = waiting.result(30)

    assert not early
    assert made["city_id"] == held["id"]


def test_a_unit_that_a_matcher_holds_holds_up_nobody_else(grown: Door) -> None:
    """While one write asks for work that a matcher is just ending, others are answered; then it is."""
    held, free = grown.practice(grown.city()["id"]), grown.city("Cork")
    with ThreadPoolExecutor(1) as pool:
        with grown.database.transaction() as session:
            session.execute(text("DELETE FROM work_unit WHERE subject = :id"), {"id": held["id"]})
            path, wanted = f"/v1/practices/{held['id']}", {"title": "Another title"}
            waiting = pool.submit(grown.client.patch, path, json=wanted, headers=grown.staff)
            for _ in range(3):
                grown.practice(free["id"])
            early = waiting.done()
        changed = waiting.result(30)

    assert not early
    assert changed.json()["title"] == "Another title"


def test_a_write_that_ends_a_deadlock_is_done_again(grown: Door) -> None:
    """Where two wait for each other, the write that the database undoes is done again and answered."""
    city = grown.city()
    listing = grown.practice(city["id"])
    _reconnect_with(grown, deadlock_timeout="2000")
    with ThreadPoolExecutor(1) as pool, grown.database.engine.connect() as other:
        # Whoever looks for a deadlock first is undone, and that is to be the request.
        other.execute(text("SET LOCAL deadlock_timeout = '60s'"))
        other.execute(text("SELECT id FROM listing WHERE id = :id FOR UPDATE"), {"id": listing["id"]})
        path = f"/v1/cities/{city['id']}"
        leaving = pool.submit(grown.client.delete, path, headers=grown.staff)
        eventually(lambda: _somebody_waits(grown))
        other.execute(text("SELECT id FROM city WHERE id = :id FOR UPDATE"), {"id": city["id"]})
        other.rollback()
        answer = leaving.result(30)

    assert answer.status_code == 204, answer.text
    assert grown.client.get(path, headers=grown.staff).status_code == 404


def _somebody_waits(front: Door) -> bool:
    with front.database.snapshot() as session:
        return bool(session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))


def test_a_statement_that_is_stuck_ends_in_503(grown: Door) -> None:
    """A write that waits too long for a row is told by a problem to ask again, and has done nothing."""
    city = grown.city()
    _reconnect_with(grown, lock_timeout="300", statement_timeout="2000")
    with grown.database.engine.connect() as holder:
        holder.execute(text("SELECT id FROM city WHERE id = :id FOR UPDATE"), {"id": city["id"]})
        answer = grown.client.patch(
            f"/v1/cities/{city['id']}", json={"summary": "stuck"}, headers=grown.staff
        )
        holder.rollback()

    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert answer.headers["retry-after"]
    shown = grown.client.get(f"/v1/cities/{city['id']}", headers=grown.staff).json()
    assert shown["summary"] is None


def test_a_read_that_is_stuck_ends_in_503(grown: Door) -> None:
    """A read whose statement runs out of its time is told by a problem to ask again."""
    grown.city()
    _reconnect_with(grown, lock_timeout="20000", statement_timeout="300")
    with grown.database.engine.connect() as holder:
        holder.exec_driver_sql("LOCK TABLE city IN ACCESS EXCLUSIVE MODE")
        answer = grown.client.get("/v1/cities", headers=grown.staff)
        holder.rollback()

    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")


def _reconnect_with(front: Door, **timeouts: str) -> None:
    """Give each connection from now on other time-outs, in milliseconds."""

    def set_them(connection: object, _record: object, _proxy: object) -> None:
        with connection.cursor() as cursor:  # type: ignore[attr-defined]
            for name, value in timeouts.items():
                cursor.execute(f"SET {name} = {value}")
        connection.commit()  # type: ignore[attr-defined]

    event.listen(front.database.engine, "checkout", set_them)
