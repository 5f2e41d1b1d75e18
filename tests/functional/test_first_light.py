# SPDX-License-Identifier: Apache-2.0
"""The whole way through real processes on both databases: from a practice to a verified webhook."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.cli.throwaway import LOCAL_RECEIVERS, RunningSystem, throwaway_system
from tests.factories import need, practice
from tests.hooks import eventually
from tests.receiver import Receiver
from tests.servers import Server, postgres_database
from twinning import match_examples

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PATIENCE_S = 30.0


@dataclass
class Town:
    """A running system, a receiver of webhooks, and who knocks at the door."""

    system: RunningSystem
    receiver: Receiver
    paths: int = 0

    def ask(
        self, method: str, path: str, body: Any = None, *, key: str | None = None, status: int = 200
    ) -> Any:
        """Ask for something and insist on the status of the answer."""
        answer = httpx.request(
            method,
            f"{self.system.url}/v1{path}",
            json=body,
            headers={"Authorization": f"Bearer {key or self.system.key}"},
            timeout=PATIENCE_S,
            trust_env=False,
        )
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def post(self, path: str, body: Any, *, key: str | None = None, status: int = 201) -> Any:
        """Make something."""
        return self.ask("POST", path, body, key=key, status=status)

    def listen(self, key: str | None = None, **wanted: Any) -> "Ear":
        """Subscribe to events on a path of one's own."""
        self.paths += 1
        path = f"/hooks/{self.paths}"
        made = self.post("/webhook-endpoints", {"url": self.receiver.url(path), **wanted}, key=key)
        self.receiver.secrets.append(made["secret"])
        return Ear(self.receiver, path, made["id"], made["secret"])

    def pair(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Register a visitor with a need, and who could host it; gives visitor, need and host."""
        visitor = self.post("/cities", {"name": "Limerick", "country": "IE"})
        host = self.post("/cities", {"name": "Suwon", "country": "KR"})
        return visitor, self.post(f"/cities/{visitor['id']}/needs", need()), host

    def feed(self, key: str | None = None) -> list[dict[str, Any]]:
        """Read all events that a key may see."""
        events: list[dict[str, Any]] = []
        after = ""
        while page := self.ask("GET", f"/events?limit=200{after}", key=key)["items"]:
            events += page
            after = f"&after={page[-1]['id']}"
        return events

    def empty(self) -> None:
        """Withdraw every city, so that the next test finds nothing that matches."""
        for city in self.ask("GET", "/cities?limit=200")["items"]:
            self.ask("DELETE", f"/cities/{city['id']}", status=204)
        for endpoint in self.ask("GET", "/webhook-endpoints?limit=200")["items"]:
            self.ask("DELETE", f"/webhook-endpoints/{endpoint['id']}", status=204)


@dataclass(frozen=True)
class Ear:
    """An endpoint, and what came to it."""

    receiver: Receiver
    path: str
    endpoint_id: str
    secret: str

    def heard(self) -> list[dict[str, Any]]:
        """Give the events that came, in the order of coming; all verify with this secret alone."""
        came = self.receiver.got(self.path)
        assert {one.verified_by for one in came} <= {(self.secret,)}
        return [{"id": one.webhook_id, **json.loads(one.body)} for one in came]

    def event(self, kind: str, about: Callable[[Any], object] = bool) -> dict[str, Any]:
        """Wait for an event of a type whose data is what is meant."""

        def found() -> list[dict[str, Any]]:
            return [event for event in self.heard() if event["type"] == kind and about(event["data"])]

        # The receiver's condition is a re-entrant lock, so what came may be read while it waits.
        self.receiver.wait(lambda _: bool(found()), PATIENCE_S)
        return found()[0]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """A system as `twinning up` runs it, on each database in turn."""
    folder: Path = tmp_path_factory.mktemp("up")
    settings = {**LOCAL_RECEIVERS, "RATE_PER_MINUTE": "0"}
    with ExitStack() as stack:
        if request.param == "postgresql":
            server: Server = request.getfixturevalue("postgres")
            name = f"test_{uuid.uuid4().hex}"
            settings["DATABASE_URL"] = stack.enter_context(postgres_database(server, name))
        receiver = stack.enter_context(Receiver())
        yield Town(stack.enter_context(throwaway_system(folder, settings)), receiver)


@pytest.fixture
def town(running: Town) -> Town:
    """The running system with nothing in it that matches and nobody who listens."""
    running.empty()
    return running


def test_a_practice_travels_the_whole_way(town: Town) -> None:
    """Registered, matched, told by a verified webhook, in the feed under the same id, and in the log."""
    ear = town.listen(event_types=["*"])
    _, asked, host = town.pair()
    made = town.post(f"/cities/{host['id']}/practices", practice())

    told = ear.event("suggestion.created")
    suggestion = told["data"]
    [reason] = suggestion["reasons"]
    assert (reason["need_id"], reason["practice_id"]) == (asked["id"], made["id"])
    assert sum(term["contribution"] for term in reason["terms"]) + reason["other"] == pytest.approx(
        reason["score"], abs=0.2
    )
    assert {city["role"]: city["name"] for city in suggestion["cities"]} == {
        "host": "Suwon",
        "visitor": "Limerick",
    }
    assert town.ask("GET", f"/suggestions/{suggestion['id']}")["score"] == suggestion["score"]
    assert told in town.feed()

    def logged() -> list[dict[str, Any]]:
        path = f"/webhook-endpoints/{ear.endpoint_id}/deliveries?state=delivered"
        return [one for one in town.ask("GET", path)["items"] if one["event_id"] == told["id"]]

    eventually(lambda: bool(logged()), PATIENCE_S)
    [delivery] = logged()
    assert [attempt["status"] for attempt in delivery["attempts"]] == [200]
    assert town.ask("GET", f"/deliveries/{delivery['id']}") == delivery


def test_what_becomes_of_a_practice_becomes_of_its_suggestion(town: Town) -> None:
    """A change that matters is told as an update, and a ground that goes takes the suggestion with it."""
    _, _, host = town.pair()
    made = town.post(f"/cities/{host['id']}/practices", practice())
    ear = town.listen(event_types=["suggestion.*"])
    eventually(lambda: town.ask("GET", "/suggestions?status=proposed")["items"], PATIENCE_S)
    [suggestion] = town.ask("GET", "/suggestions?status=proposed")["items"]

    more = f"{made['description']} Adults who left school early come back to reading through volunteers."
    town.ask("PATCH", f"/practices/{made['id']}", {"description": more})
    updated = ear.event("suggestion.updated", lambda data: data["id"] == suggestion["id"])
    assert updated["data"]["score"] != suggestion["score"]

    town.ask("DELETE", f"/practices/{made['id']}", status=204)
    gone = ear.event("suggestion.withdrawn", lambda data: data["id"] == suggestion["id"])
    assert gone["data"]["status"] == "withdrawn"
    assert town.ask("GET", "/suggestions?status=proposed")["items"] == []


def test_a_city_that_leaves_takes_its_suggestions_with_it(town: Town) -> None:
    """A withdrawn city takes its listings and suggestions along, and each of them is told."""
    ear = town.listen(event_types=["*"])
    _, _, host = town.pair()
    made = town.post(f"/cities/{host['id']}/practices", practice())
    suggestion = ear.event("suggestion.created")["data"]
    town.ask("DELETE", f"/cities/{host['id']}", status=204)
    ear.event("practice.withdrawn", lambda data: data["id"] == made["id"])
    ear.event("city.withdrawn", lambda data: data["id"] == host["id"])
    ear.event("suggestion.withdrawn", lambda data: data["id"] == suggestion["id"])

    assert town.ask("GET", "/suggestions?status=proposed")["items"] == []
    town.ask("GET", f"/practices/{made['id']}", status=404)


def test_a_callback_hears_of_its_own_round_alone(town: Town) -> None:
    """A round's callback gets that round's events, signed with the secret that its answer showed once."""
    _, _, host = town.pair()
    town.post(f"/cities/{host['id']}/practices", practice())
    rounds = []
    for path in ("/callback/1", "/callback/2"):
        wanted = {"kind": "study_visit", "callback_url": town.receiver.url(path)}
        made = town.post("/matching-rounds", wanted, status=202)
        town.receiver.secrets.append(made["callback_secret"])
        rounds.append((path, made))
    assert rounds[0][1]["callback_secret"] != rounds[1][1]["callback_secret"]
    for path, made in rounds:
        ear = Ear(town.receiver, path, "", made["callback_secret"])
        told = ear.event("matching_round.completed")
        assert told["data"]["id"] == made["id"]
        assert {event["data"].get("round_id", event["data"]["id"]) for event in ear.heard()} == {made["id"]}
        assert "callback_secret" not in town.ask("GET", f"/matching-rounds/{made['id']}")
        found = town.ask("GET", f"/matching-rounds/{made['id']}/suggestions")["items"]
        assert [each["id"] for each in found] == [each["id"] for each in told["data"]["suggestions"]]
        assert len(found) == 1


def test_a_preview_answers_now_and_keeps_nothing(town: Town) -> None:
    """What would match a text is said at once, and no listing comes of it."""
    _, _, host = town.pair()
    made = town.post(f"/cities/{host['id']}/practices", practice())
    answer = town.post("/matches/preview", match_examples.PREVIEW_REQUEST, status=200)
    [best] = answer["items"]
    assert (best["listing"]["id"], best["city"]["city_id"]) == (made["id"], host["id"])
    assert best["quote"] in made["description"]
    assert answer["suggested_themes"][0]["theme"] == "cl7"
    assert len(town.ask("GET", f"/needs?city_id={host['id']}")["items"]) == 0


def test_a_disabled_endpoint_gets_later_what_it_missed(town: Town) -> None:
    """Nothing is sent while an endpoint is off; switched on, it gets each event that was held, once."""
    ear = town.listen(event_types=["city.registered"])
    path = f"/webhook-endpoints/{ear.endpoint_id}"
    town.post("/cities", {"name": "Cork", "country": "IE"})
    ear.event("city.registered")
    town.ask("PATCH", path, {"enabled": False})
    other = town.listen(event_types=["city.registered"])
    names = ["Espoo", "Balanga", "Suwon", "Larissa"]
    for name, country in zip(names, ["FI", "PH", "KR", "GR"], strict=True):
        town.post("/cities", {"name": name, "country": country})
    # Another endpoint has got the last of them by now, so this one would have, too.
    other.event("city.registered", lambda data: data["name"] == names[-1])
    assert len(ear.heard()) == 1
    held = town.ask("GET", f"{path}/deliveries?state=held")["items"]
    assert len(held) == len(names)

    town.ask("PATCH", path, {"enabled": True})
    for name in names:
        ear.event("city.registered", lambda data, name=name: data["name"] == name)
    late = [event["id"] for event in town.feed()][-len(names) :]
    assert sorted(event["id"] for event in ear.heard()[1:]) == late


def test_a_coordinator_hears_of_its_own_countries_alone(town: Town) -> None:
    """A coordinator's webhooks and feed give events that name its countries; what matches them is seen."""
    irish, finnish = (
        town.post("/api-keys", {"role": "coordinator", "name": country, "countries": [country]})["key"]
        for country in ("IE", "FI")
    )
    mine = town.listen(irish, event_types=["suggestion.*", "need.registered", "practice.registered"])
    theirs = town.listen(finnish, event_types=["suggestion.*", "need.registered", "practice.registered"])
    visitor, asked, host = town.pair()
    before = len(town.feed(finnish))
    town.post(f"/cities/{host['id']}/practices", practice())
    suggestion = mine.event("suggestion.created")["data"]
    espoo = town.post("/cities", {"name": "Espoo", "country": "FI"})
    last = town.post(f"/cities/{espoo['id']}/practices", practice(title="Something else", description="Ice."))
    theirs.event("practice.registered", lambda data: data["id"] == last["id"])

    assert {event["type"] for event in theirs.heard()} == {"practice.registered"}
    kinds = [event["type"] for event in mine.heard()]
    assert kinds == ["need.registered", "suggestion.created"]
    assert {event["id"] for event in mine.heard()} < {event["id"] for event in town.feed(irish)}
    assert [event["type"] for event in town.feed(finnish)[before:]] == [
        "city.registered",
        "practice.registered",
    ]
    town.ask("GET", f"/suggestions/{suggestion['id']}", key=irish)
    town.ask("GET", f"/suggestions/{suggestion['id']}", key=finnish, status=404)
    town.ask("PATCH", f"/needs/{asked['id']}", {"strength": 5}, key=irish)
    town.ask("PATCH", f"/needs/{asked['id']}", {"strength": 5}, key=finnish, status=403)
    assert town.ask("GET", f"/cities/{visitor['id']}", key=finnish)["name"] == "Limerick"
