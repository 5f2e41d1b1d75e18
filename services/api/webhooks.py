# SPDX-License-Identifier: Apache-2.0
"""The events as documents tell of them: each type with its text, the JSON Schema of its body, an example."""

from typing import Any

from twinning import examples
from twinning.events import EVENTS, schema

EVENT_TYPES: list[dict[str, Any]] = [
    {
        "type": kind,
        "description": event.__doc__ or "",
        "json_schema": schema(event),
        "example": examples.event(kind),
    }
    for kind, event in EVENTS.items()
]

_HEADERS = (
    ("webhook-id", "The event's id: the same on every attempt and replay, and in the feed."),
    ("webhook-timestamp", "When this attempt was made, in seconds since 1970."),
    ("asem-delivery", "The id of the delivery, as in `GET /v1/deliveries/{id}`."),
    ("asem-attempt", "How often it has been tried, this time included."),
    ("webhook-signature", "`v1,` and an HMAC-SHA256 over id, time and body; one for each live secret."),
)


def section(components: dict[str, Any]) -> dict[str, Any]:
    """Write OpenAPI's `webhooks`; the shapes that events are made of are added to the components."""
    return {each["type"]: {"post": _operation(each, components)} for each in EVENT_TYPES}


def _operation(event: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    body = _moved(event["json_schema"])
    del body["$schema"]
    for name, definition in body.pop("$defs", {}).items():
        components.setdefault(name, definition)
    return {
        "tags": ["webhooks"],
        "operationId": f"webhook_{event['type'].replace('.', '_')}",
        "summary": event["type"],
        "description": event["description"],
        "security": [],
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "description": text,
                "schema": {"type": "string"},
            }
            for name, text in _HEADERS
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": body, "example": event["example"]}},
        },
        "responses": {
            "2XX": {"description": "Taken; any other answer, a redirect included, is a failed attempt."},
            "410": {"description": "Never again: the endpoint is disabled."},
        },
    }


def _moved(schema: Any) -> Any:
    """Point a schema's references at the document's components."""
    if isinstance(schema, dict):
        return {name: _moved(value) for name, value in schema.items()}
    if isinstance(schema, list):
        return [_moved(value) for value in schema]
    if isinstance(schema, str) and schema.startswith("#/$defs/"):
        return schema.replace("#/$defs/", "#/components/schemas/")
    return schema
