# SPDX-License-Identifier: Apache-2.0
"""Where cities lie and what else they are called: a table of GeoNames that ships with the project.

It is read at the first question, from ``twinning/data/gazetteer.tsv``, and holds some 7,000 cities of ASEM's
partner countries. A name that several cities of a country bear is answered by the nearest, where the asker
knows roughly where, or else by one that is far larger than the rest, or not at all.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Final

from twinning.spelling import fold, spellings

# A city is where its asker says it is, or within so many kilometres.
NEAR_KM: Final = 50.0
# Of several cities of one name the largest is meant if it is so many times as large as the next.
FAR_LARGER: Final = 5
_EARTH_KM: Final = 6371.0

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Place:
    """A city of the table: its GeoNames id, what it is called, where it lies, how large it is."""

    id: int
    country: str
    name: str
    point: Point
    population: int
    other_names: tuple[str, ...]


def find(name: str, country: str, point: Point | None = None) -> Place | None:
    """Find the city that a name means in a country, by latitude and longitude where those are known."""
    places = called(name, country)
    if point is not None:
        near = [place for place in places if distance_km(place.point, point) <= NEAR_KM]
        return min(near, key=lambda place: distance_km(place.point, point), default=None)
    ranked = sorted(places, key=lambda place: -place.population)
    rivals = any(first.population < FAR_LARGER * second.population for first, second in pairwise(ranked[:2]))
    return ranked[0] if ranked and not rivals else None


def called(name: str, country: str) -> Sequence[Place]:
    """Give the cities of a country that bear a name, by its exact spelling if any do, else by another."""
    known = _by_name()
    exact = known.get((country, fold(name)), ())
    if exact:
        return exact
    alike = (place for spelling in spellings(name) for place in known.get((country, spelling), ()))
    return list(dict.fromkeys(alike))


def distance_km(here: Point, there: Point) -> float:
    """Measure along the great circle between two points of latitude and longitude in degrees."""
    up, across, up_there, across_there = map(math.radians, (*here, *there))
    half = math.sin((up_there - up) / 2) ** 2
    half += math.cos(up) * math.cos(up_there) * math.sin((across_there - across) / 2) ** 2
    return 2 * _EARTH_KM * math.asin(math.sqrt(min(1.0, half)))


@cache
def places() -> tuple[Place, ...]:
    """Every city of the table."""
    text = (files("twinning") / "data" / "gazetteer.tsv").read_text(encoding="utf-8")
    return tuple(
        Place(
            id=int(row["id"]),
            country=row["country"],
            name=row["name"],
            point=(float(row["latitude"]), float(row["longitude"])),
            population=int(row["population"]),
            other_names=tuple(filter(None, row["other_names"].split("|"))),
        )
        for row in csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    )


@cache
def _by_name() -> Mapping[tuple[str, str], Sequence[Place]]:
    """The cities by country and spelling; what is some city's own name is nobody's other name."""
    found: dict[tuple[str, str], list[Place]] = {}
    for place in places():
        for spelling in set(spellings(place.name)):
            found.setdefault((place.country, spelling), []).append(place)
    own = frozenset(found)
    for place in places():
        for spelling in {fold(name) for name in place.other_names}:
            if (place.country, spelling) not in own:
                found.setdefault((place.country, spelling), []).append(place)
    return found
