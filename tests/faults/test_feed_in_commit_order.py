# SPDX-License-Identifier: Apache-2.0
"""Transactions that cross on PostgreSQL, and who follows the feed meanwhile, by polling and by stream."""

import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.checking import Tell, check, read_feed
from tests.faults.house import House, house
from tests.faults.parts import PATIENCE_S, eventually
from tests.faults.settling import wait_until_delivered
from tests.faults.writing import Writing, settle_in
from twinning import endpoints, outbox
from twinning.events import EndpointNote, WebhookEndpointFailing

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(120)]

HELD_S = 1.0
CROSSINGS = 3
BESIDE = 11


class Follower:
    """Somebody who follows the events in a thread and keeps the ids in the order of their coming."""

    def __init__(self, house: House, *, stream: bool) -> None:
        self.ids: list[str] = []
        self.over = threading.Event()
        self._house = house
        self._thread = threading.Thread(target=self._live, args=(stream,), daemon=True)
        self._thread.start()

    def has(self, ids: set[str]) -> bool:
        """Say whether all of these have come."""
        return ids <= set(self.ids)

    def _live(self, stream: bool) -> None:
        try:
            (self._follow if stream else self._poll)()
        except httpx.TransportError:
            # The house may end under whoever follows it to the last.
            if not self.over.is_set():
                raise

    def _poll(self) -> None:
        with self._client() as client:
            while not self.over.is_set():
                query: dict[str, Any] = {"limit": 3, "wait": 1}
                if self.ids:
                    query["after"] = self.ids[-1]
                page = client.get("/v1/events", params=query).raise_for_status().json()["items"]
                self.ids += [event["id"] for event in page]

    def _follow(self) -> None:
        with self._client() as client, client.stream("GET", "/v1/events/stream") as answer:
            for line in answer.iter_lines():
                if self.over.is_set():
                    return
                if line.startswith("data:"):
                    self.ids.append(json.loads(line.removeprefix("data:"))["id"])

    def _client(self) -> httpx.Client:
        house = self._house
        return httpx.Client(
            base_url=house.url, headers=house.client.headers, timeout=PATIENCE_S, trust_env=False
        )


@pytest.mark.parametrize("ends", ["commits", "gives up"])
def test_no_event_is_skipped_however_commits_cross(
    postgres_url: str, short_folder: Path, seed: int, ends: str, tell: Tell
) -> None:
    """A number taken early and committed late, or never, hides no event from whoever follows the feed."""
    rng = random.Random(seed)
    with house(short_folder, postgres_url) as one:
        one.start(one.broker, one.api, one.dispatcher)
        one.subscribe()
        cities = settle_in(one)
        followers = [Follower(one, stream=stream) for stream in (False, True)]
        posted = []
        for _ in range(CROSSINGS):
            writing = Writing(one, cities, rng)
            with ThreadPoolExecutor(1) as pool:
                beside = _cross(one, writing, pool, commits=ends == "commits")
            posted += beside
        wait_until_delivered(one)
        feed = [event["id"] for event in read_feed(one)]
        eventually(lambda: all(each.has(set(feed)) for each in followers), "both have seen all")
        for each in followers:
            each.over.set()
            assert each.ids == feed
        verdict = check(one, posted)
        tell(verdict, f"{CROSSINGS} late numbers, each of which {ends}")
        assert verdict.flaws == {}


def _cross(house: House, writing: Writing, pool: ThreadPoolExecutor, *, commits: bool) -> Any:
    """Take a number, let others write meanwhile, and commit a second later, or undo it."""
    endpoint = house.subscribed["/hooks"]
    with house.database.writing() as session:
        row = endpoints.get(session, endpoint.id)
        note = EndpointNote(endpoint_id=endpoint.id, url=house.receiver.url("/hooks"), message="late")
        outbox.record(session, WebhookEndpointFailing(data=note, owner=row.owner_id))
        # All that a commit does, but for the commit: from here on the number is taken.
        house.database.prepare(session)
        beside = pool.submit(writing.write, BESIDE)
        time.sleep(HELD_S)
        if commits:
            house.database.commit(session)
        else:
            session.rollback()
    return beside.result()
