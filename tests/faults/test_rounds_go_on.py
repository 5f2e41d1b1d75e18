# SPDX-License-Identifier: Apache-2.0
"""A round comes to the same end whoever is killed in the middle of it, and to none when it is cancelled."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.house import House, eventually, house
from tests.faults.settling import wait_until_done
from tests.faults.writing import practices, settle_in

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(180)]

PRACTICES = 32
PAUSE_S = 0.5
KILLS = 3
WANTED = {"kind": "study_visit", "min_band": "weak", "per_city": 5}


@pytest.fixture
def built(short_folder: Path, database_url: str, seed: int) -> Iterator[House]:
    """A house with a catalogue that is matched, and two matchers that take long over a round's blocks."""
    with house(short_folder, database_url) as one:
        one.matcher.change("matches_city_by_city", pause_s=PAUSE_S)
        other = one.another(one.matcher)
        one.start(one.broker, one.api, one.matcher, other)
        cities = settle_in(one)
        for number, practice in enumerate(practices(PRACTICES, random.Random(seed))):
            one.make(f"/cities/{cities[number % len(cities)]}/practices", practice)
        wait_until_done(one)
        yield one


def _ask(built: House) -> str:
    asked = built.client.post("/v1/matching-rounds", json=WANTED)
    assert asked.status_code == 202, asked.text
    return str(asked.headers["location"].removeprefix("/v1"))


def _until_blocks_are_done(built: House, path: str, more_than: int) -> dict[str, int]:
    """Wait until some blocks are done; the next are under way then, unless it was the last."""
    eventually(lambda: built.get(path)["progress"]["done"] > more_than, "a block is done")
    progress: dict[str, int] = built.get(path)["progress"]
    return progress


def _until_ended(built: House, path: str) -> dict[str, Any]:
    eventually(lambda: built.get(path)["state"] not in {"queued", "running"}, "the round has ended", 60)
    shown: dict[str, Any] = built.get(path)
    return shown


def _exported(built: House, path: str) -> bytes:
    answer = built.client.get(f"/v1{path}/export", params={"format": "jsonl"})
    assert answer.status_code == 200, answer.text
    return answer.content


def test_a_round_whose_workers_are_killed_ends_as_if_nothing_had_been(built: House) -> None:
    """Killed in mid-round again and again, a round completes, with the bytes of an undisturbed one."""
    path, done = _ask(built), 0
    for kill in range(KILLS):
        progress = _until_blocks_are_done(built, path, done)
        worker = (built.matcher, built.others[0])[kill % 2]
        worker.kill()
        done = progress["done"]
        assert done < progress["total"]
        assert built.get(path)["state"] == "running"
        # Nobody waits for it: the other goes on meanwhile.
        worker.start()
    disturbed = _until_ended(built, path)
    undisturbed_path = _ask(built)
    undisturbed = _until_ended(built, undisturbed_path)

    assert disturbed["state"] == undisturbed["state"] == "completed"
    assert disturbed["progress"]["done"] == disturbed["progress"]["total"] >= KILLS
    assert disturbed["summary"] == undisturbed["summary"]
    assert _exported(built, path) == _exported(built, undisturbed_path) != b""


def test_a_round_cancelled_in_the_middle_stops_there(built: House) -> None:
    """Cancelled while its blocks are under way, a round proposes nothing and no block of it is done after."""
    path = _ask(built)
    _until_blocks_are_done(built, path, 0)
    cancelled = built.client.post(f"/v1{path}/cancel")
    wait_until_done(built)
    shown = built.get(path)

    assert cancelled.status_code == 200, cancelled.text
    assert shown["state"] == "cancelled"
    assert shown["progress"]["done"] == cancelled.json()["progress"]["done"] < shown["progress"]["total"]
    assert built.get(f"{path}/suggestions")["items"] == []
