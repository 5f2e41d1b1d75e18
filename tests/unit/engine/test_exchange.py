# SPDX-License-Identifier: Apache-2.0
"""Which exchanges the conditions of two listings leave possible."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.matcher.engine.corpus import CityFacts, Corpus
from services.matcher.engine.exchange import NOTHING_SAID, Exchange, agree, exchange_of
from services.matcher.engine.pairing import study_visits_for, twinnings_for
from services.matcher.engine.text import count_terms
from twinning.terms import SuggestionKind

KINDS = list(SuggestionKind)
HOSTED = [SuggestionKind.STUDY_VISIT, SuggestionKind.SEMINAR]
MONTHS = st.frozensets(st.integers(1, 12), max_size=3)
SEATS = st.none() | st.integers(0, 9)
EXCHANGES = st.builds(
    Exchange,
    seeks=st.frozensets(st.sampled_from(KINDS)),
    languages=st.frozensets(st.sampled_from(["en", "ko", "fi"])),
    months=MONTHS,
    party_size=SEATS,
    offers_visits=st.booleans(),
    seats=SEATS,
)

CASES: list[tuple[dict[str, Any], dict[str, Any], list[SuggestionKind]]] = [
    ({}, {}, KINDS),
    ({"seeks": ["seminar"]}, {}, [SuggestionKind.SEMINAR]),
    ({"languages": ["en", "fi"]}, {"languages": ["ko", "en"]}, KINDS),
    ({"languages": ["fi"]}, {"languages": ["ko"]}, []),
    ({"languages": ["fi"]}, {}, KINDS),
    ({}, {"hosting": {"offers_visits": False}}, [SuggestionKind.TWINNING]),
    ({"months": [5]}, {"hosting": {"months": [6, 7]}}, [SuggestionKind.TWINNING]),
    ({"months": [5]}, {"hosting": {"months": [5, 7]}}, KINDS),
    ({"months": [5]}, {"hosting": {"months": []}}, KINDS),
    ({"party_size": 9}, {"hosting": {"seats": 8}}, [SuggestionKind.TWINNING]),
    ({"party_size": 8}, {"hosting": {"seats": 8}}, KINDS),
    ({"party_size": 8}, {"hosting": {"seats": None}}, KINDS),
]


@pytest.mark.parametrize(("need", "practice", "kinds"), CASES)
def test_conditions_leave_these_kinds(
    need: dict[str, Any], practice: dict[str, Any], kinds: list[SuggestionKind]
) -> None:
    """A need seeks some kinds; a language in common counts in all, what hosting says where people travel."""
    asked, offered = exchange_of(**need), exchange_of(**practice)

    assert [kind for kind in KINDS if agree(asked, offered, kind)] == kinds


@given(EXCHANGES, EXCHANGES)
def test_saying_less_never_excludes_more(need: Exchange, practice: Exchange) -> None:
    """Whatever agrees still agrees when one side leaves a condition out, and silence agrees with all."""
    for kind in KINDS:
        if agree(need, practice, kind):
            for name in ("seeks", "languages", "months", "party_size", "offers_visits", "seats"):
                silent = getattr(NOTHING_SAID, name)
                assert agree(replace(need, **{name: silent}), practice, kind)
                assert agree(need, replace(practice, **{name: silent}), kind)
    assert agree(NOTHING_SAID, replace(NOTHING_SAID, languages=practice.languages), None)


def test_a_listing_that_says_nothing_shares_one_object() -> None:
    """A hundred thousand silent listings cost nothing."""
    assert exchange_of(hosting={"offers_visits": True, "months": []}) is NOTHING_SAID


def corpus_of(need: Exchange, practice: Exchange) -> Corpus:
    """Two cities that answer each other; the conditions are of suwon's need and cork's practice."""
    corpus = Corpus()
    corpus.put_city(CityFacts("suwon", "Suwon", "asia"))
    corpus.put_city(CityFacts("cork", "Cork", "europe"))
    texts = [
        ("n1", "need", "suwon", "family literacy in libraries", need),
        ("p1", "practice", "cork", "literacy festival for the family in libraries", practice),
        ("n2", "need", "cork", "computer classes for older people", NOTHING_SAID),
        ("p2", "practice", "suwon", "older people learn to use a computer", NOTHING_SAID),
    ]
    for key, kind, city, text, exchange in texts:
        corpus.put_listing(key, kind, city, count_terms(text), exchange)
    corpus.recut()
    return corpus


def test_conditions_decide_who_is_listed_and_not_what_a_pair_scores() -> None:
    """A practice that hosts nobody stays a ground of twinnings, with the score that it had."""
    free, closed = (
        corpus_of(NOTHING_SAID, NOTHING_SAID),
        corpus_of(NOTHING_SAID, Exchange(offers_visits=False)),
    )

    assert [pair.cities for pair in study_visits_for(free, "suwon")] == [("cork", "suwon")]
    assert study_visits_for(closed, "suwon") == []
    assert twinnings_for(closed, "suwon") == twinnings_for(free, "suwon") != []


def test_a_need_that_seeks_study_visits_is_no_ground_of_a_twinning() -> None:
    """Without a need that seeks it there is no twinning; in the kind it seeks all is as before."""
    picky = corpus_of(Exchange(seeks=frozenset({SuggestionKind.STUDY_VISIT})), NOTHING_SAID)

    assert twinnings_for(picky, "suwon") == twinnings_for(picky, "cork") == []
    assert [pair.cities for pair in study_visits_for(picky, "suwon")] == [("cork", "suwon")]


@pytest.mark.parametrize(
    ("need", "practice", "met"),
    [
        (NOTHING_SAID, NOTHING_SAID, True),
        (NOTHING_SAID, Exchange(offers_visits=False), True),
        (Exchange(seeks=frozenset({"study_visit"})), Exchange(offers_visits=False), False),
        (Exchange(seeks=frozenset({"twinning"})), Exchange(offers_visits=False), True),
        (Exchange(languages=frozenset({"ko"})), Exchange(languages=frozenset({"en"})), False),
    ],
)
def test_a_need_is_met_when_a_kind_that_it_seeks_finds_something(
    need: Exchange, practice: Exchange, met: bool
) -> None:
    """A need for which no kind that it seeks finds a practice is unmet."""
    assert corpus_of(need, practice).is_met("n1") is met


def test_changed_conditions_are_seen_at_once() -> None:
    """A listing put again with other conditions, or without any, is listed by these."""
    corpus = corpus_of(NOTHING_SAID, NOTHING_SAID)
    counts = count_terms("literacy festival for the family in libraries")
    corpus.put_listing("p1", "practice", "cork", counts, Exchange(offers_visits=False, visits_per_year=2))
    assert corpus.matches("n1", kind="study_visit") == []
    assert corpus.visits_per_year("cork") is None

    corpus.put_listing("p1", "practice", "cork", counts, Exchange(visits_per_year=2))
    assert corpus.visits_per_year("cork") == 2
    corpus.put_listing("p1", "practice", "cork", counts)

    assert len(corpus.matches("n1", kind="study_visit")) == 1
    assert corpus.visits_per_year("cork") is None


def test_a_list_is_filled_up_from_below_what_is_left_out() -> None:
    """A list of one practice has the best that hosts, though many better ones do not."""
    corpus = Corpus()
    corpus.put_city(CityFacts("suwon", "Suwon", "asia"))
    corpus.put_listing("n", "need", "suwon", count_terms("family literacy"))
    for number in range(9):
        corpus.put_city(CityFacts(f"c{number}", f"C{number}", "europe"))
        said = NOTHING_SAID if number == 8 else Exchange(offers_visits=False)
        text = "family literacy" if number < 8 else "literacy and many other things of a city"
        corpus.put_listing(f"p{number}", "practice", f"c{number}", count_terms(text), said)
    corpus.recut()

    assert [match.practice for match in corpus.matches("n", None, depth=1, kind="study_visit")] == ["p8"]
    assert len(corpus.matches("n", None, depth=3, kind="twinning")) == 3
