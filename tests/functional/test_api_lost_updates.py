# SPDX-License-Identifier: Apache-2.0
"""No update is lost at READ COMMITTED, within one front door and between two of them on one database."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import pytest

from tests.factories import Door, door, need
from twinning.database import Database

TIMES = 16
LANGUAGES = ("en", "de", "fr", "es", "pt", "it", "nl", "fi")


@pytest.fixture
def doors(database_url: str) -> Iterator[tuple[Door, Door]]:
    """Two front doors on one fresh database, as two processes would be."""
    with door(database_url) as first, door(database_url) as second:
        yield first, second


def test_changes_of_different_fields_all_stay(doors: tuple[Door, Door]) -> None:
    """Of two that change different fields of one need without If-Match, neither undoes the other."""
    front = doors[0]
    made = front.need(front.city()["id"])
    fields = [{"title": "Another title"}, {"strength": 5}, {"party_size": 7}, {"months": [3]}]
    asked = [*zip(cycle(doors), fields * 4, strict=False)]

    def change(one: tuple[Door, dict[str, object]]) -> int:
        opened, wanted = one
        return opened.client.patch(f"/v1/needs/{made['id']}", json=wanted, headers=front.staff).status_code

    with ThreadPoolExecutor(len(asked)) as pool:
        statuses = set(pool.map(change, asked))
    answer = front.client.get(f"/v1/needs/{made['id']}", headers=front.staff)

    assert statuses == {200}
    assert {**answer.json(), **fields[0], **fields[1], **fields[2], **fields[3]} == answer.json()
    # The four that changed anything made a version and an event each; the rest found it as they wanted it.
    assert answer.headers["etag"] == '"5"'
    assert front.events().count("need.updated") == 4


def test_who_reads_and_writes_under_if_match_loses_nothing(doors: tuple[Door, Door]) -> None:
    """Many that read a list, add to it and write it back under If-Match end with all that they added."""
    front = doors[0]
    path = f"/v1/needs/{front.need(front.city()['id'], languages=[])['id']}"

    def add(one: tuple[Door, str]) -> int:
        opened, language = one
        tries = 0
        while True:
            tries += 1
            seen = opened.client.get(path, headers=front.staff)
            wanted = {"languages": [*seen.json()["languages"], language]}
            headers = {**front.staff, "If-Match": seen.headers["etag"]}
            answer = opened.client.patch(path, json=wanted, headers=headers)
            if answer.status_code == 200:
                return tries
            assert answer.status_code == 412, answer.text

    with ThreadPoolExecutor(len(LANGUAGES)) as pool:
        tries = list(pool.map(add, zip(cycle(doors), LANGUAGES, strict=False)))

    shown = front.client.get(path, headers=front.staff)
    assert sorted(shown.json()["languages"]) == sorted(LANGUAGES)
    assert shown.headers["etag"] == f'"{1 + len(LANGUAGES)}"'
    assert sum(tries) >= len(LANGUAGES)


def test_one_reference_put_through_two_doors_is_one_row(doors: tuple[Door, Door]) -> None:
    """Whoever puts one reference at once through whichever door, there is one row and each version."""
    front = doors[0]
    path = f"/v1/cities/{front.city()['id']}/needs/nightly"

    def put(one: tuple[Door, int]) -> int:
        opened, number = one
        return opened.client.put(path, json=need(title=f"Title {number}"), headers=front.staff).status_code

    with ThreadPoolExecutor(TIMES) as pool:
        statuses = sorted(pool.map(put, zip(cycle(doors), range(TIMES), strict=False)))
    found = front.client.get("/v1/needs?external_ref=nightly", headers=front.staff).json()["items"]

    assert statuses == [200] * (TIMES - 1) + [201]
    assert len(found) == 1
    answer = front.client.get(f"/v1/needs/{found[0]['id']}", headers=front.staff)
    assert answer.headers["etag"] == f'"{TIMES}"'


def test_numbers_of_the_log_are_in_the_order_of_commits(doors: tuple[Door, Door]) -> None:
    """Through two doors at once each change has a number of its own, and a reader of the feed misses none."""
    front = doors[0]
    city = front.city()["id"]
    seen: list[str] = []

    def register(opened: Door) -> int:
        return opened.client.post(f"/v1/cities/{city}/needs", json=need(), headers=front.staff).status_code

    with ThreadPoolExecutor(TIMES) as pool:
        asked = [
            pool.submit(register, opened) for opened, _ in zip(cycle(doors), range(2 * TIMES), strict=False)
        ]
        after = ""
        while True:
            over = all(one.done() for one in asked)
            page = front.client.get(f"/v1/events?limit=200{after}", headers=front.staff).json()["items"]
            seen += [event["id"] for event in page]
            after = f"&after={seen[-1]}" if seen else ""
            if over and not page:
                break
    whole = front.client.get("/v1/events?limit=200", headers=front.staff).json()["items"]

    assert {one.result() for one in asked} == {201}
    assert seen == [event["id"] for event in whole]
    assert _last_number(front.database) == _rows(front.database, "event") + _rows(
        front.database, "catalogue_change"
    )


def _last_number(database: Database) -> int:
    with database.engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT value FROM log WHERE name = 'commits'").scalar_one())


def _rows(database: Database, table: str) -> int:
    with database.engine.connect() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())
