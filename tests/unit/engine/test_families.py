# SPDX-License-Identifier: Apache-2.0
"""Families of words: what a need is lent of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.matcher.engine.families import LEAST, relatives
from services.matcher.engine.index import MatchIndex
from services.matcher.engine.text import count_terms


@pytest.mark.parametrize(
    ("word", "other"),
    [
        ("teachers", "teaching"),
        ("mentors", "mentorship"),
        ("entrepreneurs", "entrepreneurship"),
        ("tourism", "tourists"),
        ("volunteers", "voluntary"),
    ],
)
def test_a_person_and_the_thing_are_relatives(word: str, other: str) -> None:
    """Either word is lent the other."""
    [one], [two] = count_terms(word), count_terms(other)

    assert two in relatives(one)
    assert one in relatives(two)


@pytest.mark.parametrize("word", ["letter", "water", "paper", "#pist", "文化ism", "mist"])
def test_short_words_pieces_and_other_scripts_have_none_that_are_shorter(word: str) -> None:
    """What is left of a relative has enough letters to mean something; pieces of words have no relatives."""
    assert all(len(other) >= LEAST and other.startswith(word[:LEAST]) for other in relatives(word))
    assert (word.isascii() and word.isalpha()) or not relatives(word)


@given(st.text(max_size=12))
def test_relatives_are_others_and_once(word: str) -> None:
    """Nobody is a relative of itself, or twice."""
    found = relatives(word)

    assert word not in found
    assert len(set(found)) == len(found)


def test_a_relative_finds_as_a_related_word_and_weighs_less() -> None:
    """A practice with a relative of a need's word is found, below one with the word and in no band."""
    index = MatchIndex(
        [
            ("same", "practice", 0, count_terms("Mentors by the river")),
            ("other", "practice", 0, count_terms("Mentorship by the river")),
            ("none", "practice", 0, count_terms("Bridges by the river")),
            ("need", "need", 1, count_terms("Mentors")),
        ]
    )

    found = index.rank("need")

    assert [match.practice for match in found][:2] == ["same", "other"]
    assert found[1].first == 0.0
    assert ("mentorship", True) in {(term, more) for term, _, more in index.contributions("need", "other")}
