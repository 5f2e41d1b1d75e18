# SPDX-License-Identifier: Apache-2.0
"""Balanced lists: who meets whom when every city has only so much room, in any role."""

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.matcher.engine.assignment import share_out, top_total
from services.matcher.engine.corpus import Corpus
from services.matcher.engine.gathering import Answers, Gathering, answers, gatherings, without
from services.matcher.engine.pairing import Needs, Pair, pairs_among, propose
from services.matcher.engine.seating import Rooms, Seating, seat
from services.matcher.engine.seminars import needs_asking, seminars_of
from twinning.terms import SuggestionKind

Cities = tuple[Hashable, ...]
Candidates = Mapping[Cities, float]
"""Scores by cities: (host, visitor) of a study visit, the Asian city first of a twinning."""


@dataclass(frozen=True, slots=True)
class Share:
    """What is handed out, and the total score of everybody's best lists had there been no limits."""

    chosen: list[Cities]
    unconstrained: float


def share(
    corpus: Corpus, kind: str, candidates: Candidates, learners: Iterable[Hashable], per_city: int
) -> Share:
    """Hand out pairs: first that the most cities have one, then the largest total score.

    Of a study visit those count who learn, and a host has room for the visits a year that its practices
    state, or `per_city`; of a twinning both sides count, and each has room for `per_city`.
    """
    if kind == SuggestionKind.TWINNING:
        chosen: list[Cities] = list(share_out(_twos(candidates), {}, per_city, cover_right=True))
        return Share(chosen, top_total(candidates, (0, 1), learners, per_city))
    stated = _stated(corpus, {cities[0] for cities in candidates})
    turned = {(visitor, host): score for (host, visitor), score in _twos(candidates).items()}
    visits = share_out(turned, stated, per_city)
    return Share(
        [(host, visitor) for visitor, host in visits], top_total(candidates, (1,), learners, per_city)
    )


def _stated(corpus: Corpus, hosts: Iterable[Hashable]) -> dict[Hashable, int]:
    """The visits a year of those hosts that state any."""
    room = {host: corpus.visits_per_year(host) for host in hosts}
    return {host: visits for host, visits in room.items() if visits is not None}


def share_seminars(
    corpus: Corpus,
    found: Answers,
    made: Sequence[Gathering],
    learners: Collection[Hashable],
    per_city: int,
) -> Seating:
    """Choose among seminars, and what each becomes without one or all of those who are asked too often."""
    rooms = Rooms(per_city, _stated(corpus, frozenset().union(*(one.hosts for one in made))))
    crowded = rooms.crowded(made)
    others = (
        without(corpus, found, one, away)
        for one in made
        if (asked := [city for city in one.cities if city in crowded])
        for away in {*((city,) for city in asked), tuple(asked)}
    )
    return seat([*made, *(other for other in others if other)], learners, rooms)


def propose_balanced_seminars(
    corpus: Corpus,
    learners: Collection[Hashable],
    per_city: int,
    min_band: str | None = "possible",
    cross_region: bool = True,
    only: Needs = None,
) -> list[Pair]:
    """The seminars that are held when nobody is in too many, best first."""
    found = answers(corpus, needs_asking(corpus, only), min_band, cross_region)
    seating = share_seminars(corpus, found, gatherings(corpus, found), learners, per_city)
    return seminars_of(corpus, seating.chosen, min_band, cross_region)


def _twos(candidates: Candidates) -> dict[tuple[Hashable, Hashable], float]:
    return {(cities[0], cities[1]): score for cities, score in candidates.items()}


def propose_balanced(
    corpus: Corpus,
    kind: SuggestionKind,
    learners: Iterable[Hashable],
    per_city: int,
    min_band: str | None = "possible",
    cross_region: bool = True,
    only: Needs = None,
) -> list[Pair]:
    """The pairs that are handed out among all that the learners could have, best first."""
    learning = list(learners)
    found = propose(corpus, kind, learning, None, min_band, cross_region, only)
    shared = share(corpus, kind, {pair.cities: pair.score for pair in found}, learning, per_city)
    return pairs_among(found, shared.chosen)
