# SPDX-License-Identifier: Apache-2.0
"""The table of synonyms, and what it lends to a need."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.matcher.engine import synonyms
from services.matcher.engine.index import MatchIndex
from services.matcher.engine.synonyms import GROUPS, lent
from services.matcher.engine.text import STOP_WORDS, count_terms

LINES = [line.split(" | ") for line in GROUPS.strip().splitlines()]
JOINERS = {"and", "of", "for", "s"}


def test_no_phrase_loses_a_word_to_the_stop_list() -> None:
    """A phrase that shrank, as "drop out" to "drop", would be opened by needs about something else."""
    for phrases in LINES:
        for phrase in phrases:
            words = phrase.lower().replace("-", " ").replace("'", " ").split()
            assert not (set(words) & STOP_WORDS) - JOINERS, phrase
            assert count_terms(phrase), phrase


def test_every_group_has_two_sides_and_no_phrase_twice() -> None:
    """A group of one lends nothing; a phrase in a group once is enough."""
    for phrases in LINES:
        assert len(set(phrases)) == len(phrases)
        assert len({frozenset(count_terms(phrase)) for phrase in phrases}) > 1, phrases


@pytest.mark.parametrize(
    ("need", "term", "share"),
    [
        ("Kindergartens", "preschool", 1.0),
        ("Preschools for all", "childhood", 1 / 2),
        ("Programmes for senior citizens", "elder", 1.0),
        ("Fewer early school leavers", "dropout", 1.0),
        ("Recognition of prior learning", "rpl", 1.0),
        ("RPL", "prior", 1 / 3),
    ],
)
def test_a_need_is_lent_the_other_words_of_its_group(need: str, term: str, share: float) -> None:
    """A word counts whole, a word of a phrase in part."""
    assert lent(count_terms(need))[term] == pytest.approx(share)


@pytest.mark.parametrize(
    "need", ["senior", "citizens", "learning for all schools", "we need special advice", ""]
)
def test_part_of_a_phrase_opens_no_group(need: str) -> None:
    """The word for citizens alone says nothing of old age."""
    assert not lent({term: 1 for term in count_terms(need) if term != "senior"})


@given(st.dictionaries(st.sampled_from(sorted(synonyms.WORDS)), st.integers(1, 9)))
def test_what_is_lent_is_never_the_need_s_own_and_at_most_whole(counts: dict[str, int]) -> None:
    """Own words keep their own weight; shares lie within 0 and 1."""
    shares = lent(counts)

    assert not shares.keys() & counts.keys()
    assert all(0.0 < share <= 1.0 for share in shares.values())


def test_a_practice_is_found_by_the_other_word_and_below_one_that_says_the_same() -> None:
    """A synonym finds, is told apart as related, and weighs less than the need's own word."""
    index = MatchIndex(
        [
            ("same", "practice", 0, count_terms("Kindergartens by the river")),
            ("other", "practice", 0, count_terms("Preschools by the river")),
            ("none", "practice", 0, count_terms("Bridges by the river")),
            ("need", "need", 1, count_terms("Kindergartens")),
        ]
    )

    found = index.rank("need")

    assert [match.practice for match in found][:2] == ["same", "other"]
    assert found[1].first == 0.0
    assert ("preschool", True) in {
        (term, related) for term, _, related in index.contributions("need", "other")
    }
