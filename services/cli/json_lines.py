# SPDX-License-Identifier: Apache-2.0
"""Reads JSON Lines files; what is wrong with a row is a sentence that names file, line and field."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class BadInput(Exception):
    """A file cannot be used as it is; says where and why."""

    def __init__(self, path: Path, line: int, field: str, detail: str) -> None:
        super().__init__(f"{path}, line {line}, {field}: {detail}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands."""

    path: Path
    line: int

    def refuse(self, field: str, detail: str) -> BadInput:
        """The error that names this row and one of its fields."""
        return BadInput(self.path, self.line, field, detail)


def json_rows(path: Path) -> Iterator[tuple[Place, Row]]:
    """Each object of a JSON Lines file; blank lines are passed over."""
    for place, line in lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise place.refuse("row", f"is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise place.refuse("row", "is not a JSON object")
        yield place, row


def lines(path: Path) -> Iterator[tuple[Place, str]]:
    """The lines of a UTF-8 file, numbered from 1."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                yield Place(path, number), raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise BadInput(path, number, "row", "is not UTF-8") from error
