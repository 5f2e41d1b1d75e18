# SPDX-License-Identifier: Apache-2.0
"""Seminars: who gathers around which needs, who hosts, and what becomes of it when something goes."""

import random
from collections.abc import Hashable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.matcher.engine import clusters
from services.matcher.engine.clusters import Branch, like_needs
from services.matcher.engine.corpus import CityFacts, Corpus
from services.matcher.engine.exchange import NOTHING_SAID, Exchange
from services.matcher.engine.gathering import answers, gatherings
from services.matcher.engine.index import MatchIndex
from services.matcher.engine.pairing import Pair
from services.matcher.engine.seminars import (
    listed,
    needs_asking,
    propose_seminars,
    seminar,
)
from services.matcher.engine.text import count_terms
from twinning.terms import Band, CityRole

SUBJECTS = {
    "reading": "adults with low literacy read books aloud with volunteers in the library",
    "climate": "pupils plant rain gardens against floods in the school yard",
    "work": "young people without a job learn a trade with employers as apprentices",
    "age": "older people use tablets and computers with digital helpers",
}
WORDS = sorted({word for text in SUBJECTS.values() for word in text.split() if len(word) > 4})
REGIONS = ("asia", "europe")


def city(number: int) -> str:
    """The key of a city; the even ones are in Asia."""
    return f"c{number:02}"


def corpus_of(cities: int, listings: list[tuple[str, str, int, str]], **said: Exchange) -> Corpus:
    """So many cities by turns of both regions, with these listings (key, kind, city, text)."""
    corpus = Corpus()
    for number in range(cities):
        corpus.put_city(CityFacts(city(number), f"City {number}", REGIONS[number % 2]))
    for key, kind, owner, text in listings:
        corpus.put_listing(key, kind, city(owner), count_terms(text), said.get(key, NOTHING_SAID))
    corpus.recut()
    return corpus


def readers(learners: int, **said: Exchange) -> Corpus:
    """Cities 0 and 1 can show reading, and so many more want to learn it; others have other subjects."""
    ask = "we look for ways to bring adults with low literacy to books and the library"
    listings = [(f"p{host}", "practice", host, SUBJECTS["reading"]) for host in (0, 1)]
    listings += [(f"n{number}", "need", number, ask) for number in range(2, 2 + learners)]
    listings += [(f"o{number}", "need", number, text) for number, text in enumerate(SUBJECTS.values())][1:]
    return corpus_of(2 + max(learners, 4), listings, **said)


def all_rules(corpus: Corpus, pair: Pair, *, cross_region: bool = True) -> None:
    """What holds of every seminar."""
    hosts = {key for key, role in zip(pair.cities, pair.roles, strict=True) if role is CityRole.HOST}
    region = {key: corpus.city(key).region for key in pair.cities}
    assert 3 <= len(pair.cities) == len(set(pair.cities)) <= 8
    assert set(region.values()) == set(REGIONS)
    strong = {region[corpus.city_of(m.practice)] for m in pair.matches if m.band is Band.STRONG}
    assert strong == set(REGIONS)
    learned: dict[Hashable, list[float]] = {}
    for match in pair.matches:
        learner, host = corpus.city_of(match.need), corpus.city_of(match.practice)
        assert host in hosts
        assert corpus.may_pair(learner, host, cross_region)
        learned.setdefault(learner, []).append(min(100.0, 50.0 * match.score))
    assert {way.learner: way.score for way in pair.directions} == {
        learner: max(scores) for learner, scores in learned.items()
    }
    assert set(pair.cities) == hosts | set(learned)
    assert pair.score == pytest.approx(np.mean([way.score for way in pair.directions]))


def test_a_cluster_of_both_regions_gathers_around_its_hosts() -> None:
    """Two cities that show what six others ask for are the hosts of these six, and of nobody else."""
    corpus = readers(6)

    [found] = propose_seminars(corpus, corpus.cities, 3)

    all_rules(corpus, found)
    assert found.cities == tuple(map(city, (0, 1, 2, 4, 6, 3, 5, 7)))
    assert found.roles == (CityRole.HOST,) * 2 + (CityRole.PARTICIPANT,) * 6
    assert found.band is Band.STRONG


def test_more_than_eight_cities_make_several_seminars() -> None:
    """A cluster of many cities is cut until no more than eight take part."""
    corpus = readers(18)

    found = propose_seminars(corpus, corpus.cities, 3)

    assert len(found) > 1
    for pair in found:
        all_rules(corpus, pair)
    assert len({way.learner for pair in found for way in pair.directions}) >= 12


@pytest.mark.parametrize(
    ("said", "seminars"),
    [
        ({}, 1),
        ({"p0": Exchange(offers_visits=False)}, 0),
        ({"p1": Exchange(seats=1), "n2": Exchange(party_size=2), "n4": Exchange(party_size=2)}, 0),
        ({"n2": Exchange(seeks=frozenset({"study_visit"}))}, 1),
        ({f"n{number}": Exchange(seeks=frozenset({"twinning"})) for number in range(2, 6)}, 0),
    ],
)
def test_a_seminar_needs_a_host_of_each_region_and_needs_that_seek_it(
    said: dict[str, Exchange], seminars: int
) -> None:
    """Who hosts nobody or has too few seats is no host; who seeks other kinds is not invited."""
    corpus = readers(4, **said)

    found = propose_seminars(corpus, corpus.cities, 3)

    assert len(found) == seminars
    for pair in found:
        all_rules(corpus, pair)
        assert not {match.need for match in pair.matches} & said.keys()


LISTINGS = st.lists(
    st.tuples(
        st.sampled_from(["need", "practice"]),
        st.integers(0, 9),
        st.lists(st.sampled_from(WORDS), min_size=3, max_size=8),
    ),
    min_size=6,
    max_size=40,
)


@given(
    LISTINGS, st.booleans(), st.sampled_from(["weak", "possible", None]), st.randoms(use_true_random=False)
)
@settings(max_examples=80, deadline=None)
def test_every_seminar_keeps_the_rules_and_history_plays_no_part(
    drawn: list[tuple[str, int, list[str]]], cross_region: bool, min_band: str | None, chance: random.Random
) -> None:
    """Whatever is registered, in whatever order, the same seminars come of it, each by the rules."""
    told = [(f"l{number}", kind, owner, " ".join(text)) for number, (kind, owner, text) in enumerate(drawn)]
    corpus = corpus_of(10, told)
    mixed = told[:]
    chance.shuffle(mixed)
    other = corpus_of(
        10, [*mixed[: len(mixed) // 2], ("gone", "need", 0, "books"), *mixed[len(mixed) // 2 :]]
    )
    other.drop_listing("gone")
    other.recut()

    found = propose_seminars(corpus, corpus.cities, 2, min_band, cross_region)

    assert found == propose_seminars(other, other.cities, 2, min_band, cross_region)
    assert len({frozenset(pair.cities) for pair in found}) == len(found)
    for pair in found:
        all_rules(corpus, pair, cross_region=cross_region)


def crowd() -> Corpus:
    """A hundred needs and as many practices of thirty cities on four subjects."""
    chance = random.Random(4)
    texts = list(SUBJECTS.values())
    told = []
    for number in range(200):
        subject = texts[number % 4].split()
        text = " ".join(chance.sample(subject, 7) + chance.sample(WORDS, 2))
        told.append((f"l{number}", ("need", "practice")[number // 4 % 2], chance.randrange(30), text))
    return corpus_of(30, told)


def test_a_learner_has_so_many_seminars_and_a_scope_narrows_the_lists() -> None:
    """Each learner's best so many are proposed, and a scope's are those that its learners list."""
    corpus = crowd()
    made = gatherings(corpus, answers(corpus, needs_asking(corpus)))
    assert len(made) > 3
    best = {
        learner: [each for each in made if learner in each.learners][:1]
        for each in made
        for learner in each.learners
    }

    for learners in (list(best), sorted(best)[:2], []):
        expected = {each.cities for learner in learners for each in best[learner]}
        assert {each.cities for each in listed(made, learners, 1)} == expected


def test_a_seminar_is_found_again_and_falls_with_its_ground() -> None:
    """From its hosts and needs a seminar is found as it was; without a host's practice there is none."""
    corpus = readers(4)
    [found] = propose_seminars(corpus, corpus.cities, 3)
    hosts, needs = set(found.cities[:2]), {match.need for match in found.matches}

    assert seminar(corpus, hosts, needs) == found
    corpus.drop_listing("n5")
    again = seminar(corpus, hosts, needs)
    assert again is not None
    assert set(found.cities) - set(again.cities) == {city(5)}
    corpus.drop_listing("p1")
    assert seminar(corpus, hosts, needs) is None


def leaves(branch: Branch) -> list[Hashable]:
    """The needs at the ends of a branch."""
    return [need for half in branch.halves for need in leaves(half)] if branch.halves else list(branch.needs)


@pytest.mark.parametrize("largest", [5, 4000])
def test_trees_hold_every_need_once_and_alike_branches_are_alike(
    monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    """Every need is in one tree; where a branch is called alike its needs' mean likeness says so, too."""
    monkeypatch.setattr(clusters, "LARGEST", largest)
    corpus = crowd()
    needs = needs_asking(corpus)

    trees = like_needs(corpus.index, needs)

    assert sorted(need for tree in trees for need in leaves(tree)) == sorted(needs)
    assert largest > 5 or max(len(tree.needs) for tree in trees) <= 5
    waiting = list(trees)
    while waiting:
        branch = waiting.pop()
        waiting += branch.halves
        assert sorted(leaves(branch)) == sorted(branch.needs)
        if branch.alike and branch.halves:
            one, other = (half.needs for half in branch.halves)
            both = corpus.index.vectors(one + other)
            assert (both[: len(one)] @ both[len(one) :].T).toarray().mean() >= clusters.LIKE - 1e-6


def test_no_needs_make_no_trees() -> None:
    """An empty catalogue has nothing to gather around."""
    assert like_needs(MatchIndex(), []) == []
    assert propose_seminars(Corpus(), [], 3) == []
