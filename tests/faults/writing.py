# SPDX-License-Identifier: Apache-2.0
"""Cities' programs that register practices while things break: they repeat what was not acknowledged."""

import random
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

from services.cli.demo_data import load
from tests.faults.house import House
from tests.faults.parts import PATIENCE_S

CLIENTS = 4
CITIES = 8
# Statuses that ask to be tried again, as the problem that comes with them says.
AGAIN = frozenset({409, 503})
PAUSE_S = 0.05


@dataclass
class Posted:
    """One practice on its way in: what each try was answered with (0: nothing) and how long it took."""

    key: str
    practice_id: str = ""
    answers: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def settle_in(house: House) -> list[str]:
    """Register some of the demo's cities, each with its longest need; gives the ids of the cities."""
    demo = load()
    ids = []
    for city in demo.cities[:CITIES]:
        city_id = house.make("/cities", city.body)["id"]
        needs = [need.body for need in demo.needs if need.city_ref == city.ref]
        house.make(f"/cities/{city_id}/needs", max(needs, key=lambda need: len(need["description"])))
        ids.append(city_id)
    return ids


def practices(count: int, rng: random.Random) -> list[dict[str, Any]]:
    """Make up practices of the demo's sentences, each of them another mixture."""
    entries = load().practices
    sentences = [sentence for entry in entries for sentence in entry.fields["description"].split(". ")]
    return [
        {
            "title": f"{rng.choice(entries).fields['title']} ({number})",
            "description": ". ".join(rng.sample(sentences, 3)),
        }
        for number in range(count)
    ]


class Writing:
    """Several clients at work; `over` is set when the last of their practices is acknowledged."""

    def __init__(self, house: House, cities: Sequence[str], rng: random.Random) -> None:
        self.posted: list[Posted] = []
        self.over = threading.Event()
        self._house = house
        self._cities = cities
        self._rng = rng

    def write(self, count: int, per_second: float | None = None) -> list[Posted]:
        """Register practices, so many a second or as fast as it goes, and wait for the last answer."""
        bodies = practices(count, self._rng)
        todo = [(number, self._rng.choice(self._cities), body) for number, body in enumerate(bodies)]
        begun = time.monotonic()
        try:
            with ThreadPoolExecutor(CLIENTS) as pool:
                shares = [todo[first::CLIENTS] for first in range(CLIENTS)]
                parts = [pool.submit(self._share, share, begun, per_second) for share in shares]
                made = [one for part in parts for one in part.result()]
        finally:
            self.over.set()
        self.posted += made
        return made

    def _share(
        self, todo: Iterable[tuple[int, str, dict[str, Any]]], begun: float, per_second: float | None
    ) -> list[Posted]:
        """Register one client's share, in a connection of its own."""
        made = []
        house = self._house
        with httpx.Client(
            base_url=house.url, headers=house.client.headers, timeout=10, trust_env=False
        ) as client:
            for number, city, body in todo:
                if per_second:
                    time.sleep(max(0.0, begun + number / per_second - time.monotonic()))
                one = Posted(key=f"practice-{number}-{self._rng.random()}")
                made.append(one)
                insist(client, f"/v1/cities/{city}/practices", body, one)
        return made


def insist(client: httpx.Client, path: str, body: dict[str, Any], one: Posted) -> None:
    """Ask under one idempotency key until there is an answer that stands."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        begun = time.monotonic()
        try:
            answer = client.post(path, json=body, headers={"Idempotency-Key": one.key})
        except httpx.TransportError:
            one.answers.append(0)
        else:
            one.answers.append(answer.status_code)
            if answer.status_code == 201:
                one.practice_id = answer.json()["id"]
            elif answer.status_code not in AGAIN:
                raise AssertionError(f"{answer.status_code}: {answer.text}")
        one.seconds.append(time.monotonic() - begun)
        if one.practice_id:
            return
        assert time.monotonic() < deadline, f"never acknowledged: {one}"
        time.sleep(PAUSE_S)
