# SPDX-License-Identifier: Apache-2.0
"""What every service reads and none may change: ASEM's partner countries, the themes, and the map.

The lists are read once, at import, from the files that ship in ``twinning/data``. A city's region follows
from its country alone; nobody types it, so nobody can mistype it.
"""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal, cast

import yaml

Region = Literal["asia", "europe"]
ThemeGroup = Literal["building_block", "focal_area", "cluster", "sdg"]

_DATA = files("twinning") / "data"


@dataclass(frozen=True, slots=True)
class Country:
    """A country that takes part in ASEM: its ISO 3166-1 alpha-2 code, name and side of the meeting."""

    code: str
    name: str
    region: Region


@dataclass(frozen=True, slots=True)
class Theme:
    """A tag that a listing may carry: its id in lower case, the source's own label, and its group."""

    id: str
    label: str
    group: ThemeGroup


@dataclass(frozen=True, slots=True)
class Map:
    """The drawing of Asia and Europe and its frame: degrees of longitude and latitude, size in SVG units."""

    west: float
    east: float
    south: float
    north: float
    width: int
    height: int
    drawing: str
    """The land and the borders as SVG elements, without the ``svg`` element around them."""

    def place(self, latitude: float, longitude: float) -> tuple[float, float]:
        """Where a city stands in the drawing, from its upper left corner; a city outside is put on its edge.

        Miller's cylindrical projection (O. M. Miller, Geographical Review 32, 1942).
        """
        scale = self.width / math.radians(self.east - self.west)
        across = scale * math.radians(longitude - self.west)
        down = scale * (_miller(self.north) - _miller(latitude))
        return min(max(across, 0.0), float(self.width)), min(max(down, 0.0), float(self.height))


def _miller(latitude: float) -> float:
    """Miller's ordinate of a latitude, in radians, growing to the north."""
    return 1.25 * math.log(math.tan(math.pi / 4 + 0.4 * math.radians(latitude)))


def _countries() -> Iterator[Country]:
    """Each partner country of the shipped table; its two institutions have no ISO code and no cities."""
    table = (_DATA / "asem_partners.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(table.splitlines()):
        if row["partner_type"] == "country":
            yield Country(row["iso2"], row["partner"], cast("Region", row["asem_region"].lower()))


def _themes() -> Iterator[Theme]:
    """Each theme of the shipped taxonomy; a focal area that is a building block bears its label."""
    taxonomy: dict[str, Any] = yaml.safe_load((_DATA / "taxonomy.yaml").read_text(encoding="utf-8"))
    labels: dict[str, str] = {}
    for block in taxonomy["building_blocks"]:
        labels[block["id"]] = block["label"]
        yield Theme(block["id"].lower(), block["label"], "building_block")
    for part in taxonomy["key_features_focal_areas"].values():
        for area in part:
            label = area["label"] if "label" in area else labels[area["same_as"]]
            yield Theme(area["id"].lower(), label, "focal_area")
    for cluster in taxonomy["gnlc_thematic_clusters"]:
        yield Theme(cluster["id"].lower(), cluster["label"], "cluster")
    for goal in taxonomy["sdgs"]:
        yield Theme(f"sdg-{goal['id']}", goal["label"], "sdg")


COUNTRIES: Mapping[str, Country] = MappingProxyType({country.code: country for country in _countries()})
"""ASEM's partner countries by ISO 3166-1 alpha-2 code, in capitals; the table names each row's source."""

THEMES: Mapping[str, Theme] = MappingProxyType({theme.id: theme for theme in _themes()})
"""The themes by id, in lower case: ``bb1``, ``kf1.1``, ``cl1``, ``sdg-1``."""


def region_of(code: str) -> Region:
    """The side of ASEM that a country belongs to, by its ISO 3166-1 alpha-2 code in capitals.

    Raises ``ValueError``, with a sentence fit for the one who typed it, for every other string.
    """
    country = COUNTRIES.get(code)
    if country is None:
        raise ValueError(f"{code!r} is not the ISO 3166-1 alpha-2 code of an ASEM partner country.")
    return country.region


@cache
def asia_and_europe() -> Map:
    """The map that ships with the project; the file is read at the first call only."""
    frame = json.loads((_DATA / "map.json").read_text(encoding="utf-8"))
    svg = (_DATA / "map.svg").read_text(encoding="utf-8")
    bounds = {name: frame[name] for name in ("west", "east", "south", "north", "width", "height")}
    return Map(**bounds, drawing=svg[svg.index(">") + 1 : svg.rindex("</svg>")].strip())
