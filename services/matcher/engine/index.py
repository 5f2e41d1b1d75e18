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
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from services.matcher.engine import kernels, many, weights
from services.matcher.engine.join import Asked
from services.matcher.engine.lists import Items, Numbers, Weights, grown
from services.matcher.engine.scoring import Query, Scoring
from services.matcher.engine.shelf import Key
from services.matcher.engine.store import NEED, PRACTICE, City, Mask
from twinning.terms import Band

_ROUNDING = 1e-9
"""A share by which a sum can differ from the same sum in another order; the sums are better by far."""

_SLACK = 1e-4
"""What single precision can take from a sum of some thousand products; it only ever steers a filter."""

_BLOCK = 8192
"""Needs that are ranked at once; more would only take more memory."""

_WIDENING = (weights.FEEDBACK_PRACTICES, weights.FEEDBACK_TERMS)
_NEED_WEIGHT_32 = weights.NEED_WEIGHT.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Match:
    """A practice that answers a need: `first` is T1, `score` is T3, the band stands on `first`."""

    need: Key
    practice: Key
    first: float
    score: float
    band: Band | None = None
    cross_region: bool = True


class _Unstored:
    """The key of a text that is looked up and not kept."""

    def __str__(self) -> str:
        return ""


_UNSTORED = _Unstored()


class MatchIndex(Scoring):
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
        self, needs: Sequence[Key], masks: Sequence[Mask | None], floor: float = 0.0, limit: int | None = None
    ) -> dict[Key, list[Match]]:
        """For each of many needs, with a mask each, just what ``rank(need, mask, limit, floor)`` gives.

        Above a floor and in a large catalogue this costs a small part of what ranking one by one costs.
        """
        asked = dict(zip(needs, masks, strict=True))
        found: dict[Key, list[Match]] = {}
        if floor > 0.0 and self._pays(len(asked)):
            keys = list(asked)
            for first in range(0, len(keys), _BLOCK):
                block = keys[first : first + _BLOCK]
                found |= self._ranked_block(block, [asked[key] for key in block], floor, limit)
        return {
            key: found[key] if key in found else self.rank(key, mask, limit, floor)
            for key, mask in asked.items()
        }

    def _pays(self, needs: int) -> bool:
        """Whether so many needs are ranked sooner as a block, the join to be built included."""
        stored = len(self._shelves[PRACTICE])
        if stored < many.FEWEST_PRACTICES:
            return False
        practices = 0 if self._snapshot else stored
        return needs >= many.FEWEST_NEEDS + practices // many.PRACTICES_A_NEED

    def _ranked_block(
        self, keys: list[Key], masks: list[Mask | None], floor: float, limit: int | None
    ) -> dict[Key, list[Match]]:
        """The matches of those needs of a block that need not be ranked by themselves."""
        rows, snapshot = self._shelves[PRACTICE].rows, self.snapshot()
        needs, lengths, reaches = self.weighed(keys)
        factors = self._worth(np.arange(len(self._stems)))
        asked = Asked(np.full(len(keys), floor), *many.lines_of(masks, len(self._cities)))
        selected = snapshot.join.select(needs.rows, many.KEEP, asked, many.ROOM)
        # Synonyms only matter to a need that finds something.
        spans = zip(needs.ptr, needs.ptr[1:], lengths.tolist(), selected.above_count.tolist(), strict=False)
        lent = many.Needs.of(
            [
                self._lent(needs.terms[first : last if found else first], length)
                for first, last, length, found in spans
            ]
        )
        chosen = many.Chosen(
            snapshot.named(selected.rows), selected.lost, snapshot.named(selected.above), selected.above_count
        )
        practices = many.Practices(rows.start, rows.size, rows.entries, self._all_scales(), snapshot.place)
        feedback = many.Feedback(
            weights.PRACTICE_WEIGHT,
            weights.feedback_weight(factors),
            *_WIDENING,
            weights.FEEDBACK_LENGTH * reaches,
        )
        answers = many.Answers.room_for(len(keys))
        many.answer(needs, lent, practices, chosen, feedback, floor, answers)
        matches: dict[Key, list[Match]] = {}
        for line, (key, count) in enumerate(zip(keys, answers.found.tolist(), strict=True)):
            if count != many.ALONE:
                slots, firsts = answers.slots[line, :count], answers.first[line, :count]
                matches[key] = self._matches(key, slots, firsts, answers.score[line, :count], limit)
        return matches

    def _matches(
        self, need: Key, slots: Numbers, first: Weights, score: Weights, limit: int | None
    ) -> list[Match]:
        """Scored practices as matches, best first, equal scores in the order of their keys."""
        if not len(slots):
            return []
        place = self.snapshot().place[slots]
        order = np.lexsort((place, -score))[:limit]
        keys = self._shelves[PRACTICE].keys
        found = zip(slots[order].tolist(), first[order].tolist(), score[order].tolist(), strict=True)
        return [Match(need, keys[slot], one, total) for slot, one, total in found]

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

    def weighed(self, needs: Sequence[Key]) -> tuple[many.Needs, Weights, Weights]:
        """Some needs as they are compared, their terms in the order of the stems.

        Beside them what the weights of each were divided by, and how long it is now.
        """
        shelf = self._shelves[NEED]
        sizes, terms, counts = shelf.rows.gather([shelf.slots[key] for key in needs])
        heavy = weights.NEED_WEIGHT[counts] * self._worth(terms)
        lengths = weights.lengths(heavy, sizes)
        reaches = weights.reach(lengths, len(self))
        by = lengths / reaches
        return many.Needs(np.append(0, np.cumsum(sizes)), terms, heavy / np.repeat(by, sizes)), by, reaches

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
