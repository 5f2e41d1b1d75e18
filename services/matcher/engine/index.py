# SPDX-License-Identifier: Apache-2.0
"""The index: which practices answer a need, which needs a practice answers, and why.

Two scores. The first, T1, says how much a practice's text answers a need's own words; thresholds and bands
stand on it. The second, T3, adds synonyms and the words of the three best practices to the need and ranks.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from services.matcher.engine import synonyms, weights
from services.matcher.engine.lists import Items, Numbers, Weights
from services.matcher.engine.shelf import Key
from services.matcher.engine.store import NEED, PRACTICE, City, Entry, Mask, Texts
from twinning.terms import Band


@dataclass(frozen=True, slots=True)
class Match:
    """A practice that answers a need: `first` is T1, `score` is T3, the band stands on `first`."""

    need: Key
    practice: Key
    first: float
    score: float
    band: Band | None = None
    cross_region: bool = True


@dataclass(frozen=True, slots=True)
class Query:
    """A need made ready: its own terms, apart what synonyms and feedback add, and T1 by practice slot."""

    terms: Items
    own: Weights
    related_terms: Items
    related: Weights
    first: Weights


class _Unstored:
    """The key of a text that is looked up and not kept."""

    def __str__(self) -> str:
        return ""


_UNSTORED = _Unstored()


class MatchIndex(Texts):
    """Stored texts and their ranking; a mask says by city number who may be paired, None allows all."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._recent: tuple[Key, bytes | None, Query] | None = None
        super().__init__(entries)

    def _changed(self) -> None:
        self._recent = None

    def rank(
        self, need_key: Key, mask: Mask | None = None, limit: int | None = None, floor: float = 0.0
    ) -> list[Match]:
        """The practices that the widened need finds and whose T1 is at least `floor`, best T3 first."""
        shelf = self._shelves[PRACTICE]
        query = self._query(need_key, mask)
        score = self._score(query)
        slots = np.flatnonzero((score > 0.0) & (query.first >= floor) & shelf.open(mask))
        best = shelf.best(score, slots, limit)
        found = zip(best, query.first[best].tolist(), score[best].tolist(), strict=True)
        return [Match(need_key, shelf.keys[slot], first, total) for slot, first, total in found]

    def match(self, need_key: Key, practice_key: Key, mask: Mask | None = None) -> Match:
        """One pair, scored as `rank` scores it, whether or not it would rank."""
        query = self._query(need_key, mask)
        slot = self._shelves[PRACTICE].slots[practice_key]
        return Match(need_key, practice_key, float(query.first[slot]), float(self._score(query)[slot]))

    def rank_counts(
        self,
        counts: Mapping[str, int],
        mask: Mask | None = None,
        as_kind: str = NEED,
        *,
        city: City = None,
        limit: int | None = None,
        floor: float = 0.0,
        mask_for: Callable[[City], Mask | None] | None = None,
    ) -> list[Match]:
        """Rank a text that is not stored: just what would be found if it were, and None stands for its key.

        Taken as a practice, `mask` says which cities' needs it may answer, and `mask_for` whose practices
        the needs of a city may take their feedback from (default: the same mask); of the needs the `limit`
        best by T1 are scored.
        """
        with self.held(counts, as_kind, city) as key:
            if as_kind == NEED:
                return [replace(found, need=None) for found in self.rank(key, mask, limit, floor)]
            near = list(self.needs_near(key, mask, floor))[:limit]
            needs = self._shelves[NEED]
            city_of = {number: name for name, number in self._cities.items()}
            found = []
            for need in near:
                allowed = mask_for(city_of[int(needs.city[needs.slots[need]])]) if mask_for else mask
                found.append(replace(self.match(need, key, allowed), practice=None))
        return sorted(found, key=lambda match: (-match.score, str(match.need)))

    @contextmanager
    def held(self, counts: Mapping[str, int], kind: str, city: City) -> Iterator[Key]:
        """Store a text for the length of a block; afterwards nothing tells that it was there."""
        self.put(_UNSTORED, kind, city, counts)
        try:
            yield _UNSTORED
        finally:
            self.drop(_UNSTORED)

    def needs_near(
        self, practice_key: Key, mask: Mask | None = None, threshold: float = 0.0
    ) -> dict[Key, float]:
        """Every need whose T1 with this practice is above 0 and at least the threshold, the best first."""
        shelf, practices = self._shelves[NEED], self._shelves[PRACTICE]
        terms, counts = practices.rows.of(practices.slots[practice_key])
        values = weights.PRACTICE_WEIGHT[counts]
        scale = float(self._scales(np.array([practices.slots[practice_key]]))[0])
        self._lengths.settle(shelf, self._frequency, self._occurrences)
        sizes, holders, times = shelf.postings.gather(terms)
        products = weights.tally(
            holders,
            weights.NEED_WEIGHT[times] * np.repeat(values * self._worth(terms) * scale, sizes),
            shelf.size,
        )
        products[~shelf.open(mask)] = 0.0
        slots = self._lengths.reaching(products, len(self), threshold)
        exact = self._exact_first(slots, terms, values) * scale
        kept = (exact >= threshold) & (exact > 0.0)
        pairs = [
            (-first, slot) for first, slot in zip(exact[kept].tolist(), slots[kept].tolist(), strict=True)
        ]
        pairs.sort(key=lambda pair: (pair[0], str(shelf.keys[pair[1]])))
        return {shelf.keys[slot]: -first for first, slot in pairs}

    def _exact_first(self, slots: Numbers, terms: Items, values: Weights) -> Weights:
        """T1 of some needs with one practice, before its scale, added up in the order that `rank` adds in."""
        dense = np.zeros(len(self._stems))
        dense[terms] = values
        sizes, own, times = self._shelves[NEED].rows.gather(slots)
        heavy = weights.NEED_WEIGHT[times] * self._worth(own)
        return weights.sums(heavy / np.repeat(weights.lengths(heavy, sizes), sizes) * dense[own], sizes)

    def first_scores(self, needs: Sequence[Key], practices: Sequence[Key]) -> Weights:
        """T1 of every one of some needs (rows) with every one of some practices (columns)."""
        shelf, other = self._shelves[NEED], self._shelves[PRACTICE]
        sizes, terms, counts = shelf.rows.gather([shelf.slots[key] for key in needs])
        heavy = weights.NEED_WEIGHT[counts] * self._worth(terms)
        heavy /= np.repeat(weights.lengths(heavy, sizes), sizes)
        slots = np.array([other.slots[key] for key in practices], np.int64)
        widths, columns, times = other.rows.gather(slots)
        values = weights.PRACTICE_WEIGHT[times] * np.repeat(self._scales(slots), widths)
        width = len(self._stems)
        left = csr_array((heavy, terms, np.append(0, np.cumsum(sizes))), shape=(len(needs), width))
        right = csr_array((values, columns, np.append(0, np.cumsum(widths))), shape=(len(practices), width))
        products: Weights = (left @ right.T).toarray()
        return products

    def city_numbers(self, keys: Sequence[Key]) -> Numbers:
        """The number of each stored text's city: its place in a mask."""
        shelves = ((self._shelves[self._kinds[key]], key) for key in keys)
        return np.fromiter((shelf.city[shelf.slots[key]] for shelf, key in shelves), np.int64, len(keys))

    def contributions(
        self, need_key: Key, practice_key: Key, mask: Mask | None = None
    ) -> list[tuple[str, float, bool]]:
        """What each term adds to T3, most first, and whether it is related, not the need's own."""
        query = self._query(need_key, mask)
        practices = self._shelves[PRACTICE]
        slot = practices.slots[practice_key]
        terms, counts = practices.rows.of(slot)
        dense = np.zeros(len(self._stems))
        dense[query.terms] = query.own
        dense[query.related_terms] += query.related
        values = dense[terms] * weights.PRACTICE_WEIGHT[counts] * self._scales(np.array([slot]))[0]
        own = set(query.terms.tolist())
        parts = zip(terms.tolist(), values.tolist(), strict=True)
        found = [(self._stems[term], value, term not in own) for term, value in parts if value > 0.0]
        return sorted(found, key=lambda part: (-part[1], part[0]))

    def _worth(self, terms: Items) -> Weights:
        """What terms are worth in a need."""
        return weights.term_weight(len(self), self._frequency[terms], self._occurrences[terms])

    def _scales(self, slots: Numbers | slice) -> Weights:
        """What the products of these practices are multiplied with."""
        return weights.practice_scale(self._norms[slots], self.mean_norm)

    def _products(self, terms: Items, values: Weights) -> Weights:
        """Scores of weighted terms by practice slot, added term by term in the order given."""
        shelf = self._shelves[PRACTICE]
        sizes, holders, times = shelf.postings.gather(terms)
        parts = weights.PRACTICE_WEIGHT[times] * np.repeat(values, sizes)
        return weights.tally(holders, parts, shelf.size) * self._scales(slice(shelf.size))

    def _score(self, query: Query) -> Weights:
        """T3 by practice slot."""
        return query.first + self._products(query.related_terms, query.related)

    def _query(self, need_key: Key, mask: Mask | None) -> Query:
        """A stored need made ready to search with; the latest one is remembered for those who explain it."""
        told = None if mask is None else mask.tobytes()
        if self._recent and self._recent[0] == need_key and self._recent[1] == told:
            return self._recent[2]
        needs = self._shelves[NEED]
        terms, counts = needs.rows.of(needs.slots[need_key])
        heavy = weights.NEED_WEIGHT[counts] * self._worth(terms)
        own = weights.unit(heavy)
        first = self._products(terms, own)
        lent = self._lent(terms, weights.length(heavy))
        widened = first + self._products(*lent) if len(lent[0]) else first
        query = Query(terms, own, *self._together(lent, self._fed(widened, mask)), first)
        self._recent = need_key, told, query
        return query

    def _lent(self, terms: Items, length: float) -> tuple[Items, Weights]:
        """The stored synonyms of a need's terms, weighed beside own words of that length."""
        shares = synonyms.lent({self._stems[term]: 1 for term in terms.tolist()})
        # A number may outlive the last text with its term, so to ask for one is not enough.
        found = sorted((stem, share) for stem, share in shares.items() if self.frequency(stem))
        numbers = np.array([self._numbers[stem] for stem, _ in found], np.int32)
        parts = np.array([share for _, share in found])
        return numbers, weights.SYNONYM_SHARE * parts * self._worth(numbers) / length

    def _together(self, lent: tuple[Items, Weights], fed: tuple[Items, Weights]) -> tuple[Items, Weights]:
        """Two sets of weighted terms as one, in an order that is free of history."""
        if not len(lent[0]):
            return fed
        found, places = np.unique(np.append(lent[0], fed[0]), return_inverse=True)
        total = weights.tally(places, np.append(lent[1], fed[1]), len(found))
        order = sorted(range(len(found)), key=[self._stems[term] for term in found.tolist()].__getitem__)
        return found[order], total[order]

    def _fed(self, widened: Weights, mask: Mask | None) -> tuple[Items, Weights]:
        """Rocchio's feedback: the heaviest terms of the best practices that the mask allows."""
        shelf = self._shelves[PRACTICE]
        slots = np.flatnonzero((widened > 0.0) & shelf.open(mask))
        top = shelf.best(widened, slots, weights.FEEDBACK_PRACTICES)
        sizes, terms, counts = shelf.rows.gather(top)
        if not top:
            return terms, np.zeros(0)
        values = weights.PRACTICE_WEIGHT[counts] * weights.feedback_weight(self._worth(terms))
        shares = weights.feedback_shares(widened[top]) / weights.lengths(values, sizes)
        found, places = np.unique(terms, return_inverse=True)
        total = weights.tally(places, values * np.repeat(shares, sizes), len(found))
        # Equal weights are cut in the order of their stems, not of the numbers that history gave them.
        order = sorted(
            zip((-total).tolist(), map(self._stems.__getitem__, found.tolist()), found.tolist(), strict=True)
        )
        heaviest = order[: weights.FEEDBACK_TERMS]
        fed = np.array([term for _, _, term in heaviest], np.int32)
        return fed, weights.FEEDBACK_LENGTH * weights.unit(np.array([-value for value, _, _ in heaviest]))
