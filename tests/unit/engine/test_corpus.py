# SPDX-License-Identifier: Apache-2.0
"""Who may be paired, where the bands lie, and what is proposed."""

import random
from collections.abc import Hashable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.matcher.engine.bands import PRIOR, Edges, draw, edges_of
from services.matcher.engine.corpus import CityFacts, Corpus
from services.matcher.engine.pairing import propose, public_score, study_visits_for, twinnings_for
from services.matcher.engine.text import count_terms
from twinning.terms import Band

CITIES = [f"c{number}" for number in range(6)]
WORDS = [f"w{number}" for number in range(10)]
PARTNERS = st.frozensets(st.sampled_from([*CITIES, *(f"city {key}" for key in CITIES)]), max_size=2)
FACTS = st.builds(
    lambda key, region, partners: CityFacts(key, f"City {key}", region, partners),
    st.sampled_from(CITIES),
    st.sampled_from(["asia", "europe"]),
    PARTNERS,
)
LISTING = st.tuples(
    st.sampled_from([f"l{number}" for number in range(16)]),
    st.sampled_from(["need", "practice"]),
    st.sampled_from(CITIES),
    st.dictionaries(st.sampled_from(WORDS), st.integers(1, 4), min_size=1, max_size=6),
)
STEPS = st.lists(
    st.one_of(FACTS, LISTING, st.sampled_from(CITIES), st.sampled_from(["l1", "l2", "l3"])), max_size=40
)


def replay(steps: list[object]) -> Corpus:
    """A corpus that went through every step."""
    corpus = Corpus()
    for number, key in enumerate(CITIES):
        corpus.put_city(CityFacts(key, f"City {key}", ("asia", "europe")[number % 2]))
    for step in steps:
        if isinstance(step, CityFacts):
            corpus.put_city(step)
        elif isinstance(step, tuple):
            if step[2] in corpus.cities:
                corpus.put_listing(*step)
        elif str(step).startswith("l"):
            corpus.drop_listing(step)
        else:
            corpus.drop_city(step)
    corpus.recut()
    return corpus


def corpus_steps(steps: list[object]) -> list[tuple[Hashable, str, Hashable, dict[str, int]]]:
    """The steps that stored a listing: those of cities that were registered at the time."""
    registered, stored = set(CITIES), []
    for step in steps:
        if isinstance(step, CityFacts):
            registered.add(step.key)
        elif isinstance(step, tuple):
            if step[2] in registered:
                stored.append(step)
        elif step in registered:
            registered.discard(step)
    return stored


def rebuilt(corpus: Corpus, counts: dict[Hashable, dict[str, int]], chance: random.Random) -> Corpus:
    """The same catalogue from nothing, in another order."""
    fresh = Corpus()
    cities = corpus.cities
    chance.shuffle(cities)
    for key in cities:
        fresh.put_city(corpus.city(key))
    listings = [
        (key, kind, city)
        for city in cities
        for kind in ("need", "practice")
        for key in corpus.listings(city, kind)
    ]
    chance.shuffle(listings)
    fresh.put_listings((key, kind, city, counts[key]) for key, kind, city in listings)
    fresh.recut()
    return fresh


@given(STEPS, st.randoms(use_true_random=False), st.booleans(), st.sampled_from(["weak", "possible", None]))
@settings(max_examples=120, deadline=None)
def test_proposals_depend_on_the_present_catalogue_alone(
    steps: list[object], chance: random.Random, cross_region: bool, min_band: str | None
) -> None:
    """Edges and pairs after any history are those of the same catalogue built anew."""
    corpus = replay(steps)
    counts = {step[0]: dict(step[3]) for step in corpus_steps(steps)}
    fresh = rebuilt(corpus, counts, chance)

    assert fresh.edges == corpus.edges
    for kind in ("study_visit", "twinning"):
        ours = propose(corpus, kind, corpus.cities, 2, min_band, cross_region)
        assert ours == propose(fresh, kind, fresh.cities, 2, min_band, cross_region)
        for pair in ours:
            assert corpus.may_pair(*pair.cities, cross_region)


@given(STEPS, st.booleans())
@settings(max_examples=80, deadline=None)
def test_the_mask_is_the_pair_rule(steps: list[object], cross_region: bool) -> None:
    """The cities that the mask allows are just those that may be paired."""
    corpus = replay(steps)

    for one in corpus.cities:
        mask = corpus.mask(one, cross_region)
        allowed = {other for other in corpus.cities if mask[corpus.index.city_number(other)]}
        assert allowed == {other for other in corpus.cities if corpus.may_pair(one, other, cross_region)}


@given(STEPS)
@settings(max_examples=80, deadline=None)
def test_needs_touched_are_those_that_list_the_practice(steps: list[object]) -> None:
    """A practice touches the needs that have it among their weak matches, folded ones included."""
    corpus = replay(steps)
    listed: dict[Hashable, dict[Hashable, float]] = {}
    for city in corpus.cities:
        for need in corpus.listings(city, "need"):
            for match in corpus.index.rank(need, corpus.mask(city), None, corpus.edges.least("weak")):
                listed.setdefault(match.practice, {})[need] = match.first

    for city in corpus.cities:
        for practice in corpus.listings(city, "practice"):
            assert corpus.needs_touched(practice) == listed.get(practice, {})


@pytest.mark.parametrize(
    ("one", "other", "crossing", "within"),
    [
        (CityFacts("a", "A", "asia"), CityFacts("b", "B", "europe"), True, True),
        (CityFacts("a", "A", "asia"), CityFacts("b", "B", "asia"), False, True),
        (CityFacts("a", "A", "asia", frozenset({"b"})), CityFacts("b", "B", "europe"), False, False),
        (CityFacts("a", "A", "asia"), CityFacts("b", "B", "europe", frozenset({"a"})), False, False),
        (CityFacts("a", "A", "asia", frozenset({"straße"})), CityFacts("b", "Straße", "europe"), True, True),
        (
            CityFacts("a", "A", "asia", frozenset({"strasse"})),
            CityFacts("b", " Straße", "europe"),
            False,
            False,
        ),
    ],
)
def test_pair_rules(one: CityFacts, other: CityFacts, crossing: bool, within: bool) -> None:
    """Never partners by either's word, and within a region only when it is asked for."""
    corpus = Corpus()
    corpus.put_city(one)
    corpus.put_city(other)

    for first, second in (("a", "b"), ("b", "a")):
        assert corpus.may_pair(first, second) is crossing
        assert corpus.may_pair(first, second, cross_region=False) is within
    assert not corpus.may_pair("a", "a", cross_region=False)


def twins() -> Corpus:
    """Two cities that answer each other, and a third that only answers."""
    corpus = Corpus()
    corpus.put_city(CityFacts("suwon", "Suwon", "asia"))
    corpus.put_city(CityFacts("cork", "Cork", "europe"))
    corpus.put_city(CityFacts("espoo", "Espoo", "europe"))
    texts = {
        ("n1", "need", "suwon"): "family literacy in libraries",
        ("p1", "practice", "cork"): "literacy festival for the family",
        ("p3", "practice", "espoo"): "family literacy in all our libraries",
        ("n2", "need", "cork"): "computer classes for older people",
        ("p2", "practice", "suwon"): "older people learn to use a computer",
    }
    corpus.put_listings((*listing, count_terms(text)) for listing, text in texts.items())
    corpus.recut()
    return corpus


def test_a_study_visit_goes_from_the_host_to_the_visitor() -> None:
    """Hosts come best first, and the score is that of the best match."""
    found = study_visits_for(twins(), "suwon")

    assert [pair.cities for pair in found] == [("espoo", "suwon"), ("cork", "suwon")]
    assert found[0].score == public_score(found[0].matches[0].score)
    assert found[0].directions[0].learner == "suwon"


def test_a_twinning_needs_both_directions() -> None:
    """The score is the harmonic mean of both, and who only gives is no twin."""
    found = twinnings_for(twins(), "suwon")

    assert [pair.cities for pair in found] == [("suwon", "cork")]
    one, other = (direction.score for direction in found[0].directions)
    assert found[0].score == pytest.approx(2 / (1 / one + 1 / other))
    assert twinnings_for(twins(), "cork") == found
    assert twinnings_for(twins(), "espoo") == []


def test_each_pair_is_proposed_once() -> None:
    """A round over all cities has a twinning once, and a visit for each direction."""
    corpus = twins()

    assert [pair.cities for pair in propose(corpus, "twinning", corpus.cities)] == [("suwon", "cork")]
    visits = [pair.cities for pair in propose(corpus, "study_visit", corpus.cities, 1)]
    assert sorted(visits) == [("espoo", "suwon"), ("suwon", "cork")]


def test_asking_for_a_band_is_the_same_as_choosing_by_it() -> None:
    """The strong pairs of a weak round are the pairs of a strong one."""
    corpus = twins()
    corpus.edges = Edges(0.45, 0.2, 0.1)

    weak = propose(corpus, "study_visit", corpus.cities, None, "weak")
    strong = propose(corpus, "study_visit", corpus.cities, None, "strong")

    assert {pair.cities for pair in weak if pair.band is Band.STRONG} == {pair.cities for pair in strong}


def test_changes_are_seen_at_once() -> None:
    """Remembered lists give way to every change of a city or a listing."""
    corpus = twins()
    assert len(corpus.matches("n1")) == 2
    corpus.put_city(CityFacts("espoo", "Espoo", "europe", frozenset({"suwon"})))
    assert [match.practice for match in corpus.matches("n1")] == ["p1"]
    corpus.drop_city("cork")

    assert corpus.matches("n1") == []
    assert "n2" not in corpus.index


def test_a_listing_of_an_unknown_city_is_refused() -> None:
    """A listing cannot be stored without its city's region."""
    with pytest.raises(KeyError):
        twins().put_listing("x", "need", "nowhere", {"a": 1})


def test_edges_begin_at_the_prior_and_give_way() -> None:
    """No pairs leave the prior; very many leave it without a say."""
    scores = np.random.default_rng(1).random(1_000_000)

    assert edges_of(np.zeros(0), 0.0) == PRIOR
    assert edges_of(scores, 64.0) == Edges(*(pytest.approx(edge, abs=0.01) for edge in (0.99, 0.97, 0.9)))
    assert edges_of(scores, 2500.0) == Edges(
        *(pytest.approx(edge, abs=0.01) for edge in (0.999, 0.995, 0.99))
    )


def test_bands_are_told_by_their_lowest_score() -> None:
    """A score at an edge is in the band, and one below all has none."""
    edges = Edges(0.5, 0.25, 0.125)

    assert [edges.band(first) for first in (0.5, 0.49, 0.25, 0.125, 0.12)] == [
        "strong",
        "possible",
        "possible",
        "weak",
        None,
    ]
    assert edges.least(None) == 0.0


@given(st.lists(st.text(), unique=True), st.randoms(use_true_random=False))
def test_the_sample_does_not_know_the_order(keys: list[str], chance: random.Random) -> None:
    """The same keys in any order give the same sample."""
    mixed = keys[:]
    chance.shuffle(mixed)

    assert draw(keys, 5) == draw(mixed, 5)
