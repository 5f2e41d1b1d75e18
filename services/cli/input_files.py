# SPDX-License-Identifier: Apache-2.0
"""Reads files for the commands; what is wrong with a row is a sentence that names file, line and field."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twinning import json_lines
from twinning.rows import BadFile, Row

# What stands for a field where a row is wrong as a whole.
WHOLE_ROW = "row"


class BadInput(Exception):
    """A file cannot be used as it is; says where and why."""

    def __init__(self, path: Path, line: int, field: str, detail: str) -> None:
        where = f"{path}, line {line}" if field == WHOLE_ROW else f"{path}, line {line}, {field}"
        super().__init__(f"{where}: {detail}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands."""

    path: Path
    line: int

    def refuse(self, field: str, detail: str) -> BadInput:
        """The error that names this row and one of its fields."""
        return BadInput(self.path, self.line, field, detail)


def json_rows(path: Path) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Each object of a JSON Lines file; blank lines are passed over."""
    with path.open("rb") as file:
        for place, row in _placed(path, json_lines.read(file)):
            yield place, row.fields


def table_rows(path: Path) -> Iterator[tuple[Place, Row]]:
    """Each row of a file in one of the formats of imports; JSON Lines where its name tells none."""
    # Knowing all formats takes longer to import than plain rows take to read.
    from twinning import table_files
    from twinning.table_files import TableFormat, format_of

    with path.open("rb") as file:
        yield from _placed(path, table_files.read(format_of(path.name) or TableFormat.JSONL, file))


def _placed(path: Path, rows: Iterator[Row]) -> Iterator[tuple[Place, Row]]:
    try:
        for row in rows:
            place = Place(path, row.line)
            for flaw in row.wrong:
                raise place.refuse(flaw.field, flaw.reason)
            yield place, row
    except BadFile as error:
        raise BadInput(path, error.line, error.column, error.detail) from error
