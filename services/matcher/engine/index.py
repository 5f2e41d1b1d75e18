# SPDX-License-Identifier: Apache-2.0
"""The index: which practices answer a need, which needs a practice answers, and why.

Two scores. The first, T1, says how much a practice's text answers a need's own words; thresholds and bands
stand on it. The second, T3, adds synonyms and the words of the three best practices to the need and ranks. One need is
ranked by ``rank(need, mask, limit, floor)``; a round ranks many by ``rank_many(needs, masks, floor, limit)``,
which gives the same lists by need and is far cheaper when the catalogue is large.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array

from services.matcher.engine import kernels, many, synonyms, weights
from services.matcher.engine.join import Asked, Join, Rows
from services.matcher.engine.lists import Items, Numbers, Weights, grown
from services.matcher.engine.shelf import Key
from services.matcher.engine.store import NEED, PRACTICE, City, Entry, Mask, Texts
from twinning.terms import Band

_ROUNDING = 1e-9
"""A share by which a sum can differ from the same sum in another order; the sums are better by far."""

_SLACK = 1e-4
"""What single precision can take from a sum of some thousand products; it only ever steers a filter."""

_BLOCK = 8192
"""Needs that are ranked at once; more would only take more memory."""

_WIDENING = (weights.FEEDBACK_PRACTICES, weights.FEEDBACK_TERMS, weights.FEEDBACK_LENGTH)
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


@dataclass(frozen=True, slots=True)
class Query:
    """A need made ready: its own terms, apart what synonyms and feedback add, and T1 by practice slot."""

    terms: Items
    own: Weights
    lent_terms: Items
    lent: Weights
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
        self._scales: Weights | None = None
        self._snapshot: many.Snapshot | None = None
        # Kept between calls because making them costs as much as a search; all zero, but for the factors.
        self._dense = np.zeros(0)
        self._factors = np.zeros(0)
        self._sums = np.zeros(0, np.float32)
        super().__init__(entries)

    def _changed(self) -> None:
        self._recent = self._scales = self._snapshot = None

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

    def _open(self, kind: str, mask: Mask | None) -> tuple[Mask, Items, Mask]:
        """What the kernels ask of a slot: whether it holds a text, its city, and which cities are allowed."""
        shelf = self._shelves[kind]
        allowed = np.full(len(self._cities), mask is None, np.bool_)
        if mask is not None:
            allowed[: len(mask)] = mask
        return shelf.alive, shelf.city, allowed

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

    @property
    def nbytes(self) -> int:
        """Bytes held by all arrays; keys, words and a snapshot come on top."""
        arrays = (self._frequency, self._occurrences, self._norms, self._dense, self._factors, self._sums)
        return (
            sum(array.nbytes for array in arrays)
            + self._lengths.nbytes
            + sum(shelf.nbytes for shelf in self._shelves.values())
        )

    def _pays(self, needs: int) -> bool:
        """Whether so many needs are ranked sooner as a block, the join to be built included."""
        practices = 0 if self._snapshot else len(self._shelves[PRACTICE])
        return needs >= many.FEWEST_NEEDS + practices // many.PRACTICES_A_NEED

    def snapshot(self) -> many.Snapshot:
        """The practices made ready for many searches, kept until a change."""
        if self._snapshot is None:
            shelf, width = self._shelves[PRACTICE], len(self._stems)
            slots = shelf.live()
            sizes, terms, counts = shelf.rows.gather(slots)
            values = weights.PRACTICE_WEIGHT[counts] * np.repeat(self._all_scales()[slots], sizes)
            themes = (values * self._worth(terms)).astype(np.float32)
            rows = Rows(np.append(0, np.cumsum(sizes)), terms, values.astype(np.float32))
            place = np.zeros(shelf.size, np.int64)
            place[sorted(slots.tolist(), key=lambda slot: str(shelf.keys[slot]))] = np.arange(len(slots))
            stem_place = np.empty(width, np.int64)
            stem_place[sorted(range(width), key=self._stems.__getitem__)] = np.arange(width)
            join = Join(rows, width, shelf.city[slots], themes)
            self._snapshot = many.Snapshot(join, slots, place, stem_place)
        return self._snapshot

    def _ranked_block(
        self, keys: list[Key], masks: list[Mask | None], floor: float, limit: int | None
    ) -> dict[Key, list[Match]]:
        """The matches of those needs of a block that need not be ranked by themselves."""
        shelf, rows, snapshot = self._shelves[NEED], self._shelves[PRACTICE].rows, self.snapshot()
        sizes, terms, counts = shelf.rows.gather([shelf.slots[key] for key in keys])
        factors = self._worth(np.arange(len(self._stems)))
        heavy = weights.NEED_WEIGHT[counts] * factors[terms]
        lengths = weights.lengths(heavy, sizes)
        own = heavy / np.repeat(lengths, sizes)
        needs = many.Needs(np.append(0, np.cumsum(sizes)), terms, own)
        lent = many.Needs.of(
            self._lent(terms[first:last], length)
            for first, last, length in zip(needs.ptr, needs.ptr[1:], lengths.tolist(), strict=False)
        )
        asked = Asked(np.full(len(keys), floor), *many.lines_of(masks, len(self._cities)))
        selected = snapshot.join.select(Rows(*needs[:2], own.astype(np.float32)), many.KEEP, asked, many.ROOM)
        chosen = many.Chosen(
            snapshot.named(selected.rows), selected.lost, snapshot.named(selected.above), selected.above_count
        )
        practices = many.Practices(rows.start, rows.size, rows.entries, self._all_scales(), snapshot.place)
        raised = weights.feedback_weight(factors)
        feedback = many.Feedback(weights.PRACTICE_WEIGHT, raised, snapshot.stem_place, *_WIDENING)
        answers = many.Answers.room_for(len(keys))
        many.answer(needs, lent, practices, chosen, feedback, floor, answers)
        return {
            key: self._matches(key, *(column[line, :count] for column in answers[1:]), limit)
            for line, (key, count) in enumerate(zip(keys, answers.count.tolist(), strict=True))
            if count != many.ALONE
        }

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
        kernels.unit_scores_of(*known, factors, weights.NEED_WEIGHT, dense, found)
        dense[terms] = 0.0
        return found

    def _zeros(self) -> Weights:
        """A value for each term, all zero; whoever takes it gives it back so."""
        self._dense = grown(self._dense, len(self._stems))
        return self._dense

    def _filled(self, terms: Items, raised: Callable[[Weights], Weights] = np.asarray) -> Weights:
        """By term what some terms are worth; what stands at others means nothing."""
        self._factors = grown(self._factors, len(self._stems))
        self._factors[terms] = raised(self._worth(terms))
        return self._factors

    def first_scores(self, needs: Sequence[Key], practices: Sequence[Key]) -> Weights:
        """T1 of every one of some needs (rows) with every one of some practices (columns)."""
        shelf, other = self._shelves[NEED], self._shelves[PRACTICE]
        sizes, terms, counts = shelf.rows.gather([shelf.slots[key] for key in needs])
        heavy = weights.NEED_WEIGHT[counts] * self._worth(terms)
        heavy /= np.repeat(weights.lengths(heavy, sizes), sizes)
        slots = np.array([other.slots[key] for key in practices], np.int64)
        widths, columns, times = other.rows.gather(slots)
        values = weights.PRACTICE_WEIGHT[times] * np.repeat(self._scales_of(slots), widths)
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
        dense[query.lent_terms] += query.lent
        dense[query.related_terms] += query.related
        values = dense[terms] * weights.PRACTICE_WEIGHT[counts] * self._scales_of(np.array([slot]))[0]
        own = set(query.terms.tolist())
        parts = zip(terms.tolist(), values.tolist(), strict=True)
        found = [(self._stems[term], value, term not in own) for term, value in parts if value > 0.0]
        return sorted(found, key=lambda part: (-part[1], part[0]))

    def _scales_of(self, slots: Numbers | slice) -> Weights:
        """What the products of these practices are multiplied with."""
        return weights.practice_scale(self._norms[slots], self.mean_norm)

    def _all_scales(self) -> Weights:
        """The scale of each practice slot, kept until a change."""
        if self._scales is None:
            self._scales = self._scales_of(slice(self._shelves[PRACTICE].size))
        return self._scales

    def _scores(self, query: Query, slots: Numbers) -> Weights:
        """T3 of some practices."""
        rows, dense, found = self._shelves[PRACTICE].rows, self._zeros(), np.empty(len(slots))
        dense[query.terms] = query.own
        dense[query.lent_terms] += query.lent
        dense[query.related_terms] += query.related
        known = (rows.start, rows.size, rows.entries, slots)
        kernels.scores_of(*known, dense, weights.PRACTICE_WEIGHT, self._all_scales(), found)
        for terms in (query.terms, query.lent_terms, query.related_terms):
            dense[terms] = 0.0
        return found

    def _query(self, need_key: Key, mask: Mask | None) -> Query:
        """A stored need made ready to search with; the latest one is remembered for those who explain it."""
        told = None if mask is None else mask.tobytes()
        if self._recent and self._recent[0] == need_key and self._recent[1] == told:
            return self._recent[2]
        needs, practices = self._shelves[NEED], self._shelves[PRACTICE]
        terms, counts = needs.rows.of(needs.slots[need_key])
        heavy = weights.NEED_WEIGHT[counts] * self._worth(terms)
        own, length = weights.unit(heavy), weights.length(heavy)
        sums, lists = np.zeros(practices.size), practices.postings
        known = (lists.start, lists.size, lists.entries)
        kernels.add_products(*known, terms, own, weights.PRACTICE_WEIGHT, sums)
        first = sums * self._all_scales()
        query = Query(terms, own, *self._lent(terms, length), *self._related(first, mask), first)
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

    def _related(self, first: Weights, mask: Mask | None) -> tuple[Items, Weights]:
        """Rocchio's feedback: the heaviest terms of the best practices that the mask allows."""
        shelf = self._shelves[PRACTICE]
        near = kernels.leading_open(first, weights.FEEDBACK_PRACTICES, *self._open(PRACTICE, mask))
        top = shelf.best(near, first[near], weights.FEEDBACK_PRACTICES)
        slots, values = np.array([slot for slot, _ in top], np.int64), np.array([value for _, value in top])
        rows = shelf.rows
        _, held, _ = rows.gather(slots)
        terms, totals = kernels.pooled(
            *(rows.start, rows.size, rows.entries, slots, weights.feedback_shares(values)),
            *(self._filled(held, weights.feedback_weight), weights.PRACTICE_WEIGHT, self._zeros()),
        )
        most = weights.FEEDBACK_TERMS
        if len(terms) > most and totals[most - 1] == totals[most]:
            # Equal weights are cut in the order of their stems, not of the numbers that history gave them.
            stems = [self._stems[term] for term in terms.tolist()]
            order = sorted(range(len(terms)), key=lambda place: (-totals[place], stems[place]))
            terms, totals = terms[order], totals[order]
        return terms[:most], weights.FEEDBACK_LENGTH * weights.unit(totals[:most])
