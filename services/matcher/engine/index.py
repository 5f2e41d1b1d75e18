# SPDX-License-Identifier: Apache-2.0
"""The index: which practices answer a need, which needs a practice answers, and why.

Two scores. The first, T1, says how much a practice's text answers a need's own words; thresholds and bands
stand on it. The second, T3, adds synonyms and the words of the three best practices to the need and ranks.
One need is ranked by ``rank(need, mask, limit, floor)``; a round ranks many by
``rank_many(needs, masks, floor, limit)``, which gives the same lists by need and is far cheaper when the
catalogue is large.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from scipy.sparse import csr_array

from services.matcher.engine import kernels, weights
from services.matcher.engine.blocks import Blocks, Match
from services.matcher.engine.lists import Items, Numbers, Weights, grown
from services.matcher.engine.scoring import Query
from services.matcher.engine.shelf import Key
from services.matcher.engine.store import NEED, PRACTICE, City, Mask

__all__ = ["Match", "MatchIndex"]

_ROUNDING = 1e-9
"""A share by which a sum can differ from the same sum in another order; the sums are better by far."""

_SLACK = 1e-4
"""What single precision can take from a sum of some thousand products; it only ever steers a filter."""

_NEED_WEIGHT_32 = weights.NEED_WEIGHT.astype(np.float32)


class _Unstored:
    """The key of a text that is looked up and not kept."""

    def __str__(self) -> str:
        return ""


_UNSTORED = _Unstored()


class MatchIndex(Blocks):
    """Stored texts and their ranking; a mask says by city number who may be paired, None allows all."""

    def rank(
        self, need_key: Key, mask: Mask | None = None, limit: int | None = None, floor: float = 0.0
    ) -> list[Match]:
        """The practices that the widened need finds and whose T1 is at least `floor`, best T3 first."""
        shelf = self._shelves[PRACTICE]
        query = self._query(need_key, mask)
        slots = self._found(query, mask, limit, floor)
        best = shelf.best(slots, self._scores(query, slots), limit)
        firsts = query.first[[slot for slot, _ in best]].tolist()
        return [
            Match(need_key, shelf.keys[slot], first, score)
            for (slot, score), first in zip(best, firsts, strict=True)
        ]

    def _found(self, query: Query, mask: Mask | None, limit: int | None, floor: float) -> Numbers:
        """The slots that `rank` must score: those it will show, and with a limit few others."""
        held = self._open(PRACTICE, mask)
        if floor > 0.0:
            return kernels.open_above(query.first, floor, *held)
        near = np.zeros(len(query.first))
        lists = self._shelves[PRACTICE].postings
        known = (lists.start, lists.size, lists.entries)
        kernels.add_products(*known, query.lent_terms, query.lent, weights.PRACTICE_WEIGHT, near)
        kernels.add_products(*known, query.related_terms, query.related, weights.PRACTICE_WEIGHT, near)
        near = query.first + near * self._all_scales()
        slots = kernels.open_above(near, 0.0, *held)
        return slots if not limit else slots[kernels.leading(near[slots], limit, _ROUNDING)]

    def rank_many(
        self,
        needs: Sequence[Key],
        masks: Sequence[Mask | None] | None = None,
        floor: float = 0.0,
        limit: int | None = None,
    ) -> dict[Key, list[Match]]:
        """For each of many needs just what ``rank(need, mask, limit, floor)`` gives; no masks allow all.

        Above a floor or with a limit, and in a large catalogue, this costs a small part of that one by one.
        """
        asked = dict(zip(needs, masks or [None] * len(needs), strict=True))
        found: dict[Key, list[Match]] = {}
        if self.pays(len(asked), floor, limit):
            found = self.ranked_blocks(asked, floor, limit)
        return {
            key: found[key] if key in found else self.rank(key, mask, limit, floor)
            for key, mask in asked.items()
        }

    def match(self, need_key: Key, practice_key: Key, mask: Mask | None = None) -> Match:
        """One pair, scored as `rank` scores it, whether or not it would rank."""
        query = self._query(need_key, mask)
        slot = self._shelves[PRACTICE].slots[practice_key]
        score = float(self._scores(query, np.array([slot]))[0])
        return Match(need_key, practice_key, float(query.first[slot]), score)

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
                return [found._replace(need=None) for found in self.rank(key, mask, limit, floor)]
            near = list(self.needs_near(key, mask, floor))[:limit]
            needs = self._shelves[NEED]
            city_of = {number: name for name, number in self._cities.items()}
            found = []
            for need in near:
                allowed = mask_for(city_of[int(needs.city[needs.slots[need]])]) if mask_for else mask
                found.append(self.match(need, key, allowed)._replace(practice=None))
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
        slot = practices.slots[practice_key]
        terms, counts = practices.rows.of(slot)
        values = weights.PRACTICE_WEIGHT[counts]
        scale = float(self._scales_of(np.array([slot]))[0])
        self._lengths.settle(shelf, self._frequency, self._occurrences, len(self))
        sums = self._sums = grown(self._sums, shelf.size)
        lists = shelf.postings
        products = (values * self._worth(terms) * scale).astype(np.float32)
        kernels.add_products(lists.start, lists.size, lists.entries, terms, products, _NEED_WEIGHT_32, sums)
        bar = max(threshold, 0.0) * (1.0 - _SLACK)
        near = kernels.swept(sums[: shelf.size], self._lengths.lows(shelf.size), bar, *self._open(NEED, mask))
        exact = self._exact_first(near, terms, values) * scale
        kept = (exact >= threshold) & (exact > 0.0)
        return {shelf.keys[slot]: first for slot, first in shelf.best(near[kept], exact[kept], None)}

    def _exact_first(self, slots: Numbers, terms: Items, values: Weights) -> Weights:
        """T1 of some needs with one practice, before its scale, added up in the order that `rank` adds in."""
        rows, found = self._shelves[NEED].rows, np.empty(len(slots))
        _, held, _ = rows.gather(slots)
        factors, dense = self._filled(held), self._zeros()
        dense[terms] = values
        known = (rows.start, rows.size, rows.entries, slots)
        level = weights.rarest_worth(len(self)), weights.trust(len(self))
        kernels.need_scores_of(*known, factors, weights.NEED_WEIGHT, *level, dense, found)
        dense[terms] = 0.0
        return found

    def first_scores(self, needs: Sequence[Key], practices: Sequence[Key]) -> Weights:
        """T1 of every one of some needs (rows) with every one of some practices (columns)."""
        asked, other = self.weighed(needs)[0], self._shelves[PRACTICE]
        slots = np.array([other.slots[key] for key in practices], np.int64)
        widths, columns, times = other.rows.gather(slots)
        values = weights.PRACTICE_WEIGHT[times] * np.repeat(self._scales_of(slots), widths)
        width = len(self._stems)
        left = csr_array((asked.values, asked.terms, asked.ptr), shape=(len(needs), width))
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
        dense[query.lent_terms] += query.lent
        dense[query.related_terms] += query.related
        values = dense[terms] * weights.PRACTICE_WEIGHT[counts] * self._scales_of(np.array([slot]))[0]
        own = set(query.terms.tolist())
        parts = zip(terms.tolist(), values.tolist(), strict=True)
        found = [(self._stems[term], value, term not in own) for term, value in parts if value > 0.0]
        return sorted(found, key=lambda part: (-part[1], part[0]))
