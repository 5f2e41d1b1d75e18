# SPDX-License-Identifier: Apache-2.0
"""Gathering: which cities could meet around which cluster of like needs, and who of them would host.

Needs are clustered by their own words, so that those of both regions come together (average linkage on the
cosine of idf-weighted words). The tree is cut from above: a branch becomes a seminar when its needs are alike
and it can be hosted by few enough cities; else its two halves are tried, and what no half could use is
shared out.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import fsum

from services.matcher.engine.clusters import Branch, like_needs
from services.matcher.engine.corpus import Corpus
from services.matcher.engine.pairing import (
    public_score,
)
from twinning.terms import Band, Region, SuggestionKind

FEWEST_CITIES, MOST_CITIES = 3, 8


@dataclass(frozen=True, slots=True)
class Answer:
    """How well a city's practices answer a need: the best score, from 0 to 100, and whether one is strong."""

    score: float
    strong: bool


Answers = Mapping[Hashable, Mapping[Hashable, Answer]]
"""For each need what each city answers it."""


@dataclass(frozen=True)
class Gathering:
    """A seminar as it is found: who hosts, the needs it is about, and what each learner's best match is."""

    hosts: frozenset[Hashable]
    needs: frozenset[Hashable]
    learners: Mapping[Hashable, float]

    @cached_property
    def cities(self) -> tuple[Hashable, ...]:
        """All its cities in the order of their text, which name it."""
        return tuple(sorted(self.hosts | self.learners.keys(), key=str))

    @cached_property
    def score(self) -> float:
        """The mean of what each who learns would find best: many half served are no better than few."""
        return fsum(self.learners.values()) / len(self.learners)


def answers(
    corpus: Corpus, needs: Iterable[Hashable], min_band: str | None = "possible", cross_region: bool = True
) -> dict[Hashable, dict[Hashable, Answer]]:
    """What answers each of some needs at a seminar, by city; needs that nothing answers are left out."""
    found: dict[Hashable, dict[Hashable, Answer]] = {}
    asked = list(needs)
    corpus.prepare(asked, min_band, cross_region, SuggestionKind.SEMINAR)
    for need in asked:
        for match in corpus.matches(need, min_band, cross_region, None, SuggestionKind.SEMINAR):
            by_city = found.setdefault(need, {})
            city = corpus.city_of(match.practice)
            before = by_city.get(city, Answer(0.0, strong=False))
            by_city[city] = Answer(
                max(before.score, public_score(match.score)), before.strong or match.band is Band.STRONG
            )
    return found


def gatherings(corpus: Corpus, found: Answers) -> list[Gathering]:
    """The seminars that the present catalogue's needs and these answers make, best first.

    A need is in one seminar at most; clusters that bring the same cities together are one.
    """
    needs = sorted((need for need in found if need in corpus.index), key=str)
    by_cities: dict[tuple[Hashable, ...], Gathering] = {}
    for branch in like_needs(corpus.index, needs):
        for made in _cut(corpus, found, branch):
            twin = by_cities.get(made.cities)
            by_cities[made.cities] = _together(twin, made) if twin else made
    return sorted(by_cities.values(), key=order)


def without(
    corpus: Corpus, found: Answers, made: Gathering, cities: Collection[Hashable]
) -> Gathering | None:
    """What a seminar becomes when some cities stay away: others host, and their needs are left out."""
    needs = [need for need in sorted(made.needs, key=str) if corpus.city_of(need) not in cities]
    left = {
        need: {city: answer for city, answer in found[need].items() if city not in cities} for need in needs
    }
    return _hosted(corpus, left, needs)


def order(made: Gathering) -> tuple[float, tuple[str, ...]]:
    """By score, the best first, equal scores in the order of their cities."""
    return -made.score, tuple(map(str, made.cities))


def _together(one: Gathering, other: Gathering) -> Gathering:
    """Two clusters of the same cities as one seminar."""
    cities = one.learners.keys() | other.learners.keys()
    best = {city: max(one.learners.get(city, 0.0), other.learners.get(city, 0.0)) for city in cities}
    return Gathering(one.hosts | other.hosts, one.needs | other.needs, best)


def _cut(corpus: Corpus, found: Answers, tree: Branch) -> Iterable[Gathering]:
    """The seminars of a tree: those of its largest branches that are about one thing."""
    waiting = [tree]
    while waiting:
        branch = waiting.pop()
        if branch.alike:
            yield from _about_one_thing(corpus, found, branch)
        else:
            waiting.extend(reversed(branch.halves))


def _about_one_thing(corpus: Corpus, found: Answers, branch: Branch) -> Iterable[Gathering]:
    """The largest parts of a branch that can each be a seminar; what is left of them is parted evenly."""
    left: list[Hashable] = []
    waiting = [branch]
    while waiting:
        its = waiting.pop()
        few = len({corpus.city_of(need) for need in its.needs}) <= MOST_CITIES
        made = _hosted(corpus, found, its.needs) if few else None
        if made:
            yield made
            left.extend(need for need in its.needs if need not in made.needs)
        elif its.halves:
            waiting.extend(reversed(its.halves))
        else:
            left.extend(its.needs)
    for part in _parts(corpus, left):
        if made := _hosted(corpus, found, part):
            yield made


def _parts(corpus: Corpus, needs: Iterable[Hashable]) -> Iterable[list[Hashable]]:
    """Needs in parts of so few cities that hosts find room, with a part of each region's cities in each."""
    by_city: dict[Hashable, list[Hashable]] = {}
    for need in needs:
        by_city.setdefault(corpus.city_of(need), []).append(need)
    sides = [[city for city in by_city if corpus.city(city).region == region] for region in Region]
    parts = -(-len(by_city) // (MOST_CITIES - len(sides)))
    for number in range(parts):
        some = [side[len(side) * number // parts : len(side) * (number + 1) // parts] for side in sides]
        yield [need for side in some for city in side for need in by_city[city]]


def _hosted(corpus: Corpus, found: Answers, needs: Collection[Hashable]) -> Gathering | None:
    """Find hosts for a cluster: the best strong one of each region, then who serves those left out."""
    worth = _worth(corpus, found, needs)
    strong = {city for need in needs for city, answer in found[need].items() if answer.strong}
    hosts: list[Hashable] = []
    for region in Region:
        able = [city for city in strong if corpus.city(city).region == region]
        best = _best_host(able, worth, worth.keys(), hosts)
        if best is None:
            return None
        hosts.append(best)
    while left := [city for city in worth if not _served(worth[city], hosts)]:
        serving = {city for learner in left for city in worth[learner]}
        best = _best_host(serving, worth, left, hosts)
        if best is None:
            break
        hosts.append(best)
    served = {city: _served(worth[city], hosts) for city in worth}
    learners = {city: score for city, score in served.items() if score}
    kept = frozenset(need for need in needs if corpus.city_of(need) in learners)
    made = Gathering(frozenset(hosts), kept, learners)
    return made if FEWEST_CITIES <= len(made.cities) <= MOST_CITIES else None


def _worth(
    corpus: Corpus, found: Answers, needs: Iterable[Hashable]
) -> dict[Hashable, dict[Hashable, float]]:
    """For each learner the best score that each city would bring it."""
    worth: dict[Hashable, dict[Hashable, float]] = {}
    for need in needs:
        by_city = worth.setdefault(corpus.city_of(need), {})
        for city, answer in found[need].items():
            by_city[city] = max(by_city.get(city, 0.0), answer.score)
    return worth


def _served(offers: Mapping[Hashable, float], hosts: Iterable[Hashable]) -> float:
    """What a learner finds best among the hosts; 0 when none answers it."""
    return max((offers.get(host, 0.0) for host in hosts), default=0.0)


def _best_host(
    able: Iterable[Hashable],
    worth: Mapping[Hashable, Mapping[Hashable, float]],
    learners: Collection[Hashable],
    hosts: Collection[Hashable],
) -> Hashable | None:
    """Who adds most for some learners to what the hosts so far bring them; None when there is no room."""
    room = MOST_CITIES - len(worth.keys() | set(hosts))
    fitting = [city for city in able if city not in hosts and (city in worth or room > 0)]

    def rank(city: Hashable) -> tuple[float, str]:
        gain = fsum(max(_served(worth[one], [city]) - _served(worth[one], hosts), 0.0) for one in learners)
        return -gain, str(city)

    return min(fitting, key=rank, default=None)
