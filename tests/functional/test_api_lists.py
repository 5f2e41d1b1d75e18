# SPDX-License-Identifier: Apache-2.0
"""The rules of lists: every row once, however rows are added; filters by the fields one would expect."""

from typing import Any

import pytest

from tests.factories import Door
from twinning.terms import Role


def _pages(front: Door, path: str, limit: int, between: Any = None) -> list[str]:
    """Read a list page by page, with something happening after the first."""
    seen: list[str] = []
    cursor = None
    while True:
        query = {"limit": str(limit), **({"cursor": cursor} if cursor else {})}
        page = front.client.get(path, params=query, headers=front.staff).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return seen
        if between is not None:
            between()


@pytest.mark.parametrize("limit", [2, 5])
def test_no_row_comes_twice_or_is_missed(front: Door, limit: int) -> None:
    """Rows added between two pages neither repeat nor hide the others."""
    cities = [front.city(f"City {number}")["id"] for number in range(5)]
    seen = _pages(
        front, "/v1/cities", limit, lambda: len(cities) < 8 and cities.append(front.city("Late")["id"])
    )

    assert seen == cities


def test_suggestions_come_best_first_and_page_by_page(front: Door) -> None:
    """The order is by score, then by id, across pages, also where scores are equal."""
    city = front.city()
    scores = [10.5, 70.25, 70.25, 33.3, 70.25]
    made = [
        (score, front.suggest(front.city(f"City {n}", "KR"), city, score)) for n, score in enumerate(scores)
    ]

    assert _pages(front, "/v1/suggestions", 2) == [
        each for _, each in sorted(made, key=lambda m: (-m[0], m[1]))
    ]


@pytest.mark.parametrize("path", ["/v1/cities", "/v1/reference/themes", "/v1/events", "/v1/api-keys"])
def test_a_list_has_a_tag_of_its_content(front: Door, path: str) -> None:
    """A list gives the same ETag until it reads otherwise."""
    tags = [front.client.get(path, headers=front.staff).headers["etag"] for _ in range(2)]
    front.city()
    front.key(Role.STAFF)
    later = front.client.get(path, headers=front.staff).headers["etag"]

    assert tags[0] == tags[1]
    assert (later == tags[0]) is path.startswith("/v1/reference")


CITY_FILTERS = {
    "": ["Cork", "Limerick", "Suwon", "Łódź"],
    "country=IE": ["Cork", "Limerick"],
    "region=asia": ["Suwon"],
    "text=MER": ["Limerick"],
    "text=shannon": ["Limerick"],
    "text=ŁÓDŹ": ["Łódź"],
    "text=łódź": ["Łódź"],
    "text=%25": [],
    "text=_": [],
    "external_ref=cork": ["Cork"],
    "country=IE&text=co": ["Cork"],
}


def test_cities_are_filtered(front: Door) -> None:
    """Each filter narrows the list, all of them together; text knows no wildcards and no case."""
    front.city("Limerick", summary="On the Shannon")
    front.city("Cork", external_ref="cork")
    front.city("Suwon", "KR")
    front.city("Łódź", "PL")
    found = {
        query: sorted(
            item["name"]
            for item in front.client.get(f"/v1/cities?{query}", headers=front.staff).json()["items"]
        )
        for query in CITY_FILTERS
    }

    assert found == CITY_FILTERS


def test_listings_are_filtered(front: Door) -> None:
    """Listings are found by city, country, region, theme, state, text and reference, needs if unmet."""
    limerick, suwon = front.city(), front.city("Suwon", "KR")
    front.need(limerick["id"], title="Reading", themes=["sdg-4"], external_ref="r1")
    front.need(
        limerick["id"], title="Cycling", themes=["sdg-11", "cl1"], description="Lanes for all", state="paused"
    )
    front.need(suwon["id"], title="Ageing", themes=[], description="Third age")

    def found(query: str) -> list[str]:
        items = front.client.get(f"/v1/needs?{query}", headers=front.staff).json()["items"]
        return [item["title"] for item in items]

    assert found(f"city_id={limerick['id']}") == ["Reading", "Cycling"]
    assert found("country=KR") == found("region=asia") == found("text=third") == ["Ageing"]
    assert found("theme=cl1") == found("state=paused") == found("text=LANES") == ["Cycling"]
    assert found("external_ref=r1") == found("theme=sdg-4") == ["Reading"]
    assert found("unmet=true") == found("theme=cl2") == found("city_id=nobody") == []


def test_suggestions_are_filtered(front: Door) -> None:
    """Suggestions are found by kind, city, country, theme, status, band and text."""
    limerick, suwon, seoul = front.city(), front.city("Suwon", "KR"), front.city("Ulaanbaatar", "MN")
    first, second = front.suggest(suwon, limerick, 60), front.suggest(seoul, limerick, 50)

    def found(query: str) -> list[str]:
        items = front.client.get(f"/v1/suggestions?{query}", headers=front.staff).json()["items"]
        return [item["id"] for item in items]

    assert found("kind=study_visit") == found("country=IE") == found("theme=sdg-4") == [first, second]
    assert found("min_band=strong") == found("status=proposed") == found("text=limer") == [first, second]
    assert found(f"city_id={suwon['id']}") == found("country=KR") == found("text=suw") == [first]
    assert found("country=MN") == [second]
    assert found("kind=twinning") == found("status=withdrawn") == found("theme=cl2") == []
