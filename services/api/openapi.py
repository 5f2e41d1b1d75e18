# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI 3.1 document: what FastAPI finds in the routes, with examples, problems and webhooks added."""

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel, Field

from services.api import links, webhooks
from services.api.idempotency import HEADER
from twinning import examples

Document = dict[str, Any]
_REFERENCE = "#/components/schemas/"
_PROBLEM: Final[Document] = {"application/problem+json": {"schema": {"$ref": f"{_REFERENCE}Problem"}}}
# Of every answer behind a key, unless the operator sets no rate; one to a wrong key tells of no rate.
_RATE: Final[Mapping[str, Document]] = {
    "RateLimit-Policy": {
        "description": "What the key may ask: `q` requests in any `w` seconds "
        "(draft-ietf-httpapi-ratelimit-headers).",
        "schema": {"type": "string"},
        "example": '"key";q=600;w=60',
    },
    "RateLimit": {
        "description": "What is left of that: `r` requests, and more in `t` seconds.",
        "schema": {"type": "string"},
        "example": '"key";r=431;t=12',
    },
}
_RETRY_AFTER: Final[Document] = {
    "description": "In how many seconds to ask again.",
    "schema": {"type": "integer", "minimum": 1},
    "example": 12,
}


class FlawShown(BaseModel):
    """One thing that is wrong with a request."""

    pointer: str = Field(description="A JSON Pointer into the body, or below /query, /path or /header.")
    detail: str


class ExistingShown(BaseModel):
    """What is there already, and where to read it."""

    id: str
    name: str
    location: str


class Problem(BaseModel):
    """What went wrong (RFC 9457); `errors` is there with status 422, `existing` with `city-exists`."""

    type: str = Field(description="A stable address that says what the problem means.")
    title: str
    status: int
    detail: str
    errors: list[FlawShown] = []
    existing: ExistingShown | None = None


def install(app: FastAPI) -> None:
    """Have the app describe itself in full, put together when it is first asked for."""
    plain = app.openapi

    @cache
    def full() -> Document:
        return _completed(plain())

    app.openapi = full  # type: ignore[method-assign]


def _completed(document: Document) -> Document:
    components = document["components"]
    schemas = components["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template=_REFERENCE + "{model}")
    schemas.update({"Problem": problem, **problem.pop("$defs")})
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key."}
    }
    components["headers"] = {**_RATE, "Retry-After": _RETRY_AFTER}
    components["responses"] = {"TooManyRequests": _too_many()}
    document["security"] = [{"key": []}]
    for path, method, operation in _operations(document):
        _complete(operation, keyed=path.startswith("/v1/"), posts=method == "post")
        for content in _contents(operation):
            if "example" not in content:
                content["example"] = example_of(content["schema"], schemas)
    links.install(document)
    document["webhooks"] = webhooks.section(schemas)
    return document


def _operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _complete(operation: Document, *, keyed: bool, posts: bool) -> None:
    """Add to an operation what every one has: problems, the key, its rate, and a POST's Idempotency-Key."""
    answers = operation["responses"]
    answers.pop("422", None)
    answers["default"] = {"description": "A problem.", "content": deepcopy(_PROBLEM)}
    if not keyed:
        operation["security"] = []
        return
    for answer in answers.values():
        answer.setdefault("headers", {}).update(_headers(_RATE))
    # Of a part that is away for the moment, and of an Idempotency-Key whose first request is still at work.
    answers["default"]["headers"].update(_headers(["Retry-After"]))
    answers["429"] = {"$ref": "#/components/responses/TooManyRequests"}
    if posts:
        operation.setdefault("parameters", []).append(
            {
                "name": HEADER,
                "in": "header",
                "required": False,
                "description": "1 to 255 visible ASCII characters; the first answer is kept for a day.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            }
        )


def _too_many() -> Document:
    """Describe the answer to who has asked too often, with a key's rate or with wrong keys."""
    content = {name: {**its, "example": examples.TOO_MANY} for name, its in _PROBLEM.items()}
    headers = {**_headers(_RATE), "Retry-After": {**_RETRY_AFTER, "required": True}}
    return {
        "description": "Too many requests of this key, or too many wrong keys of this address.",
        "headers": headers,
        "content": content,
    }


def _headers(names: Iterable[str]) -> Document:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _contents(operation: Document) -> Iterator[Document]:
    """Give each body of an operation: the request's, and every answer's."""
    for part in (operation.get("requestBody", {}), *operation["responses"].values()):
        yield from part.get("content", {}).values()


def example_of(schema: Document, schemas: Document) -> Any:
    """Give the example of a body: its shape's, or for a page one of a single item."""
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0], schemas)
    name = schema["$ref"].removeprefix(_REFERENCE).removesuffix("-Input").removesuffix("-Output")
    if name in examples.SHAPES:
        return examples.SHAPES[name]
    items = schemas[name]["properties"]["items"]["items"]
    return {"items": [example_of(items, schemas)], "next_cursor": None}
