# SPDX-License-Identifier: Apache-2.0
"""Suggesting themes: what texts seem to be about, for a person to confirm; the words are English."""

from collections.abc import Collection
from typing import Any

from sqlmodel import Session

from services.matcher import listing_words
from services.matcher.engine.themes import suggest_themes
from services.matcher.keeping import rows_of
from twinning.languages import ENGLISH
from twinning.listing_shapes import SuggestedTheme
from twinning.listings import Listing
from twinning.reference import THEMES


def themes_in(text: str) -> list[SuggestedTheme]:
    """Give the themes that a text seems to be about, best first."""
    return [
        SuggestedTheme(theme=theme, label=THEMES[theme].label, score=round(score, 3))
        for theme, score in suggest_themes(text)
    ]


def themes_of(session: Session, changed: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """Find the themes of listings that have changed, matched or drafts, where they are others now."""
    found = {}
    for listing in rows_of(session, Listing, changed):
        texts = f"{listing.title}\n{listing_words.body_of(listing)}"
        themes = [theme.model_dump() for theme in themes_in(texts)] if listing.language == ENGLISH else []
        if themes != listing.suggested_themes:
            found[listing.id] = themes
    return found
