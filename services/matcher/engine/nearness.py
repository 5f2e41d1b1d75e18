# SPDX-License-Identifier: Apache-2.0
"""A lower bound of the length of every need vector, kept while idf moves without touching every need.

A need's weight of a term is ``a b (L + c)`` with ``a`` fixed, ``L = ln(n + 1)`` the same for all, and
``c = -ln(df + 1/2)`` and the burstiness ``b`` the same for all needs that hold the term. So the squared
length is ``L² A + 2 L B + C`` with ``A = Σ a²b²``, ``B = Σ a²b² c`` and ``C = Σ a²b² c²``: an arrival changes
L, which is one number, and b and c of its own terms, which moves the sums of those terms' holders alone.

Not even those at once. A term's worth may drift a little from where it was last settled: by ``DRIFT`` of
it and ``LEAST_DRIFT`` more. As long as none has drifted further, and L no further than ``LEVEL_DRIFT``, no
length has moved by more than ``DRIFT`` of it and ``(LEAST_DRIFT + LEVEL_DRIFT) √A`` (the triangle
inequality; b is at least 1), and that is taken off beforehand. A frequent term, whose list is long, drifts by
some parts in df with each arrival, so it is settled seldom; rare terms are settled at once, and their lists
are short.

How far a worth has drifted depends on L, too, as a straight line does. So it is looked at for both ends of a
window about L; when L leaves the window, with one text in twenty come or gone, all is settled anew.

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

DRIFT = 4e-3
"""The share of a term's worth by which it may move before the lengths of its holders are settled anew."""

LEAST_DRIFT = 5e-4
"""How far any worth may move beside: what most texts have is worth so little that a share is nothing."""

LEVEL_DRIFT = 5e-4
"""How far L may move before all bounds are set anew; the sums they rest on stay as they are."""

WINDOW = 0.05
"""How far L may move before all sums are made anew."""

_LEAST_LEVEL = math.log(RAREST)

_MOVES_A_NEED = 10
"""The sums of a need are made in the time that moving so many takes."""

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
def bound_length(a: float, b: float, c: float, level: float, trust: float) -> float:
    """The lowest that a need's weights can be divided by until something is settled anew; 0 if unsure.

    That is its length over `weights.reach`, which grows more slowly than the length; `trust` is the most that
    it can be meanwhile.
    """
    whole = level * level * a
    squared = whole + 2.0 * level * b + c
    # A small difference of large numbers may be nothing but rounding.
    if not squared > 1e-6 * whole:
        return 0.0
    settled = math.sqrt(squared) * (1.0 - 1e-4) * (1.0 - DRIFT)
    low = max(0.0, settled - (LEAST_DRIFT + LEVEL_DRIFT) * math.sqrt(a))
    rarest = level - _LEAST_LEVEL - LEVEL_DRIFT
    if low == 0.0 or rarest <= 0.0:
        return 0.0
    return low / (1.0 + trust * (max(1.0, math.sqrt(math.sqrt(low / rarest))) - 1.0))


@compiled
def most_trust(level: float) -> float:
    """The highest `weights.trust` until the level is settled anew."""
    return 1.0 / (1.0 + SETTLED / (math.exp(level + LEVEL_DRIFT) - 1.0))


@compiled
def bound_lengths(texts: Numbers, sums: Weights, level: float, lows: Floats) -> None:
    """The lower bounds of the lengths of some needs."""
    trust = most_trust(level)
    for text in texts:
        lows[text] = bound_length(sums[text, 0], sums[text, 1], sums[text, 2], level, trust)


@compiled
def settle_terms(
    start: Items,
    size: Items,
    entries: Entries,
    terms: Numbers,
    table: Weights,
    present: tuple[Weights, Weights],
    held: tuple[Weights, Weights],
    window: tuple[float, float],
    level: float,
    most: int,
    sums: Weights,
    lows: Floats,
) -> bool:
    """Settle those of some terms whose worth has drifted too far, wherever in the window L may be.

    `present` has b and b c of each of the terms, `held` those that are settled, by term. The sums and the
    bounds of their holders move with them; if these are more than `most` nothing moves, which is told.
    """
    low, high = window
    far, holders = np.empty(len(terms), np.int64), 0
    count = 0
    for place in range(len(terms)):
        term = terms[place]
        by_burst, by_level = present[0][place] - held[0][term], present[1][place] - held[1][term]
        least = max(0.0, held[0][term] * low + held[1][term])
        if max(abs(by_burst * low + by_level), abs(by_burst * high + by_level)) > DRIFT * least + LEAST_DRIFT:
            far[count] = place
            count += 1
            holders += size[term]
    trust = most_trust(level)
    for place in far[:count]:
        term = terms[place]
        burst, settled = present[0][place], present[1][place]
        by_a = burst**2 - held[0][term] ** 2
        by_b = burst * settled - held[0][term] * held[1][term]
        by_c = settled**2 - held[1][term] ** 2
        held[0][term], held[1][term] = burst, settled
        if holders <= most:
            for entry in entries[start[term] : start[term] + size[term]]:
                text, square = entry >> np.uint32(8), table[entry & np.uint32(255)]
                sums[text, 0] += square * by_a
                sums[text, 1] += square * by_b
                sums[text, 2] += square * by_c
                lows[text] = bound_length(sums[text, 0], sums[text, 1], sums[text, 2], level, trust)
    return holders <= most


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
        self._window = (0.0, -1.0)

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
        bound_lengths(slots, self._sums, self._level, self._lows)

    def settle(self, shelf: Shelf, frequency: Numbers, occurrences: Numbers, texts: int) -> None:
        """Bring the bounds up to the present: texts, those with each term, and how often it occurs."""
        level = float(np.log(texts + 1.0))
        moved = np.fromiter(self._moved, np.int64, len(self._moved))
        self._moved.clear()
        if not self._window[0] <= level <= self._window[1]:
            self._window = level - WINDOW, level + WINDOW
            moved = np.arange(min(len(frequency), len(self._settled)))
        bursts = burstiness(frequency[moved], occurrences[moved])
        present = bursts, bursts * -np.log(frequency[moved] + 0.5)
        lists = shelf.postings
        known = (lists.start, lists.size, lists.entries, moved, _SQUARES)
        held, most = (self._bursts, self._settled), _MOVES_A_NEED * shelf.size
        few = settle_terms(*known, present, held, self._window, self._level, most, self._sums, self._lows)
        if few and abs(level - self._level) <= LEVEL_DRIFT:
            return
        self._level = level
        if few:
            bound_lengths(np.arange(shelf.size), self._sums, level, self._lows)
        else:
            self.set(shelf, np.arange(shelf.size))

    def lows(self, needs: int) -> Floats:
        """A lower bound of what each need is divided by; 0 where rounding may have spoilt it."""
        return self._lows[:needs]

    @property
    def nbytes(self) -> int:
        """Bytes held by the arrays."""
        return sum(array.nbytes for array in (self._sums, self._lows, self._bursts, self._settled))
