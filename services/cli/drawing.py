# SPDX-License-Identifier: Apache-2.0
"""Lay out the map of the demo's page: a dot and a name for each city, an arc for each suggested pair."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from twinning.reference import asia_and_europe

LETTER = 5.4
"""About how wide a letter of a city's name is, in units of the drawing."""
LINE = 11.0
MARGIN = 34.0
BULGE = 0.13
"""How far an arc swings out, as a share of its length; each further arc of a pair swings out more."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Dot:
    """A city on the map; ``anchor`` is SVG's: whether its name starts, ends or is centred at the point."""

    name: str
    title: str
    x: float
    y: float
    label_x: float
    label_y: float
    anchor: str


@dataclass(frozen=True, slots=True)
class Arc:
    """A suggested pair on the map, as SVG path data; ``anchor`` is its id on the page."""

    anchor: str
    suggestion_id: str
    kind: str
    title: str
    path: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """All that is drawn, and the part of the map that holds it as an SVG ``viewBox``."""

    view: str
    land: str
    dots: list[Dot]
    arcs: list[Arc]


def draw(cities: Iterable[Mapping[str, Any]], suggestions: Iterable[Mapping[str, Any]]) -> Drawing:
    """The map of these cities and suggestions; a city without coordinates is on no map, nor are its pairs."""
    chart = asia_and_europe()
    located = [
        city for city in cities if city.get("latitude") is not None and city.get("longitude") is not None
    ]
    points = {city["id"]: chart.place(city["latitude"], city["longitude"]) for city in located}
    arcs, tops = _arcs(suggestions, points)
    dots = _dots(located, points)
    return Drawing(_view([*points.values(), *tops], chart.width, chart.height), chart.drawing, dots, arcs)


def pairs(suggestion: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The ids of the cities that an arc joins: a pair, or a seminar's host with each of the others."""
    ids = {city["city_id"]: city["role"] for city in suggestion["cities"]}
    first = next((city for city, role in ids.items() if role == "host"), next(iter(ids), ""))
    return [(first, city) for city in ids if city != first]


def _arcs(
    suggestions: Iterable[Mapping[str, Any]], points: Mapping[str, tuple[float, float]]
) -> tuple[list[Arc], list[tuple[float, float]]]:
    """The arcs, and the outermost point of each: what the view must hold."""
    arcs, tops, seen = [], [], Counter[frozenset[str]]()
    for suggestion in suggestions:
        names = {city["city_id"]: city["name"] for city in suggestion["cities"]}
        anchor = f"arc-{suggestion['id']}"
        for number, pair in enumerate(pairs(suggestion), 1):
            if not points.keys() >= set(pair):
                continue
            path, top = _curve(points[pair[0]], points[pair[1]], BULGE + 0.05 * seen[frozenset(pair)])
            seen[frozenset(pair)] += 1
            title = f"{' and '.join(names[city] for city in pair)}, {suggestion['score']:.0f}"
            name = anchor if number == 1 else f"{anchor}-{number}"
            arcs.append(Arc(name, suggestion["id"], suggestion["kind"], title, path))
            tops.append(top)
    return arcs, tops


def _curve(
    start: tuple[float, float], end: tuple[float, float], bulge: float
) -> tuple[str, tuple[float, float]]:
    """A quadratic curve between two points that swings to the north, and its middle."""
    (ax, ay), (bx, by) = sorted((start, end))
    across, down = bx - ax, by - ay
    control_x, control_y = (ax + bx) / 2 + bulge * down, (ay + by) / 2 - bulge * across
    middle = (ax + 2 * control_x + bx) / 4, (ay + 2 * control_y + by) / 4
    return f"M{ax:.1f} {ay:.1f}Q{control_x:.1f} {control_y:.1f} {bx:.1f} {by:.1f}", middle


def _dots(cities: Iterable[Mapping[str, Any]], points: Mapping[str, tuple[float, float]]) -> list[Dot]:
    """Each city with its name where it covers no other dot and no name set before it."""
    taken: list[Box] = [(x - 5, y - 5, x + 5, y + 5) for x, y in points.values()]
    dots = []
    for city in sorted(cities, key=lambda city: (points[city["id"]], city["id"])):
        x, y = points[city["id"]]
        places = _places(x, y, len(city["name"]) * LETTER)
        label_x, label_y, anchor, box = min(places, key=lambda place: _overlap(place[3], taken))
        taken.append(box)
        title = f"{city['name']}, {city['country']}"
        dots.append(Dot(city["name"], title, x, y, label_x, label_y, anchor))
    return dots


def _places(x: float, y: float, width: float) -> list[tuple[float, float, str, Box]]:
    """Where a name may stand around its dot, the preferred place first, with the box that it fills."""
    choices = []
    for down in (3.5, -5.0, 12.0, -13.0, 20.0):
        top, bottom = y + down - LINE + 2, y + down + 2
        choices.append((x + 7, y + down, "start", (x + 7, top, x + 7 + width, bottom)))
        choices.append((x - 7, y + down, "end", (x - 7 - width, top, x - 7, bottom)))
    for down in (-8.0, 16.0):
        top, bottom = y + down - LINE + 2, y + down + 2
        choices.append((x, y + down, "middle", (x - width / 2, top, x + width / 2, bottom)))
    return choices


def _overlap(box: Box, others: Iterable[Box]) -> float:
    """The area, in square units, that a box shares with others."""
    left, top, right, bottom = box
    return sum(
        max(0.0, min(right, r) - max(left, x)) * max(0.0, min(bottom, b) - max(top, y))
        for x, y, r, b in others
    )


def _view(points: list[tuple[float, float]], width: int, height: int) -> str:
    """The part of the map with all points and a margin around them; the whole map when there are none."""
    if not points:
        return f"0 0 {width} {height}"
    xs, ys = zip(*points, strict=True)
    left, right = max(0, math.floor(min(xs) - MARGIN)), min(width, math.ceil(max(xs) + 2.2 * MARGIN))
    top, bottom = max(0, math.floor(min(ys) - MARGIN)), min(height, math.ceil(max(ys) + MARGIN))
    return f"{left} {top} {right - left} {bottom - top}"
