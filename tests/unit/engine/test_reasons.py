# SPDX-License-Identifier: Apache-2.0
"""Why a match is one."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.matcher.engine.corpus import CityFacts, Corpus
from services.matcher.engine.pairing import SCORE_SCALE, public_score
from services.matcher.engine.reasons import Document, explain
from services.matcher.engine.text import count_terms

NEED = Document(
    "Family literacy",
    "Our libraries are many. We look for ways to bring Literacy to families. Money is short.",
    ("sdg-4", "cl1"),
)
PRACTICE = Document(
    "A festival",
    "Each May we hold a festival. Families read together, and literacy grows in all libraries! Music plays.",
    ("cl2", "sdg-4"),
)


def corpus_of(*pairs: tuple[Document, Document]) -> Corpus:
    """An Asian city with these needs, and a European one with the practices."""
    corpus = Corpus()
    corpus.put_city(CityFacts("asian", "A", "asia"))
    corpus.put_city(CityFacts("european", "E", "europe"))
    for number, (need, practice) in enumerate(pairs):
        corpus.put_listing(f"n{number}", "need", "asian", count_terms(f"{need.title}\n{need.body}"))
        corpus.put_listing(
            f"p{number}", "practice", "european", count_terms(f"{practice.title}\n{practice.body}")
        )
    return corpus


def test_a_reason_speaks_the_cities_words() -> None:
    """Terms are whole words, the need's form first; quotes are the sentences that carry the match."""
    corpus = corpus_of((NEED, PRACTICE))
    (match,) = corpus.matches("n0", None)

    reason = explain(corpus, match, NEED, PRACTICE, limit=50)

    words = {term.term: term.related for term in reason.terms}
    assert words["families"] is False
    assert words["festival"] is True
    assert reason.need_quote == "We look for ways to bring Literacy to families."
    assert reason.practice_quote == "Families read together, and literacy grows in all libraries!"
    assert reason.themes == ("sdg-4",)
    assert reason.other == 0.0


def test_a_body_without_a_part_in_the_match_leaves_the_title_to_quote() -> None:
    """When only the title matches, it is what is quoted."""
    need = Document("Literacy", "We ask.")
    corpus = corpus_of((need, PRACTICE))
    (match,) = corpus.matches("n0", None)

    assert explain(corpus, match, need, PRACTICE).need_quote == "Literacy"


def test_a_reason_names_what_is_missing() -> None:
    """The need's rarest words that the practice lacks are named as written, no numbers, at most five."""
    need = Document(
        "Family literacy in Prisons",
        "We seek literacy for families and prisons in 2027: judges, wardens, chaplains, tutors, officers.",
    )
    corpus = corpus_of((need, PRACTICE), (Document("Judges", "judges"), Document("Judges", "judges")))
    match = next(match for match in corpus.matches("n0", None) if match.practice == "p0")

    missing = explain(corpus, match, need, PRACTICE).missing

    assert missing == ("Prisons", "seek", "wardens", "chaplains", "tutors")


WORDS = ["river", "school", "museum", "health", "garden", "music", "学习", "城市"]
TEXT = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
DOCUMENT = st.builds(Document, TEXT, TEXT)


@given(st.lists(st.tuples(DOCUMENT, DOCUMENT), min_size=1, max_size=5), st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_terms_and_other_add_up_to_the_score(pairs: list[tuple[Document, Document]], limit: int) -> None:
    """The listed terms and the number for the rest are the score to 1e-9, whatever is listed."""
    corpus = corpus_of(*pairs)
    for number, (need, _) in enumerate(pairs):
        for match in corpus.matches(f"n{number}", None):
            practice = pairs[int(str(match.practice)[1:])][1]
            reason = explain(corpus, match, need, practice, limit)
            total = math.fsum(term.contribution for term in reason.terms) + reason.other
            assert total == pytest.approx(reason.score, abs=1e-9)
            assert reason.score == pytest.approx(public_score(match.score), abs=1e-9)
            assert reason.need_quote in f"{need.title}\n{need.body}"
            assert reason.practice_quote in f"{practice.title}\n{practice.body}"


def test_a_score_over_100_is_cut_and_still_adds_up() -> None:
    """A long practice in the very words of the need, among short ones, scores 100; its terms share that."""
    long = Document("", " ".join(f"word{number}" for number in range(40)))
    corpus = corpus_of((long, long), *[(Document("", "a"), Document("", "river"))] * 20)
    (match,) = corpus.matches("n0", None)

    reason = explain(corpus, match, long, long, limit=3)

    assert match.score * SCORE_SCALE > 100.0
    assert reason.score == 100.0
    told = math.fsum(term.contribution for term in reason.terms)
    assert told + reason.other == pytest.approx(100.0, abs=1e-9)
