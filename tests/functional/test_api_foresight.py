# SPDX-License-Identifier: Apache-2.0
"""The rules of what writes in company ask first: it is asked once for all, each hears of its own alone."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_hex
from threading import Timer
from typing import Any

import httpx

from services.api import idempotency
from tests.company import WRITERS, listening, together
from tests.factories import Door, door, practice
from tests.hooks import eventually
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


def _alike(count: int) -> list[dict[str, Any]]:
    """Lay out practices of which no two say the same and all say nearly the same."""
    walk = "A long walk along the river for all who want to see how pupils of three schools keep it clean"
    return [
        practice(title="A clean river", description=f"{walk}, in year {number}") for number in range(count)
    ]


def test_what_others_say_is_the_same_asked_together_or_alone(front: Door) -> None:
    """Who registers in company is warned of the same listings as who comes alone afterwards, five at most."""
    city = front.city()["id"]
    old = [front.practice(city, **fields)["id"] for fields in _alike(8)]
    front.client.patch(f"/v1/practices/{old[1]}", json={"state": "withdrawn"}, headers=front.staff)
    path = f"/v1/cities/{city}/practices"

    answers = together(front, lambda number: _registered(front, path, {} if number else _alike(9)[8]))
    alone = _registered(front, path, _alike(10)[9])

    assert _warned(answers[0]) == _warned(alone) == [id_ for id_ in old if id_ != old[1]][:5]
    assert {tuple(_warned(answer)) for answer in answers[1:]} == {()}


def test_a_put_is_not_warned_of_itself(front: Door) -> None:
    """What is rewritten beside a new one that says the same is warned of the new one, if at all."""
    city = front.city()["id"]
    path = f"/v1/cities/{city}/practices"
    fields = _alike(1)[0]
    mine = {**fields, "external_ref": "a"}
    own = front.practice(city, **mine)

    def ask(number: int) -> httpx.Response:
        if number == 0:
            shouted = {**mine, "title": fields["title"].upper()}
            return front.client.put(f"{path}/a", json=shouted, headers=front.staff)
        return _registered(front, path, fields if number == 1 else {})

    assert own["id"] not in _warned(together(front, ask)[0])


def test_what_is_rewritten_in_company_is_told_by_its_new_words(front: Door) -> None:
    """Who brings the old words of what another has rewritten in the same transaction is not warned."""
    city = front.city()["id"]
    path = f"/v1/cities/{city}/practices"
    fields = _alike(1)[0]
    own = front.practice(city, **fields)["id"]
    waiting = front.client.app.state.house.scribe._waiting  # type: ignore[attr-defined]

    def ask(number: int) -> httpx.Response:
        if number == 0:
            nothing = dict.fromkeys(("challenge", "outcomes", "lessons", "transfer_conditions"))
            other = {"title": "Bees on roofs", "description": "Honey and hives upon town halls", **nothing}
            return front.client.patch(f"/v1/practices/{own}", json=other, headers=front.staff)
        if number == 1:
            # Last of all, so that the other has been rewritten by then.
            eventually(lambda: len(waiting) >= WRITERS - 1)
            return _registered(front, path, fields)
        return front.client.patch(f"/v1/cities/{city}", json={"summary": f"{number}"}, headers=front.staff)

    assert _warned(together(front, ask)[1]) == []


def test_what_would_be_waited_for_is_not_foreseen(postgres_url: str) -> None:
    """While somebody holds a whole table, as a migration does, writes in company wait for it, each alone."""
    with door(postgres_url) as front:
        city = front.city()["id"]
        path = f"/v1/cities/{city}/practices"
        with front.database.engine.connect() as other:
            other.exec_driver_sql("LOCK TABLE listing_mark IN ACCESS EXCLUSIVE MODE")
            Timer(1, other.rollback).start()
            answers = together(front, lambda _: _registered(front, path, {}))

    assert {answer.status_code for answer in answers} == {201}


def _registered(front: Door, path: str, fields: dict[str, Any]) -> httpx.Response:
    """Register a practice; one without fields says what no other says."""
    words = fields or {"title": token_hex(), "description": " ".join(token_hex() for _ in range(90))}
    return front.client.post(path, json=practice(**words), headers=front.staff)


def _warned(answer: httpx.Response) -> list[str]:
    return [each["listing"]["id"] for each in answer.json().get("warnings", [])]
