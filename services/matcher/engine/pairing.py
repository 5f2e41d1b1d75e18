# SPDX-License-Identifier: Apache-2.0
"""From matches of texts to pairs of cities: study visits, which go one way, and twinnings, which go both.

A twinning's score is the harmonic mean of its two directions, each the best of all need and practice pairs:
of the means that were tried it lets the fewest one-way pairs come first.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from services.matcher.engine.corpus import Corpus
from services.matcher.engine.index import Match
from services.matcher.engine.store import NEED, PRACTICE
from twinning.terms import Band, CityRole, SuggestionKind

SCORE_SCALE = 50.0
"""Points for a T3 score of 1."""

HIGHEST_SCORE = 100.0


Needs = frozenset[str] | None
"""The needs that a round looks at; None for all."""


def _some(needs: list[Hashable], only: Needs) -> list[Hashable]:
    """Those of the needs that a round looks at."""
    return needs if only is None else [need for need in needs if need in only]


def public_score(score: float) -> float:
    """A T3 score on the scale from 0 to 100 that everyone sees."""
    return min(HIGHEST_SCORE, SCORE_SCALE * score)


@dataclass(frozen=True, slots=True)
class Direction:
    """How much one city would learn from the other, from 0 to 100."""

    learner: Hashable
    score: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Cities that should meet, what each would learn, and the matches that it rests on.

    (host, visitor) of a study visit; of a twinning the Asian city first; of a seminar, which is a pair only
    in name, the hosts first.
    """

    kind: SuggestionKind
    cities: tuple[Hashable, ...]
    score: float
    band: Band | None
    directions: tuple[Direction, ...]
    matches: tuple[Match, ...]
    roles: tuple[CityRole, ...]


def strongest(matches: Iterable[Match]) -> Band | None:
    """The best band among matches; None when all lie below the bands."""
    return min((match.band for match in matches if match.band), key=lambda band: band.rank, default=None)


def best_pairs(pairs: Iterable[Pair], limit: int | None = None) -> list[Pair]:
    """Pairs best first, equal scores in the order of their cities."""
    return sorted(pairs, key=lambda pair: (-pair.score, *map(str, pair.cities)))[:limit]


def in_order(matches: Iterable[Match]) -> tuple[Match, ...]:
    """Matches best first, equal scores in the order of their listings."""
    return tuple(sorted(matches, key=lambda match: (-match.score, str(match.need), str(match.practice))))


def _lessons(
    corpus: Corpus,
    learner: Hashable,
    kind: SuggestionKind,
    min_band: str | None,
    only: Needs,
    *,
    cross_region: bool,
) -> dict[Hashable, list[Match]]:
    """What a city could learn, by the city it would learn from."""
    found: dict[Hashable, list[Match]] = {}
    for need in _some(corpus.listings(learner, NEED), only):
        for match in corpus.matches(need, min_band, cross_region, None, kind):
            found.setdefault(corpus.city_of(match.practice), []).append(match)
    return found


def _teachings(
    corpus: Corpus,
    host: Hashable,
    learners: Iterable[Hashable],
    min_band: str | None,
    only: Needs,
    *,
    cross_region: bool,
) -> dict[Hashable, list[Match]]:
    """What a city could teach to twins, by learner; only needs that its practices touch are ranked."""
    wanted = set(learners)
    touched = {
        need
        for practice in corpus.listings(host, PRACTICE)
        for need in corpus.needs_touched(practice, min_band, cross_region)
        if corpus.city_of(need) in wanted
    }
    found: dict[Hashable, list[Match]] = {}
    for need in _some(sorted(touched, key=str), only):
        for match in corpus.matches(need, min_band, cross_region, None, SuggestionKind.TWINNING):
            if corpus.city_of(match.practice) == host:
                found.setdefault(corpus.city_of(need), []).append(match)
    return found


def study_visits_for(
    corpus: Corpus,
    learner_city: Hashable,
    per_city: int | None = 3,
    min_band: str | None = "possible",
    cross_region: bool = True,
    only: Needs = None,
) -> list[Pair]:
    """The best hosts for a city that wants to learn, best first.

    The score is that of the best match and the band the best among the grounds: asking for a higher band
    leaves just the pairs that bear it.
    """
    kind = SuggestionKind.STUDY_VISIT
    lessons = _lessons(corpus, learner_city, kind, min_band, only, cross_region=cross_region)
    visits = (study_visit(host, learner_city, matches) for host, matches in lessons.items())
    return best_pairs(visits, per_city)


def study_visit(host: Hashable, visitor: Hashable, matches: Iterable[Match]) -> Pair:
    """The visit that rests on these matches of the visitor's needs with the host's practices."""
    grounds = in_order(matches)
    score = public_score(grounds[0].score)
    band = strongest(grounds)
    directions = (Direction(visitor, score),)
    roles = (CityRole.HOST, CityRole.VISITOR)
    return Pair(SuggestionKind.STUDY_VISIT, (host, visitor), score, band, directions, grounds, roles)


def twinnings_for(
    corpus: Corpus,
    city: Hashable,
    per_city: int | None = 3,
    min_band: str | None = "possible",
    cross_region: bool = True,
    only: Needs = None,
) -> list[Pair]:
    """The best partners for a city among those with which each side answers a need of the other."""
    kind = SuggestionKind.TWINNING
    lessons = _lessons(corpus, city, kind, min_band, only, cross_region=cross_region)
    teachings = _teachings(corpus, city, lessons, min_band, only, cross_region=cross_region)
    pairs = [_twinning(corpus, {city: lessons[other], other: taught}) for other, taught in teachings.items()]
    return best_pairs(pairs, per_city)


def _twinning(corpus: Corpus, lessons: dict[Hashable, list[Match]]) -> Pair:
    """Two cities and what each would learn; the band is that of the weaker direction."""
    first, second = sorted(lessons, key=lambda city: (corpus.city(city).region, str(city)))
    directions = tuple(
        Direction(city, public_score(max(match.score for match in lessons[city]))) for city in (first, second)
    )
    one, other = (direction.score for direction in directions)
    bands = [strongest(matches) for matches in lessons.values()]
    band = None if None in bands else max(filter(None, bands), key=lambda band: band.rank)
    grounds = in_order(lessons[first]) + in_order(lessons[second])
    score = 2.0 / (1.0 / one + 1.0 / other)
    roles = (CityRole.PARTNER, CityRole.PARTNER)
    return Pair(SuggestionKind.TWINNING, (first, second), score, band, directions, grounds, roles)


_PAIRS_FOR: dict[str, Callable[..., list[Pair]]] = {
    SuggestionKind.STUDY_VISIT: study_visits_for,
    SuggestionKind.TWINNING: twinnings_for,
}


def propose(
    corpus: Corpus,
    kind: str,
    learners: Iterable[Hashable],
    per_city: int | None = 3,
    min_band: str | None = "possible",
    cross_region: bool = True,
    only: Needs = None,
) -> list[Pair]:
    """Each learner's best pairs, every pair once, best first; by some needs `only` where given."""
    found: dict[tuple[Hashable, ...], Pair] = {}
    for learner in sorted(set(learners), key=str):
        for pair in _PAIRS_FOR[kind](corpus, learner, per_city, min_band, cross_region, only):
            found.setdefault(pair.cities, pair)
    return best_pairs(found.values())


def pairs_among(pairs: Iterable[Pair], chosen: Iterable[tuple[Hashable, ...]]) -> list[Pair]:
    """Those of some pairs whose cities were chosen, best first."""
    wanted = set(chosen)
    return best_pairs(pair for pair in pairs if pair.cities in wanted)
