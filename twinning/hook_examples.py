# SPDX-License-Identifier: Apache-2.0
"""The examples of webhook endpoints, deliveries and replays."""

from typing import Any

Example = dict[str, Any]

ENDPOINT = "0198c0de-0000-7000-8000-00000000000a"
DELIVERY = "0198c0de-0000-7000-8000-00000000000b"
EVENT = "0198c0de-0000-7000-8000-00000000000c"
REPLAY = "0198c0de-0000-7000-8000-00000000000d"
MOMENT = "2026-03-02T09:30:00Z"

ENDPOINT_REQUEST: Example = {
    "url": "https://hooks.limerick.ie/twinning",
    "event_types": ["suggestion.*", "matching_round.completed"],
    "filters": {"countries": ["IE"], "themes": [], "kinds": ["study_visit"], "min_band": "possible"},
    "headers": {"Authorization": "Basic bGltZXJpY2s6c2VjcmV0"},
    "description": "The city's own system",
    "rate_per_second": 5.0,
    "enabled": True,
}
ENDPOINT_CHANGE: Example = {"enabled": False}
ENDPOINT_LISTED: Example = {
    "id": ENDPOINT,
    **ENDPOINT_REQUEST,
    "headers": {"Authorization": None},
    "disabled_because": None,
    "verified": True,
    "created_at": MOMENT,
    "updated_at": MOMENT,
}
ENDPOINT_SHOWN: Example = {
    **ENDPOINT_LISTED,
    "secret": "whsec_dGhpcyBpcyB3aGVyZSB0aGUgc2VjcmV0IHN0YW5kcw==",
}
ENDPOINT_NOTE: Example = {
    "endpoint_id": ENDPOINT,
    "url": ENDPOINT_REQUEST["url"],
    "message": "A test delivery.",
}
DELIVERY_SHOWN: Example = {
    "id": DELIVERY,
    "event_id": EVENT,
    "endpoint_id": ENDPOINT,
    "state": "delivered",
    "created_at": MOMENT,
    "updated_at": MOMENT,
    "attempts": [
        {
            "number": 1,
            "started_at": MOMENT,
            "duration_ms": 41.3,
            "status": 204,
            "error": None,
            "answer": "",
            "next_attempt_at": None,
        }
    ],
}

ENDPOINT_CHALLENGE: Example = {
    **ENDPOINT_NOTE,
    "message": 'Answer 2xx with the JSON object {"challenge": "…"} to receive events here.',
    "challenge": "mJ3nXb0tYk1pVt7gq2cWZr8sLd5eHf6u",
}
ROTATION_REQUEST: Example = {"grace_seconds": 86400}
REPLAY_REQUEST: Example = {
    "since": "2026-03-01T00:00:00Z",
    "until": "2026-03-02T00:00:00Z",
    "only": "missing",
}
REPLAY_SHOWN: Example = {
    "id": REPLAY,
    "endpoint_id": ENDPOINT,
    **REPLAY_REQUEST,
    "state": "completed",
    "progress": {"done": 1200, "total": 1200},
    "counts": {"resent": 0, "created": 34, "skipped": 1166},
    "error": None,
    "created_at": MOMENT,
    "updated_at": MOMENT,
}

SHAPES: dict[str, Example] = {
    "EndpointCreate": ENDPOINT_REQUEST,
    "EndpointUpdate": ENDPOINT_CHANGE,
    "EndpointPublic": ENDPOINT_LISTED,
    "EndpointShown": ENDPOINT_SHOWN,
    "RotationRequest": ROTATION_REQUEST,
    "DeliveryPublic": DELIVERY_SHOWN,
    "ReplayRequest": REPLAY_REQUEST,
    "ReplayPublic": REPLAY_SHOWN,
    "PingWaiting": {
        "detail": "The test delivery is under way; its outcome will stand in the log at Location."
    },
}
