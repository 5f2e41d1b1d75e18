# SPDX-License-Identifier: Apache-2.0
"""What functional tests are made of: a front door on a fresh database, and those who knock at it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog

from services.api.app import make_app
from services.lookups import Resolve
from twinning import catalogue_examples, keys, match_examples, suggestions
from twinning.database import Database
from twinning.keys import ApiKeyCreate
from twinning.proposals import Direction, Proposal, Reason, SuggestedCity
from twinning.settings import Settings
from twinning.terms import Band, Bell, Role, SuggestionKind

with warnings.catch_warnings():
    # The test client prefers a successor of httpx; httpx is what everything else here speaks.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient


# The log is written as in production, and kept out of the tests' own output.
structlog.configure(
    processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
    logger_factory=structlog.ReturnLoggerFactory(),
)


@dataclass
class Door:
    """The front door, its database, its staff and the bells it has rung."""

    client: TestClient
    database: Database
    settings: Settings
    bells: list[Bell] = field(default_factory=list)
    staff: dict[str, str] = field(default_factory=dict)

    def key(self, role: Role, **scope: Any) -> dict[str, str]:
        """Make a key and give the header that bears it."""
        with self.database.transaction() as session:
            _, key = keys.create(session, ApiKeyCreate(role=role, name=f"A {role}", **scope))
        return {"Authorization": f"Bearer {key}"}

    def coordinator(self, *countries: str) -> dict[str, str]:
        """Make a coordinator of some countries."""
        return self.key(Role.COORDINATOR, countries=list(countries))

    def of_city(self, city_id: str) -> dict[str, str]:
        """Make a city's own key."""
        return self.key(Role.CITY, city_id=city_id)

    def city(self, name: str = "Limerick", country: str = "IE", **fields: Any) -> dict[str, Any]:
        """Register a city as staff, also where one of that name is there."""
        return self._made("/v1/cities?force=true", {"name": name, "country": country, **fields})

    def practice(self, city_id: str, **fields: Any) -> dict[str, Any]:
        """Register a practice as staff."""
        return self._made(f"/v1/cities/{city_id}/practices", practice(**fields))

    def need(self, city_id: str, **fields: Any) -> dict[str, Any]:
        """Register a need as staff."""
        return self._made(f"/v1/cities/{city_id}/needs", need(**fields))

    def events(self) -> list[str]:
        """Give the types of all events so far, in order."""
        answer = self.client.get("/v1/events", params={"limit": 200}, headers=self.staff)
        return [event["type"] for event in answer.json()["items"]]

    def suggest(self, first: dict[str, Any], second: dict[str, Any], score: float = 71.4) -> str:
        """Keep a study visit between two cities, as a matching worker would."""
        cities = tuple(
            SuggestedCity(
                city_id=city["id"],
                name=city["name"],
                country=city["country"],
                region=city["region"],
                role=role,
            )
            for city, role in ((first, "host"), (second, "visitor"))
        )
        proposal = Proposal(
            kind=SuggestionKind.STUDY_VISIT,
            score=score,
            band=Band.STRONG,
            cities=cities,
            directions=(Direction(learner_city_id=second["id"], score=score),),
            reasons=(Reason.model_validate(match_examples.SUGGESTION_SHOWN["reasons"][0]),),
            catalogue_version=1,
            engine_version="1",
            min_band=Band.POSSIBLE,
        )
        with self.database.transaction() as session:
            return suggestions.create(session, proposal).id

    def _made(self, path: str, wanted: dict[str, Any]) -> dict[str, Any]:
        answer = self.client.post(path, json=wanted, headers=self.staff)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made


def practice(**fields: Any) -> dict[str, Any]:
    """Give a practice to be registered."""
    return {**catalogue_examples.PRACTICE_REQUEST, "external_ref": None, **fields}


def need(**fields: Any) -> dict[str, Any]:
    """Give a need to be registered."""
    return {**catalogue_examples.NEED_REQUEST, "external_ref": None, **fields}


async def look_up(*_: object) -> list[str]:
    """Look a name up without leaving this machine: every name is public."""
    return ["93.184.215.14"]


@contextmanager
def door(database_url: str, *, names: Resolve | None = None, **settings: Any) -> Iterator[Door]:
    """Open a front door on a fresh database with all tables; `names` looks up receivers' names."""
    bells: list[Bell] = []
    # Tests ask as fast as they can; those about rates set one.
    known = Settings(database_url=database_url, **{"rate_per_minute": 0, **settings})
    app = make_app(known, ring=bells.append, resolve=names or look_up)
    # Not entered: a client outside its context starts a loop for each thread that uses it.
    with TestClient(app, raise_server_exceptions=False, client=("127.0.0.1", 50_000)) as client:
        made = Door(client, app.state.house.database, known, bells)
        made.staff = made.key(Role.STAFF)
        yield made
