# SPDX-License-Identifier: Apache-2.0
"""The rules of one request, one transaction: committed before the answer leaves, or undone as a whole."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.exc import IntegrityError, OperationalError

from tests.factories import Door, practice
from twinning.terms import Bell


@contextmanager
def _at_commit(front: Door, action: Callable[[], None]) -> Iterator[None]:
    """Have something happen whenever a connection is about to commit."""

    def commit(_connection: Connection) -> None:
        action()

    event.listen(front.database.engine, "commit", commit)
    try:
        yield
    finally:
        event.remove(front.database.engine, "commit", commit)


def _breaking(error: Exception) -> Callable[[], None]:
    def action() -> None:
        raise error

    return action


def test_a_commit_that_fails_is_never_answered_with_success(front: Door) -> None:
    """When the database refuses the commit, the answer is a problem, nothing is kept and no bell rings."""
    city = front.city()
    front.bells.clear()
    path = f"/v1/cities/{city['id']}/practices"
    lost_race = IntegrityError("COMMIT", None, Exception("unique"))
    away = OperationalError("COMMIT", None, type("OperationalError", (Exception,), {})("gone"))
    unknown = ValueError("secret inner detail")
    statuses = []
    for error in (lost_race, away, unknown):
        with _at_commit(front, _breaking(error)):
            answer = front.client.post(path, json=practice(), headers=front.staff)
        statuses.append(answer.status_code)
        assert "secret" not in answer.text

    assert statuses == [409, 503, 500]
    assert front.client.get("/v1/practices", headers=front.staff).json()["items"] == []
    assert front.bells == []


def test_the_answer_waits_for_the_commit(embedded: Door) -> None:
    """While the commit is under way the caller has no answer, and other requests are served all the same."""
    city = embedded.city()
    committing, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        committing.set()
        assert go_on.wait(10)

    def register() -> int:
        path = f"/v1/cities/{city['id']}/practices"
        return embedded.client.post(path, json=practice(), headers=embedded.staff).status_code

    with _at_commit(embedded, hold), ThreadPoolExecutor() as pool:
        pending = pool.submit(register)
        assert committing.wait(10)
        alive = embedded.client.get("/healthz").status_code
        seen = embedded.client.get("/v1/practices", headers=embedded.staff).json()["items"]
        early = pending.done()
        go_on.set()
        status = pending.result(10)

    assert (alive, seen, early, status) == (200, [], False, 201)


def test_a_refused_request_leaves_nothing_behind(front: Door) -> None:
    """What a request did before it was refused is undone with it."""
    city = front.city()
    front.practice(city["id"], external_ref="taken")
    events = front.events()
    answers = [
        front.client.post(f"/v1/cities/{city['id']}/practices", json=wanted, headers=front.staff)
        for wanted in (practice(external_ref="taken"), practice(state="withdrawn"), practice(state="expired"))
    ]

    assert [answer.status_code for answer in answers] == [409, 422, 422]
    assert front.events() == events


def test_many_writers_at_once_are_all_served(front: Door) -> None:
    """More writers than there are places, threads or connections wait for one another and none is lost."""
    city = front.city()
    path = f"/v1/cities/{city['id']}/practices"

    def register(number: int) -> int:
        wanted = practice(external_ref=f"practice-{number}")
        return front.client.post(path, json=wanted, headers=front.staff).status_code

    with ThreadPoolExecutor(60) as pool:
        statuses = list(pool.map(register, range(60)))

    assert set(statuses) == {201}
    assert len(front.client.get("/v1/practices?limit=200", headers=front.staff).json()["items"]) == 60
    assert front.events().count("practice.registered") == 60


def test_of_two_changes_from_one_version_one_wins(front: Door) -> None:
    """Two that change the same version at the same moment: one is told that it came too late."""
    city = front.city()
    path = f"/v1/cities/{city['id']}"
    headers = {**front.staff, "If-Match": '"1"'}

    def change(summary: str) -> int:
        return front.client.patch(path, json={"summary": summary}, headers=headers).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(change, "abcdefgh"))

    assert statuses == [200] + [412] * 7
    assert front.client.get(path, headers=front.staff).headers["etag"] == '"2"'


def test_one_reference_is_registered_once_however_many_try(front: Door) -> None:
    """Of many that put the same reference at once one creates and the rest find it unchanged."""
    city = front.city()
    path = f"/v1/cities/{city['id']}/practices/nightly"

    def put(_: int) -> int:
        return front.client.put(path, json=practice(), headers=front.staff).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(put, range(8)))

    assert statuses == [200] * 7 + [201]
    assert front.events().count("practice.registered") == 1
    assert "practice.updated" not in front.events()


def test_a_city_reference_raced_for_is_a_conflict(front: Door) -> None:
    """Of many that register one reference at once one wins, and the rest are told of a conflict."""

    def register(_: int) -> int:
        wanted: dict[str, Any] = {"name": "Limerick", "country": "IE", "external_ref": "limerick"}
        return front.client.post("/v1/cities", json=wanted, headers=front.staff).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(register, range(8)))

    assert statuses == [201] + [409] * 7


def test_bells_ring_after_the_commit(embedded: Door) -> None:
    """A bell rings when its work can be seen, and not before."""
    city = embedded.city()
    embedded.bells.clear()
    rung: list[list[Bell]] = []
    with _at_commit(embedded, lambda: rung.append(list(embedded.bells))):
        embedded.practice(city["id"])

    assert rung == [[]]
    assert embedded.bells == [Bell.MATCH]
