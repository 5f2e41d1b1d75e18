# SPDX-License-Identifier: Apache-2.0
"""Seminars: 3 to 8 cities of both regions around one cluster of like needs, with strong practices of both.

Needs are clustered by their own words, so that those of both regions come together (average linkage on the
cosine of idf-weighted words). The tree is cut from above: a branch becomes a seminar when its needs are alike
and it can be hosted by few enough cities; else its two halves are tried.
"""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import fsum

from services.matcher.engine.assignment import share_groups
from services.matcher.engine.clusters import Branch, like_needs
from services.matcher.engine.corpus import Corpus
from services.matcher.engine.pairing import (
    Direction,
    Needs,
    Pair,
    best_pairs,
    in_order,
    public_score,
    strongest,
)
from services.matcher.engine.store import NEED
from twinning.terms import Assignment, Band, CityRole, Region, SuggestionKind

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
    return sorted(by_cities.values(), key=_order)


def _order(made: Gathering) -> tuple[float, tuple[str, ...]]:
    return -made.score, tuple(map(str, made.cities))


def _together(one: Gathering, other: Gathering) -> Gathering:
    """Two clusters of the same cities as one seminar."""
    cities = one.learners.keys() | other.learners.keys()
    best = {city: max(one.learners.get(city, 0.0), other.learners.get(city, 0.0)) for city in cities}
    return Gathering(one.hosts | other.hosts, one.needs | other.needs, best)


def _cut(corpus: Corpus, found: Answers, branch: Branch) -> Iterable[Gathering]:
    """The seminars of a branch: the branch itself when it can be one, else those of its halves."""
    waiting = [branch]
    while waiting:
        its = waiting.pop()
        cities = {corpus.city_of(need) for need in its.needs}
        made = _hosted(corpus, found, its.needs) if its.alike and len(cities) <= MOST_CITIES else None
        if made:
            yield made
        else:
            waiting.extend(reversed(its.halves))


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


def seminar(
    corpus: Corpus,
    hosts: Collection[Hashable],
    needs: Iterable[Hashable],
    min_band: str | None = "possible",
    cross_region: bool = True,
) -> Pair | None:
    """The seminar of these hosts about these needs in the present catalogue; None when it can be none.

    Its score is the mean over those who learn (a host may) of their best match, so that nobody is carried
    along by others; its band that of the one who finds least.
    """
    matches = [
        match
        for need in sorted(set(needs), key=str)
        if need in corpus.index and corpus.index.kind(need) == NEED
        for match in corpus.matches(need, min_band, cross_region, None, SuggestionKind.SEMINAR)
        if corpus.city_of(match.practice) in hosts
    ]
    learned = {corpus.city_of(match.need) for match in matches}
    best = {
        city: [match for match in matches if corpus.city_of(match.need) == city]
        for city in sorted(learned, key=lambda city: (corpus.city(city).region, str(city)))
    }
    strong = {
        corpus.city(corpus.city_of(match.practice)).region for match in matches if match.band is Band.STRONG
    }
    teaching = {corpus.city_of(match.practice) for match in matches}
    cities = learned | set(hosts)
    if len(strong) < len(Region) or teaching != set(hosts) or not FEWEST_CITIES <= len(cities) <= MOST_CITIES:
        return None
    directions = tuple(
        Direction(city, max(public_score(match.score) for match in some)) for city, some in best.items()
    )
    bands = [strongest(some) for some in best.values()]
    ordered = sorted(cities, key=lambda city: (city not in hosts, corpus.city(city).region, str(city)))
    return Pair(
        kind=SuggestionKind.SEMINAR,
        cities=tuple(ordered),
        score=fsum(way.score for way in directions) / len(directions),
        band=None if None in bands else max(filter(None, bands), key=lambda band: band.rank),
        directions=directions,
        matches=in_order(matches),
        roles=tuple(CityRole.HOST if city in hosts else CityRole.PARTICIPANT for city in ordered),
    )


def needs_asking(corpus: Corpus, only: Needs = None) -> list[Hashable]:
    """The needs that take part in seminars, some `only` where given, in the order of their text."""
    needs = (need for need in corpus.index.keys(NEED) if only is None or need in only)
    return sorted(
        (need for need in needs if corpus.exchange(need).takes_part(SuggestionKind.SEMINAR)), key=str
    )


def listed(made: Iterable[Gathering], learners: Collection[Hashable], per_city: int) -> list[Gathering]:
    """The seminars that are among the best so many of some learner, best first."""
    room = Counter(dict.fromkeys(learners, per_city))
    kept = []
    for one in sorted(made, key=_order):
        listing = [city for city in one.learners if room[city] > 0]
        room.subtract(listing)
        if listing:
            kept.append(one)
    return kept


def balanced(made: Iterable[Gathering], learners: Collection[Hashable], per_city: int) -> list[Gathering]:
    """The seminars that are handed out so that no city stands in more than so many, best first."""
    having = set(learners)
    open_to = [one for one in sorted(made, key=_order) if one.learners.keys() & having]
    served = [one.learners.keys() & having for one in open_to]
    chosen = share_groups([one.cities for one in open_to], served, [one.score for one in open_to], per_city)
    return [open_to[number] for number in chosen]


HAND_OUT: Mapping[str, Callable[[Iterable[Gathering], Collection[Hashable], int], list[Gathering]]] = {
    Assignment.TOP: listed,
    Assignment.BALANCED: balanced,
}
"""How seminars are handed out."""


def propose_seminars(
    corpus: Corpus,
    learners: Collection[Hashable],
    per_city: int,
    min_band: str | None = "possible",
    cross_region: bool = True,
    only: Needs = None,
    assignment: str = Assignment.TOP,
) -> list[Pair]:
    """The seminars of some learners, best first; the needs of all cities make the clusters."""
    made = gatherings(corpus, answers(corpus, needs_asking(corpus, only), min_band, cross_region))
    chosen = HAND_OUT[assignment](made, learners, per_city)
    return seminars_of(corpus, chosen, min_band, cross_region)


def seminars_of(
    corpus: Corpus, chosen: Iterable[Gathering], min_band: str | None, cross_region: bool
) -> list[Pair]:
    """What was found as it is in the present catalogue, best first, without what can be none any more."""
    pairs = (seminar(corpus, one.hosts, one.needs, min_band, cross_region) for one in chosen)
    return best_pairs(pair for pair in pairs if pair)
