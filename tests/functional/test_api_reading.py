# SPDX-License-Identifier: Apache-2.0
"""Reads by id in company, through the front door: each caller is answered as if they had asked alone."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.company import listening
from tests.factories import Door
from twinning.database import new_id

READERS = 24
KINDS = (
    "cities",
    "practices",
    "needs",
    "suggestions",
    "matching-rounds",
    "events",
    "deliveries",
    "replays",
    "imports",
    "webhook-endpoints",
)


@contextmanager
def _looks(front: Door) -> Iterator[list[object]]:
    """Count the transactions that begin."""
    begun: list[object] = []
    with listening(front, "begin", begun.append):
        yield begun


def test_each_is_answered_as_if_alone(front: Door) -> None:
    """Whoever asks for whatever, in whose company ever: the answer is the one that they get alone."""
    cork, suwon = front.city("Cork", "IE"), front.city("Suwon", "KR")
    draft, shown = front.practice(cork["id"], state="draft"), front.practice(suwon["id"])
    suggestion = front.suggest(cork, suwon)
    made = [("cities", cork["id"]), ("practices", draft["id"]), ("practices", shown["id"])]
    objects = [*made, ("suggestions", suggestion), *((kind, new_id()) for kind in KINDS), ("cities", "%00")]
    callers = [front.staff, front.coordinator("IE"), front.coordinator("KR"), front.of_city(suwon["id"])]
    callers += [{"Authorization": "Bearer nobody's"}, {}]
    asked = [(f"/v1/{kind}/{id_}", caller) for kind, id_ in objects for caller in callers]

    def answer(number: int) -> tuple[int, object, str | None]:
        path, caller = asked[number]
        given = front.client.get(path, headers=caller)
        said = {name: value for name, value in given.json().items() if name not in {"request_id", "instance"}}
        return given.status_code, said, given.headers.get("etag")

    alone = [answer(number) for number in range(len(asked))]
    mixed = random.Random(7).sample(range(len(asked)), len(asked))
    with ThreadPoolExecutor(READERS) as pool:
        together = list(pool.map(answer, mixed))

    assert together == [alone[number] for number in mixed]
    assert {status for status, _, _ in alone} == {200, 401, 404}


def test_reads_by_id_share_looks(front: Door) -> None:
    """Many who read by id at once open fewer transactions than they are; a key is still asked for in each."""
    path = f"/v1/cities/{front.city()['id']}"

    def read(_: int) -> int:
        return front.client.get(path, headers=front.staff).status_code

    with _looks(front) as begun, ThreadPoolExecutor(READERS) as pool:
        statuses = list(pool.map(read, range(20 * READERS)))

    assert set(statuses) == {200}
    assert len(begun) < 0.75 * len(statuses)
