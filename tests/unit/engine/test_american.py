# SPDX-License-Identifier: Apache-2.0
"""One spelling for British and American words."""

import pytest

from services.matcher.engine.american import american
from services.matcher.engine.text import count_terms, surfaces


@pytest.mark.parametrize(
    ("british", "other"),
    [
        ("colourful", "colorful"),
        ("neighbourhoods", "neighborhoods"),
        ("centre", "center"),
        ("centred", "centered"),
        ("organisations", "organizations"),
        ("digitalisation", "digitalization"),
        ("analysing", "analyzing"),
        ("counselling", "counseling"),
        ("programmes", "programs"),
        ("enrolment", "enrollment"),
        ("ageing", "aging"),
    ],
)
def test_british_words_become_american_ones_and_those_stay(british: str, other: str) -> None:
    """Both spellings end as one, so that texts of either side meet."""
    assert american(british) == other == american(other)
    assert count_terms(british) == count_terms(other)


@pytest.mark.parametrize(
    "word",
    [
        "advise",
        "supervised",
        "otherwise",
        "enterprise",
        "exercise",
        "fundraiser",
        "our",
        "hour",
        "tour",
        "表",
    ],
)
def test_words_without_two_spellings_stay(word: str) -> None:
    """No rule reaches a word that is spelt alike everywhere."""
    assert american(word) == word


def test_people_read_the_spelling_that_was_written() -> None:
    """What a match is explained by is the author's own word."""
    assert list(surfaces("Neighbourhood programmes").values()) == ["Neighbourhood", "programmes"]
