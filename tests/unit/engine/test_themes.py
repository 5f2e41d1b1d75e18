# SPDX-License-Identifier: Apache-2.0
"""Which themes are suggested for a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.matcher.engine.themes import suggest_themes, theme_texts
from twinning.reference import THEMES

ABOUT = [
    ("How can libraries bring adults with low literacy back to reading?", "cl7"),
    ("Flood water and broken toilets: safe sanitation for river villages", "sdg-6"),
    ("Solar panels and wind turbines make the electricity of our schools", "sdg-7"),
    ("Smartphone and tablet courses, online and on a digital platform", "bb4"),
    ("A yearly festival to celebrate learning", "bb6"),
    ("Fish stocks fall, coral reefs die, and our coast loses its sea", "sdg-14"),
    ("An incubator where young founders start a business", "cl5"),
]


@pytest.mark.parametrize(("text", "theme"), ABOUT)
def test_the_theme_of_a_plain_sentence_comes_first(text: str, theme: str) -> None:
    """A sentence that is about one thing is given its theme."""
    assert suggest_themes(text)[0][0] == theme


def test_every_theme_can_be_suggested_once() -> None:
    """Each theme has words, save the focal areas that are building blocks under another number."""
    doubled = {theme for theme in THEMES if theme.startswith("kf2.")}

    assert theme_texts().keys() == THEMES.keys() - doubled
    assert all(suggest_themes(text, 1)[0][0] == theme for theme, text in theme_texts().items())


@given(st.text(), st.integers(1, 9))
def test_scores_are_shares_best_first(text: str, limit: int) -> None:
    """Whatever the text, there are at most so many themes, in order, with scores from 0 to 1."""
    found = suggest_themes(text, limit)
    scores = [score for _, score in found]

    assert len(found) <= limit
    assert scores == sorted(scores, reverse=True)
    assert all(0.0 < score <= 1.0 + 1e-12 for score in scores)


def test_a_text_without_known_words_has_no_theme() -> None:
    """Nothing is guessed."""
    assert suggest_themes("Lorem ipsum 学习") == []
