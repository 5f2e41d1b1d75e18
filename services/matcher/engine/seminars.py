# SPDX-License-Identifier: Apache-2.0
"""Seminars: 3 to 8 cities of both regions around one cluster of like needs, with strong practices of both."""

from collections import Counter
from collections.abc import Collection, Hashable, Iterable
from math import fsum

from services.matcher.engine.corpus import Corpus
from services.matcher.engine.gathering import (
    FEWEST_CITIES,
    MOST_CITIES,
    Gathering,
    answers,
    gatherings,
    order,
)
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
from twinning.terms import Band, CityRole, Region, SuggestionKind


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
    for one in sorted(made, key=order):
        listing = [city for city in one.learners if room[city] > 0]
        room.subtract(listing)
        if listing:
            kept.append(one)
    return kept


def propose_seminars(
    corpus: Corpus,
    learners: Collection[Hashable],
    per_city: int,
    min_band: str | None = "possible",
    cross_region: bool = True,
    only: Needs = None,
) -> list[Pair]:
    """The seminars of some learners, best first; the needs of all cities make the clusters."""
    made = gatherings(corpus, answers(corpus, needs_asking(corpus, only), min_band, cross_region))
    return seminars_of(corpus, listed(made, learners, per_city), min_band, cross_region)


def seminars_of(
    corpus: Corpus, chosen: Iterable[Gathering], min_band: str | None, cross_region: bool
) -> list[Pair]:
    """What was found as it is in the present catalogue, best first, without what can be none any more."""
    pairs = (seminar(corpus, one.hosts, one.needs, min_band, cross_region) for one in chosen)
    return best_pairs(pair for pair in pairs if pair)
