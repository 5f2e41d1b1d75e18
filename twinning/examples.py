# SPDX-License-Identifier: Apache-2.0
"""One example of each thing that goes over the wire: what the documents show and the tests start from.

`SHAPES` has all of them. Those of keys, the audit log, imports and events begin here, the others in the files
that are imported.
"""

from twinning import catalogue_examples, hook_examples, match_examples
from twinning.catalogue_examples import CITY_OWNED, CITY_SHOWN, LIMERICK, NEED_SHOWN, PRACTICE_SHOWN
from twinning.hook_examples import ENDPOINT_CHALLENGE, ENDPOINT_NOTE, EVENT, MOMENT, Example
from twinning.match_examples import ROUND, ROUND_RESULT, ROUND_SHOWN, SUGGESTION, SUGGESTION_SHOWN

KEY = "0198c0de-0000-7000-8000-000000000009"
IMPORT = "0198c0de-0000-7000-8000-00000000000e"

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
    **catalogue_examples.SHAPES,
    **match_examples.SHAPES,
    **hook_examples.SHAPES,
    "CityExport": CITY_EXPORT,
    "ApiKeyCreate": KEY_REQUEST,
    "ApiKeyPublic": KEY_LISTED,
    "ApiKeyShown": KEY_SHOWN,
    "AuditPublic": AUDIT_SHOWN,
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
