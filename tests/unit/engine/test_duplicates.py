# SPDX-License-Identifier: Apache-2.0
"""Practices that one city wrote twice take one place."""

import pytest

from services.matcher.engine.corpus import CityFacts, Corpus
from services.matcher.engine.exchange import Exchange
from services.matcher.engine.text import count_terms

WRITTEN = (
    "Volunteers meet adults with low literacy in the neighbourhood library every week and read novels aloud"
)
AGAIN = "Weekly reading aloud of novels: volunteers and low literacy adults in a library of the neighbourhood"
OTHER = "Adults with low literacy write letters with a teacher at work, paid by their employers and the union"
FILLER = [
    "Rain gardens at schools teach pupils about floods",
    "Apprenticeships for young people with employers",
    "A festival of learning in streets and parks",
    "Computer classes for senior citizens",
    "Language cafés for migrants with childcare",
    "Health walks with nurses for older people",
]


def corpus_of(*practices: tuple[str, str, str], exchanges: dict[str, Exchange] | None = None) -> Corpus:
    """A need of suwon about reading, these practices (key, city, text), and some on other subjects."""
    corpus = Corpus()
    for city, region in (("suwon", "asia"), ("cork", "europe"), ("espoo", "europe")):
        corpus.put_city(CityFacts(city, city, region))
    corpus.put_listing("n", "need", "suwon", count_terms("adults with low literacy read with volunteers"))
    for number, text in enumerate(FILLER):
        corpus.put_listing(f"f{number}", "practice", "suwon", count_terms(text))
    for key, city, text in practices:
        corpus.put_listing(key, "practice", city, count_terms(text), (exchanges or {}).get(key, Exchange()))
    corpus.recut()
    return corpus


def found(corpus: Corpus, kind: str | None = None) -> list[object]:
    """The practices that the need lists."""
    return [match.practice for match in corpus.matches("n", None, kind=kind)]


def test_the_second_of_two_near_duplicates_is_folded_away() -> None:
    """Of a practice that a city wrote twice in other words the better one stays, with its score."""
    both = corpus_of(("p1", "cork", WRITTEN), ("p2", "cork", AGAIN))
    apart = corpus_of(("p1", "cork", WRITTEN), ("p2", "espoo", AGAIN))

    [kept] = both.matches("n", None)
    assert kept.score == max(match.score for match in apart.matches("n", None))
    assert sorted(map(str, found(apart))) == ["p1", "p2"]


def test_two_practices_on_one_subject_are_two() -> None:
    """Texts about the same people that tell of other things each have their place."""
    assert sorted(map(str, found(corpus_of(("p1", "cork", WRITTEN), ("p2", "cork", OTHER))))) == ["p1", "p2"]


def test_a_need_for_the_folded_one_finds_it_again_when_the_other_goes() -> None:
    """What is folded is not forgotten."""
    corpus = corpus_of(("p1", "cork", WRITTEN), ("p2", "cork", AGAIN))
    [best] = found(corpus)
    corpus.drop_listing(best)

    assert found(corpus) == [{"p1": "p2", "p2": "p1"}[str(best)]]


def test_what_conditions_leave_out_folds_nothing() -> None:
    """When the better text hosts nobody, its double that does is listed for study visits."""
    [best] = found(corpus_of(("p1", "cork", WRITTEN), ("p2", "cork", AGAIN)))
    closed = {str(best): Exchange(offers_visits=False)}
    corpus = corpus_of(("p1", "cork", WRITTEN), ("p2", "cork", AGAIN), exchanges=closed)

    assert found(corpus, "study_visit") == [{"p1": "p2", "p2": "p1"}[str(best)]]
    assert found(corpus, "twinning") == [best]


@pytest.mark.parametrize("times", [2, 5])
def test_one_text_many_times_takes_one_place(times: int) -> None:
    """The same words again and again are one practice, and a depth counts what is left."""
    corpus = corpus_of(*((f"p{number}", "cork", WRITTEN) for number in range(times)), ("q", "cork", OTHER))

    assert len(found(corpus)) == 2
    assert [match.practice for match in corpus.matches("n", None, depth=2)] == found(corpus)
