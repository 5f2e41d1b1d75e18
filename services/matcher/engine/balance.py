# SPDX-License-Identifier: Apache-2.0
"""Balanced lists: who meets whom when every city has only so much room, in any role."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from services.matcher.engine.assignment import share_out, top_total
from services.matcher.engine.corpus import Corpus
from services.matcher.engine.pairing import Needs, Pair, pairs_among, propose
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
    room = {host: corpus.visits_per_year(host) for host in {cities[0] for cities in candidates}}
    stated = {host: visits for host, visits in room.items() if visits is not None}
    turned = {(visitor, host): score for (host, visitor), score in _twos(candidates).items()}
    visits = share_out(turned, stated, per_city)
    return Share(
        [(host, visitor) for visitor, host in visits], top_total(candidates, (1,), learners, per_city)
    )


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
