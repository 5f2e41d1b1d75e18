# SPDX-License-Identifier: Apache-2.0
"""The rules of a body: JSON as RFC 8259 writes it, and nothing that a database could not store."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from services.api.bodies import parse
from twinning.errors import Invalid

STORABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | STORABLE
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(STORABLE, inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@given(JSON, st.booleans())
def test_json_is_read_as_it_was_written(value: Any, ascii_only: bool) -> None:
    """What any writer of JSON writes comes out the same."""
    assert parse(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """Whatever comes, it is JSON or one of the two refusals."""
    try:
        parse(raw)
    except (HTTPException, Invalid):
        return
    json.loads(raw)


@pytest.mark.parametrize(
    ("raw", "refusal"),
    [
        (b"", HTTPException),
        (b"{", HTTPException),
        (b"\xff\xfe{\x00}\x00", HTTPException),
        (b"\xef\xbb\xbf{}", HTTPException),
        (b'{"a": NaN}', HTTPException),
        (b"[Infinity]", HTTPException),
        (b"[-Infinity]", HTTPException),
        (b"[" * 100_000, HTTPException),
        (b'{"a":' * 100_000, HTTPException),
        (b'{"a": 1, "a": 2}', Invalid),
        (b"[" + b"9" * 10_000 + b"]", Invalid),
        (b"[1e999]", Invalid),
        (b'["\\u0000"]', Invalid),
        (b'{"\\ud800": 1}', Invalid),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_json_is_refused_at_once(raw: bytes, refusal: type[Exception]) -> None:
    """Malformed and monstrous bodies are refused within a moment, whatever they cost to write."""
    begun = time.perf_counter()

    with pytest.raises(refusal):
        parse(raw)
    assert time.perf_counter() - begun < 0.5


def test_unstorable_text_is_pointed_at() -> None:
    """A text that no database can store is named by its place."""
    with pytest.raises(Invalid) as caught:
        parse(b'{"a": [{"b/c": "x\\ud800"}]}')

    assert [flaw.pointer for flaw in caught.value.flaws] == ["/a/0/b~1c"]
