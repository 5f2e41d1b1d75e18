# SPDX-License-Identifier: Apache-2.0
"""The rules of `Idempotency-Key`: done once, answered as often as asked."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import httpx
import pytest
from sqlalchemy import text

from tests.factories import Door
from twinning.database import now
from twinning.idempotency import KEPT, KeptAnswer

CITY = {"name": "Limerick", "country": "IE"}
FORCED = "?force=true"
RACERS = 50
# What one registration writes, each once.
WRITTEN = ("city", "event", "kept_answer", "catalogue_change", "audit")


def _post(front: Door, key: str, wanted: object = CITY, path: str = "/v1/cities") -> httpx.Response:
    headers = {**front.staff, "Idempotency-Key": key}
    answer: httpx.Response = front.client.post(path, json=wanted, headers=headers)
    return answer


def test_the_first_answer_is_given_again(front: Door) -> None:
    """The same key and body give the same status, body and headers, and nothing happens twice."""
    first, again = _post(front, "one"), _post(front, "one")

    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert {name: again.headers[name] for name in ("location", "etag", "content-type")} == {
        name: first.headers[name] for name in ("location", "etag", "content-type")
    }
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert front.events() == ["city.registered"]


def test_a_secret_is_shown_again_to_who_lost_the_answer(front: Door) -> None:
    """A new key's first answer, with the key in it, is what a replay gives."""
    wanted = {"role": "staff", "name": "Another"}
    first, again = (_post(front, "key", wanted, "/v1/api-keys") for _ in range(2))

    assert again.json()["key"] == first.json()["key"]


def test_a_key_belongs_to_one_request_and_one_caller(front: Door) -> None:
    """Another body or path under the key is refused; another caller's key of the same name is their own."""
    _post(front, "one")
    other_body = _post(front, "one", {**CITY, "name": "Cork"})
    other_path = _post(front, "one", {"role": "staff", "name": "x"}, "/v1/api-keys")
    headers = {**front.coordinator("IE"), "Idempotency-Key": "one"}
    other_caller = front.client.post("/v1/cities?force=true", json=CITY, headers=headers)

    assert [other_body.status_code, other_path.status_code] == [422, 422]
    assert other_body.json()["type"].endswith("/problems/idempotency-key-reused")
    assert other_caller.status_code == 201
    assert "idempotent-replayed" not in other_caller.headers


def test_a_query_is_part_of_the_request(front: Door) -> None:
    """A key used with `?force=true` is refused for the same body without it; the same is replayed."""
    forced, again, plain = (_post(front, "one", path=f"/v1/cities{query}") for query in (FORCED, FORCED, ""))

    assert [answer.status_code for answer in (forced, again, plain)] == [201, 201, 422]
    assert again.headers["idempotent-replayed"] == "true"
    assert plain.json()["type"].endswith("/problems/idempotency-key-reused")


def test_a_refused_request_leaves_its_key_free(front: Door) -> None:
    """What was refused did nothing, so the key may be used for the corrected request."""
    refused = _post(front, "one", {**CITY, "country": "US"})
    right = _post(front, "one")

    assert (refused.status_code, right.status_code) == (422, 201)


def test_raced_requests_do_their_work_once(front: Door) -> None:
    """Of fifty at once with one key one does the work; the rest get its answer or hear that it runs."""
    start = Barrier(RACERS)

    def race(_: int) -> httpx.Response:
        start.wait()
        return _post(front, "race")

    with ThreadPoolExecutor(RACERS) as pool:
        answers = list(pool.map(race, range(RACERS)))

    statuses = {answer.status_code for answer in answers}
    made = [answer for answer in answers if answer.status_code == 201]
    running = [answer for answer in answers if answer.status_code == 409]
    assert statuses <= {201, 409}
    assert len({answer.content for answer in made}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in made) == 1
    assert {answer.headers["retry-after"] for answer in running} <= {"1"}
    assert {answer.json()["type"].rpartition("/")[2] for answer in running} <= {"idempotency-key-in-use"}
    assert front.events() == ["city.registered"]
    with front.database.snapshot() as session:
        counts = [session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in WRITTEN]
    assert counts == [1] * len(WRITTEN)


def test_b11_what_ends_before_its_commit_leaves_the_key_free(front: Door) -> None:
    """The answer is kept in the transaction of what it tells: when one cannot be written neither is."""
    refuse = {
        "sqlite": (
            "CREATE TRIGGER refuse BEFORE INSERT ON kept_answer BEGIN SELECT RAISE(ABORT, 'no'); END",
            "DROP TRIGGER refuse",
        ),
        "postgresql": (
            "ALTER TABLE kept_answer ADD CONSTRAINT refuse CHECK (status = 0)",
            "ALTER TABLE kept_answer DROP CONSTRAINT refuse",
        ),
    }
    crash, mend = refuse[front.database.engine.dialect.name]
    with front.database.transaction() as session:
        session.execute(text(crash))
    crashed = _post(front, "one")
    with front.database.snapshot() as session:
        left = [session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in WRITTEN]
    with front.database.transaction() as session:
        session.execute(text(mend))
    again = _post(front, "one")

    assert crashed.status_code >= 400
    assert left == [0] * len(WRITTEN)
    assert again.status_code == 201
    assert "idempotent-replayed" not in again.headers
    assert front.events() == ["city.registered"]


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "ä", "a b", "a\tb"])
def test_what_is_no_key_is_malformed(shared: Door, key: str) -> None:
    """A key is 1 to 255 visible ASCII characters."""
    headers = [*shared.staff.items(), ("Idempotency-Key", key.encode("latin-1"))]
    answer = shared.client.post("/v1/cities", json=CITY, headers=headers)

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_answer_is_kept_for_a_day(front: Door) -> None:
    """After a day the key is forgotten, and the same request is a new one."""
    first = _post(front, "one")
    with front.database.transaction() as session:
        caller = session.connection().exec_driver_sql("SELECT caller FROM kept_answer").scalar_one()
        row = session.get(KeptAnswer, (caller, "one"))
        assert row is not None
        row.created_at = now() - KEPT - timedelta(seconds=1)
    second = _post(front, "one", path="/v1/cities?force=true")

    assert second.status_code == 201
    assert second.json()["id"] != first.json()["id"]
