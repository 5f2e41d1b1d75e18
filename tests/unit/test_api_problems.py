# SPDX-License-Identifier: Apache-2.0
"""The rules of problems: every error has a status, every status a code, every code a page."""

from collections.abc import Iterator

import pytest

from services.api import problems
from services.api.problems import CODES, PROBLEMS, STATUS, status_of
from twinning.errors import TwinningError


def _kinds(base: type[TwinningError]) -> Iterator[type[TwinningError]]:
    """Every error of the house; those of a client tell of answers and are none."""
    for kind in base.__subclasses__():
        if not kind.__module__.startswith("twinning"):
            continue
        yield kind
        yield from _kinds(kind)


@pytest.mark.parametrize("kind", list(_kinds(TwinningError)), ids=lambda kind: kind.__name__)
def test_every_error_has_a_status(kind: type[TwinningError]) -> None:
    """No error of the house reaches a caller without an HTTP status and a page that explains it."""
    error = kind("Something is wrong.")

    assert CODES[status_of(error)] in PROBLEMS


def test_every_status_has_a_code() -> None:
    """Whatever is refused, by HTTP or by the house, has a code that is documented."""
    assert set(CODES.values()) <= set(PROBLEMS)
    assert set(STATUS.values()) <= set(CODES)


@pytest.mark.parametrize(
    ("place", "pointer"),
    [
        (("body",), ""),
        (("body", "themes", 0), "/themes/0"),
        (("body", "headers", "a/b~c"), "/headers/a~1b~0c"),
        (("query", "limit"), "/query/limit"),
        (("path", "external_ref"), "/path/external_ref"),
    ],
)
def test_a_pointer_into_the_body_is_bare(place: tuple[str | int, ...], pointer: str) -> None:
    """A field of the body is named by a JSON Pointer, anything else below the part it stands in."""
    assert problems._pointer(place) == pointer
