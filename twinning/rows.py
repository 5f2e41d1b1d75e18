# SPDX-License-Identifier: Apache-2.0
"""The rows of a file of cities, practices and needs: what every format is read as, and how flaws are told.

A row that is wrong is told and the next one is read; a file that cannot be read further raises `BadFile`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from dataclasses import field as made
from typing import Any, Final

from twinning.columns import COLUMNS, KIND, REF, Column, WrongCell, typed

MOST_COLUMNS: Final = 200
LONGEST_VALUE: Final = 80
MOST_FLAWS: Final = 10
_NAME: Final = re.compile(r"[^\S\n]+")
# What looks like an address of a person is never shown again, whatever column it stands in.
_ADDRESS: Final = re.compile(r"[^\s@|,;<>]+@[^\s@|,;<>]+")
_UNSHOWN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class BadFile(Exception):
    """A file cannot be read, or not further: where and why."""

    def __init__(self, detail: str, *, line: int = 1, column: str = "row") -> None:
        super().__init__(detail)
        self.line = line
        self.column = column
        self.detail = detail

    @property
    def sentence(self) -> str:
        """Where and why in one line."""
        return f"Row {self.line}, {self.column}: {self.detail}."


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with a row: the field, what stands there (cut, and never a contact), and why."""

    field: str
    value: str | None
    reason: str

    @property
    def column(self) -> str:
        """The column of the field: a part of a list has none of its own."""
        return ".".join(part for part in self.field.split(".") if not part.isdigit()) or self.field


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file: its number as a spreadsheet counts, its line, its fields as JSON has them."""

    number: int
    line: int
    fields: dict[str, Any] = made(default_factory=dict)
    wrong: tuple[Wrong, ...] = ()


def wrong(field: str, value: Any, reason: str) -> Wrong:
    """Tell a flaw of a row; the value is shown as far as it may be."""
    return Wrong(told(field)[:200], _shown(field, value), _ADDRESS.sub("…", told(reason))[:500])


def told(text: str) -> str:
    """Spell a text of unknown origin so that every database can keep it."""
    return _UNSHOWN.sub("\ufffd", text)


def _shown(column: str, value: Any) -> str | None:
    if value is None or column.partition(".")[0] == "contact" or isinstance(value, dict):
        return None
    text = value if isinstance(value, str) else str(value)
    # Cut before and after: what is found must not depend on a megabyte, nor leave half an address.
    text = _ADDRESS.sub("…", told(text[: 4 * LONGEST_VALUE]))
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


class Header:
    """The names of a table's columns, and how its rows are read by them."""

    def __init__(self, names: Sequence[str], line: int = 1) -> None:
        """Take the names of the first row; raises `BadFile` where they cannot be those of an import."""
        trimmed = [column_name(name) for name in names]
        while trimmed and not trimmed[-1]:
            trimmed.pop()
        if len(trimmed) > MOST_COLUMNS:
            raise BadFile(f"has {len(trimmed)} columns; at most {MOST_COLUMNS} are taken", line=line)
        for name in (KIND, REF):
            if name not in trimmed:
                raise BadFile("the column is missing", line=line, column=name)
        for name in trimmed:
            if name and trimmed.count(name) > 1:
                raise BadFile("the column is there twice", line=line, column=told(name)[:200])
        self.names = trimmed
        self._columns = [COLUMNS.get(name) for name in trimmed]
        self._paths = [column.path if column else (name,) for name, column in self._pairs()]

    def _pairs(self) -> Iterator[tuple[str, Column | None]]:
        return zip(self.names, self._columns, strict=True)

    def row(self, number: int, line: int, cells: Sequence[Any]) -> Row | None:
        """Read a row; None for a blank one. An empty cell says nothing, and its field is left out."""
        fields: dict[str, Any] = {}
        flaws: list[Wrong] = []
        # Most columns are empty in most rows, and so are passed over first.
        for place in [place for place, cell in enumerate(cells) if cell is not None and cell != ""]:
            cell = cells[place]
            if isinstance(cell, str) and not cell.strip():
                continue
            if place >= len(self.names) or not self.names[place]:
                flaws.append(wrong("row", cell, "has more cells than the header"))
                break
            column, path = self._columns[place], self._paths[place]
            try:
                value = cell if column is None else typed(column, cell)
            except WrongCell as error:
                flaws.append(wrong(self.names[place], cell, str(error)))
                continue
            inner = fields if len(path) == 1 else fields.setdefault(path[0], {})
            inner[path[-1]] = value
        if not fields and not flaws:
            return None
        return Row(number, line, fields, tuple(flaws[:MOST_FLAWS]))


def column_name(name: Any) -> str:
    """Read a column's name as people write it: `City ref` is city_ref."""
    text = "" if name is None else str(name)
    return _NAME.sub("_", text.strip().strip("\ufeff").lower())
