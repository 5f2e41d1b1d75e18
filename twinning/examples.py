# SPDX-License-Identifier: Apache-2.0
"""One example of each thing that goes over the wire: what the documents show and the tests start from.

Both cities are members of UNESCO's network; what they say here is made up.
"""

from twinning import hook_examples
from twinning.hook_examples import ENDPOINT_CHALLENGE, ENDPOINT_NOTE, EVENT, MOMENT, Example

SUWON = "0198c0de-0000-7000-8000-000000000001"
LIMERICK = "0198c0de-0000-7000-8000-000000000002"
PRACTICE = "0198c0de-0000-7000-8000-000000000003"
NEED = "0198c0de-0000-7000-8000-000000000004"
COUNTER_PRACTICE = "0198c0de-0000-7000-8000-000000000005"
COUNTER_NEED = "0198c0de-0000-7000-8000-000000000006"
SUGGESTION = "0198c0de-0000-7000-8000-000000000007"
ROUND = "0198c0de-0000-7000-8000-000000000008"
KEY = "0198c0de-0000-7000-8000-000000000009"
IMPORT = "0198c0de-0000-7000-8000-00000000000e"

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

KEY_REQUEST: Example = {
    "role": "coordinator",
    "name": "National coordinator, Ireland",
    "countries": ["IE"],
    "expires_at": "2027-12-31T23:59:59Z",
}
KEY_LISTED: Example = {
    "id": KEY,
    "name": "National coordinator, Ireland",
    "role": "coordinator",
    "countries": ["IE"],
    "city_id": None,
    "created_at": MOMENT,
    "expires_at": "2027-12-31T23:59:59Z",
    "last_used_at": MOMENT,
}
KEY_SHOWN: Example = {
    **KEY_LISTED,
    "last_used_at": None,
    "key": "asem_this-is-where-the-key-stands-this-once",
}

AUDIT_SHOWN: Example = {
    "id": EVENT,
    "at": MOMENT,
    "key_id": KEY,
    "key_name": "National coordinator, Ireland",
    "role": "coordinator",
    "action": "city.updated",
    "object_type": "city",
    "object_id": LIMERICK,
    "city_id": LIMERICK,
    "fields": ["contact", "summary"],
    "address": "192.0.2.7",
}

SUGGESTION_SHOWN: Example = {
    "id": SUGGESTION,
    "kind": "study_visit",
    "score": 71.4,
    "band": "strong",
    "status": "proposed",
    "round_id": None,
    "catalogue_version": 1234,
    "engine_version": "1",
    "cities": [
        {"city_id": SUWON, "name": "Suwon", "country": "KR", "region": "asia", "role": "host"},
        {"city_id": LIMERICK, "name": "Limerick", "country": "IE", "region": "europe", "role": "visitor"},
    ],
    "directions": [{"learner_city_id": LIMERICK, "score": 71.4}],
    "reasons": [
        {
            "need_id": NEED,
            "need_title": NEED_REQUEST["title"],
            "need_city_id": LIMERICK,
            "practice_id": PRACTICE,
            "practice_title": PRACTICE_REQUEST["title"],
            "practice_city_id": SUWON,
            "score": 71.4,
            "band": "strong",
            "terms": [
                {"term": "literacy", "contribution": 32.2, "related": False},
                {"term": "volunteers", "contribution": 24.0, "related": False},
                {"term": "readers", "contribution": 8.1, "related": True},
            ],
            "other": 7.1,
            "themes": ["cl1", "sdg-4"],
            "need_quote": "We look for ways to reach them through libraries and volunteers.",
            "practice_quote": "Volunteers lead weekly reading circles for adults who read little.",
            "missing": ["ways", "left", "school"],
        }
    ],
    "created_at": MOMENT,
    "updated_at": MOMENT,
}

ROUND_REQUEST: Example = {
    "kind": "study_visit",
    "per_city": 3,
    "min_band": "possible",
    "themes": ["cl1"],
    "countries": [],
    "city_ids": [],
    "assignment": "top",
    "cross_region": True,
    "callback_url": "https://hooks.limerick.ie/rounds",
}
ROUND_SHOWN: Example = {
    "id": ROUND,
    **ROUND_REQUEST,
    "state": "completed",
    "progress": {"done": 17, "total": 17},
    "catalogue_version": 1234,
    "engine_version": "1",
    "summary": {
        "cities": 17,
        "cities_without_suggestion": 2,
        "exposure_gini": 0.31,
        "unmet_needs": 4,
        "total_score": 1893.4,
        "score_loss": 0.0,
        "optimality_gap": None,
    },
    "error": None,
    "created_at": MOMENT,
    "updated_at": MOMENT,
}
ROUND_ASKED: Example = {
    **ROUND_SHOWN,
    "state": "queued",
    "progress": {"done": 0, "total": 0},
    "catalogue_version": None,
    "engine_version": None,
    "summary": None,
    "callback_secret": "whsec_dGhpcyBpcyB3aGVyZSB0aGUgc2VjcmV0IHN0YW5kcw==",
}
ROUND_RESULT: Example = {
    **ROUND_SHOWN,
    "suggestions": [SUGGESTION_SHOWN],
    "suggestions_url": f"https://twinning.example.org/v1/matching-rounds/{ROUND}/suggestions",
}

PREVIEW_REQUEST: Example = {
    "text": "How can libraries bring adults with low literacy back to reading?",
    "as": "need",
    "country": "IE",
    "limit": 5,
}
PREVIEW_ANSWER: Example = {
    "items": [
        {
            "score": 58.2,
            "band": "possible",
            "city": {"city_id": SUWON, "name": "Suwon", "country": "KR", "region": "asia"},
            "listing": {"id": PRACTICE, "kind": "practice", "title": PRACTICE_REQUEST["title"]},
            "terms": [{"term": "literacy", "contribution": 31.0, "related": False}],
            "themes": ["cl1", "sdg-4"],
            "quote": "Volunteers lead weekly reading circles for adults who read little.",
        }
    ],
    "catalogue_version": 1234,
    "suggested_themes": [{"theme": "cl7", "label": "Literacy", "score": 0.4}],
}
PREVIEW_WAITING: Example = {
    "id": SUGGESTION,
    "detail": "No worker has answered yet; ask again at the address in Location.",
}

IMPORT_SHOWN: Example = {
    "id": IMPORT,
    "filename": "catalogue.xlsx",
    "format": "xlsx",
    "size": 48213,
    "state": "completed",
    "progress": {"done": 48213, "total": 48213},
    "counts": {"rows": 120, "created": 97, "updated": 4, "unchanged": 18, "refused": 1},
    "error": None,
    "created_at": MOMENT,
    "updated_at": MOMENT,
}
REFUSAL_SHOWN: Example = {
    "row": 17,
    "column": "country",
    "value": "US",
    "reason": "'US' is not the ISO 3166-1 alpha-2 code of an ASEM partner country.",
}
IMPORT_REPORT: Example = {
    **IMPORT_SHOWN,
    "refusals": [REFUSAL_SHOWN],
    "refusals_url": f"/v1/imports/{IMPORT}/refusals",
}
CITY_EXPORT: Example = {
    "city": CITY_OWNED,
    "practices": [],
    "needs": [],
    "suggestions": [SUGGESTION_SHOWN],
    "round_places": [{"round_id": ROUND, "place": 1, "suggestion_id": SUGGESTION}],
    "rounds": [],
    "previews": [],
    "events": [{"id": EVENT, "type": "city.registered", "timestamp": MOMENT, "data": CITY_SHOWN}],
    "api_keys": [
        {
            **KEY_LISTED,
            "name": "Learning City Office",
            "role": "city",
            "countries": [],
            "city_id": LIMERICK,
            "revoked_at": None,
        }
    ],
    "webhook_endpoints": [],
    "imports": [IMPORT_SHOWN],
    "import_refusals": [{"import_id": IMPORT, **REFUSAL_SHOWN}],
    "replays": [],
    "deliveries": [],
    "kept_answers": [],
    "audit": [AUDIT_SHOWN],
}

EVENT_DATA: dict[str, Example] = {
    "city": CITY_SHOWN,
    "practice": PRACTICE_SHOWN,
    "need": NEED_SHOWN,
    "suggestion": SUGGESTION_SHOWN,
    "matching_round": ROUND_SHOWN,
    "matching_round.completed": ROUND_RESULT,
    "import": IMPORT_SHOWN,
    "webhook_endpoint": ENDPOINT_NOTE,
    "webhook_endpoint.verification": ENDPOINT_CHALLENGE,
}

# What is different in the data of an event that tells of an end.
AT_THE_END: dict[str, Example] = {
    "city.withdrawn": {"state": "withdrawn"},
    "practice.withdrawn": {"state": "withdrawn"},
    "need.withdrawn": {"state": "withdrawn"},
    "need.expired": {"state": "expired"},
    "suggestion.withdrawn": {"status": "withdrawn"},
    "matching_round.failed": {
        "state": "failed",
        "summary": None,
        "error": "A part of this round failed each time it was tried.",
    },
    "matching_round.cancelled": {"state": "cancelled", "summary": None},
}


def event(event_type: str) -> Example:
    """Give an example of an event: by its type, else by the noun before the dot."""
    noun = event_type.partition(".")[0]
    data = EVENT_DATA.get(event_type) or EVENT_DATA[noun]
    return {"type": event_type, "timestamp": MOMENT, "data": data | AT_THE_END.get(event_type, {})}


PROBLEM: Example = {
    "type": "https://twinning.example.org/problems/invalid",
    "title": "Invalid request",
    "status": 422,
    "detail": "/country: 'US' is not the ISO 3166-1 alpha-2 code of an ASEM partner country.",
    "errors": [
        {
            "pointer": "/country",
            "detail": "'US' is not the ISO 3166-1 alpha-2 code of an ASEM partner country.",
        }
    ],
}

TOO_MANY: Example = {
    "type": "https://twinning.example.org/problems/too-many-requests",
    "title": "Too many requests",
    "status": 429,
    "detail": "This key may ask 600 times a minute; ask again in 12 s.",
}

# The example of each shape that is a request or an answer, by the shape's name.
SHAPES: dict[str, Example] = {
    **hook_examples.SHAPES,
    "CityCreate": CITY_REQUEST,
    "CityUpdate": CITY_CHANGE,
    "CityPublic": CITY_SHOWN,
    "CityOwned": CITY_OWNED,
    "CityExport": CITY_EXPORT,
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
    "ApiKeyCreate": KEY_REQUEST,
    "ApiKeyPublic": KEY_LISTED,
    "ApiKeyShown": KEY_SHOWN,
    "AuditPublic": AUDIT_SHOWN,
    "SuggestionPublic": SUGGESTION_SHOWN,
    "RoundRequest": ROUND_REQUEST,
    "RoundPublic": ROUND_SHOWN,
    "RoundAsked": ROUND_ASKED,
    "PreviewRequest": PREVIEW_REQUEST,
    "PreviewAnswer": PREVIEW_ANSWER,
    "PreviewWaiting": PREVIEW_WAITING,
    "ImportPublic": IMPORT_SHOWN,
    "ImportReport": IMPORT_REPORT,
    "RefusalPublic": REFUSAL_SHOWN,
    "FeedItem": {"id": EVENT, **event("city.registered")},
    "CountryPublic": {"code": "IE", "name": "Ireland", "region": "europe"},
    "ThemePublic": {"id": "sdg-4", "label": "Quality education", "group": "sdg"},
    "EventTypePublic": {
        "type": "city.registered",
        "description": "A city has been registered.",
        "json_schema": {"type": "object"},
        "example": event("city.registered"),
    },
    "Health": {"status": "ok"},
    "Readiness": {
        "status": "ok",
        "database": "ok",
        "clock": "ok",
        "broker": "ok",
        "workers": "ok",
        "oldest_undelivered_event_age_s": 0.0,
        "oldest_waiting_work_age_s": 0.0,
    },
    "Explanation": {
        "code": "not-found",
        "title": "Not found",
        "detail": "There is no such thing, or this key may not see it.",
    },
    "Problem": PROBLEM,
}
