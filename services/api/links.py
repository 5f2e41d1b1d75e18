# SPDX-License-Identifier: Apache-2.0
"""The links of the OpenAPI document: which operations an answer's `id` leads to.

A reader, a client generator and a fuzzer find in them that what `POST /v1/cities` gave is what
`GET /v1/cities/{city_id}` takes (OpenAPI 3.1, Link Object).
"""

from collections.abc import Iterator, Mapping
from typing import Any

Document = dict[str, Any]

# By the POST that makes an object: the path that takes its id.
_MADE: Mapping[str, str] = {
    "/v1/cities": "/v1/cities/{city_id}",
    "/v1/cities/{city_id}/practices": "/v1/practices/{listing_id}",
    "/v1/cities/{city_id}/needs": "/v1/needs/{listing_id}",
    "/v1/matching-rounds": "/v1/matching-rounds/{round_id}",
    "/v1/webhook-endpoints": "/v1/webhook-endpoints/{endpoint_id}",
    "/v1/webhook-endpoints/{endpoint_id}/ping": "/v1/deliveries/{delivery_id}",
    "/v1/webhook-endpoints/{endpoint_id}/replay": "/v1/replays/{replay_id}",
    "/v1/api-keys": "/v1/api-keys/{key_id}",
}


def install(document: Document) -> None:
    """Add the links to a document's answers."""
    paths = document["paths"]
    for path, item in _MADE.items():
        parameters = {_parameter(item): "$response.body#/id"}
        links = {name: {"operationId": name, "parameters": parameters} for name in _operations(paths, item)}
        for status, answer in paths[path]["post"]["responses"].items():
            if status.startswith("2"):
                answer["links"] = links


def _operations(paths: Document, item: str) -> Iterator[str]:
    """Name the operations on an object and on what lies below it."""
    for path, methods in paths.items():
        if path == item or path.startswith(f"{item}/"):
            yield from (operation["operationId"] for operation in methods.values())


def _parameter(item: str) -> str:
    """Name the parameter that ends an object's path."""
    return item.rpartition("{")[2].removesuffix("}")
