# SPDX-License-Identifier: Apache-2.0
"""The rules of sending a whole list every night by one's own references."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.factories import Door, need, practice
from twinning import catalogue
from twinning.database import Database
from twinning.outbox import StoredEvent
from twinning.work import WorkUnit

LISTINGS = 300


def _facts(database: Database) -> tuple[int, int, int, list[tuple[str, int]]]:
    """Count what a change would add to: events, changes of the catalogue, the log, and the units of work."""
    with database.snapshot() as session:
        events = session.scalar(select(func.count()).select_from(StoredEvent))
        changes = session.scalar(select(func.count()).select_from(catalogue.Change))
        units = session.execute(select(WorkUnit.subject, WorkUnit.fence).order_by(WorkUnit.subject)).all()
        return events or 0, changes or 0, catalogue.latest_version(session), [tuple(unit) for unit in units]


def _list() -> Iterator[tuple[str, dict[str, Any]]]:
    for number in range(LISTINGS):
        # Told apart by more than a number, or each would be warned of.
        words = " ".join(f"word{number}{letter}" for letter in "abcdefghij")
        texts = {"title": f"Listing {number}", "description": words}
        if number % 3:
            yield f"needs/own-{number}", need(**texts, expires_on=None)
        else:
            yield f"practices/own-{number}", practice(**texts)


def _send(door: Door, city_id: str, listings: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    return [
        door.client.put(f"/v1/cities/{city_id}/{path}", json=wanted, headers=door.staff)
        for path, wanted in listings
    ]


@pytest.mark.slow
def test_what_did_not_change_does_nothing(front: Door) -> None:
    """Hundreds sent again as they were make no event, no change, no unit of work and no bell."""
    city = front.city()["id"]
    listings = list(_list())
    first = _send(front, city, listings)
    before = _facts(front.database)
    front.bells.clear()
    again = _send(front, city, listings)
    after = _facts(front.database)
    one = [(path, {**wanted, "title": "Another"}) for path, wanted in listings[:1]]
    _send(front, city, one)

    assert {answer.status_code for answer in first} == {201}
    assert {(answer.status_code, answer.headers["etag"]) for answer in again} == {(200, '"1"')}
    assert [answer.json() for answer in again] == [answer.json() for answer in first]
    assert after == before
    assert _facts(front.database)[:2] == (before[0] + 1, before[1] + 1)
    assert front.bells
    assert all("warnings" not in answer.json() for answer in first)


def test_writers_of_one_reference_end_in_one_row(front: Door) -> None:
    """Many that put different words under one reference at once make one row, with each change told once."""
    city = front.city()["id"]
    path = f"/v1/cities/{city}/practices/nightly"
    titles = [f"Title {number}" for number in range(12)]

    def put(title: str) -> Any:
        return front.client.put(path, json=practice(title=title), headers=front.staff)

    with ThreadPoolExecutor(len(titles)) as pool:
        answers = list(pool.map(put, titles))
    rows = front.client.get("/v1/practices", headers=front.staff).json()["items"]
    versions = sorted(int(answer.headers["etag"].strip('"')) for answer in answers)

    assert sorted(answer.status_code for answer in answers) == [200] * 11 + [201]
    assert len(rows) == 1
    # No two wrote the same version, so nothing was lost: the last one is what stands.
    assert versions == list(range(1, 13))
    last = next(answer for answer in answers if answer.headers["etag"] == '"12"')
    assert rows[0]["title"] == last.json()["title"]
    assert front.events()[1:] == ["practice.registered"] + ["practice.updated"] * 11


def test_of_writers_from_one_version_one_replaces(front: Door) -> None:
    """Of many that replace the same version at once one does; the others are told that they came too late."""
    city = front.city()["id"]
    path = f"/v1/cities/{city}/needs/nightly"
    front.client.put(path, json=need(), headers=front.staff)
    headers = {**front.staff, "If-Match": '"1"'}

    def put(number: int) -> int:
        return front.client.put(path, json=need(title=f"Title {number}"), headers=headers).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(put, range(8)))

    assert statuses == [200] + [412] * 7
    assert front.events()[1:] == ["need.registered", "need.updated"]


def test_put_withdraw_and_change_at_once(front: Door) -> None:
    """Whoever puts, changes and withdraws one listing at once is answered, and one row at most stands."""
    city = front.city()["id"]
    path = f"/v1/cities/{city}/practices/nightly"
    made = front.client.put(path, json=practice(), headers=front.staff).json()
    own = f"/v1/practices/{made['id']}"

    def act(number: int) -> int:
        if number % 3 == 0:
            return front.client.put(path, json=practice(title=f"T {number}"), headers=front.staff).status_code
        if number % 3 == 1:
            return front.client.patch(own, json={"title": f"P {number}"}, headers=front.staff).status_code
        return front.client.delete(own, headers=front.staff).status_code

    with ThreadPoolExecutor(12) as pool:
        statuses = set(pool.map(act, range(12)))
    rows = front.client.get("/v1/practices", headers=front.staff).json()["items"]
    told = front.events()[1:]

    assert statuses <= {200, 201, 204, 404}
    assert len(rows) <= 1
    assert told.count("practice.registered") - told.count("practice.withdrawn") == len(rows)
