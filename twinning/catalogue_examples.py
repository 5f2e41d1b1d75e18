# SPDX-License-Identifier: Apache-2.0
"""The examples of cities, practices and needs.

Both cities are members of UNESCO's network; what they say here is made up.
"""

from twinning.hook_examples import MOMENT, Example

SUWON = "0198c0de-0000-7000-8000-000000000001"
LIMERICK = "0198c0de-0000-7000-8000-000000000002"
PRACTICE = "0198c0de-0000-7000-8000-000000000003"
NEED = "0198c0de-0000-7000-8000-000000000004"
COUNTER_PRACTICE = "0198c0de-0000-7000-8000-000000000005"

CITY_REQUEST: Example = {
    "name": "Limerick",
    "country": "IE",
    "external_ref": "limerick",
    "languages": ["en"],
    "latitude": 52.66,
    "longitude": -8.62,
    "population": 102000,
    "website": "https://www.limerick.ie/",
    "summary": "A learning city on the Shannon with a yearly festival of lifelong learning.",
    "networks": ["UNESCO Global Network of Learning Cities"],
    "existing_partners": [],
    "contact": {"name": "Learning City Office", "email": "learning@limerick.example"},
}
CITY_CHANGE: Example = {"summary": "A learning city on the Shannon.", "languages": ["en", "ga"]}
CITY_SHOWN: Example = {
    "id": LIMERICK,
    **{name: value for name, value in CITY_REQUEST.items() if name != "contact"},
    "region": "europe",
    "state": "registered",
    "created_at": MOMENT,
    "updated_at": MOMENT,
}
CITY_OWNED: Example = {**CITY_SHOWN, "contact": CITY_REQUEST["contact"]}

PRACTICE_REQUEST: Example = {
    "title": "Reading circles in every neighbourhood library",
    "description": "Volunteers lead weekly reading circles for adults who read little. Libraries open late, "
    "and each circle chooses its own books.",
    "challenge": "Adults with low literacy do not come to evening classes.",
    "outcomes": "Readers stay on and bring their neighbours.",
    "lessons": "Let the readers choose.",
    "transfer_conditions": "A library open in the evening and one paid coordinator.",
    "themes": ["cl1", "sdg-4"],
    "target_groups": ["adults with low literacy"],
    "languages": ["ko", "en"],
    "external_ref": "reading-circles",
    "state": "published",
    "hosting": {"offers_visits": True, "seats": 12, "visits_per_year": 3, "months": [4, 5, 10]},
}
PRACTICE_CHANGE: Example = {"outcomes": "Readers stay on and become volunteers.", "state": "paused"}
PRACTICE_SHOWN: Example = {
    "id": PRACTICE,
    "city_id": SUWON,
    **PRACTICE_REQUEST,
    "language": "en",
    "suggested_themes": [{"theme": "cl7", "label": "Literacy", "score": 0.4}],
    "confirmed_at": MOMENT,
    "confirm_by": "2027-03-02",
    "stale": False,
    "kind": "practice",
    "created_at": MOMENT,
    "updated_at": MOMENT,
}

NEED_REQUEST: Example = {
    "title": "Bringing adults with low literacy back to reading",
    "description": "Many adults left school early and avoid evening classes. We look for ways to reach them "
    "through libraries and volunteers.",
    "strength": 4,
    "themes": ["cl1", "sdg-4"],
    "target_groups": ["adults with low literacy"],
    "languages": ["en"],
    "external_ref": "adult-literacy",
    "state": "published",
    "seeks": ["study_visit", "twinning"],
    "party_size": 4,
    "months": [5, 9],
    "expires_on": "2027-03-01",
}
NEED_CHANGE: Example = {"strength": 5, "months": [9]}
NEED_SHOWN: Example = {
    "id": NEED,
    "city_id": LIMERICK,
    **NEED_REQUEST,
    "language": "en",
    "suggested_themes": [{"theme": "cl7", "label": "Literacy", "score": 0.4}],
    "unmet": False,
    "kind": "need",
    "created_at": MOMENT,
    "updated_at": MOMENT,
}

WARNINGS: Example = {
    "warnings": [
        {
            "code": "nearly-the-same",
            "detail": "Another practice of this city says nearly the same.",
            "listing": {"id": COUNTER_PRACTICE, "title": "Reading circles in each library"},
        }
    ]
}

SHAPES: dict[str, Example] = {
    "CityCreate": CITY_REQUEST,
    "CityUpdate": CITY_CHANGE,
    "CityPublic": CITY_SHOWN,
    "CityOwned": CITY_OWNED,
    "PracticeCreate": PRACTICE_REQUEST,
    "PracticeUpdate": PRACTICE_CHANGE,
    "PracticePublic": PRACTICE_SHOWN,
    "PracticeOwned": {**PRACTICE_SHOWN, "review_comment": "Please say who may come and how often."},
    "PracticeMade": {**PRACTICE_SHOWN, "review_comment": None, **WARNINGS},
    "NeedCreate": NEED_REQUEST,
    "NeedUpdate": NEED_CHANGE,
    "NeedPublic": NEED_SHOWN,
    "NeedOwned": {**NEED_SHOWN, "review_comment": None},
    "NeedMade": {**NEED_SHOWN, "review_comment": None},
}
