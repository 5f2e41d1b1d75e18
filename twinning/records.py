# SPDX-License-Identifier: Apache-2.0
"""What a row of a file says: a city, a practice or a need, checked by the form that the front door uses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from twinning.city_shapes import CityCreate
from twinning.columns import CITY_REF, KIND, NOTES, REF, SHAPES
from twinning.forms import NeedCreate, PracticeCreate
from twinning.rows import MOST_FLAWS, Row, Wrong, wrong

CITY: Final = "city"
_OWN: Final = frozenset({KIND, REF, CITY_REF}) | NOTES
_SENTENCES: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "extra_forbidden": "is not a field of this kind of row",
}


@dataclass(frozen=True, slots=True)
class Record:
    """A row that can be registered: its reference, its city's (empty for a city), and its form."""

    row: Row
    kind: str
    ref: str
    city_ref: str
    wanted: CityCreate | PracticeCreate | NeedCreate


def record_of(row: Row) -> Record | tuple[Wrong, ...]:
    """Read a row as a record, or tell what is wrong with it."""
    if row.wrong:
        return row.wrong
    identity = [_word(row.fields.get(name)) for name in (KIND, REF, CITY_REF)]
    kind, ref, city_ref = (word or "" for word in identity)
    flaws = _flaws_of_identity(row.fields, identity)
    if flaws:
        return flaws
    if "external_ref" in row.fields:
        return (wrong("external_ref", row.fields["external_ref"], "the reference stands in ref"),)
    fields = {name: value for name, value in row.fields.items() if name not in _OWN}
    fields["external_ref"] = ref
    try:
        wanted = SHAPES[kind].model_validate(fields)
    except ValidationError as error:
        return tuple(_flaw(found) for found in error.errors()[:MOST_FLAWS])
    return Record(row, kind, ref, city_ref, wanted)


def _word(value: Any) -> str | None:
    """Read a word of a row's identity: a text, or a whole number as many offices number things."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value).strip()


def _flaws_of_identity(fields: Mapping[str, Any], words: list[str | None]) -> tuple[Wrong, ...]:
    for name, word in zip([KIND, REF, CITY_REF], words, strict=True):
        if name == CITY_REF and words[0] == CITY:
            break
        known = fields.get(name)
        if known is None or known == "":
            return (wrong(name, None, "is missing"),)
        if name == KIND and word not in SHAPES:
            return (wrong(KIND, known, f"{str(known)[:40]!r} is none of {', '.join(SHAPES)}"),)
        if not word:
            return (wrong(name, known, "is not a text, or has nothing but blanks in it"),)
    if words[0] == CITY and fields.get(CITY_REF) is not None:
        return (wrong(CITY_REF, fields[CITY_REF], "is for practices and needs"),)
    return ()


def _flaw(found: Any) -> Wrong:
    column = ".".join(map(str, found["loc"])) or "row"
    missing = found["type"] == "missing"
    reason = _SENTENCES.get(found["type"], str(found["msg"]).removeprefix("Value error, "))
    return wrong(REF if column == "external_ref" else column, None if missing else found["input"], reason)
