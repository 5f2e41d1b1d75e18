# SPDX-License-Identifier: Apache-2.0
"""The catalogue as the engine sees it: cities, their listings, who may be paired, and the present bands."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from services.matcher.engine.bands import PRIOR, SAMPLED_NEEDS, SAMPLED_PRACTICES, Edges, draw, edges_of
from services.matcher.engine.duplicates import once_each
from services.matcher.engine.exchange import NOTHING_SAID, Exchange, agree
from services.matcher.engine.index import Match, MatchIndex
from services.matcher.engine.store import NEED, PRACTICE, Mask
from twinning.terms import SuggestionKind

MEMORY = 50_000
"""Lists of matches that are remembered at most until the next change."""


@dataclass(frozen=True, slots=True)
class CityFacts:
    """What pairing asks of a city; `partners` are city keys, or names of cities in lower case."""

    key: Hashable
    name: str
    region: str
    partners: frozenset[Hashable] = frozenset()

    @property
    def known_as(self) -> frozenset[Hashable]:
        """What another city may call this one among its partners."""
        return frozenset({self.key, self.name.strip().casefold()})


class Corpus:
    """Cities and listings, kept up to date one change at a time.

    The edges of the bands move only when `recut` is called, so that the caller decides which catalogue
    version they belong to.
    """

    def __init__(self) -> None:
        self.index = MatchIndex()
        self.edges: Edges = PRIOR
        self._cities: dict[Hashable, CityFacts] = {}
        self._called: dict[Hashable, set[Hashable]] = {}
        self._named_by: dict[Hashable, set[Hashable]] = {}
        self._listings: dict[Hashable, dict[Hashable, str]] = {}
        self._city_of: dict[Hashable, Hashable] = {}
        self._exchanges: dict[Hashable, Exchange] = {}
        self._masks: dict[tuple[Hashable, bool], Mask] = {}
        self._matches: dict[tuple[Hashable, float, bool, int | None, str | None], list[Match]] = {}

    def put_city(self, facts: CityFacts) -> None:
        """Register a city or change what is known of it; its listings stay."""
        self._forget_names(facts.key)
        self._cities[facts.key] = facts
        self._listings.setdefault(facts.key, {})
        self.index.city_number(facts.key)
        for name in facts.known_as:
            self._called.setdefault(name, set()).add(facts.key)
        for name in facts.partners:
            self._named_by.setdefault(name, set()).add(facts.key)
        self._masks.clear()
        self._matches.clear()

    def drop_city(self, key: Hashable) -> None:
        """Forget a city and all its listings; a city that is not known is no error."""
        for listing in list(self._listings.get(key, ())):
            self.drop_listing(listing)
        self._forget_names(key)
        self._cities.pop(key, None)
        self._listings.pop(key, None)
        self._masks.clear()
        self._matches.clear()

    def _forget_names(self, key: Hashable) -> None:
        """Take a city out of the tables of names."""
        facts = self._cities.get(key)
        if facts is None:
            return
        for table, names in ((self._called, facts.known_as), (self._named_by, facts.partners)):
            for name in names:
                table[name].discard(key)
                if not table[name]:
                    del table[name]

    def put_listing(
        self,
        key: Hashable,
        kind: str,
        city: Hashable,
        counts: Mapping[str, int],
        exchange: Exchange = NOTHING_SAID,
    ) -> None:
        """Store a need or a practice of a known city, in place of the one with its key."""
        self.put_listings([(key, kind, city, counts)], {key: exchange})

    def put_listings(
        self,
        entries: Iterable[tuple[Hashable, str, Hashable, Mapping[str, int]]],
        exchanges: Mapping[Hashable, Exchange] | None = None,
    ) -> None:
        """Store many listings at once: the way to start from nothing. ``KeyError`` for an unknown city.

        `exchanges` holds the conditions of those listings that state any.
        """
        stored = list(entries)
        for _, _, city, _ in stored:
            self._cities[city]
        for key, kind, city, _ in stored:
            self._forget_listing(key)
            self._listings[city][key] = kind
            self._city_of[key] = city
        said = exchanges or {}
        self._exchanges.update((key, said[key]) for key in said if said[key] is not NOTHING_SAID)
        self.index.put_many(stored)
        self._matches.clear()

    def drop_listing(self, key: Hashable) -> None:
        """Forget a listing; one that is not known is no error."""
        if key in self.index:
            self._forget_listing(key)
            self.index.drop(key)
            self._matches.clear()

    def _forget_listing(self, key: Hashable) -> None:
        """Take a listing out of its city's table."""
        self._exchanges.pop(key, None)
        city = self._city_of.pop(key, None)
        if city is not None:
            del self._listings[city][key]

    def city(self, key: Hashable) -> CityFacts:
        """The facts of a city; ``KeyError`` for one that is not known."""
        return self._cities[key]

    def knows(self, key: Hashable) -> bool:
        """Whether a city is registered here."""
        return key in self._cities

    @property
    def cities(self) -> list[Hashable]:
        """The keys of all cities, in the order of their text."""
        return sorted(self._cities, key=str)

    def city_of(self, listing: Hashable) -> Hashable:
        """The city that a listing belongs to; ``KeyError`` for one that is not known."""
        return self._city_of[listing]

    def listings(self, city: Hashable, kind: str) -> list[Hashable]:
        """The keys of a city's needs or practices, in the order of their text."""
        return sorted((key for key, its in self._listings.get(city, {}).items() if its == kind), key=str)

    def may_pair(self, a: Hashable, b: Hashable, cross_region: bool = True) -> bool:
        """Whether two cities may be brought together.

        Never a city with itself, never partners by either's word, never within a region unless
        `cross_region` is False, which allows pairs of both sorts.
        """
        one, other = self._cities[a], self._cities[b]
        if a == b or one.partners & other.known_as or other.partners & one.known_as:
            return False
        return one.region != other.region or not cross_region

    def mask(self, city: Hashable, cross_region: bool = True) -> Mask:
        """The cities that one may be paired with, by their number in the index."""
        mask = self._masks.get((city, cross_region))
        if mask is None:
            facts = self._cities[city]
            taken = {city}.union(*(self._called.get(name, ()) for name in facts.partners))
            taken = taken.union(*(self._named_by.get(name, ()) for name in facts.known_as))
            mask = self.index.mask(
                key
                for key, other in self._cities.items()
                if key not in taken and (other.region != facts.region or not cross_region)
            )
            self._masks[city, cross_region] = mask
        return mask

    def exchange(self, listing: Hashable) -> Exchange:
        """What a listing says of how an exchange could go."""
        return self._exchanges.get(listing, NOTHING_SAID)

    def visits_per_year(self, city: Hashable) -> int | None:
        """How many visits a year a city's practices offer together; None when none of them says."""
        offers = (self.exchange(practice) for practice in self.listings(city, PRACTICE))
        said = [its.visits_per_year for its in offers if its.offers_visits]
        counted = [visits for visits in said if visits is not None]
        return sum(counted) if counted else None

    def matches(
        self,
        need_key: Hashable,
        min_band: str | None = "possible",
        cross_region: bool = True,
        depth: int | None = 20,
        kind: str | None = None,
    ) -> list[Match]:
        """The best practices for a need that reach a band (None: any), best first; kept until a change.

        Only those that the conditions of both listings allow in a kind of suggestion, or in any at all where
        none is given; of practices of one city that say the same the best.
        """
        asked = need_key, self.edges.least(min_band), cross_region, depth, kind
        found = self._matches.get(asked)
        if found is None:
            found = [self._banded(match, cross_region=cross_region) for match in self._listed(*asked)]
            if len(self._matches) >= MEMORY:
                self._matches.clear()
            self._matches[asked] = found
        return found

    def prepare(
        self, needs: Iterable[Hashable], min_band: str | None, cross_region: bool, kind: str | None
    ) -> None:
        """Rank many needs in one go, cheaper than one by one; `matches` without a depth finds them."""
        floor = self.edges.least(min_band)
        asked = {need: (need, floor, cross_region, None, kind) for need in needs}
        wanted = [need for need, key in asked.items() if key not in self._matches]
        masks = [self.mask(self._city_of[need], cross_region) for need in wanted]
        if len(self._matches) + len(wanted) > MEMORY:
            self._matches.clear()
        for need, ranked in self.index.rank_many(wanted, masks, floor).items():
            left = self._agreeing(need, ranked, kind)
            self._matches[asked[need]] = [self._banded(match, cross_region=cross_region) for match in left]

    def _listed(
        self, need_key: Hashable, floor: float, cross_region: bool, depth: int | None, kind: str | None
    ) -> list[Match]:
        """So many of the ranked practices as conditions and repetitions leave."""
        mask = self.mask(self._city_of[need_key], cross_region)
        limit = depth
        while True:
            ranked = self.index.rank(need_key, mask, limit, floor)
            left = self._agreeing(need_key, ranked, kind)
            if limit is None or len(ranked) < limit or len(left) >= (depth or 0):
                return left[:depth]
            # Some were left out: look further down.
            limit *= 4

    def _agreeing(self, need_key: Hashable, ranked: Sequence[Match], kind: str | None) -> list[Match]:
        """Those of the ranked practices that conditions and repetitions leave."""
        need = self.exchange(need_key)
        left = [match for match in ranked if agree(need, self.exchange(match.practice), kind)]
        return once_each(self.index, left, self._city_of.__getitem__)

    def is_met(
        self, need_key: Hashable, min_band: str | None = "possible", cross_region: bool = True
    ) -> bool:
        """Whether anything answers a need in one of the kinds that it seeks.

        A practice counts for a twinning whether or not its city would learn anything in return.
        """
        seeks = self.exchange(need_key).seeks or frozenset(SuggestionKind)
        return any(self.matches(need_key, min_band, cross_region, None, kind) for kind in sorted(seeks))

    def _banded(self, match: Match, *, cross_region: bool) -> Match:
        return match._replace(band=self.edges.band(match.first), cross_region=cross_region)

    def needs_touched(
        self,
        practice_key: Hashable,
        min_band: str | None = "weak",
        cross_region: bool = True,
    ) -> dict[Hashable, float]:
        """The needs for which this practice reaches a band, with T1, the best first."""
        mask = self.mask(self._city_of[practice_key], cross_region)
        return self.index.needs_near(practice_key, mask, self.edges.least(min_band))

    def recut(self) -> Edges:
        """Find the edges of the bands for the present catalogue."""
        needs = draw(self.index.keys(NEED), SAMPLED_NEEDS)
        practices = draw(self.index.keys(PRACTICE), SAMPLED_PRACTICES)
        cities = self.index.city_numbers(practices)
        masks = [self.mask(self._city_of[need])[cities] for need in needs]
        allowed = np.reshape(masks, (len(needs), len(practices))).astype(np.bool_)
        pairs = self.index.first_scores(needs, practices)[allowed]
        self.edges = edges_of(
            pairs, float(allowed.mean() if allowed.size else 0.0) * len(self.index.keys(PRACTICE))
        )
        self._matches.clear()
        return self.edges
