# SPDX-License-Identifier: Apache-2.0
"""A lower bound of the length of every need vector, kept while idf moves without touching every need.

A need's weight of a term is ``a b (L + c)`` with ``a`` fixed, ``L = ln(n + 1)`` the same for all, and
``c = -ln(df + 1/2)`` and the burstiness ``b`` the same for all needs that hold the term. So the squared
length is ``L² A + 2 L B + C`` with ``A = Σ a²b²``, ``B = Σ a²b² c`` and ``C = Σ a²b² c²``: an arrival changes
L, which is one number, and b and c of its own terms, which moves the sums of those terms' holders alone.

Not even those at once. While no ``b (L + c)`` and not L has drifted further than ``DRIFT`` from where it was
last settled, no length has moved by more than ``DRIFT √A`` for each of the two (the triangle inequality; b is
at least 1), and that is taken off beforehand. A frequent term, whose list is long, drifts by some parts in df
with each arrival, so it is settled seldom; rare terms are settled at once, and their lists are short.

The bound steers a filter; whoever passes it is computed again from its own terms, so nothing of this reaches
a score.
"""

import math

import numpy as np

from services.matcher.engine.compiled import compiled
from services.matcher.engine.kernels import Entries, Floats
from services.matcher.engine.lists import Items, Numbers, Weights, grown
from services.matcher.engine.shelf import Shelf
from services.matcher.engine.weights import NEED_WEIGHT, RAREST, SETTLED, burstiness

DRIFT = 1e-3
"""How far a term's worth may move before the lengths of its holders are settled anew."""

_HIGHEST_LEVEL = 18.0
"""L of more texts than there can be: what a term's burstiness moves counts by it, whatever L becomes."""

_LEAST_LEVEL = math.log(RAREST)

_SQUARES: Weights = NEED_WEIGHT * NEED_WEIGHT


@compiled
def sum_lengths(
    start: Items,
    size: Items,
    entries: Entries,
    texts: Numbers,
    table: Weights,
    bursts: Weights,
    settled: Weights,
    sums: Weights,
) -> None:
    """A, B and C of some needs from their own terms; `settled` is b c."""
    for text in texts:
        a, b, c = 0.0, 0.0, 0.0
        for entry in entries[start[text] : start[text] + size[text]]:
            square = table[entry & np.uint32(255)]
            burst, level = bursts[entry >> np.uint32(8)], settled[entry >> np.uint32(8)]
            a += square * burst * burst
            b += square * burst * level
            c += square * level * level
        sums[text, 0], sums[text, 1], sums[text, 2] = a, b, c


@compiled
def shift_lengths(
    start: Items,
    size: Items,
    entries: Entries,
    terms: Numbers,
    table: Weights,
    old_bursts: Weights,
    old: Weights,
    new_bursts: Weights,
    new: Weights,
    sums: Weights,
) -> None:
    """Move A, B and C of the holders of some terms whose b and b c move from old to new."""
    for place in range(len(terms)):
        first = start[terms[place]]
        by_a = new_bursts[place] ** 2 - old_bursts[place] ** 2
        by_b = new_bursts[place] * new[place] - old_bursts[place] * old[place]
        by_c = new[place] ** 2 - old[place] ** 2
        for entry in entries[first : first + size[terms[place]]]:
            square = table[entry & np.uint32(255)]
            sums[entry >> np.uint32(8), 0] += square * by_a
            sums[entry >> np.uint32(8), 1] += square * by_b
            sums[entry >> np.uint32(8), 2] += square * by_c


@compiled
def bound_length(a: float, b: float, c: float, level: float, drift: float) -> float:
    """The lowest that a need's weights can be divided by while no term and not the level drift further.

    That is its length over `weights.reach`, which grows more slowly than the length; 0 if unsure.
    """
    whole = level * level * a
    squared = whole + 2.0 * level * b + c
    # A small difference of large numbers may be nothing but rounding.
    if not squared > 1e-6 * whole:
        return 0.0
    low = max(0.0, math.sqrt(squared) * (1.0 - 1e-4) - 2.0 * drift * math.sqrt(a))
    rarest = level - _LEAST_LEVEL - drift
    if low == 0.0 or rarest <= 0.0:
        return 0.0
    trust = 1.0 / (1.0 + SETTLED / (math.exp(level + drift) - 1.0))
    return low / (1.0 + trust * (max(1.0, math.sqrt(math.sqrt(low / rarest))) - 1.0))


@compiled
def bound_lengths(texts: Numbers, sums: Weights, level: float, drift: float, lows: Floats) -> None:
    """The lower bounds of the lengths of some needs."""
    for text in texts:
        lows[text] = bound_length(sums[text, 0], sums[text, 1], sums[text, 2], level, drift)


@compiled
def bound_holders(
    start: Items,
    size: Items,
    entries: Entries,
    terms: Numbers,
    sums: Weights,
    level: float,
    drift: float,
    lows: Floats,
) -> None:
    """The lower bounds of the lengths of all holders of some terms."""
    for term in terms:
        for entry in entries[start[term] : start[term] + size[term]]:
            text = entry >> np.uint32(8)
            lows[text] = bound_length(sums[text, 0], sums[text, 1], sums[text, 2], level, drift)


class NeedLengths:
    """A, B and C of each need for the settled document frequencies, and the bounds that follow."""

    def __init__(self) -> None:
        self._sums = np.zeros((0, 3))
        self._lows = np.zeros(0, np.float32)
        # By term b and b c.
        self._bursts: Weights = np.zeros(0)
        self._settled: Weights = np.zeros(0)
        self._moved: set[int] = set()
        self._level = -1.0

    def reach(self, terms: int, needs: int) -> None:
        """Make room for that many terms and needs."""
        known = len(self._settled)
        self._settled, self._bursts = grown(self._settled, terms), grown(self._bursts, terms)
        self._settled[known:], self._bursts[known:] = -np.log(0.5), 1.0
        if needs > len(self._sums):
            larger = np.zeros((needs + needs // 8 + 16, 3))
            larger[: len(self._sums)] = self._sums
            self._sums, self._lows = larger, grown(self._lows, len(larger))

    def moved(self, terms: Items) -> None:
        """Note that texts with these terms have come or gone."""
        self._moved.update(terms.tolist())

    def set(self, shelf: Shelf, slots: Numbers) -> None:
        """Sum up some needs from their own terms."""
        rows = shelf.rows
        known = (rows.start, rows.size, rows.entries)
        sum_lengths(*known, slots, _SQUARES, self._bursts, self._settled, self._sums)
        bound_lengths(slots, self._sums, self._level, DRIFT, self._lows)

    def settle(self, shelf: Shelf, frequency: Numbers, occurrences: Numbers, texts: int) -> None:
        """Bring the bounds up to the present: texts, those with each term, and how often it occurs."""
        level = float(np.log(texts + 1.0))
        if abs(level - self._level) > DRIFT:
            self._level = level
            bound_lengths(np.arange(shelf.size), self._sums, level, DRIFT, self._lows)
        moved = np.fromiter(self._moved, np.int64, len(self._moved))
        self._moved.clear()
        bursts = burstiness(frequency[moved], occurrences[moved])
        settled = bursts * -np.log(frequency[moved] + 0.5)
        drift = np.abs(bursts - self._bursts[moved]) * _HIGHEST_LEVEL + np.abs(settled - self._settled[moved])
        far = drift > DRIFT
        moved, new = moved[far], (bursts[far], settled[far])
        old = self._bursts[moved], self._settled[moved]
        self._bursts[moved], self._settled[moved] = new
        lists, rows = shelf.postings, shelf.rows
        if 2 * int(lists.size[moved].sum()) > int(rows.size[: shelf.size].sum()):
            self.set(shelf, np.arange(shelf.size))
            return
        known = (lists.start, lists.size, lists.entries)
        shift_lengths(*known, moved, _SQUARES, *old, *new, self._sums)
        bound_holders(*known, moved, self._sums, self._level, DRIFT, self._lows)

    def lows(self, needs: int) -> Floats:
        """A lower bound of what each need is divided by; 0 where rounding may have spoilt it."""
        return self._lows[:needs]

    @property
    def nbytes(self) -> int:
        """Bytes held by the arrays."""
        return sum(array.nbytes for array in (self._sums, self._lows, self._bursts, self._settled))
