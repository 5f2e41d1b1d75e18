# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001 (a script that is run by its path, not a package)
"""Draw the map of Asia and Europe that ships in ``twinning/data`` from a TopoJSON file of the world.

    npm pack world-atlas@2.0.2 && tar xf world-atlas-2.0.2.tgz
    python tools/make_map.py package/countries-50m.json twinning/data

It writes ``map.svg`` (the land as one filled path, the borders as one line) and ``map.json`` (the frame,
with which ``twinning.reference`` places a city). TopoJSON: https://github.com/topojson/topojson-specification.
Projection: Miller's cylindrical (O. M. Miller, Geographical Review 32, 1942), in which Europe stays legible.
"""

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

Point = tuple[float, float]
Line = list[Point]

WEST, EAST, SOUTH, NORTH = -26, 180, -48, 72
WIDTH = 1000
SCALE = WIDTH / math.radians(EAST - WEST)
TOLERANCE = 0.25
"""How far, in units of the drawing, a simplified line may run from the true one."""
SMALLEST = 0.35
"""The area, in square units, under which an island is left out: Singapore and Malta stay."""


def miller(latitude: float) -> float:
    """Miller's ordinate of a latitude, in radians of the globe's radius, growing to the north."""
    return 1.25 * math.log(math.tan(math.pi / 4 + 0.4 * math.radians(latitude)))


HEIGHT = round(SCALE * (miller(NORTH) - miller(SOUTH)))


def project(point: Point) -> Point:
    """Where a longitude and latitude fall in the drawing, with its origin at the north-west corner."""
    longitude, latitude = point
    clamped = max(-89.0, min(89.0, latitude))
    return SCALE * math.radians(longitude - WEST), SCALE * (miller(NORTH) - miller(clamped))


def decoded(topology: dict[str, Any]) -> list[Line]:
    """The arcs as longitudes and latitudes: quantised differences added up, scaled and moved."""
    (scale_x, scale_y), (move_x, move_y) = topology["transform"]["scale"], topology["transform"]["translate"]
    arcs = []
    for arc in topology["arcs"]:
        steps = accumulate(arc, lambda here, step: (here[0] + step[0], here[1] + step[1]))
        arcs.append([(x * scale_x + move_x, y * scale_y + move_y) for x, y in steps])
    return arcs


def unwrapped(line: Line) -> Line:
    """The same line without the jump at the antimeridian: each longitude within 180 degrees of the last."""
    result = line[:1]
    for longitude, latitude in line[1:]:
        turns = round((result[-1][0] - longitude) / 360)
        result.append((longitude + 360 * turns, latitude))
    return result


def simplified(line: Line) -> Line:
    """Douglas and Peucker's simplification in the drawing's units; a line's two ends stay where they are."""
    drawn = [project(point) for point in unwrapped(line)]
    keep = {0, len(line) - 1}
    open_spans = [(0, len(line) - 1)]
    while open_spans:
        first, last = open_spans.pop()
        if last - first < 2:
            continue
        far = max(range(first + 1, last), key=lambda i: distance(drawn[i], drawn[first], drawn[last]))
        if distance(drawn[far], drawn[first], drawn[last]) > TOLERANCE:
            keep.add(far)
            open_spans += [(first, far), (far, last)]
    return [line[i] for i in sorted(keep)]


def distance(point: Point, start: Point, end: Point) -> float:
    """How far a point lies from the segment between two others."""
    (x, y), (ax, ay), (bx, by) = point, start, end
    length = (bx - ax) ** 2 + (by - ay) ** 2
    along = ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length if length else 0.0
    along = max(0.0, min(1.0, along))
    return math.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay))


def polygons(geometry: dict[str, Any]) -> Iterator[list[list[int]]]:
    """Each polygon of a geometry, however deep it nests, as its rings of arc numbers."""
    if geometry["type"] == "GeometryCollection":
        for part in geometry["geometries"]:
            yield from polygons(part)
    elif geometry["type"] == "Polygon":
        yield geometry["arcs"]
    elif geometry["type"] == "MultiPolygon":
        yield from geometry["arcs"]


def joined(numbers: list[int], arcs: list[Line]) -> Line:
    """One ring out of its arcs; a negative number means that arc backwards, as TopoJSON has it."""
    ring: Line = []
    for number in numbers:
        arc = arcs[number] if number >= 0 else arcs[~number][::-1]
        ring += arc[1:] if ring else arc
    return ring


def drawn_copies(line: Line) -> Iterator[Line]:
    """The line in the drawing's units, once for each turn round the globe that may meet the frame."""
    straight = unwrapped(line)
    for turn in (-360, 0, 360):
        copy = [project((longitude + turn, latitude)) for longitude, latitude in straight]
        if max(x for x, _ in copy) > 0 and min(x for x, _ in copy) < WIDTH:
            yield copy


def clipped(ring: Line) -> Line:
    """The part of a ring inside the frame (Sutherland and Hodgman, Communications of the ACM 17, 1974)."""
    for axis, bound, side in ((0, -2, 1), (0, WIDTH + 2, -1), (1, -2, 1), (1, HEIGHT + 2, -1)):
        ring = cut(ring, axis, bound, side)
    return ring


def cut(ring: Line, axis: int, bound: float, side: int) -> Line:
    """The part of a ring above (``side`` 1) or below (-1) one bound of one axis."""
    result: Line = []
    for start, end in pairwise([*ring[-1:], *ring]):
        if (side * (start[axis] - bound) >= 0) != (side * (end[axis] - bound) >= 0):
            part = (bound - start[axis]) / (end[axis] - start[axis])
            result.append((start[0] + part * (end[0] - start[0]), start[1] + part * (end[1] - start[1])))
        if side * (end[axis] - bound) >= 0:
            result.append(end)
    return result


def area(ring: Line) -> float:
    """The area of a ring by the shoelace rule, in square units."""
    return abs(sum(ax * by - bx * ay for (ax, ay), (bx, by) in pairwise([*ring, *ring[:1]]))) / 2


def inside_runs(line: Line) -> Iterator[Line]:
    """The stretches of an open line that lie in the frame, each with one point beyond it."""
    run: Line = []
    for x, y in line:
        run.append((x, y))
        if not (-2 <= x <= WIDTH + 2 and -2 <= y <= HEIGHT + 2):
            if len(run) > 2:
                yield run
            run = [(x, y)]
    if len(run) > 1:
        yield run


def written(line: Line, end: str = "") -> str:
    """The line as SVG path data: one absolute start, then steps of tenths of a unit that cannot drift."""
    tenths = [(round(x * 10), round(y * 10)) for x, y in line]
    steps = [(bx - ax, by - ay) for (ax, ay), (bx, by) in pairwise(tenths) if (ax, ay) != (bx, by)]
    numbers = "".join(f"{short(x, lead=True)}{short(y, lead=True)}" for x, y in steps)
    return f"M{short(tenths[0][0])}{short(tenths[0][1], lead=True)}l{numbers.lstrip()}{end}" if steps else ""


def short(tenths: int, *, lead: bool = False) -> str:
    """A number of tenths as SVG reads it in the fewest characters, after a blank where one is needed."""
    text = (
        f"{tenths / 10:.1f}".removesuffix(".0").replace("0.", ".", 1)
        if abs(tenths) < 10
        else f"{tenths / 10:g}"
    )
    return f" {text}" if lead and not text.startswith("-") else text


def land(topology: dict[str, Any], arcs: list[Line]) -> str:
    """All land in the frame as one path."""
    path = []
    for polygon in polygons(topology["objects"]["land"]):
        for numbers in polygon:
            for ring in drawn_copies(joined(numbers, arcs)):
                visible = clipped(ring)
                if area(visible) > SMALLEST:
                    path.append(written(visible, "z"))
    return "".join(path)


def borders(topology: dict[str, Any], arcs: list[Line]) -> str:
    """The arcs that two countries share, as one path of open lines."""
    uses = Counter(
        arc if arc >= 0 else ~arc
        for polygon in polygons(topology["objects"]["countries"])
        for numbers in polygon
        for arc in numbers
    )
    shared = [arcs[arc] for arc, count in sorted(uses.items()) if count > 1]
    return "".join(written(run) for arc in shared for copy in drawn_copies(arc) for run in inside_runs(copy))


def main() -> None:
    """Read the world, write the map and its frame."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("world", type=Path, help="countries-50m.json of npm's world-atlas 2.0.2")
    parser.add_argument("folder", type=Path, help="where map.svg and map.json go")
    arguments = parser.parse_args()
    topology = json.loads(arguments.world.read_text(encoding="utf-8"))
    arcs = [simplified(arc) for arc in decoded(topology)]
    (arguments.folder / "map.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">\n'
        "<!-- Land and borders: Natural Earth (public domain), no statement on status. -->\n"
        f'<path class="land" fill="#ddd" fill-rule="evenodd" d="{land(topology, arcs)}"/>\n'
        f'<path class="borders" fill="none" stroke="#fff" stroke-width=".5" d="{borders(topology, arcs)}"/>\n'
        "</svg>\n",
        encoding="utf-8",
    )
    frame = {"projection": "miller", "west": WEST, "east": EAST, "south": SOUTH, "north": NORTH}
    size = {"width": WIDTH, "height": HEIGHT}
    (arguments.folder / "map.json").write_text(json.dumps(frame | size) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
