# SPDX-License-Identifier: Apache-2.0
"""The rule of cursors: however rows are added between two pages, none comes twice and none is missed."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.authorisation import HOOK
from tests.factories import Door
from twinning.terms import Role

# What happens between two pages: the page is read, or so many rows are added before it is.
STEPS = st.lists(st.integers(0, 3), min_size=1, max_size=6)


class Lists:
    """The lists, each with how a row is added to it; a row's name is its id."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.learner = door.city("Learner", "KR")
        self.city = door.city()
        self.count = 0

    def add(self, name: str, score: float) -> None:
        """Add a row to a list; where a list is by score, with this one."""
        self.count += 1
        adders: dict[str, Callable[[], object]] = {
            "cities": lambda: self.door.city(f"City {self.count}"),
            "practices": lambda: self.door.practice(self.city["id"]),
            "needs": lambda: self.door.need(self.city["id"]),
            "api-keys": lambda: self.door.key(Role.STAFF),
            "audit": lambda: self.door.city(f"City {self.count}"),
            "matching-rounds": lambda: self._post("matching-rounds", {"kind": "twinning"}),
            "webhook-endpoints": self._hook,
            "suggestions": lambda: self.door.suggest(
                self.door.city(f"City {self.count}"), self.learner, score
            ),
        }
        adders[name]()

    def page(self, name: str, limit: int, cursor: str | None = None) -> tuple[list[str], str | None]:
        """Read a page; gives the ids on it and where the next begins."""
        query = {"limit": limit, **({} if cursor is None else {"cursor": cursor})}
        answer = self.door.client.get(f"/v1/{name}", params=query, headers=self.door.staff).json()
        return [item["id"] for item in answer["items"]], answer["next_cursor"]

    def every(self, name: str) -> list[str]:
        """Read a list to its end at once."""
        found, cursor = self.page(name, 200)
        while cursor:
            more, cursor = self.page(name, 200, cursor)
            found += more
        return found

    def _hook(self) -> None:
        owner = self.door.key(Role.STAFF)
        wanted = {**HOOK, "url": f"{HOOK['url']}/{self.count}"}
        assert self.door.client.post("/v1/webhook-endpoints", json=wanted, headers=owner).status_code == 201

    def _post(self, name: str, wanted: dict[str, Any]) -> None:
        self.door.client.post(f"/v1/{name}", json=wanted, headers=self.door.staff)


@pytest.fixture(scope="module")
def lists(shared: Door) -> Lists:
    """All lists of one front door."""
    return Lists(shared)


@pytest.mark.parametrize(
    "name",
    [
        "cities",
        "practices",
        "needs",
        "api-keys",
        "audit",
        "matching-rounds",
        "webhook-endpoints",
        "suggestions",
    ],
)
@settings(max_examples=max(8, (settings.default.max_examples if settings.default else 0) // 12))
@given(
    steps=STEPS,
    limit=st.integers(1, 4),
    scores=st.lists(st.sampled_from([5.5, 50.25, 50.25, 99.0]), min_size=20),
)
def test_every_row_comes_once(
    lists: Lists, name: str, steps: list[int], limit: int, scores: list[float]
) -> None:
    """What was there at the beginning is read once each, in its order, whatever is added on the way."""
    given_scores = iter(scores * 5)
    lists.add(name, next(given_scores))
    there = lists.every(name)
    # From somewhere near the end on, so that long lists do not make long tests.
    start = max(0, len(there) - 8)
    seen, cursor = [], None
    if start:
        _, cursor = lists.page(name, start) if start <= 200 else (None, None)
    expected = there[start:] if cursor else there
    while True:
        for _ in range(steps.pop() if steps else 0):
            lists.add(name, next(given_scores))
        rows, cursor = lists.page(name, limit if len(seen) < 12 else 200, cursor)
        seen += rows
        if cursor is None:
            break

    assert len(set(seen)) == len(seen)
    assert [row for row in seen if row in set(there)] == expected
