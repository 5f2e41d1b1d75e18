# SPDX-License-Identifier: Apache-2.0
"""Rounds of every kind through the front door: what is refused, and what comes of the rest."""

from typing import Any

import pytest

from services.matcher.matching import Matcher
from tests.factories import Door

READING = "Volunteers read novels aloud with adults of low literacy in the neighbourhood library"
ASKING = "We look for volunteers who bring adults with low literacy to reading in the library"
CITIES = [
    ("Suwon", "KR"),
    ("Cork", "IE"),
    ("Osan", "KR"),
    ("Espoo", "FI"),
    ("Goyang", "KR"),
    ("Limerick", "IE"),
]
OTHERS = [
    "Rain gardens at schools against floods",
    "Apprenticeships for young people",
    "Tablets for senior citizens",
    "A festival of learning in the park",
    "Language courses with childcare",
    "Health walks with nurses",
]
PLAIN: dict[str, Any] = {"themes": [], "target_groups": [], "languages": []}
ROUNDS = [
    ({"kind": "study_visit", "assignment": "balanced", "per_city": 1}, 6),
    ({"kind": "study_visit", "assignment": "balanced", "per_city": 1, "cross_region": False}, 6),
    ({"kind": "study_visit", "assignment": "balanced", "per_city": 1, "countries": ["FI"]}, 1),
    ({"kind": "twinning", "assignment": "balanced", "per_city": 1}, 3),
    ({"kind": "seminar"}, 1),
    ({"kind": "seminar", "assignment": "balanced"}, 1),
    ({"kind": "seminar", "assignment": "balanced", "cross_region": False, "per_city": 1}, 1),
    ({"kind": "seminar", "themes": ["sdg-13"]}, 0),
]
REFUSED = [
    ({"kind": "twinning", "assignment": "balanced", "cross_region": False}, "/cross_region"),
    ({"kind": "study_visit", "assignment": "fair"}, "/assignment"),
    ({"kind": "study_visit", "assignment": "balanced", "per_city": 0}, "/per_city"),
]


@pytest.mark.parametrize(("wanted", "pointer"), REFUSED)
def test_a_round_that_has_no_meaning_is_refused_by_its_field(
    shared: Door, wanted: dict[str, Any], pointer: str
) -> None:
    """What cannot be shared out is a 422 that points at the field."""
    answer = shared.client.post("/v1/matching-rounds", json=wanted, headers=shared.staff)

    assert answer.status_code == 422
    assert [flaw["pointer"] for flaw in answer.json()["errors"]] == [pointer]


def test_a_round_of_each_kind_says_what_it_shares_out(front: Door) -> None:
    """Rounds of visits, twinnings and seminars over HTTP complete with their suggestions and their totals."""
    hosting = {"offers_visits": True, "seats": None, "visits_per_year": None, "months": []}
    for number, (name, country) in enumerate(CITIES):
        city = front.city(name, country)["id"]
        front.practice(city, **PLAIN, title=f"Reading in {name}", description=READING, hosting=hosting)
        front.need(city, **PLAIN, title="Reading", description=ASKING, seeks=[], months=[])
        front.need(city, **PLAIN, title="Other", description=OTHERS[number], seeks=[], months=[])
    asked = [
        front.client.post("/v1/matching-rounds", json=wanted, headers=front.staff).headers["Location"]
        for wanted, _ in ROUNDS
    ]
    Matcher(front.database, front.settings, "m1").take()

    for path, (wanted, expected) in zip(asked, ROUNDS, strict=True):
        told = front.client.get(path, headers=front.staff).json()
        found = front.client.get(f"{path}/suggestions", headers=front.staff).json()["items"]
        assert told["state"] == "completed", told
        assert len(found) == expected, wanted
        if wanted.get("cross_region", True):
            # Within regions it links to what the first round found across them, with its score.
            assert told["summary"]["total_score"] == pytest.approx(sum(each["score"] for each in found))
        assert 0.0 <= told["summary"]["score_loss"] <= 1.0
        shared = wanted.get("assignment") == "balanced"
        assert told["summary"]["optimality_gap"] == (0.0 if shared else None)
        assert {each["kind"] for each in found} <= {wanted["kind"]}
        roles = [(city["city_id"], city["role"]) for each in found for city in each["cities"]]
        assert len(roles) == len(set(roles))
