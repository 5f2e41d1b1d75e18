# SPDX-License-Identifier: Apache-2.0
"""The rules of what writes in company ask first: it is asked once for all, each hears of its own alone."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from services.api import idempotency
from tests.company import WRITERS, listening, together
from tests.factories import Door, door, practice
from twinning import dialects

OF_EACH = {"SELECT api_key": "key", "FROM kept_answer": "answer", "FROM city \n": "city", "advisory": "lock"}


@contextmanager
def _asked(front: Door) -> Iterator[Counter[str]]:
    """Count what is asked of whom writes, of what could be foreseen."""
    count: Counter[str] = Counter()

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        count.update(name for words, name in OF_EACH.items() if words in statement)

    with listening(front, "before_cursor_execute", note):
        yield count


def test_what_each_will_ask_is_asked_once_for_all(front: Door) -> None:
    """Writes in company ask together who they are, for their answers and their cities, and lock them so."""
    paths = [f"/v1/cities/{front.city(name)['id']}/practices" for name in ("Suwon", "Cork", "Porto")]
    with _asked(front) as count:
        answers = together(front, lambda number: _post(front, paths[number % len(paths)], f"key-{number}"))

    assert {answer.status_code for answer in answers} == {201}
    # Whoever came first was alone, and asked by itself.
    assert 1 <= count["city"] <= 3
    assert 1 <= count["answer"] <= 3
    assert count["key"] <= 3
    assert count["lock"] <= (4 if front.database.is_sqlite else 8)


def test_a_key_that_somebody_works_under_is_refused_to_one_alone(postgres_url: str) -> None:
    """Where one's Idempotency-Key is in use elsewhere, it hears of it, and the others are answered."""
    with door(postgres_url) as grown:
        path = f"/v1/cities/{grown.city()['id']}/practices"
        caller = grown.client.get("/v1/api-keys", headers=grown.staff).json()["items"][0]["id"]
        with grown.database.transaction() as session:
            assert dialects.try_lock(session, idempotency.lock_of(caller, "key-5"))
            answers = together(grown, lambda number: _post(grown, path, f"key-{number}"))

    assert [answer.status_code for answer in answers] == [409 if n == 5 else 201 for n in range(WRITERS)]
    assert answers[5].json()["type"].endswith("/idempotency-key-in-use")


def test_a_city_that_is_not_there_is_missed_by_those_who_name_it(front: Door) -> None:
    """Of writes in company those below a city that nobody registered get 404, and no other does."""
    here, nowhere = front.city()["id"], "0192f0c0-0000-7000-8000-000000000000"

    def ask(number: int) -> httpx.Response:
        return _post(front, f"/v1/cities/{nowhere if number % 2 else here}/practices", f"key-{number}")

    assert [answer.status_code for answer in together(front, ask)] == [201, 404] * (WRITERS // 2)


def test_what_no_database_takes_spoils_nobody_elses_write(front: Door) -> None:
    """Of writes in company one below an id with NULs in it gets 404, and the others are written."""
    here = front.city()["id"]

    def ask(number: int) -> httpx.Response:
        return _post(front, f"/v1/cities/{here if number else '%00' * 36}/practices", f"key-{number}")

    assert [answer.status_code for answer in together(front, ask)] == [404, *[201] * (WRITERS - 1)]


def _post(front: Door, path: str, key: str) -> httpx.Response:
    return front.client.post(path, json=practice(), headers={**front.staff, "Idempotency-Key": key})
