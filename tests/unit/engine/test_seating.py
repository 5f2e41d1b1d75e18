# SPDX-License-Identifier: Apache-2.0
"""Seating: seminars within everybody's room, nobody without who need not be, and the largest total."""

import random
from collections import Counter
from collections.abc import Sequence
from itertools import chain, combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.matcher.engine import seating
from services.matcher.engine.balance import propose_balanced_seminars, share_seminars
from services.matcher.engine.exchange import Exchange
from services.matcher.engine.gathering import Gathering, answers, gatherings
from services.matcher.engine.seating import Rooms, seat
from services.matcher.engine.seminars import needs_asking
from tests.unit.engine.test_seminars import all_rules, city, corpus_of, crowd
from twinning.terms import CityRole

CITIES = "abcdefg"


@st.composite
def markets(draw: st.DrawFn) -> tuple[list[Gathering], set[str], Rooms]:
    """Up to seven seminars of three to five cities, who looks for one, and everybody's room."""
    made = []
    for number in range(draw(st.integers(0, 7))):
        cities = draw(st.lists(st.sampled_from(CITIES), min_size=3, max_size=5, unique=True))
        hosts = frozenset(cities[: draw(st.integers(1, 2))])
        learners = {one: float(draw(st.integers(1, 100))) for one in cities[1:]}
        made.append(Gathering(hosts, frozenset({f"n{draw(st.integers(0, 9))}", f"m{number}"}), learners))
    stated = draw(st.dictionaries(st.sampled_from(CITIES), st.integers(0, 2), max_size=3))
    return made, draw(st.sets(st.sampled_from(CITIES))), Rooms(draw(st.integers(1, 3)), stated)


def fits(chosen: Sequence[Gathering], rooms: Rooms) -> bool:
    """Whether nobody is beyond its room, no need stands twice, and no set of cities meets twice."""
    needs = Counter(chain.from_iterable(one.needs for one in chosen))
    met = Counter(one.cities for one in chosen)
    for name in CITIES:
        hosted = sum(name in one.hosts for one in chosen)
        joined = sum(name in one.cities for one in chosen) - hosted
        if name in rooms.stated:
            if hosted > rooms.stated[name] or joined > rooms.per_city:
                return False
        elif hosted + joined > rooms.per_city:
            return False
    return max([*needs.values(), *met.values()], default=0) <= 1


def worth(chosen: Sequence[Gathering], learners: set[str]) -> tuple[int, float]:
    """How many learn, and the total score."""
    served = learners & set(chain.from_iterable(one.learners for one in chosen))
    return len(served), round(sum(one.score for one in chosen), 3)


@given(markets())
@settings(max_examples=150, deadline=None)
def test_a_seating_is_the_best_of_all_that_fit(market: tuple[list[Gathering], set[str], Rooms]) -> None:
    """Of all choices within the rooms none lets more learn; of those that let as many none totals more."""
    made, learners, rooms = market
    wanted = [one for one in made if learners & one.learners.keys()]

    found = seat(made, learners, rooms)

    assert found.gap == 0.0
    assert fits(found.chosen, rooms)
    choices = chain.from_iterable(combinations(wanted, size) for size in range(len(wanted) + 1))
    served, total = max(worth(some, learners) for some in choices if fits(some, rooms))
    assert worth(found.chosen, learners)[0] == served
    assert worth(found.chosen, learners)[1] == pytest.approx(total, abs=1e-2)


@given(markets(), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_order_of_the_seminars_plays_no_part(
    market: tuple[list[Gathering], set[str], Rooms], chance: random.Random
) -> None:
    """The same seminars in another order give the same choice."""
    made, learners, rooms = market
    # Of two that bring the same cities together the better one stands for both, so none are equal here.
    mixed = made[:]
    chance.shuffle(mixed)
    named = Counter((one.cities, one.score) for one in made)
    if max(named.values(), default=0) < 2:
        assert seat(mixed, learners, rooms) == seat(made, learners, rooms)


def test_everybody_before_the_total() -> None:
    """Two seminars that let five learn come before one that scores more and lets three."""
    rich = Gathering(frozenset({"a"}), frozenset({"1"}), {"b": 90.0, "c": 90.0, "d": 90.0})
    plain = [
        Gathering(frozenset({"a"}), frozenset({"2"}), {"b": 10.0, "e": 10.0}),
        Gathering(frozenset({"f"}), frozenset({"3"}), {"c": 10.0, "d": 10.0, "g": 10.0}),
    ]

    assert seat([rich, *plain], set(CITIES), Rooms(1, {})).chosen == sorted(plain, key=lambda one: one.cities)


def test_a_search_that_ends_early_says_how_far_it_can_be_from_the_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without any steps the choice is still within the rooms, the same each time, and its gap is told."""
    monkeypatch.setattr(seating, "STEPS", 0.0)
    chance = random.Random(3)
    made = [
        Gathering(
            frozenset(some[:2]), frozenset({f"n{number}"}), {one: chance.random() * 100 for one in some[2:]}
        )
        for number in range(60)
        for some in [chance.sample([f"c{place}" for place in range(25)], 7)]
    ]
    everybody = {f"c{place}" for place in range(25)}

    found = seat(made, everybody, Rooms(2, {}))

    assert found.gap > 0.0
    assert found == seat(made, everybody, Rooms(2, {}))
    asked = Counter(chain.from_iterable(one.cities for one in found.chosen))
    assert max(asked.values()) == 2


@pytest.mark.parametrize("per_city", [1, 2, 3])
def test_balanced_seminars_keep_the_rules_and_ask_nobody_too_often(per_city: int) -> None:
    """Seminars that are shared out are seminars, and no city is in more of them than was asked for."""
    corpus = crowd()

    found = propose_balanced_seminars(corpus, corpus.cities, per_city)

    asked = Counter(chain.from_iterable(pair.cities for pair in found))
    assert max(asked.values()) <= per_city
    needs = Counter(need for pair in found for need in {match.need for match in pair.matches})
    assert max(needs.values()) == 1
    for pair in found:
        all_rules(corpus, pair)
    made = answers(corpus, needs_asking(corpus))
    seating = share_seminars(corpus, made, gatherings(corpus, made), corpus.cities, per_city)
    assert seating.gap == 0.0
    assert [set(pair.cities) for pair in found] == [
        set(one.cities) for one in sorted(seating.chosen, key=lambda one: (-one.score, one.cities))
    ]


def test_who_is_asked_too_often_is_replaced() -> None:
    """Where one host is wanted at two seminars and may host one, the other is held by the next best host."""
    subjects = {
        "reading": "adults with low literacy read books aloud with volunteers in the library",
        "climate": "pupils plant rain gardens against floods in the school yard",
    }
    told = [
        (f"{name}-{host}", "practice", host, text + (" together" if host > 1 else ""))
        for name, text in subjects.items()
        for host in (0, 1, 2, 3)
    ]
    told += [("n4", "need", 4, subjects["reading"]), ("n5", "need", 5, subjects["reading"])]
    told += [("n6", "need", 6, subjects["climate"]), ("n7", "need", 7, subjects["climate"])]
    corpus = corpus_of(8, told)
    found = propose_balanced_seminars(corpus, corpus.cities, 1)

    hosts = [
        {who for who, role in zip(pair.cities, pair.roles, strict=True) if role is CityRole.HOST}
        for pair in found
    ]
    assert {way.learner for pair in found for way in pair.directions} == set(map(city, range(4, 8)))
    assert len(hosts) == 2
    assert not hosts[0] & hosts[1]
    assert all(len(some) == 2 for some in hosts)


def test_a_host_is_asked_as_often_as_it_says() -> None:
    """A city that states one visit a year hosts one seminar, however many it could be in otherwise."""
    said = {key: Exchange(visits_per_year=1) for key in ("reading-0", "climate-0")}
    subjects = {
        "reading": "adults with low literacy read books aloud with volunteers in the library",
        "climate": "pupils plant rain gardens against floods in the school yard",
    }
    told = [(f"{name}-{host}", "practice", host, text) for name, text in subjects.items() for host in (0, 1)]
    told += [("n2", "need", 2, subjects["reading"]), ("n3", "need", 3, subjects["reading"])]
    told += [("n4", "need", 4, subjects["climate"]), ("n5", "need", 5, subjects["climate"])]

    def held(**said: Exchange) -> int:
        corpus = corpus_of(6, told, **said)
        return len(propose_balanced_seminars(corpus, corpus.cities, 3))

    assert (held(), held(**said)) == (2, 2)
    assert held(**{"reading-0": Exchange(visits_per_year=1)}) == 1
