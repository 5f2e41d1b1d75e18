# SPDX-License-Identifier: Apache-2.0
"""The examples of suggestions, matching rounds and previews."""

from twinning.catalogue_examples import LIMERICK, NEED, NEED_REQUEST, PRACTICE, PRACTICE_REQUEST, SUWON
from twinning.hook_examples import MOMENT, Example

SUGGESTION = "0198c0de-0000-7000-8000-000000000007"
ROUND = "0198c0de-0000-7000-8000-000000000008"

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


SHAPES: dict[str, Example] = {
    "SuggestionPublic": SUGGESTION_SHOWN,
    "RoundRequest": ROUND_REQUEST,
    "RoundPublic": ROUND_SHOWN,
    "RoundAsked": ROUND_ASKED,
    "PreviewRequest": PREVIEW_REQUEST,
    "PreviewAnswer": PREVIEW_ANSWER,
    "PreviewWaiting": PREVIEW_WAITING,
}
