# SPDX-License-Identifier: Apache-2.0
"""Matching in other languages than English."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.languages import (
    by_language,
    decomposed,
    firsts,
    ours,
    read_pairs,
    scikit,
    typed,
    without_marks,
)
from services.matcher.engine.corpus import CityFacts, Corpus
from services.matcher.engine.index import MatchIndex
from services.matcher.engine.reasons import Document, explain
from services.matcher.engine.store import NEED, PRACTICE
from services.matcher.engine.text import count_terms, normal, surfaces

PAIRS = read_pairs()
LEAST = {"vi": 0.9, "ko": 0.9, "zh": 1.0, "ja": 1.0, "th": 0.9, "de": 0.9, "fr": 0.9, "id": 0.9}


def test_needs_find_their_practices_in_their_language() -> None:
    """Among the practices of all languages, a need's own comes first as often as we say it does."""
    shares, plain = firsts(PAIRS, ours(PAIRS, by_language)), firsts(PAIRS, scikit(PAIRS))

    assert {language: share for language, share in shares.items() if share < LEAST.get(language, 0.8)} == {}
    assert all(shares[language] >= plain[language] for language in shares)


@pytest.mark.parametrize("change", [decomposed, without_marks])
def test_vietnamese_may_be_typed_in_any_way(change: object) -> None:
    """Tone marks as characters of their own, or left out, find what composed ones find."""
    scores = ours(typed(PAIRS, "vi", change), by_language)  # type: ignore[arg-type]

    assert firsts(PAIRS, scores)["vi"] >= LEAST["vi"]


def test_pieces_are_no_words() -> None:
    """What is counted beside the words of a language can be a word of none."""
    english = count_terms("Lernen und lernt #lern_ hoc tap")
    german, vietnamese = count_terms("Lernen und lernt", "de"), count_terms("học tập và đọc", "vi")

    assert german == {"lernen": 1, "lernt": 1} | dict.fromkeys(["#_ler", "#lern"], 2) | dict.fromkeys(
        ["#erne", "#rnen", "#nen_", "#ernt", "#rnt_"], 1
    )
    assert vietnamese == {"hoc": 1, "tap": 1, "doc": 1, "hoc tap": 1}
    assert not english.keys() & {term for term in german | vietnamese if not term.isalnum()}


def test_a_language_that_nobody_knows_is_matched_by_its_words() -> None:
    """A code without a list of stop words is no error."""
    assert count_terms("Egun on", "eu")["egun"] == 1


def test_english_scores_hardly_move_when_other_languages_join() -> None:
    """An English catalogue scores to a hundredth what it scored before a tenth of it was German."""
    chance = random.Random(3)
    words = [f"word{number}" for number in range(400)]
    texts = [" ".join(chance.choices(words, k=60)) for _ in range(200)]
    english = [
        (f"{place}", NEED if place % 2 else PRACTICE, None, count_terms(text))
        for place, text in enumerate(texts)
    ]
    german = [
        (f"{kind}{place}", kind, None, count_terms(text, "de"))
        for place, pair in enumerate(pair for pair in PAIRS if pair.language == "de")
        for kind, text in ((NEED, pair.need), (PRACTICE, pair.practice))
    ]
    needs, practices = [f"{place}" for place in range(1, 200, 2)], [f"{place}" for place in range(0, 200, 2)]

    before = MatchIndex(english).first_scores(needs, practices)
    after = MatchIndex(english + german).first_scores(needs, practices)

    assert abs(after - before).max() <= 0.01 * before.max()


def test_pieces_count_to_the_word_that_holds_them() -> None:
    """A compound, two syllables, and letters that follow each other are shown as they were written."""
    german = "Lesepaten besuchen Kinderbüchereien"
    shown = surfaces(german, "de", {"#kind", "#inde", "#nder", "#uche"})
    assert shown["#kind"] == shown["#uche"] == "Kinderbüchereien"
    assert surfaces("Thư viện mở cửa", "vi")["thu vien"] == "Thư viện"
    assert surfaces("Thư viện phường", "vi", {"thu vien", "vien phuong"})["vien"] == "Thư viện phường"
    assert surfaces("평생학습도시 만들기", "ko", {"평생", "생학", "학습"})["생학"] == "평생학습"


SOME = st.lists(
    st.sampled_from([(pair.language, pair.need, pair.practice) for pair in PAIRS]), min_size=1, max_size=6
)


@given(SOME, st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_terms_add_up_in_every_language(chosen: list[tuple[str, str, str]], limit: int) -> None:
    """Listed words and the number for the rest are the score to 1e-9, and no piece of a word is shown."""
    corpus = Corpus()
    corpus.put_city(CityFacts("asian", "A", "asia"))
    corpus.put_city(CityFacts("european", "E", "europe"))
    for place, (language, need, practice) in enumerate(chosen):
        corpus.put_listing(f"n{place}", NEED, "asian", count_terms(need, language))
        corpus.put_listing(f"p{place}", PRACTICE, "european", count_terms(practice, language))
    for place, (language, need, _) in enumerate(chosen):
        for match in corpus.matches(f"n{place}", None):
            other, _, practice = chosen[int(str(match.practice)[1:])]
            documents = Document("", need, language=language), Document("", practice, language=other)

            reason = explain(corpus, match, *documents, limit)

            told = math.fsum(term.contribution for term in reason.terms) + reason.other
            assert told == pytest.approx(reason.score, abs=1e-9)
            assert reason.need_quote in need
            assert reason.practice_quote in practice
            for term in reason.terms:
                assert normal(term.term) in normal(f"{need}\n{practice}"), term
            assert all(word in need for word in reason.missing)
