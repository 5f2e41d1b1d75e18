# SPDX-License-Identifier: Apache-2.0
"""What a round proposes as a file: CSV, XLSX, JSON Lines, or lines on a map as GeoJSON (RFC 7946).

It names cities and listings by id, and carries no id of a suggestion or round and no time: the same catalogue
and parameters give the same bytes. It never holds a contact. A table has a row for each reason.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import IO, Any, Final

from sqlmodel import Session

from twinning import cities, delimited, json_lines, rounds, sheet_writing, suggestions
from twinning.columns import written
from twinning.keys import Caller
from twinning.suggestions import SuggestionPublic

AT_ONCE: Final = 200
_UNTOLD: Final = frozenset(
    {"id", "round_id", "status", "catalogue_version", "engine_version", "created_at", "updated_at"}
)
COLUMNS: Final = (
    "place", "kind", "score", "band", "city_ids", "cities", "roles",
    "need_id", "need_title", "need_city_id", "need_city", "need_country",
    "practice_id", "practice_title", "practice_city_id", "practice_city", "practice_country",
    "reason_score", "reason_band", "words", "themes", "need_quote", "practice_quote",
)  # fmt: skip


class ExportFormat(StrEnum):
    """The formats of an export of a round."""

    CSV = "csv"
    XLSX = "xlsx"
    GEOJSON = "geojson"
    JSONL = "jsonl"


MEDIA_TYPES: Final = {
    ExportFormat.CSV: "text/csv",
    ExportFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ExportFormat.GEOJSON: "application/geo+json",
    ExportFormat.JSONL: "application/jsonl",
}


def write(
    file: IO[bytes], form: ExportFormat, session: Session, round_id: str, reader: Caller | None
) -> None:
    """Write what a round proposes, best first; to a reader just their part."""
    proposed = _proposed(session, round_id, reader)
    if form is ExportFormat.CSV:
        file.writelines(delimited.write(COLUMNS, _table(proposed)))
    elif form is ExportFormat.XLSX:
        sheet_writing.write(file, {"suggestions": (COLUMNS, _table(proposed))})
    elif form is ExportFormat.JSONL:
        file.writelines(json_lines.write(_told(place, one) for place, one in proposed))
    else:
        file.writelines(_map(session, proposed))


def _proposed(
    session: Session, round_id: str, reader: Caller | None
) -> Iterator[tuple[int, SuggestionPublic]]:
    """Give the suggestions with their place, some at a time."""
    after: tuple[float, int] | None = None
    place = 0
    while rows := rounds.proposed(session, round_id, AT_ONCE, after, reader, standing=True):
        for _, row in rows:
            place += 1
            yield place, suggestions.public(row)
        after = rows[-1][1].score, rows[-1][0]


def _told(place: int, suggestion: SuggestionPublic) -> dict[str, Any]:
    return {"place": place, **suggestion.model_dump(mode="json", exclude=set(_UNTOLD))}


def _table(proposed: Iterable[tuple[int, SuggestionPublic]]) -> Iterator[Sequence[Any]]:
    """Lay suggestions out as rows, one for each reason."""
    for place, one in proposed:
        known = {city.city_id: (city.city_id, city.name, city.country) for city in one.cities}
        whole = (
            place, one.kind.value, round(one.score, 2), one.band.value,
            written([city.city_id for city in one.cities]),
            written([city.name for city in one.cities]),
            written([city.role.value for city in one.cities]),
        )  # fmt: skip
        for reason in one.reasons:
            need, practice = (
                known.get(city_id, (city_id, None, None))
                for city_id in (reason.need_city_id, reason.practice_city_id)
            )
            yield (
                *whole,
                reason.need_id, reason.need_title, *need,
                reason.practice_id, reason.practice_title, *practice,
                round(reason.score, 2), reason.band.value,
                written([term.term for term in reason.terms]), written(reason.themes),
                reason.need_quote, reason.practice_quote,
            )  # fmt: skip


def _map(session: Session, proposed: Iterable[tuple[int, SuggestionPublic]]) -> Iterator[bytes]:
    """Draw each suggestion as a line between its cities, and then each city as a point."""
    places: dict[str, list[float] | None] = {}
    named: dict[str, dict[str, Any]] = {}
    begin = b'{"type":"FeatureCollection","features":['
    for place, one in proposed:
        ids = [city.city_id for city in one.cities]
        places |= _places(session, [city_id for city_id in ids if city_id not in places])
        named |= {city.city_id: city.model_dump(mode="json", exclude={"role"}) for city in one.cities}
        yield begin + _feature(_joined([places[city_id] for city_id in ids]), _told(place, one))
        begin = b",\n"
    for city_id, facts in sorted(named.items()):
        point = places[city_id]
        geometry = None if point is None else {"type": "Point", "coordinates": point}
        yield begin + _feature(geometry, {"kind": "city", **facts})
        begin = b",\n"
    yield begin.strip(b",\n") + b"]}\n"


def _places(session: Session, ids: Collection[str]) -> dict[str, list[float] | None]:
    """Find where cities lie, as GeoJSON has it: the longitude first; None for those that do not say."""
    return dict.fromkeys(ids) | cities.points_of(session, ids)


def _joined(points: Sequence[list[float] | None]) -> dict[str, Any] | None:
    """Join the cities of a suggestion: two by a line, more as points; None where one does not say."""
    if not all(points):
        return None
    return {"type": "LineString" if len(points) == 2 else "MultiPoint", "coordinates": list(points)}


def _feature(geometry: dict[str, Any] | None, properties: dict[str, Any]) -> bytes:
    feature = {"type": "Feature", "geometry": geometry, "properties": properties}
    return json.dumps(feature, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
