# SPDX-License-Identifier: Apache-2.0
"""The join: for many queries at once the best rows of a matrix, exactly, far cheaper than one by one.

Terms are numbered by falling frequency, rows stand in blocks so small that their sums stay in the processor's
cache, and each block has its lists by term. A query adds up only its rarer terms. What the frequent ones can
add to a row is at most the product of the lengths of both frequent parts (Cauchy and Schwarz), and those
lengths are kept for some cuts; a row whose sum and bound together do not reach the present bar is out, and
what is left is finished from the row itself. The bar is the lowest of the best so far. Nothing is lost: rows
are selected in single precision with room for its rounding, and scored again in double.

The first block is a sample of all rows, and every term of them is added up. The best of every so many sums
then set a bar, by halving the distance to the highest a few times, before any row is looked at closer; in the
next blocks, too, where no city is shut out. The other rows stand by the term that weighs most in them, so
that texts on one theme are neighbours and most stretches of a block hold nothing for a query.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.matcher.engine import finishing, joining, layout
from services.matcher.engine.layout import Floats, Items, Laid, Matrix, Numbers

CUTS: Numbers = np.array([0, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096])
"""Levels: how many of the most frequent terms a query may leave to the bound."""

BLOCK = 16_384
"""Rows of a block at most; their sums are 64 kB."""

OPENING = 1024
"""Rows of the first block: enough for a bar near the last, few enough to add up every term of them."""

BOLDNESS = 0.55
"""The share of the bar up to which the bound may count in choosing the level; measured, flat around here."""

_BATCH = 16_384
_MARGIN = 2


@dataclass(frozen=True, slots=True)
class Rows:
    """A sparse matrix, never negative, by rows: where each begins, its terms and their weights."""

    ptr: Numbers
    terms: Items
    values: Floats

    @classmethod
    def of(cls, matrix: Any) -> "Rows":
        """Those of a scipy CSR matrix."""
        ptr, terms = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)
        return cls(ptr, terms, matrix.data.astype(np.float32))

    def __len__(self) -> int:
        return len(self.ptr) - 1

    @property
    def matrix(self) -> Matrix:
        """The same, as the compiled loops take it."""
        return Matrix(self.ptr, self.terms, self.values)

    def part(self, first: int, last: int) -> "Rows":
        """The rows from first to last."""
        ptr = self.ptr[first : last + 1]
        inside = slice(int(ptr[0]), int(ptr[-1]))
        return Rows(ptr - ptr[0], self.terms[inside], self.values[inside])


@dataclass(frozen=True, slots=True)
class Asked:
    """What queries ask beyond words: `floors` above which every row counts, and which cities they allow.

    `masks` has a line for each different mask, `mask_of` says which line is whose.
    """

    floors: NDArray[np.float64]
    masks: NDArray[np.bool_]
    mask_of: Numbers

    @classmethod
    def everything(cls, queries: int, cities: int) -> "Asked":
        """The best rows, whichever of so many cities they belong to."""
        return cls(np.full(queries, np.inf), np.ones((1, cities), np.bool_), np.zeros(queries, np.int64))


@dataclass(frozen=True, slots=True)
class Selected:
    """What may be among the best of each query, the lowest first, -1 for none, and what reaches its floor.

    No row that is left out scores above ``lost`` of its query. `above_count` may exceed what `above` holds.
    """

    rows: Items
    lost: NDArray[np.float64]
    above: Items
    above_count: Numbers


def slack_of(queries: Rows) -> NDArray[np.float64]:
    """By what share single precision can miss a score: half a unit for each product and sum, and more."""
    slack: NDArray[np.float64] = (np.diff(queries.ptr) + 32) * 2.4e-7
    return slack


class Join:
    """The rows of a matrix, made ready to be searched by many queries; never changes."""

    def __init__(
        self, rows: Rows, width: int, city: Items | None = None, themes: Floats | None = None
    ) -> None:
        """Take in `rows` of `width` terms; `themes` weighs their terms for the order, by default `values`."""
        frequency = np.bincount(rows.terms, minlength=width)
        present = np.flatnonzero(frequency)
        # Terms that no row has share the number behind all others.
        self._rank = np.full(width, len(present), np.int32)
        by_frequency = present[np.argsort(-frequency[present], kind="stable")]
        self._rank[by_frequency] = np.arange(len(present), dtype=np.int32)
        heavy = layout.heaviest(rows.matrix, rows.values if themes is None else themes)
        key = np.append(self._rank, -1)[heavy].astype(np.int64)
        # A sample of all themes stands first: it gives each query a bar at once.
        sample = np.arange(OPENING) * len(rows) // OPENING if len(rows) > OPENING else np.arange(len(rows))
        key[sample] = -2
        order = np.argsort(key, kind="stable")
        matrix = layout.by_level(rows.matrix, order, self._rank, CUTS)
        cities = np.zeros(len(rows), np.int32) if city is None else city[order].astype(np.int32)
        blocks = _block_edges(len(rows))
        lists = layout.listed(matrix, blocks, len(present))
        bounds = layout.bounds(matrix, CUTS)
        self._laid = Laid(matrix, cities, order, len(present), blocks, *lists, CUTS, *bounds)

    def __len__(self) -> int:
        return len(self._laid.order)

    @property
    def nbytes(self) -> int:
        """Bytes held by the arrays."""
        return self._laid.nbytes + self._rank.nbytes

    def top(self, queries: Rows, k: int) -> tuple[NDArray[np.float64], Numbers]:
        """Scores and numbers of the `k` best rows of each query, best first, equal ones by row; 0, -1 pad."""
        scores, rows = np.zeros((len(queries), k)), np.full((len(queries), k), -1, np.int64)
        cities = int(self._laid.city.max(initial=0)) + 1
        for first in range(0, len(queries), _BATCH):
            last = min(len(queries), first + _BATCH)
            ranked = self._ranked(queries.part(first, last))
            heaps, _ = self._select(ranked, k + _MARGIN, Asked.everything(last - first, cities), 0)
            best = (scores[first:last], rows[first:last])
            finishing.finish(ranked.matrix, self._laid, heaps, slack_of(ranked), *best)
        return scores, rows

    def select(self, queries: Rows, keep: int, asked: Asked, room: int) -> Selected:
        """What may be among the `keep` best rows of each query, and up to `room` that reach its floor."""
        ranked = self._ranked(queries)
        slack = slack_of(ranked)
        lowered = Asked(asked.floors * (1.0 - slack), asked.masks, asked.mask_of)
        heaps, above = self._select(ranked, keep, lowered, room)
        # The bar of a heap that did not fill is 0: it has lost nothing.
        lost = heaps.scores[:, 0] * (1.0 + slack)
        return Selected(self._named(heaps.rows), lost, self._named(above.rows), above.reached)

    def _named(self, places: Items) -> Items:
        """Places in the join's own order as numbers of rows; -1 stays."""
        return np.append(self._laid.order, -1).astype(np.int32)[places]

    def _ranked(self, queries: Rows) -> Rows:
        """Queries with their terms numbered and ordered as those of the rows."""
        return Rows(*layout.by_level(queries.matrix, np.arange(len(queries)), self._rank, CUTS))

    def _select(
        self, ranked: Rows, keep: int, asked: Asked, room: int
    ) -> tuple[joining.Heaps, joining.Above]:
        """The heaps of the best, and what reaches the floors, both in places of the join's own order."""
        count = len(ranked)
        heaps = joining.Heaps(np.zeros((count, keep), np.float32), np.full((count, keep), -1, np.int32))
        above = joining.Above(np.full((count, room), -1, np.int32), np.zeros(count, np.int64))
        whole = np.asarray(asked.masks.all(axis=1))
        wishes = joining.Wishes(asked.floors.astype(np.float32), asked.masks, whole, asked.mask_of)
        queries = joining.Queries(ranked.matrix, *layout.cut_norms(ranked.matrix, CUTS))
        work = joining.room(ranked.matrix, self._laid, keep)
        joining.select(queries, self._laid, wishes, np.float32(BOLDNESS), work, heaps, above)
        return heaps, above


def _block_edges(rows: int) -> Numbers:
    """Where the blocks begin and end: a small one sets the bar, and the rest stand in large ones."""
    opening = min(rows, OPENING, BLOCK)
    return np.array([*range(0, opening, max(1, opening)), *range(opening, rows, BLOCK), rows], np.int64)
