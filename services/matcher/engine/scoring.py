# SPDX-License-Identifier: Apache-2.0
"""How a stored need becomes a query, and how practices are scored by it.

Every score is summed over a text's own terms in the order of their stems, so that its bits depend on nothing
but the texts that are stored.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from services.matcher.engine import kernels, lending, many, weights
from services.matcher.engine.join import Join, Rows
from services.matcher.engine.lists import Items, Numbers, Weights, grown
from services.matcher.engine.shelf import Key
from services.matcher.engine.store import NEED, PRACTICE, Entry, Mask, Texts


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


class Scoring(Texts):
    """Stored texts and what it takes to score them; what is kept between calls goes with each change."""

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

    @property
    def nbytes(self) -> int:
        """Bytes held by all arrays; keys, words and a snapshot come on top."""
        arrays = (self._frequency, self._occurrences, self._norms, self._dense, self._factors, self._sums)
        return (
            sum(array.nbytes for array in arrays)
            + self._lengths.nbytes
            + sum(shelf.nbytes for shelf in self._shelves.values())
        )

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
            join = Join(rows, width, shelf.city[slots], themes)
            self._snapshot = many.Snapshot(join, slots, place)
        return self._snapshot

    def _open(self, kind: str, mask: Mask | None) -> tuple[Mask, Items, Mask]:
        """What the kernels ask of a slot: whether it holds a text, its city, and which cities are allowed."""
        shelf = self._shelves[kind]
        allowed = np.full(len(self._cities), mask is None, np.bool_)
        if mask is not None:
            allowed[: len(mask)] = mask
        return shelf.alive, shelf.city, allowed

    def _zeros(self) -> Weights:
        """A value for each term, all zero; whoever takes it gives it back so."""
        self._dense = grown(self._dense, len(self._stems))
        return self._dense

    def _filled(self, terms: Items, raised: Callable[[Weights], Weights] = np.asarray) -> Weights:
        """By term what some terms are worth; what stands at others means nothing."""
        self._factors = grown(self._factors, len(self._stems))
        self._factors[terms] = raised(self._worth(terms))
        return self._factors

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
        length = weights.lengths(heavy, np.array([len(heavy)]))
        far = weights.reach(length, len(self))
        own = heavy / (length / far)
        sums, lists = np.zeros(practices.size), practices.postings
        known = (lists.start, lists.size, lists.entries)
        kernels.add_products(*known, terms, own, weights.PRACTICE_WEIGHT, sums)
        first = sums * self._all_scales()
        lent = self._lent(terms, float(length[0] / far[0]))
        query = Query(terms, own, *lent, *self._related(first, mask, float(far[0])), first)
        self._recent = need_key, told, query
        return query

    def _lent(self, terms: Items, length: float) -> tuple[Items, Weights]:
        """The stored synonyms and relatives of a need's terms, whose own weights were divided by `length`."""
        lent = self._lent_many([terms], np.array([length]))
        return lent.terms, lent.values

    def _lent_many(self, needs: Sequence[Items], lengths: Weights) -> many.Needs:
        """The same for many needs, each by its terms."""
        sizes, terms, shares = lending.lent(needs, self._stems, self._numbers, self._frequency)
        values = shares * self._worth(terms) / np.repeat(lengths, sizes)
        return many.Needs(np.append(0, np.cumsum(sizes)), terms, values)

    def _related(self, first: Weights, mask: Mask | None, reach: float) -> tuple[Items, Weights]:
        """Rocchio's feedback: the heaviest terms of the best practices that the mask allows.

        `reach` is the length of the need.
        """
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
        order = np.argsort(-totals, kind="stable")
        terms, totals = terms[order], totals[order]
        most = weights.FEEDBACK_TERMS
        if len(terms) > most and totals[most - 1] == totals[most]:
            # Equal weights are cut in the order of their stems, not of the numbers that history gave them.
            stems = [self._stems[term] for term in terms.tolist()]
            cut = sorted(range(len(terms)), key=lambda place: (-totals[place], stems[place]))
            terms, totals = terms[cut], totals[cut]
        return terms[:most], weights.FEEDBACK_LENGTH * reach * weights.unit(totals[:most])
