# SPDX-License-Identifier: Apache-2.0
"""What a row must hold to be a city, a practice or a need, and what a refusal says."""

from typing import Any

import pytest

from twinning.columns import flat
from twinning.records import record_of
from twinning.rows import Row, Wrong


@pytest.mark.parametrize(
    ("fields", "column", "reason"),
    [
        ({}, "kind", "missing"),
        ({"kind": "town", "ref": "a"}, "kind", "none of city, practice, need"),
        ({"kind": {"a": 1}, "ref": "a"}, "kind", "none of"),
        ({"kind": "city"}, "ref", "missing"),
        ({"kind": "city", "ref": ["a"]}, "ref", "not a text"),
        ({"kind": "city", "ref": "a b", "name": "A", "country": "KR"}, "ref", "blanks"),
        (
            {"kind": "city", "ref": "a", "city_ref": "b", "name": "A", "country": "KR"},
            "city_ref",
            "practices",
        ),
        ({"kind": "need", "ref": "a", "title": "T", "description": "D"}, "city_ref", "missing"),
        ({"kind": "city", "ref": "a", "name": "A", "country": "US"}, "country", "'US'"),
        ({"kind": "city", "ref": "a", "name": "A", "country": "KR", "languages": ["zz"]}, "languages", "zz"),
        ({"kind": "city", "ref": "a", "name": "A", "country": "KR", "title": "T"}, "title", "not a field"),
        (
            {"kind": "city", "ref": "a", "name": "A", "country": "KR", "external_ref": "x"},
            "external_ref",
            "ref",
        ),
        ({"kind": "city", "ref": "a\x00", "name": "A", "country": "KR"}, "ref", "U+0000"),
        ({"kind": "city", "ref": "a", "name": "A", "country": "KR", "a\ud800": 1}, "row", "unicode"),
    ],
)
def test_a_row_that_is_no_record_says_why(fields: dict[str, Any], column: str, reason: str) -> None:
    """What is wrong is told by the column that the office sees, in words that every database can keep."""
    found = record_of(Row(2, 2, fields))

    assert isinstance(found, tuple)
    assert found[0].column == column
    assert reason in found[0].reason
    for flaw in found:
        assert "\x00" not in f"{flaw.value}"
        f"{flaw.field}{flaw.value}{flaw.reason}".encode()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("contact", {"name": "Jane Roe", "email": "not an address"}),
        ("contact", "Jane Roe jane@example.org"),
        ("country", "jane@example.org"),
        ("population", "call jane.roe@example.org, please"),
    ],
)
def test_a_refusal_never_shows_a_contact(field: str, value: object) -> None:
    """Neither the columns of the contact nor an address that has slipped into another are shown again."""
    found = record_of(Row(2, 2, {"kind": "city", "ref": "a", "name": "A", "country": "KR", field: value}))

    assert isinstance(found, tuple)
    told = " ".join(f"{flaw.value} {flaw.reason}" for flaw in found)
    assert not any(part in told for part in ("Jane", "@example", "jane"))


def test_a_field_within_a_field_has_a_column_of_its_own() -> None:
    """What an export writes as `hosting.seats` is the field `seats` of `hosting`."""
    assert flat({"hosting": {"seats": 3}}) == {"hosting.seats": 3}


def test_a_flaw_in_a_list_is_told_with_the_list_s_column() -> None:
    """The office sees the column of a list, not the places in it."""
    assert Wrong("themes.0", None, "x").column == "themes"
