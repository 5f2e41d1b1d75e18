# SPDX-License-Identifier: Apache-2.0
"""The rule of examples: each fits the shape that it is an example of."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from services.api.openapi import Problem
from services.api.routes import deliveries, endpoints, events, health, previews, reference
from services.api.webhooks import EVENT_TYPES
from twinning import (
    audit,
    city_shapes,
    dossier,
    examples,
    imports,
    keys,
    listing_shapes,
    listings,
    replays,
    rounds,
    subscriptions,
    suggestions,
)
from twinning import previews as asked_previews

MODULES = (
    deliveries, endpoints, events, health, previews, reference, audit, city_shapes, dossier, keys, listings,
    listing_shapes, rounds, subscriptions, replays, suggestions, asked_previews, imports,
)  # fmt: skip
SHAPES = {name: getattr(module, name) for module in MODULES for name in vars(module)} | {"Problem": Problem}


@pytest.mark.parametrize("name", examples.SHAPES)
def test_every_example_fits_its_shape(name: str) -> None:
    """What the documents show is what the shapes take and give, each field named."""
    shape: type[BaseModel] = SHAPES[name]
    given = dict(examples.SHAPES[name])
    computed = {field: given.pop(field, None) for field in shape.model_computed_fields}
    made = shape.model_validate(given)

    written = made.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert {field: written[field] for field in given} == given
    assert all(str(getattr(made, field)) == value for field, value in computed.items())


@pytest.mark.parametrize("event", EVENT_TYPES, ids=lambda event: event["type"])
def test_every_event_example_fits_its_schema(event: dict[str, Any]) -> None:
    """An event's example is valid under the JSON Schema that is published beside it."""
    Draft202012Validator.check_schema(event["json_schema"])

    assert not list(Draft202012Validator(event["json_schema"]).iter_errors(event["example"]))
