# SPDX-License-Identifier: Apache-2.0
"""Reads cities, practices and needs from JSON Lines and CSV files, checked as the front door checks them.

A row that is wrong stops the reading with a sentence that names file, line and field.
"""

import csv
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from services.cli.json_lines import BadInput, Place, Row, json_rows, lines
from services.matcher.engine.exchange import Exchange, exchange_of
from twinning.cities import CityCreate
from twinning.forms import NeedCreate, PracticeCreate
from twinning.languages import detect
from twinning.reference import THEMES
from twinning.terms import ListingState

_SHAPES: dict[str, type[CityCreate | PracticeCreate | NeedCreate]] = {
    "city": CityCreate,
    "practice": PracticeCreate,
    "need": NeedCreate,
}
_TEXTS = ("description", "challenge", "outcomes", "lessons", "transfer_conditions")
_LISTS = ("languages", "networks", "existing_partners", "themes", "target_groups", "seeks", "months")
_NUMBERS = {
    "latitude": float,
    "longitude": float,
    "population": int,
    "strength": int,
    "party_size": int,
    "months": int,
}
_SENTENCES = {"missing": "is missing", "extra_forbidden": "is not a field of this kind of row"}


@dataclass(frozen=True, slots=True)
class ListedCity:
    """A city of the files under its own reference."""

    ref: str
    facts: CityCreate


@dataclass(frozen=True, slots=True)
class ListedText:
    """A practice or need of the files."""

    kind: str
    ref: str
    city_ref: str
    fields: PracticeCreate | NeedCreate

    @property
    def body(self) -> str:
        """The texts after the title, as written."""
        parts = (getattr(self.fields, name, None) for name in _TEXTS)
        return "\n".join(part for part in parts if part)

    @property
    def labels(self) -> tuple[str, ...]:
        """Its themes and target groups as words."""
        return (*(THEMES[theme].label for theme in self.fields.themes), *self.fields.target_groups)

    @property
    def language(self) -> str:
        """The language that it is written in, as the front door would find it."""
        return detect(f"{self.fields.title}\n{self.body}", self.fields.languages)

    @property
    def exchange(self) -> Exchange:
        """What it says of how an exchange could go."""
        said = self.fields.model_dump(
            mode="json", include={"languages", "seeks", "months", "party_size", "hosting"}
        )
        return exchange_of(**said)

    @property
    def text(self) -> str:
        """All that is matched of it, each part once."""
        return "\n".join((self.fields.title, self.body, *self.labels))


@dataclass(frozen=True, slots=True)
class Listed:
    """What the files hold."""

    cities: dict[str, ListedCity]
    texts: dict[Hashable, ListedText]


def _csv_rows(path: Path) -> Iterator[tuple[Place, Row]]:
    """Each row of a CSV file; empty cells are absent fields, and lists have `|` between their parts."""
    reader = csv.DictReader((line for _, line in lines(path)), strict=True)
    try:
        for name in ("kind", "ref"):
            if name not in (reader.fieldnames or ()):
                raise BadInput(path, 1, name, "the column is missing")
        for cells in reader:
            place = Place(path, reader.line_num)
            if None in cells:
                raise place.refuse("row", "has more cells than the header")
            yield place, {name: _typed(place, name, cell) for name, cell in cells.items() if cell}
    except csv.Error as error:
        raise BadInput(path, reader.line_num + 1, "row", f"is not CSV: {error}") from error


def _typed(place: Place, name: str, cell: str) -> Any:
    """A cell as JSON would have it."""
    number = _NUMBERS.get(name, str)
    try:
        if name in _LISTS:
            return [number(part.strip()) for part in cell.split("|") if part.strip()]
        return number(cell)
    except ValueError as error:
        raise place.refuse(name, f"{cell!r} is not a number") from error


def read_listings(paths: Iterable[Path]) -> Listed:
    """Read files of cities, practices and needs; a listing's city may stand after it or in another file.

    Raises ``BadInput`` for the first row that is wrong. Listings that are not published are left out.
    """
    cities: dict[str, ListedCity] = {}
    texts: dict[Hashable, ListedText] = {}
    places: dict[Hashable, Place] = {}
    for path in paths:
        rows = _csv_rows(path) if path.suffix.lower() == ".csv" else json_rows(path)
        for place, row in rows:
            kind, ref = _identity(place, row)
            if (kind, ref) in places:
                first = places[kind, ref]
                raise place.refuse("ref", f"{ref!r} is already that of {first.path}, line {first.line}")
            places[kind, ref] = place
            fields = _shaped(place, kind, row)
            if isinstance(fields, CityCreate):
                cities[ref] = ListedCity(ref, fields)
            else:
                texts[kind, ref] = ListedText(kind, ref, str(row.get("city_ref", "")), fields)
    _check_cities(cities, texts, places)
    published = {key: its for key, its in texts.items() if its.fields.state is ListingState.PUBLISHED}
    return Listed(cities, published)


def _identity(place: Place, row: Row) -> tuple[str, str]:
    """The kind and reference of a row."""
    for name in ("kind", "ref"):
        if name not in row:
            raise place.refuse(name, "is missing")
    kind = str(row["kind"])
    if kind not in _SHAPES:
        raise place.refuse("kind", f"{kind!r} is none of {', '.join(_SHAPES)}")
    return kind, str(row["ref"])


def _shaped(place: Place, kind: str, row: Row) -> CityCreate | PracticeCreate | NeedCreate:
    """The fields of a row, checked by the same shapes that the front door uses."""
    fields = {name: value for name, value in row.items() if name not in ("kind", "ref", "city_ref")}
    try:
        return _SHAPES[kind].model_validate({**fields, "external_ref": str(row["ref"])})
    except ValidationError as error:
        flaw = error.errors()[0]
        field = ".".join(map(str, flaw["loc"]))
        detail = _SENTENCES.get(flaw["type"], flaw["msg"].removeprefix("Value error, "))
        raise place.refuse("ref" if field == "external_ref" else field, detail) from error


def _check_cities(
    cities: Mapping[str, ListedCity],
    texts: Mapping[Hashable, ListedText],
    places: Mapping[Hashable, Place],
) -> None:
    """Refuse a listing of a city that no file holds."""
    for key, text in texts.items():
        if not text.city_ref:
            raise places[key].refuse("city_ref", "is missing")
        if text.city_ref not in cities:
            raise places[key].refuse("city_ref", f"no city has the ref {text.city_ref!r}")
