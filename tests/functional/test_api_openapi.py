# SPDX-License-Identifier: Apache-2.0
"""The rules of the OpenAPI document: complete, valid, and with an example for every body."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.factories import Door, door
from twinning.events import EVENTS

# The paths of the contract that this front door has.
CONTRACT = """
GET /healthz
GET /readyz
GET /metrics
GET /v1/reference/countries
GET /v1/reference/themes
GET /v1/reference/event-types
POST GET /v1/cities
GET PATCH DELETE /v1/cities/{city_id}
POST /v1/cities/{city_id}/practices
POST /v1/cities/{city_id}/needs
GET /v1/practices
GET /v1/needs
GET PATCH DELETE /v1/practices/{listing_id}
GET PATCH DELETE /v1/needs/{listing_id}
POST /v1/practices/{listing_id}/confirm
POST /v1/needs/{listing_id}/confirm
PUT /v1/cities/{city_id}/practices/{external_ref}
PUT /v1/cities/{city_id}/needs/{external_ref}
POST /v1/matches/preview
GET /v1/matches/preview/{preview_id}
POST GET /v1/matching-rounds
GET /v1/matching-rounds/{round_id}
POST /v1/matching-rounds/{round_id}/cancel
GET /v1/matching-rounds/{round_id}/suggestions
GET /v1/matching-rounds/{round_id}/export
POST GET /v1/imports
GET /v1/imports/{import_id}
GET /v1/suggestions
GET /v1/suggestions/{suggestion_id}
POST GET /v1/webhook-endpoints
GET PATCH DELETE /v1/webhook-endpoints/{endpoint_id}
POST /v1/webhook-endpoints/{endpoint_id}/ping
GET /v1/webhook-endpoints/{endpoint_id}/deliveries
POST /v1/webhook-endpoints/{endpoint_id}/rotate-secret
POST /v1/webhook-endpoints/{endpoint_id}/replay
GET /v1/deliveries
GET /v1/deliveries/{delivery_id}
POST /v1/deliveries/{delivery_id}/retry
GET /v1/events
GET /v1/events/stream
POST GET /v1/api-keys
DELETE /v1/api-keys/{key_id}
GET /v1/audit
GET /v1/cities/{city_id}/export
"""


@pytest.fixture(scope="module")
def document(shared: Door) -> dict[str, Any]:
    """The document as anyone may fetch it."""
    answer = shared.client.get("/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def _contents(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every body of every operation, webhooks included, with its name and media type."""
    for part in ("paths", "webhooks"):
        for path, methods in document[part].items():
            for method, operation in methods.items():
                bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
                for body in bodies:
                    for media_type, content in body.get("content", {}).items():
                        yield f"{method.upper()} {path}", media_type, content


def test_it_is_openapi_3_1_and_its_schemas_are_valid(document: dict[str, Any]) -> None:
    """Every schema of the document is one of JSON Schema 2020-12, as OpenAPI 3.1 wants it."""
    assert document["openapi"].startswith("3.1.")
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_body_has_an_example_that_fits(document: dict[str, Any]) -> None:
    """What the document shows is valid under the schema that stands beside it, all references found."""
    wrong = []
    shared = document["components"]["responses"].items()
    of_shared = ((name, "", content) for name, each in shared for content in each["content"].values())
    for name, _, content in (*_contents(document), *of_shared):
        validator = Draft202012Validator({**content["schema"], "components": document["components"]})
        wrong += [(name, error.message) for error in validator.iter_errors(content["example"])]

    assert wrong == []


def test_every_path_of_the_contract_is_there(document: dict[str, Any]) -> None:
    """What was promised is offered, by the same methods."""
    promised = {
        (method, line.split()[-1]) for line in CONTRACT.strip().splitlines() for method in line.split()[:-1]
    }
    offered = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}

    assert promised <= offered
    assert offered - promised == {
        ("GET", "/problems/{code}"),
        ("GET", "/v1/events/{event_id}"),
        ("GET", "/v1/imports/{import_id}/refusals"),
        ("POST", "/v1/imports/{import_id}/cancel"),
        ("GET", "/v1/imports/templates/{format}"),
        ("GET", "/v1/replays/{replay_id}"),
        ("POST", "/v1/replays/{replay_id}/cancel"),
    }


def test_every_event_is_a_webhook(document: dict[str, Any]) -> None:
    """The webhooks section names each event that can be sent, and no other."""
    assert set(document["webhooks"]) == set(EVENTS)


def test_every_post_takes_an_idempotency_key(document: dict[str, Any]) -> None:
    """Each POST below /v1 says that it takes an Idempotency-Key."""
    posts = [methods["post"] for path, methods in document["paths"].items() if "post" in methods]

    assert all(
        any(parameter["name"] == "Idempotency-Key" for parameter in post["parameters"]) for post in posts
    )


def test_problems_are_described(document: dict[str, Any]) -> None:
    """Every operation says how it refuses, and none in FastAPI's own way."""
    answers = [
        operation["responses"] for methods in document["paths"].values() for operation in methods.values()
    ]

    assert all("application/problem+json" in each["default"]["content"] for each in answers)
    assert not any("422" in each for each in answers)


def test_rates_are_described_once_for_every_path_behind_a_key(document: dict[str, Any]) -> None:
    """Each answer behind a key, and no other, may have RateLimit headers, and 429 says when to return."""
    rate = {name: {"$ref": f"#/components/headers/{name}"} for name in ("RateLimit", "RateLimit-Policy")}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            answers = dict(operation["responses"])
            too_many = answers.pop("429", None)
            if path.startswith("/v1/"):
                assert too_many == {"$ref": "#/components/responses/TooManyRequests"}, path
                assert all(each["headers"].items() >= rate.items() for each in answers.values()), path
            else:
                assert too_many is None
                assert not any(rate.keys() & each.get("headers", {}) for each in answers.values()), path

    assert document["components"]["responses"]["TooManyRequests"]["headers"]["Retry-After"]["required"]


def test_the_headers_of_a_rate_are_as_described(document: dict[str, Any], sqlite_url: str) -> None:
    """An answer has every header that the document describes for rates, spelled like its example."""
    with door(sqlite_url, rate_per_minute=1) as front:
        good, refused = (front.client.get("/v1/cities", headers=front.staff) for _ in range(2))

    for name in ("RateLimit", "RateLimit-Policy", "Retry-After"):
        shape = re.sub(r"[0-9]+", "[0-9]+", str(document["components"]["headers"][name]["example"]))
        assert re.fullmatch(shape, refused.headers[name])
        assert name == "Retry-After" or re.fullmatch(shape, good.headers[name])
