# SPDX-License-Identifier: Apache-2.0
"""The columns of an import: the fields of the forms by name, what a cell holds, and how it is written.

A table has one column for each field of a city, a practice or a need; a field inside another has a dot in
its name (`hosting.seats`). Lists stand in one cell with bars between their parts. What is written by
`written` is read back as it was by `typed`, whatever it holds; so an export can be imported again.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum, StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel

from twinning.city_shapes import CityCreate
from twinning.forms import NeedCreate, PracticeCreate

BAR: Final = "|"
# What tells rows apart; every one has them, a listing also the reference of its city.
KIND, REF, CITY_REF = "kind", "ref", "city_ref"
# What the rows of the demo say of themselves beside their fields; an import passes it over.
NOTES: Final = frozenset({"source", "illustration"})
SHAPES: Final[Mapping[str, type[CityCreate | PracticeCreate | NeedCreate]]] = {
    "city": CityCreate,
    "practice": PracticeCreate,
    "need": NeedCreate,
}
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d{1,3})?")
_WHOLE = re.compile(r"[+-]?\d+")
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Holds(StrEnum):
    """What a cell holds."""

    TEXT = "text"
    CODE = "a word without blanks around it"
    WHOLE = "a whole number"
    NUMBER = "a number"
    TRUTH = "true or false"
    DAY = "a date such as 2027-03-01"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its field's name, the kinds of row that have it, and what its cells hold."""

    name: str
    kinds: tuple[str, ...]
    holds: Holds
    is_list: bool = False
    needed: tuple[str, ...] = ()

    @property
    def path(self) -> tuple[str, ...]:
        """The names that lead to the field."""
        return tuple(self.name.split("."))


_HELD: Final = ((bool, Holds.TRUTH), (int, Holds.WHOLE), (float, Holds.NUMBER), (date, Holds.DAY))
# Texts whose blanks at the ends mean nothing; free texts are kept to the letter.
_CODES: Final = frozenset({KIND, REF, CITY_REF, "country", "state", "contact.email"})


def _plain(annotation: Any) -> Any:
    """Give the type that an annotation stands for, without its None and its rules."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in {Union, UnionType}:
            annotation = next(part for part in get_args(annotation) if part is not NoneType)
        else:
            return annotation


def _fields(shape: type[BaseModel], before: str = "") -> Iterator[tuple[str, Holds, bool, bool]]:
    """Walk through a form; gives each field's name, what it holds, whether it is a list and is needed."""
    for name, field in shape.model_fields.items():
        full, plain = before + name, _plain(field.annotation)
        is_list = get_origin(plain) is list
        item = _plain(get_args(plain)[0]) if is_list else plain
        if isinstance(item, type) and issubclass(item, BaseModel):
            yield from _fields(item, f"{full}.")
        else:
            held = (holds for kind, holds in _HELD if isinstance(item, type) and issubclass(item, kind))
            usual = Holds.CODE if is_list or full in _CODES else Holds.TEXT
            yield full, next(held, usual), is_list, field.is_required() and not before


def _columns() -> dict[str, Column]:
    """Lay all forms side by side: their columns by name, in the order of the forms."""
    every = tuple(SHAPES)
    found = {
        KIND: Column(KIND, every, Holds.CODE, needed=every),
        REF: Column(REF, every, Holds.CODE, needed=every),
        CITY_REF: Column(CITY_REF, every[1:], Holds.CODE, needed=every[1:]),
    }
    for kind, shape in SHAPES.items():
        for name, holds, is_list, needed in _fields(shape):
            if name == "external_ref":
                continue
            known = found.get(name, Column(name, (), holds, is_list))
            its = (*known.kinds, kind)
            found[name] = Column(name, its, holds, is_list, (*known.needed, *([kind] if needed else [])))
    return found


COLUMNS: Final[Mapping[str, Column]] = _columns()


class WrongCell(ValueError):
    """A cell does not hold what its column asks for; says so in a sentence."""


def typed(column: Column, cell: Any) -> Any:
    """Read a cell as JSON would have its value; None for an empty one. Raises `WrongCell`."""
    if not column.is_list:
        return _CONVERT[column.holds](cell)
    if not isinstance(cell, str):
        return [_CONVERT[column.holds](cell)]
    parts = _parts(cell)
    return parts if column.holds is Holds.CODE else [_CONVERT[column.holds](part) for part in parts]


def _parts(cell: str) -> list[str]:
    """Take a list apart: at its bars, or as the JSON that it is where bars could not tell."""
    if cell.startswith("[") and (listed := _json_list(cell)) is not None:
        return listed
    return [part for each in cell.split(BAR) if (part := each.strip())]


def _json_list(cell: str) -> list[str] | None:
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(found, list) and all(isinstance(part, str) for part in found)
    return found if whole else None


def written(value: Any) -> Any:
    """Write a field's value for one cell: a list with bars, a number as it is, None as nothing."""
    if isinstance(value, list):
        parts = [str(part) for part in value]
        cell = BAR.join(parts)
        return cell if _parts(cell) == parts else json.dumps(parts, ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.value if isinstance(value, Enum) else value


def flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Lay the fields of a form out as cells by column."""
    cells: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            cells |= {f"{name}.{part}": written(inner) for part, inner in value.items()}
        else:
            cells[name] = written(value)
    return cells


def _text(cell: Any) -> str:
    """Read a text; a sheet may hold a number or a date where a text is meant."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime):
        return cell.date().isoformat() if _is_midnight(cell) else cell.isoformat(sep=" ")
    return cell.isoformat() if isinstance(cell, date) else str(cell)


def _code(cell: Any) -> str:
    return _text(cell).strip()


def _whole(cell: Any) -> int:
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    if isinstance(cell, int) and not isinstance(cell, bool):
        return cell
    text = _code(cell)
    if not _WHOLE.fullmatch(text) or len(text) > 30:
        raise WrongCell("is not a whole number")
    return int(text)


def _number(cell: Any) -> float:
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return float(cell)
    # Half of Europe writes 52,66.
    text = _code(cell).replace(",", ".")
    if not _NUMBER.fullmatch(text):
        raise WrongCell("is not a number")
    return float(text)


def _truth(cell: Any) -> bool:
    told = _TRUTHS.get(_code(cell).lower())
    if told is None:
        raise WrongCell("is neither true nor false")
    return told


def _day(cell: Any) -> str:
    """Read a date; any other way to write one means different days in different countries."""
    text = _code(cell)
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise WrongCell("is not a date such as 2027-03-01") from None


def _is_midnight(moment: datetime) -> bool:
    return (moment.hour, moment.minute, moment.second, moment.microsecond) == (0, 0, 0, 0)


_CONVERT: Final[Mapping[Holds, Callable[[Any], Any]]] = {
    Holds.TEXT: _text,
    Holds.CODE: _code,
    Holds.WHOLE: _whole,
    Holds.NUMBER: _number,
    Holds.TRUTH: _truth,
    Holds.DAY: _day,
}
