# SPDX-License-Identifier: Apache-2.0
"""The first row of a table: which columns it names, and how the rows below are read by them."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from twinning.columns import COLUMNS, KIND, REF, Column, WrongCell, typed
from twinning.rows import MOST_FLAWS, BadFile, Row, Wrong, told, wrong

MOST_COLUMNS: Final = 200
_NAME: Final = re.compile(r"[^\S\n]+")


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

    def row(
        self, number: int, line: int, cells: Sequence[Any], bare: Callable[[str], str] | None = None
    ) -> Row | None:
        """Read a row; None for a blank one. An empty cell says nothing, and its field is left out.

        `bare`, for cells that are all texts, takes off the apostrophe that was put before one.
        """
        fields: dict[str, Any] = {}
        flaws: list[Wrong] = []
        # Most columns are empty in most rows, and so are passed over first.
        for place in [place for place, cell in enumerate(cells) if cell is not None and cell != ""]:
            cell = cells[place]
            if bare is not None and cell[0] == "'":
                cell = bare(cell)
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
