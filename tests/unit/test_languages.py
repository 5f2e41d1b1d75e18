# SPDX-License-Identifier: Apache-2.0
"""In which language a text is taken to be written."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.languages import read_pairs
from twinning.languages import detect

SHORT = [
    "Repair café", "STEM for girls", "Smart seniors", "Open air museum", "Eco-schools", "Fab lab", "Guides",
    "Learning by doing", "Green jobs in Córdoba", "Art in the park", "Digital literacy", "Urban gardening",
    "Makerspace", "Reading bus", "Solar", "Inclusive sport", "Family literacy in Đà Nẵng", "Moving libraries",
    "Kindergarten teachers", "Data for city planners", "Gender, media, sport", "Visit to Łódź", "42", "",
    "Migrant entrepreneurs start social enterprises in former factories", "Night schools near factory gates",
    "Older learners online: tablets, games, exergames", "Volunteer tutors help prisoners read",
]  # fmt: skip


@pytest.mark.parametrize("title", SHORT)
def test_a_short_english_title_stays_english(title: str) -> None:
    """Few words, names and loan words are never taken for another language."""
    assert detect(title) == "en"


def test_texts_are_told_apart() -> None:
    """Each text of the pairs is found to be in its language; Indonesian ones where Indonesian is likely."""
    for pair in read_pairs():
        for text in (pair.need, pair.practice):
            assert detect(text, ["id"]) == pair.language, text


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Heeft uw stad een park of een plein waar ouderen elkaar ontmoeten?", "nl"),
        ("Een gemeente wil weten of bewoners zelf energie opwekken op daken of velden", "nl"),
        ("Cursus voor jongeren of ouderen over vaardigheden, thuis of in de bibliotheek", "nl"),
        ("Vi vil have flere grønne tage og have bedre cykelstier i byen", "da"),
    ],
)
def test_words_that_english_shares_do_not_make_a_text_english(text: str, language: str) -> None:
    """Dutch says "of" for "or", and Danish "have" for "get", as often as English does."""
    assert detect(text) == language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("학습", "ko"),
        ("The 평생학습 festival of our city, where all schools and libraries take part", "en"),
        ("生涯学習のまち", "ja"),
        ("学习型城市", "zh"),
        ("เมืองแห่งการเรียนรู้ (Learning City)", "th"),
    ],
)
def test_a_script_decides_where_it_is_more_than_a_name(text: str, language: str) -> None:
    """Some letters of another script in an English text are a quotation; a short text in one is not."""
    assert detect(text) == language


@given(st.text(), st.lists(st.sampled_from(["id", "ms", "xx"])))
@example("\ud800 lone \udfff surrogates and more of such words", [])
@example("\x00 " * 3000, ["id"])
def test_no_text_is_refused(text: str, likely: list[str]) -> None:
    """Whatever Unicode holds gets a code of two small letters, the same each time."""
    found = detect(text, likely)

    assert len(found) == 2
    assert found.islower()
    assert detect(text, likely) == found
