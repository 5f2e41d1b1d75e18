# SPDX-License-Identifier: Apache-2.0
"""The rules of the registry hold for a file as for a request: reviews, like names, terms that are over."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from services.matcher.importing import Importer
from tests.factories import Door, door
from twinning import deadlines

PRACTICE = {"kind": "practice", "ref": "p1", "title": "Reading circles", "description": "Volunteers read."}
NEED = {"kind": "need", "ref": "n1", "title": "Digital skills", "description": "How do older people learn?"}


@pytest.fixture
def house(database_url: str) -> Iterator[Door]:
    """A moderated house, once on each kind of database."""
    with door(database_url, moderation=True) as opened:
        yield opened


def imported(house: Door, headers: dict[str, str], *rows: dict[str, Any]) -> dict[str, Any]:
    """Import some rows; gives the report."""
    content = "\n".join(map(json.dumps, rows)).encode()
    answer = house.client.post("/v1/imports", files={"file": ("rows.jsonl", content)}, headers=headers)
    importer = Importer(house.database, house.settings, "i1")
    while importer.take():
        pass
    report: dict[str, Any] = house.client.get(answer.headers["location"], headers=headers).json()
    return report


def test_a_citys_file_waits_for_its_coordinator(house: Door) -> None:
    """Its rows are submitted; what was returned stays so when the same file comes again, without an event."""
    city = house.city()["id"]
    own, coordinator = house.of_city(city), house.coordinator("IE")
    row = {**PRACTICE, "city_ref": city, "state": "published"}
    imported(house, own, row)
    made = house.client.get("/v1/practices", headers=own).json()["items"][0]
    path = f"/v1/practices/{made['id']}"
    returned = {"state": "returned", "review_comment": "Say more."}
    house.client.patch(path, json=returned, headers=coordinator)
    told = house.events()
    again = imported(house, own, row)
    untold = house.events()
    imported(house, own, {**row, "description": "Volunteers read with adults."})
    rewritten = house.client.get(path, headers=own).json()["state"]

    assert made["state"] == "submitted"
    assert again["counts"]["unchanged"] == 1
    assert [kind for kind in untold if kind.startswith("practice")] == [
        kind for kind in told if kind.startswith("practice")
    ]
    assert rewritten == "submitted"


def test_a_row_that_returns_itself_is_refused(house: Door) -> None:
    """A city's file cannot return a listing; its other rows land."""
    city = house.city()["id"]
    rows = ({**PRACTICE, "city_ref": city, "state": "returned"}, {**NEED, "city_ref": city})
    report = imported(house, house.of_city(city), *rows)

    assert (report["counts"]["created"], [each["column"] for each in report["refusals"]]) == (1, ["state"])


def test_a_row_of_a_like_city_is_refused(house: Door) -> None:
    """A city that is registered under another spelling is refused by row, with the reason."""
    house.city("Okayama", "JP")
    row = {"kind": "city", "ref": "okoyama", "name": "Okoyama", "country": "JP"}
    report = imported(house, house.staff, row)

    assert report["counts"]["created"] == 0
    assert "Okayama (JP) is registered already" in report["refusals"][0]["reason"]


def test_a_need_of_a_file_that_is_over_expires_and_stays_so(house: Door) -> None:
    """A row whose day has passed lands, expires at the next look, and is unchanged when it comes again."""
    row = {**NEED, "city_ref": house.city()["id"], "expires_on": "2020-01-01", "state": "published"}
    imported(house, house.staff, row)
    deadlines.keep(house.database)
    again = imported(house, house.staff, row)
    need = house.client.get("/v1/needs", headers=house.staff).json()["items"][0]

    assert (need["state"], again["counts"]["unchanged"]) == ("expired", 1)
    assert house.events().count("need.expired") == 1
