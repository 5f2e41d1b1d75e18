# SPDX-License-Identifier: Apache-2.0
"""What each column of an import is for, in a sentence, as the template's second sheet has it."""

from collections.abc import Mapping
from typing import Final

EXPLAINED: Final[Mapping[str, str]] = {
    "kind": "city, practice or need: what the row is about.",
    "ref": "Your own reference, 1 to 200 characters without blanks; by it the row is found again.",
    "city_ref": "Whose practice or need it is: the city's ref or id; it may stand later in the file.",
    "name": "The city's name.",
    "country": "The code of two letters of an ASEM partner country (ISO 3166-1), such as KR.",
    "languages": "Codes of two letters (ISO 639-1) of the languages in which an exchange can be held.",
    "latitude": "From -90 to 90.",
    "longitude": "From -180 to 180.",
    "population": "How many people live there.",
    "website": "Begins with https:// or http://.",
    "summary": "What a partner should know of the city, up to 500 words.",
    "networks": "Networks that the city belongs to.",
    "existing_partners": "Cities that it works with already, by id or by name; they are never proposed.",
    "contact.name": "Whom to write to; seen by those who look after the city, and by partners introduced.",
    "contact.email": "The contact's e-mail address; needed where there is a name.",
    "title": "The practice or need in a line.",
    "description": "What it is about, in your own words, up to 500 of them; this is what is matched.",
    "themes": "Tags of the taxonomy such as sdg-4; GET /v1/reference/themes lists them.",
    "target_groups": "Whom it is for.",
    "state": "draft, published, paused or withdrawn; published when left empty.",
    "challenge": "What made the practice necessary.",
    "outcomes": "What came of it.",
    "lessons": "What you would do differently.",
    "transfer_conditions": "What another city needs to do the same.",
    "hosting.offers_visits": "Whether visitors are shown it; true when left empty.",
    "hosting.seats": "How many visitors at once.",
    "hosting.visits_per_year": "How many visits a year.",
    "hosting.months": "In which months, 1 to 12.",
    "strength": "How much it is needed, 1 to 5.",
    "seeks": "study_visit, twinning, seminar; all when left empty.",
    "party_size": "How many would travel.",
    "months": "In which months they could travel, 1 to 12.",
    "expires_on": "Until when it is asked for; in a year when left empty.",
}
