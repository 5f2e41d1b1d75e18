# SPDX-License-Identifier: Apache-2.0
"""Read the catalogue of the demo: real cities and words, and what was added so that it shows something.

Every row of ``twinning/data/demo`` says where its words come from, and ``illustration`` marks the rows that
are ours or are put down to a city by us. Neither belongs to the contract, so both are kept beside the fields
that the API accepts, for the page and the terminal to show.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Kind = Literal["city", "practice", "need"]

OURS = "Written for this demonstration"
"""How the source of every text of ours begins."""

DEMO = files("twinning") / "data" / "demo"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the demo: what the API accepts in ``fields``, and where its words come from."""

    kind: Kind
    ref: str
    city_ref: str | None
    """The ``ref`` of the city that a listing belongs to; nothing for a city."""
    fields: dict[str, Any]
    source: str
    illustration: bool
    """Whether the words, or that they are put down to this city, are ours."""

    @property
    def quoted(self) -> bool:
        """Whether the words are somebody else's, so that their source is to stand beside them."""
        return not self.source.startswith(OURS)

    @property
    def body(self) -> dict[str, Any]:
        """What to POST for this entry: its fields, with its own ``ref`` as ``external_ref``."""
        return self.fields | {"external_ref": self.ref}

    @property
    def row(self) -> dict[str, Any]:
        """The entry as a row of an import file."""
        owner = {"city_ref": self.city_ref} if self.city_ref else {}
        return {"kind": self.kind, "ref": self.ref} | owner | self.fields


@dataclass(frozen=True, slots=True)
class FocusArea:
    """One of the four focus areas of a learning city, and the theme that stands for it, if one fits."""

    city_ref: str
    city: str
    words: str
    theme: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Demo:
    """Everything the demo loads, and the practice that it registers at the end."""

    cities: tuple[Entry, ...]
    practices: tuple[Entry, ...]
    needs: tuple[Entry, ...]
    late_practice: Entry
    focus_areas: tuple[FocusArea, ...]


def _entry(row: dict[str, Any]) -> Entry:
    """An entry out of a row of the demo's files; what is left after its own columns are the API's fields."""
    fields = dict(row)
    return Entry(
        kind=fields.pop("kind"),
        ref=fields.pop("ref"),
        city_ref=fields.pop("city_ref", None),
        source=fields.pop("source"),
        illustration=fields.pop("illustration", False),
        fields=fields,
    )


def _entries(name: str) -> tuple[Entry, ...]:
    """The rows of one JSON Lines file, in its order."""
    return tuple(_entry(json.loads(line)) for line in (DEMO / name).read_text("utf-8").splitlines())


def _focus_areas() -> Iterator[FocusArea]:
    """The committed table that maps each focus area to a theme, in its order."""
    for row in csv.DictReader((DEMO / "focus_area_themes.csv").read_text("utf-8").splitlines()):
        yield FocusArea(row["city_ref"], row["city"], row["focus_area"], row["theme"] or None, row["why"])


@cache
def load() -> Demo:
    """The demo's catalogue; the files are read once."""
    return Demo(
        cities=_entries("cities.jsonl"),
        practices=_entries("practices.jsonl"),
        needs=_entries("needs.jsonl"),
        late_practice=_entry(json.loads((DEMO / "late_practice.json").read_text("utf-8"))),
        focus_areas=tuple(_focus_areas()),
    )
