# SPDX-License-Identifier: Apache-2.0
"""The promise to receivers: what an event's body has once had it keeps; it may gain fields, and lose none.

`event_schemas.json` holds the schemas as they were published. Run as a program, this file renews it.
"""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from services.api.webhooks import EVENT_TYPES

SNAPSHOT = Path(__file__).with_name("event_schemas.json")
RENEW = ".venv/bin/python tests/unit/test_event_schemas.py"
NULL = {"type": "null"}
# Bounds that are narrower when they grow, and those that are when they shrink.
FLOORS = ("minimum", "exclusiveMinimum", "minLength", "minItems")
CEILINGS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")

Schema = dict[str, Any]


def present() -> dict[str, Schema]:
    """The schemas as they are published now, by event type."""
    return {str(each["type"]): json.loads(json.dumps(each["json_schema"])) for each in EVENT_TYPES}


def losses(old: Schema, new: Schema) -> list[str]:
    """What a receiver who relied on the old schema of a body would miss under the new one."""
    return list(_losses(old, new, (old, new), ""))


def _resolved(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        schema = {
            **root["$defs"][schema["$ref"].removeprefix("#/$defs/")],
            **{name: value for name, value in schema.items() if name != "$ref"},
        }
    return schema


def _choices(schema: Schema, root: Schema) -> list[Schema]:
    """The alternatives of a value, each resolved."""
    schema = _resolved(schema, root)
    return [_resolved(each, root) for each in schema.get("anyOf", schema.get("oneOf", [schema]))]


def _losses(old: Schema, new: Schema, roots: tuple[Schema, Schema], place: str) -> Iterator[str]:
    before, after = _choices(old, roots[0]), _choices(new, roots[1])
    if any(each.get("type") == "null" for each in after) and not any(
        each.get("type") == "null" for each in before
    ):
        yield f"{place or '/'} may be null now"
    for choice in before:
        found = next((each for each in after if _kind(each) == _kind(choice)), None)
        if found is None:
            yield f"{place or '/'} is no {' '.join(_kind(choice))} any more"
        else:
            yield from _narrowed(choice, found, place)
            yield from _within(choice, found, roots, place)


def _kind(schema: Schema) -> tuple[str, ...]:
    """What a value is at all: its type, and its format where the type alone says little."""
    fixed = type(schema["const"]).__name__.replace("str", "string") if "const" in schema else "value"
    return tuple(filter(None, (str(schema.get("type", fixed)), str(schema.get("format", "")))))


def _narrowed(old: Schema, new: Schema, place: str) -> Iterator[str]:
    """Which of the values that a scalar could have it cannot have any more."""
    could, can = (each.get("enum", [each["const"]] if "const" in each else None) for each in (old, new))
    if can is not None and (could is None or not set(could) <= set(can)):
        yield f"{place} can only be one of {can} now"
    for names, sign in ((FLOORS, 1), (CEILINGS, -1)):
        for name in names:
            if name in new and (name not in old or sign * new[name] > sign * old[name]):
                yield f"{place} has a narrower {name} now"


def _within(old: Schema, new: Schema, roots: tuple[Schema, Schema], place: str) -> Iterator[str]:
    """What fields, items and values by name have lost."""
    fields = new.get("properties", {})
    for name, field in old.get("properties", {}).items():
        if name not in fields:
            yield f"{place}/{name} is gone"
            continue
        if name in old.get("required", ()) and name not in new.get("required", ()):
            yield f"{place}/{name} may be absent now"
        yield from _losses(field, fields[name], roots, f"{place}/{name}")
    for inner in ("items", "additionalProperties"):
        if isinstance(old.get(inner), dict):
            if not isinstance(new.get(inner), dict):
                yield f"{place}/* is not described any more"
            else:
                yield from _losses(old[inner], new[inner], roots, f"{place}/*")


def test_no_event_has_lost_anything() -> None:
    """Every type that was published is there, and its body has all that it had; more is no harm."""
    published, now = json.loads(SNAPSHOT.read_text(encoding="utf-8")), present()
    lost = [f"{kind} is gone" for kind in published if kind not in now]
    lost += [
        f"{kind}: {loss}" for kind in published if kind in now for loss in losses(published[kind], now[kind])
    ]

    assert not lost, f"receivers rely on what was published:\n{lost}\nIf it must be, renew it: {RENEW}"


def test_the_schemas_are_of_2020_12_and_of_the_whole_body() -> None:
    """Each schema says which draft it follows, is valid under it, and has type, timestamp and data."""
    for kind, schema in present().items():
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        Draft202012Validator.check_schema(schema)
        assert schema["properties"]["type"] == {"const": kind}
        assert set(schema["required"]) == set(schema["properties"]) == {"type", "timestamp", "data"}


def _city(schema: Schema) -> Schema:
    found: Schema = schema["properties"]["data"]
    return found


def _reason(schema: Schema) -> Schema:
    found: Schema = schema["$defs"]["Reason"]
    return found


CHANGES: list[tuple[str, str, Callable[[Schema], object], str]] = [
    (
        "city.registered",
        "a field is dropped",
        lambda s: _city(s)["properties"].pop("country"),
        "/data/country is gone",
    ),
    (
        "city.registered",
        "a field may be absent",
        lambda s: _city(s)["required"].remove("name"),
        "may be absent",
    ),
    (
        "city.registered",
        "a type changes",
        lambda s: _city(s)["properties"].update(name={"type": "integer"}),
        "no string",
    ),
    (
        "city.registered",
        "a field may be null",
        lambda s: _city(s)["properties"].update(name={"anyOf": [{"type": "string"}, NULL]}),
        "may be null",
    ),
    (
        "city.registered",
        "a null never comes",
        lambda s: _city(s)["properties"].update(website={"type": "string"}),
        "no null",
    ),
    (
        "city.registered",
        "a format changes",
        lambda s: s["properties"]["timestamp"].update(format="date"),
        "no string date-time",
    ),
    (
        "city.registered",
        "a list's items change",
        lambda s: _city(s)["properties"]["languages"].update(items={"type": "integer"}),
        "/data/languages/*",
    ),
    (
        "city.registered",
        "a bound is set",
        lambda s: _city(s)["properties"]["name"].update(maxLength=3),
        "narrower maxLength",
    ),
    ("suggestion.created", "a value goes", lambda s: s["$defs"]["Band"]["enum"].remove("weak"), "one of"),
    (
        "suggestion.created",
        "a field deep down goes",
        lambda s: _reason(s)["properties"].pop("need_quote"),
        "/data/reasons/*/need_quote is gone",
    ),
    (
        "suggestion.created",
        "the event is another's",
        lambda s: s["properties"].update(type={"const": "x"}),
        "/type",
    ),
]


@pytest.mark.parametrize(("kind", "_why", "change", "told"), CHANGES, ids=[each[1] for each in CHANGES])
def test_a_loss_is_noticed(kind: str, _why: str, change: Callable[[Schema], object], told: str) -> None:
    """Whatever a receiver would miss is found and named by its place."""
    old = present()[kind]
    new = copy.deepcopy(old)
    change(new)

    assert any(told in loss for loss in losses(old, new)), losses(old, new)


def test_an_addition_is_no_loss() -> None:
    """New fields, also required ones, new values and wider bounds harm nobody who takes what they know."""
    old = present()["suggestion.created"]
    new = copy.deepcopy(old)
    new["properties"]["data"]["properties"]["brief_url"] = {"type": "string"}
    new["properties"]["data"]["required"].append("brief_url")
    _reason(new)["properties"]["rank"] = {"type": "integer"}
    new["$defs"]["Band"]["enum"].append("splendid")
    new["$defs"]["New"] = {"type": "object"}

    assert losses(old, new) == []
    assert losses(old, old) == []


if __name__ == "__main__":
    SNAPSHOT.write_text(
        json.dumps(present(), indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8"
    )
