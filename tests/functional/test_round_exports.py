# SPDX-License-Identifier: Apache-2.0
"""Exports of rounds: every format says the same, names no suggestion and no time, and is safe to open."""

import csv
import io
import json
import re
from typing import Any

import pytest
from geojson_pydantic import FeatureCollection
from openpyxl import load_workbook

from services.matcher.matching import Matcher
from tests.factories import Door

READING = "Volunteers read novels aloud with adults of low literacy in the neighbourhood library"
ASKING = "We look for volunteers who bring adults with low literacy to reading in the library"
PLAIN: dict[str, Any] = {"themes": [], "target_groups": [], "languages": [], "hosting": None}
CITIES = [
    ("Suwon", "KR", 37.3, 127.0),
    ("Cork", "IE", 51.9, -8.5),
    ("Utopia", "KR", None, None),
    ("Espoo", "FI", 60.2, 24.7),
]
FORMATS = ["csv", "xlsx", "geojson", "jsonl"]
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}")


def catalogue(front: Door) -> list[dict[str, Any]]:
    """Four cities that answer each other, one of them nowhere on the map, with contacts and a formula."""
    made = []
    for number, (name, country, latitude, longitude) in enumerate(CITIES):
        contact = {"name": "Planted Person", "email": "planted@secret.example"}
        city = front.city(name, country, latitude=latitude, longitude=longitude, contact=contact)
        made.append(city)
        kinds = {"title": f"=1+{number}", "description": READING}
        front.practice(city["id"], **PLAIN, **kinds)
        front.need(
            city["id"],
            themes=[],
            target_groups=[],
            languages=[],
            title="+Reading",
            description=ASKING,
            seeks=[],
            months=[],
        )
    return made


def run_round(front: Door, **wanted: Any) -> str:
    """Run a round and give its path."""
    asked = front.client.post(
        "/v1/matching-rounds", json={"kind": "study_visit", **wanted}, headers=front.staff
    )
    Matcher(front.database, front.settings, "m1").take()
    path: str = asked.headers["location"]
    assert front.client.get(path, headers=front.staff).json()["state"] == "completed"
    return path


def export(front: Door, path: str, form: str, headers: dict[str, str] | None = None) -> bytes:
    """An export of a round."""
    answer = front.client.get(f"{path}/export?format={form}", headers=headers or front.staff)
    assert answer.status_code == 200, answer.text
    assert len(answer.content) == int(answer.headers["content-length"])
    return answer.content


def rows_of(content: bytes) -> list[dict[str, str]]:
    """The rows of a CSV export."""
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_every_format_says_what_the_round_proposes(front: Door) -> None:
    """The same suggestions in the same order, a row for each reason, whatever the format."""
    catalogue(front)
    path = run_round(front)
    shown = front.client.get(f"{path}/suggestions", headers=front.staff).json()["items"]
    table = rows_of(export(front, path, "csv"))
    sheet = list(load_workbook(io.BytesIO(export(front, path, "xlsx"))).active.values)  # type: ignore[union-attr]
    lines = [json.loads(line) for line in export(front, path, "jsonl").splitlines()]
    features = json.loads(export(front, path, "geojson"))["features"]

    reasons = [reason for each in shown for reason in each["reasons"]]
    assert reasons
    assert [(row["need_id"], row["practice_id"]) for row in table] == [
        (r["need_id"], r["practice_id"]) for r in reasons
    ]
    assert [row[7] for row in sheet[1:]] == [reason["need_id"] for reason in reasons]
    assert [line["reasons"] for line in lines] == [each["reasons"] for each in shown]
    assert [line["place"] for line in lines] == list(range(1, len(shown) + 1))
    assert [each["properties"]["score"] for each in features[: len(shown)]] == [
        each["score"] for each in shown
    ]


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_catalogue_and_parameters_give_the_same_bytes(front: Door, form: str) -> None:
    """A second round exports the very bytes of the first, with no id of either, no time and no contact."""
    cities = catalogue(front)
    first, second = run_round(front), run_round(front)
    content = export(front, first, form)
    listings = [
        item["id"]
        for kind in ("practices", "needs")
        for item in front.client.get(f"/v1/{kind}", headers=front.staff).json()["items"]
    ]
    told = content.decode("utf-8", "replace")
    if form == "xlsx":
        told = "\n".join(str(row) for row in load_workbook(io.BytesIO(content)).active.values)  # type: ignore[union-attr]

    assert export(front, second, form) == content
    assert set(UUID.findall(told)) == {city["id"] for city in cities} | set(listings)
    assert not TIME.search(told)
    assert "lanted" not in told


def test_the_map_is_geojson(front: Door) -> None:
    """A library finds nothing wrong; two cities are a line, and where one is nowhere there is no geometry."""
    cities = catalogue(front)
    found = FeatureCollection.model_validate_json(export(front, run_round(front), "geojson"))
    nowhere = cities[2]["id"]

    drawn = {"line": 0, "none": 0, "point": 0}
    for feature in found.features:
        facts = feature.properties
        assert isinstance(facts, dict)
        ids = [facts["city_id"]] if facts["kind"] == "city" else [city["city_id"] for city in facts["cities"]]
        if nowhere in ids:
            assert feature.geometry is None
            drawn["none"] += 1
        elif facts["kind"] == "city":
            assert feature.geometry is not None
            assert feature.geometry.type == "Point"
            drawn["point"] += 1
        else:
            assert feature.geometry is not None
            assert feature.geometry.type == "LineString"
            drawn["line"] += 1
    assert drawn["point"] == 3
    assert drawn["line"] >= 2
    assert drawn["none"] >= 2


def test_no_cell_is_a_formula(front: Door) -> None:
    """Titles that begin like formulas are texts: with an apostrophe in CSV, as a text in a workbook."""
    catalogue(front)
    path = run_round(front)
    table = rows_of(export(front, path, "csv"))
    sheet = load_workbook(io.BytesIO(export(front, path, "xlsx"))).active
    assert sheet is not None

    assert {row["need_title"] for row in table} == {"'+Reading"}
    assert all(row["practice_title"].startswith("'=1+") for row in table)
    assert {cell.data_type for row in sheet.iter_rows() for cell in row} <= {"s", "n", "inlineStr"}
    assert all(str(row[13]).startswith("=1+") for row in list(sheet.values)[1:])


def test_a_city_exports_its_part(front: Door) -> None:
    """A city's key gets the suggestions that name it, as it reads them; others' rounds are not there."""
    cities = catalogue(front)
    path = run_round(front)
    key = front.of_city(cities[0]["id"])
    mine = [json.loads(line) for line in export(front, path, "jsonl", key).splitlines()]
    stranger = front.client.get(f"{path}/export", headers=front.coordinator("PT"))

    assert mine
    assert all(cities[0]["id"] in [city["city_id"] for city in each["cities"]] for each in mine)
    assert stranger.status_code == 404


def test_a_round_without_suggestions_is_exported(embedded: Door) -> None:
    """There is a file, with a header and nothing under it."""
    path = run_round(embedded)

    assert rows_of(export(embedded, path, "csv")) == []
    assert export(embedded, path, "jsonl") == b""
    assert json.loads(export(embedded, path, "geojson"))["features"] == []
    assert export(embedded, path, "xlsx").startswith(b"PK")
    assert embedded.client.get(f"{path}/export?format=pdf", headers=embedded.staff).status_code == 422
    assert embedded.client.get(f"{path}/export?x=1", headers=embedded.staff).status_code == 422
