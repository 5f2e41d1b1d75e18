# SPDX-License-Identifier: Apache-2.0
"""Reads cities, practices and needs from the formats of imports, checked as the front door checks them.

A row that is wrong stops the reading with a sentence that names file, line and field.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from services.cli.input_files import Place, table_rows
from services.matcher.engine.exchange import Exchange, exchange_of
from twinning.city_shapes import CityCreate
from twinning.forms import NeedCreate, PracticeCreate
from twinning.languages import detect
from twinning.records import Record, record_of
from twinning.reference import THEMES
from twinning.terms import ListingState

_TEXTS = ("description", "challenge", "outcomes", "lessons", "transfer_conditions")


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


def read_listings(paths: Iterable[Path]) -> Listed:
    """Read files of cities, practices and needs; a listing's city may stand after it or in another file.

    Raises ``BadInput`` for the first row that is wrong. Listings that are not published are left out.
    """
    cities: dict[str, ListedCity] = {}
    texts: dict[Hashable, ListedText] = {}
    places: dict[Hashable, Place] = {}
    for path in paths:
        for place, row in table_rows(path):
            found = record_of(row)
            if not isinstance(found, Record):
                raise place.refuse(found[0].field, found[0].reason)
            key = (found.kind, found.ref)
            if key in places:
                first = places[key]
                raise place.refuse("ref", f"{found.ref!r} is already that of {first.path}, line {first.line}")
            places[key] = place
            if isinstance(found.wanted, CityCreate):
                cities[found.ref] = ListedCity(found.ref, found.wanted)
            else:
                texts[key] = ListedText(found.kind, found.ref, found.city_ref, found.wanted)
    _check_cities(cities, texts, places)
    published = {key: its for key, its in texts.items() if its.fields.state is ListingState.PUBLISHED}
    return Listed(cities, published)


def _check_cities(
    cities: Mapping[str, ListedCity],
    texts: Mapping[Hashable, ListedText],
    places: Mapping[Hashable, Place],
) -> None:
    """Refuse a listing of a city that no file holds."""
    for key, text in texts.items():
        if text.city_ref not in cities:
            raise places[key].refuse("city_ref", f"no city has the ref {text.city_ref!r}")
