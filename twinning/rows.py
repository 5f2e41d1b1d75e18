# SPDX-License-Identifier: Apache-2.0
"""The rows of a file of cities, practices and needs: what every format is read as, and how flaws are told.

A row that is wrong is told and the next one is read; a file that cannot be read further raises `BadFile`.
Nothing here knows which columns there are, so that who reads plain rows waits for no table or model.
"""

import re
from dataclasses import dataclass
from dataclasses import field as made
from typing import Any, Final

LONGEST_VALUE: Final = 80
MOST_FLAWS: Final = 10
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
