# SPDX-License-Identifier: Apache-2.0
"""The join: for many queries at once the best rows of a matrix, exactly, far cheaper than one by one.

Terms are numbered by falling frequency, rows stand in blocks so small that their sums stay in the processor's
cache, and each block has its lists by term. A query adds up only its rarer terms. What the frequent ones can
add to a row is at most the product of the lengths of both frequent parts (Cauchy and Schwarz), and those
lengths are kept for some cuts; a row whose sum and bound together do not reach the present bar is out, and
what is left is finished from the row itself. The bar is the lowest of the best so far. Nothing is lost: rows
are selected in single precision with room for its rounding, and scored again in double.

Rows stand by the term that weighs most in them, so that texts on one theme are neighbours: a query first looks
at those of its own theme, which raises its bar before the walk begins.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.matcher.engine import joining
from services.matcher.engine.joining import GROUP, Floats, Items, Numbers

CUTS: Numbers = np.array([0, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096])
"""Levels: how many of the most frequent terms a query may leave to the bound."""

BLOCK = 16_384
"""Rows of a block at most; their sums are 64 kB."""

BOLDNESS = 0.4
"""The share of the bar up to which the bound may count in choosing the level; measured, flat around here."""

_SAMPLE = 128
_SEEDS = 32
_BATCH = 16_384
_MARGIN = 2
_NEVER = np.float32(-1e9)


@dataclass(frozen=True, slots=True)
class Rows:
    """A sparse matrix, never negative, by rows: where each begins, its terms and their weights."""

    ptr: Numbers
    terms: Items
    values: Floats

    @classmethod
    def of(cls, matrix: Any) -> "Rows":
        """Those of a scipy CSR matrix."""
        return cls(
            matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data.astype(np.float32)
        )

    def __len__(self) -> int:
        return len(self.ptr) - 1

    def part(self, first: int, last: int) -> "Rows":
        """The rows from first to last."""
        ptr = self.ptr[first : last + 1]
        inside = slice(int(ptr[0]), int(ptr[-1]))
        return Rows(ptr - ptr[0], self.terms[inside], self.values[inside])


@dataclass(frozen=True, slots=True)
class Asked:
    """What queries ask beyond their words: `floors` above which every row counts, and which cities they allow.

    `masks` has a line for each different mask, `mask_of` says which line is whose.
    """

    floors: Floats
    masks: NDArray[np.bool_]
    mask_of: Numbers

    @classmethod
    def everything(cls, queries: int) -> "Asked":
        """The best rows, whatever their city."""
        return cls(
            np.full(queries, np.inf, np.float32), np.ones((1, 1), np.bool_), np.zeros(queries, np.int64)
        )


@dataclass(frozen=True, slots=True)
class Selected:
    """What may be among the best of each query, unsorted, -1 for none, and the rows that reach its floor.

    No row that is left out scores above ``lost`` of its query. `above_count` may exceed what `above` holds.
    """

    rows: Items
    lost: NDArray[np.float64]
    above: Items
    above_count: Numbers


def slack_of(queries: Rows) -> NDArray[np.float64]:
    """By what share single precision can miss the score of each query: half a unit for each product and sum."""
    slack: NDArray[np.float64] = (np.diff(queries.ptr) + 32) * 2.4e-7
    return slack


class Join:
    """The rows of a matrix, made ready to be searched by many queries; never changes."""

    def __init__(
        self, rows: Rows, width: int, city: Items | None = None, themes: Floats | None = None
    ) -> None:
        """Take in `rows` of `width` terms; `themes` weighs their terms for the order, by default `values`."""
        frequency = np.bincount(rows.terms, minlength=width)
        self._rank = np.empty(width, np.int32)
        self._rank[np.argsort(-frequency, kind="stable")] = np.arange(width, dtype=np.int32)
        self.width = int(np.count_nonzero(frequency))
        heavy = joining.heaviest(rows.ptr, rows.terms, rows.values if themes is None else themes)
        heavy = np.append(self._rank, -1)[heavy]
        # A sample of all themes stands first: it gives each query a bar soon.
        sample = np.arange(0, len(rows), max(1, len(rows) // _SAMPLE))[:_SAMPLE]
        key = heavy.astype(np.int64)
        key[sample] = -2
        self.order: Numbers = np.argsort(key, kind="stable")
        self._themes = key[self.order]
        ptr, terms, values = joining.chosen(rows.ptr, rows.terms, rows.values, self.order)
        self._rows = (
            ptr,
            *joining.by_rank(ptr, terms, values, self._rank, width),
            np.zeros(len(rows), np.int32) if city is None else city[self.order].astype(np.int32),
        )
        blocks = _block_edges(len(rows))
        self._lists = joining.listed(*self._rows[:3], blocks, self.width)
        self._shape = (blocks, CUTS, *self._bounds())

    def __len__(self) -> int:
        return len(self.order)

    def _bounds(self) -> tuple[Floats, Floats, Floats]:
        """For each cut the lengths of the rows below it, the highest of each group, and a typical one."""
        norms, _ = joining.cut_norms(*self._rows[:3], CUTS)
        groups = -(-len(self) // GROUP)
        padded = np.full((len(CUTS), groups * GROUP), _NEVER, np.float32)
        padded[:, : len(self)] = norms.T
        peaks = padded.reshape(len(CUTS), groups, GROUP).max(axis=2, initial=_NEVER)
        sampled = norms[:: max(1, len(self) // 4096)]
        typical = np.quantile(sampled, 0.9, axis=0) if len(self) else np.zeros(len(CUTS))
        return padded, np.ascontiguousarray(peaks), typical.astype(np.float32)

    @property
    def nbytes(self) -> int:
        """Bytes held by the arrays."""
        arrays = (*self._rows, *self._lists, *self._shape, self._rank, self.order, self._themes)
        return sum(array.nbytes for array in arrays)

    def top(self, queries: Rows, k: int) -> tuple[NDArray[np.float64], Numbers]:
        """Scores and numbers of the `k` best rows of each query, best first, equal scores by row; 0 and -1 pad."""
        scores, rows = np.zeros((len(queries), k)), np.full((len(queries), k), -1, np.int64)
        for first in range(0, len(queries), _BATCH):
            last = min(len(queries), first + _BATCH)
            ranked = self._ranked(queries.part(first, last))
            heaps, _ = self._select(ranked, k + _MARGIN, Asked.everything(last - first), 0)
            asked = (ranked.ptr, ranked.terms, ranked.values)
            best = (scores[first:last], rows[first:last])
            joining.finish(asked, self._rows, self.order, heaps, slack_of(ranked), len(self._rank), best)
        return scores, rows

    def select(self, queries: Rows, keep: int, asked: Asked, room: int) -> Selected:
        """What may be among the `keep` best rows of each query, and up to `room` rows that reach its floor."""
        ranked = self._ranked(queries)
        slack = slack_of(ranked)
        lowered = Asked((asked.floors * (1.0 - slack)).astype(np.float32), asked.masks, asked.mask_of)
        (scores, rows), (_, above, count) = self._select(ranked, keep, lowered, room)
        full = (rows >= 0).all(axis=1)
        lost = np.where(full, scores.min(axis=1) * (1.0 + slack), 0.0)
        return Selected(self._named(rows), lost, self._named(above), count)

    def _named(self, places: Items) -> Items:
        """Places in the join's own order as numbers of rows; -1 stays."""
        return np.append(self.order, -1).astype(np.int32)[places]

    def _ranked(self, queries: Rows) -> Rows:
        """Queries with their terms numbered and sorted as those of the rows."""
        terms, values = joining.by_rank(
            queries.ptr, queries.terms, queries.values, self._rank, len(self._rank)
        )
        return Rows(queries.ptr, terms, values)

    def _select(
        self, ranked: Rows, keep: int, asked: Asked, room: int
    ) -> tuple[tuple[Floats, Items], tuple[Floats, Items, Numbers]]:
        """The heaps of the best, and what reaches the floors, both in places of the join's own order."""
        count = len(ranked)
        heaps = (np.zeros((count, keep), np.float32), np.full((count, keep), -1, np.int32))
        above = (
            np.zeros((count, room), np.float32),
            np.full((count, room), -1, np.int32),
            np.zeros(count, np.int64),
        )
        queries = (ranked.ptr, ranked.terms, ranked.values)
        theme = joining.heaviest(*queries)
        firsts = np.searchsorted(self._themes, theme)
        lasts = np.minimum(np.searchsorted(self._themes, theme, side="right"), firsts + _SEEDS)
        lasts = np.where(theme >= 0, lasts, firsts)
        joining.seed(
            queries, self._rows, firsts, lasts, asked.mask_of, asked.masks, len(self._rank), heaps[0]
        )
        norms, begins = joining.cut_norms(*queries, CUTS)
        joining.join_block(
            (*queries, norms, begins),
            self._rows,
            self._lists,
            self._shape,
            (asked.floors, asked.mask_of, asked.masks, np.float32(BOLDNESS)),
            heaps,
            above,
        )
        return heaps, above


def _block_edges(rows: int) -> Numbers:
    """Where the blocks begin and end; they grow, so that the bar is useful early."""
    edges, step = [0], _SAMPLE
    while edges[-1] < rows:
        edges.append(min(rows, edges[-1] + step))
        step = min(BLOCK, edges[-1])
    return np.array(edges, np.int64)
