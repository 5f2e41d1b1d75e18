# SPDX-License-Identifier: Apache-2.0
"""Who may do what: the matrix of every operation and every role, as data.

A line is a method, a path, and the status that each of `ROLES` is answered. What stands in braces is made for
the test by `Makers`: things of one Irish city and of its keys, unless their name says whose they are. A new
operation gets a line here; `tests/functional/test_api_authorisation.py` walks all of them and misses none.
The stream, which has no end, is asked for from an event that is not there; 422 is what the good keys hear.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any

from tests.factories import Door, need, practice
from twinning import rounds, suggestions
from twinning.database import now
from twinning.rounds import RoundRequest
from twinning.terms import SuggestionKind

# The coordinators of Ireland and of Korea; a city in Ireland, whose the things are, and Suwon.
ROLES = ("staff", "own_coordinator", "own_city", "other_coordinator", "other_city")

MATRIX = """
GET    /v1/reference/countries                                  200 200 200 200 200
GET    /v1/reference/themes                                     200 200 200 200 200
GET    /v1/reference/event-types                                200 200 200 200 200
GET    /v1/cities                                               200 200 200 200 200
POST   /v1/cities                                               201 201 403 403 403
GET    /v1/cities/{city_id}                                     200 200 200 200 200
PATCH  /v1/cities/{city_id}                                     200 200 200 403 403
DELETE /v1/cities/{city_id:spare_city}                          204 204 403 403 403
DELETE /v1/cities/{city_id:gone_city}                           404 404 404 404 404
GET    /v1/cities/{city_id:gone_city}                           404 404 404 404 404
GET    /v1/cities/{city_id}/export                              200 200 200 404 404
POST   /v1/cities/{city_id}/practices                           201 201 201 403 403
POST   /v1/cities/{city_id}/needs                               201 201 201 403 403
PUT    /v1/cities/{city_id}/practices/{external_ref}            201 201 201 403 403
PUT    /v1/cities/{city_id}/needs/{external_ref}                201 201 201 403 403
GET    /v1/practices                                            200 200 200 200 200
GET    /v1/practices/{listing_id:practice}                      200 200 200 200 200
PATCH  /v1/practices/{listing_id:practice}                      200 200 200 403 403
DELETE /v1/practices/{listing_id:practice}                      204 204 204 403 403
GET    /v1/practices/{listing_id:draft}                         200 200 200 404 404
PATCH  /v1/practices/{listing_id:draft}                         200 200 200 404 404
DELETE /v1/practices/{listing_id:draft}                         204 204 204 404 404
GET    /v1/practices/{listing_id:gone_practice}                 404 404 404 404 404
POST   /v1/practices/{listing_id:practice}/confirm              200 200 200 403 403
POST   /v1/practices/{listing_id:draft}/confirm                 409 409 409 404 404
POST   /v1/needs/{listing_id:need}/confirm                      200 200 200 403 403
GET    /v1/needs                                                200 200 200 200 200
GET    /v1/needs/{listing_id:need}                              200 200 200 200 200
PATCH  /v1/needs/{listing_id:need}                              200 200 200 403 403
DELETE /v1/needs/{listing_id:need}                              204 204 204 403 403
GET    /v1/needs/{listing_id:practice}                          404 404 404 404 404
POST   /v1/matches/preview                                      202 202 202 202 202
GET    /v1/matches/preview/{preview_id}                         202 404 202 404 404
GET    /v1/suggestions                                          200 200 200 200 200
GET    /v1/suggestions/{suggestion_id}                          200 200 200 404 404
GET    /v1/matching-rounds                                      200 200 200 200 200
POST   /v1/matching-rounds                                      202 202 202 202 202
GET    /v1/matching-rounds/{round_id}                           200 404 200 404 404
GET    /v1/matching-rounds/{round_id}/suggestions               200 404 200 404 404
POST   /v1/matching-rounds/{round_id}/cancel                    200 404 200 404 404
GET    /v1/matching-rounds/{round_id:naming_round}              200 200 200 404 404
GET    /v1/matching-rounds/{round_id:naming_round}/suggestions  200 200 200 404 404
POST   /v1/matching-rounds/{round_id:naming_round}/cancel       200 404 404 404 404
GET    /v1/matching-rounds/{round_id}/export                    200 404 200 404 404
GET    /v1/matching-rounds/{round_id:naming_round}/export       200 200 200 404 404
GET    /v1/imports                                              200 200 200 200 200
POST   /v1/imports                                              202 202 202 202 202
GET    /v1/imports/templates/{format:csv}                       200 200 200 200 200
GET    /v1/imports/{import_id}                                  200 404 200 404 404
GET    /v1/imports/{import_id}/refusals                         200 404 200 404 404
POST   /v1/imports/{import_id}/cancel                           200 404 200 404 404
GET    /v1/webhook-endpoints                                    200 200 200 200 200
POST   /v1/webhook-endpoints                                    201 201 201 201 201
GET    /v1/webhook-endpoints/{endpoint_id}                      200 404 200 404 404
PATCH  /v1/webhook-endpoints/{endpoint_id}                      200 404 200 404 404
DELETE /v1/webhook-endpoints/{endpoint_id}                      204 404 204 404 404
GET    /v1/webhook-endpoints/{endpoint_id:staffs_endpoint}      200 404 404 404 404
PATCH  /v1/webhook-endpoints/{endpoint_id:staffs_endpoint}      200 404 404 404 404
DELETE /v1/webhook-endpoints/{endpoint_id:staffs_endpoint}      204 404 404 404 404
POST   /v1/webhook-endpoints/{endpoint_id}/ping                 202 404 202 404 404
POST   /v1/webhook-endpoints/{endpoint_id}/rotate-secret        200 404 200 404 404
POST   /v1/webhook-endpoints/{endpoint_id}/replay               202 404 202 404 404
GET    /v1/webhook-endpoints/{endpoint_id}/deliveries           200 404 200 404 404
GET    /v1/replays/{replay_id}                                  200 404 200 404 404
POST   /v1/replays/{replay_id}/cancel                           200 404 200 404 404
GET    /v1/deliveries                                           200 200 200 200 200
GET    /v1/deliveries/{delivery_id}                             200 404 200 404 404
POST   /v1/deliveries/{delivery_id}/retry                       202 404 202 404 404
GET    /v1/events                                               200 200 200 200 200
GET    /v1/events/{event_id}                                    200 200 200 404 404
GET    /v1/events/{event_id:staffs_event}                       200 404 404 404 404
GET    /v1/events/stream                                        422 422 422 422 422
GET    /v1/api-keys                                             200 403 403 403 403
POST   /v1/api-keys                                             201 403 403 403 403
DELETE /v1/api-keys/{key_id}                                    204 403 403 403 403
GET    /v1/audit                                                200 403 403 403 403
"""

# Open to everybody, since monitors and readers of problems have no key.
KEYLESS = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/problems/{code}")}

# What is sent, by method and path as the OpenAPI document names it; none where nothing is wanted.
HOOK = {"url": "https://hooks.limerick.ie/x"}
# A city is registered once, so each is another.
TOWNS = count(1)
BODIES: dict[tuple[str, str], Callable[[], dict[str, Any]]] = {
    ("POST", "/v1/cities"): lambda: {"name": f"Town {next(TOWNS)}", "country": "IE"},
    ("PATCH", "/v1/cities/{city_id}"): lambda: {"summary": f"As of {now()}"},
    ("POST", "/v1/cities/{city_id}/practices"): practice,
    ("POST", "/v1/cities/{city_id}/needs"): need,
    ("PUT", "/v1/cities/{city_id}/practices/{external_ref}"): practice,
    ("PUT", "/v1/cities/{city_id}/needs/{external_ref}"): need,
    ("PATCH", "/v1/practices/{listing_id}"): lambda: {"title": "Another title"},
    ("PATCH", "/v1/needs/{listing_id}"): lambda: {"title": "Another title"},
    ("POST", "/v1/matches/preview"): lambda: {"text": "Reading", "as": "need", "country": "IE"},
    ("POST", "/v1/matching-rounds"): lambda: {"kind": "twinning"},
    ("POST", "/v1/webhook-endpoints"): lambda: HOOK,
    ("PATCH", "/v1/webhook-endpoints/{endpoint_id}"): lambda: {"description": "Another"},
    ("POST", "/v1/webhook-endpoints/{endpoint_id}/rotate-secret"): dict,
    ("POST", "/v1/webhook-endpoints/{endpoint_id}/replay"): lambda: {**last_hour(), "only": "all"},
    ("POST", "/v1/api-keys"): lambda: {"role": "staff", "name": "Another"},
}
# What is sent as a file.
FILES: dict[tuple[str, str], dict[str, tuple[str, bytes]]] = {
    ("POST", "/v1/imports"): {"file": ("rows.jsonl", b"{}")},
}
# Asking changes nothing that anybody else could see, so it leaves no entry in the audit log.
UNTOLD = {("POST", "/v1/matches/preview")}


def last_hour() -> dict[str, str]:
    """Give the beginning of a span that ends now."""
    return {"since": (now() - timedelta(hours=1)).isoformat()}


@dataclass
class Makers:
    """Makes what a path names: each time anew, so that what one request did is nothing to the next."""

    door: Door
    city: dict[str, Any] = field(init=False)
    other: dict[str, Any] = field(init=False)
    keys: dict[str, dict[str, str]] = field(init=False)
    hooks: int = 0

    def __post_init__(self) -> None:
        """Register the two cities and make a key of each role."""
        self.city, self.other = self.door.city(), self.door.city("Suwon", "KR")
        self.keys = {
            "staff": self.door.staff,
            "own_coordinator": self.door.coordinator("IE", "SE"),
            "own_city": self.door.of_city(self.city["id"]),
            "other_coordinator": self.door.coordinator("KR"),
            "other_city": self.door.of_city(self.other["id"]),
        }

    def make(self, name: str) -> str:
        """Make a thing of this name and give its id."""
        made: str = getattr(self, f"_{name}")()
        return made

    def _csv(self) -> str:
        return "csv"

    def _import_id(self) -> str:
        files = FILES["POST", "/v1/imports"]
        answer = self.door.client.post("/v1/imports", files=files, headers=self.keys["own_city"])
        return str(answer.json()["id"])

    def _city_id(self) -> str:
        return str(self.city["id"])

    def _spare_city(self) -> str:
        return str(self.door.city("Galway")["id"])

    def _gone_city(self) -> str:
        city_id = self._spare_city()
        self.door.client.delete(f"/v1/cities/{city_id}", headers=self.door.staff)
        return city_id

    def _external_ref(self) -> str:
        self.hooks += 1
        return f"mine-{self.hooks}"

    def _practice(self) -> str:
        return str(self.door.practice(self.city["id"])["id"])

    def _draft(self) -> str:
        return str(self.door.practice(self.city["id"], state="draft")["id"])

    def _gone_practice(self) -> str:
        practice_id = self._practice()
        self.door.client.delete(f"/v1/practices/{practice_id}", headers=self.door.staff)
        return practice_id

    def _need(self) -> str:
        return str(self.door.need(self.city["id"])["id"])

    def _suggestion_id(self) -> str:
        return self.door.suggest(self.door.city("Malmö", "SE"), self.city)

    def _preview_id(self) -> str:
        wanted = {"text": "Reading", "as": "need", "country": "IE"}
        return self._asked("own_city", "/v1/matches/preview", wanted)

    def _round_id(self) -> str:
        return self._asked("own_city", "/v1/matching-rounds", {"kind": "twinning"})

    def _naming_round(self) -> str:
        suggestion_id = self._suggestion_id()
        with self.door.database.transaction() as session:
            row = rounds.ask(session, RoundRequest(kind=SuggestionKind.STUDY_VISIT), "somebody")
            session.flush()
            rounds.propose(session, row.id, [suggestions.get(session, suggestion_id)])
            return row.id

    def _endpoint_id(self) -> str:
        return self._endpoint("own_city")

    def _staffs_endpoint(self) -> str:
        return self._endpoint("staff")

    def _endpoint(self, role: str) -> str:
        self.hooks += 1
        # One that is not wanted any more makes room: a key may have fifty.
        for hook in self.door.client.get("/v1/webhook-endpoints", headers=self.keys[role]).json()["items"]:
            self.door.client.delete(f"/v1/webhook-endpoints/{hook['id']}", headers=self.keys[role])
        return self._asked(role, "/v1/webhook-endpoints", {**HOOK, "url": f"{HOOK['url']}/{self.hooks}"})

    def _replay_id(self) -> str:
        path = f"/v1/webhook-endpoints/{self._endpoint_id()}/replay"
        return self._asked("own_city", path, {**last_hour(), "only": "all"})

    def _delivery(self, role: str) -> dict[str, Any]:
        endpoint_id = self._endpoint(role)
        self._practice()
        path = f"/v1/webhook-endpoints/{endpoint_id}/deliveries"
        log = self.door.client.get(path, headers=self.door.staff).json()["items"]
        found: dict[str, Any] = log[0]
        return found

    def _delivery_id(self) -> str:
        return str(self._delivery("own_city")["id"])

    def _event_id(self) -> str:
        return str(self._delivery("own_city")["event_id"])

    def _staffs_event(self) -> str:
        round_id = self._asked("staff", "/v1/matching-rounds", {"kind": "twinning"})
        self.door.client.post(f"/v1/matching-rounds/{round_id}/cancel", headers=self.door.staff)
        found = self.door.client.get(
            "/v1/events", params={"types": "matching_round.cancelled"}, headers=self.door.staff
        ).json()["items"]
        return str(next(event["id"] for event in found if event["data"]["id"] == round_id))

    def _key_id(self) -> str:
        return self._asked("staff", "/v1/api-keys", {"role": "staff", "name": "One to be revoked"})

    def _asked(self, role: str, path: str, wanted: dict[str, Any]) -> str:
        answer = self.door.client.post(path, json=wanted, headers=self.keys[role])
        assert answer.status_code < 300, answer.text
        return str(answer.json()["id"])
