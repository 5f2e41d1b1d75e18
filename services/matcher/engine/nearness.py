# SPDX-License-Identifier: Apache-2.0
"""The lengths of all need vectors, kept up to date while idf moves, without touching every need.

A need's weight of a term is ``a b (L + c)`` with ``a`` fixed, ``L = ln(n + 1)`` the same for all, and
``c = -ln(df + 1/2)`` and the burstiness ``b`` the same for all needs that hold the term. So the squared
length is ``L² A + 2 L B + C`` with ``A = Σ a²b²``, ``B = Σ a²b² c`` and ``C = Σ a²b² c²``: an arrival changes
L, which is one number, and b and c of its own terms, which moves the sums of the needs on those terms' lists
alone. The result steers a filter; whoever passes it is computed again from its own terms, so rounding that
adds up here never reaches a score.
"""

import numpy as np

from services.matcher.engine.lists import Items, Numbers, Weights, grown
from services.matcher.engine.shelf import Shelf
from services.matcher.engine.weights import NEED_WEIGHT, burstiness, sums, tally

SLACK = 1e-3
"""Relative error that the filter allows for; the sums are better than this by many orders."""

_CANCELLED = 1e-6
"""Below this share of ``L² A`` a squared length is a difference of nearly equal numbers, and not trusted."""


class NeedLengths:
    """A, B and C of each need, settled for the numbers of texts and occurrences that were last seen."""

    def __init__(self) -> None:
        self._sums = [np.zeros(0), np.zeros(0), np.zeros(0)]
        # By term b², b² c and b² c².
        self._settled = [np.zeros(0), np.zeros(0), np.zeros(0)]
        self._moved: set[int] = set()

    def reach(self, terms: int, needs: int) -> None:
        """Make room for that many terms and needs."""
        self._settled = [grown(kept, terms) for kept in self._settled]
        self._sums = [grown(kept, needs) for kept in self._sums]

    def moved(self, terms: Items) -> None:
        """Note that texts with these terms have come or gone."""
        self._moved.update(terms.tolist())

    def set(self, shelf: Shelf, slots: Numbers) -> None:
        """Sum up some needs from their own terms."""
        sizes, terms, counts = shelf.rows.gather(slots)
        square = NEED_WEIGHT[counts] ** 2
        for kept, settled in zip(self._sums, self._settled, strict=True):
            kept[slots] = sums(square * settled[terms], sizes)

    def settle(self, shelf: Shelf, frequency: Numbers, occurrences: Numbers) -> None:
        """Bring A, B and C up to the present numbers of texts that hold each term, and how often."""
        moved = np.fromiter(sorted(self._moved), np.int64, len(self._moved))
        self._moved.clear()
        bursts = burstiness(frequency[moved], occurrences[moved]) ** 2
        rarity = -np.log(frequency[moved] + 0.5)
        changes = []
        for power, settled in enumerate(self._settled):
            old = settled[moved]
            settled[moved] = bursts * rarity**power
            changes.append(settled[moved] - old)
        if 2 * int(shelf.postings.size[moved].sum()) > int(shelf.rows.size[: shelf.size].sum()):
            self.set(shelf, np.arange(shelf.size))
            return
        sizes, slots, counts = shelf.postings.gather(moved)
        square = NEED_WEIGHT[counts] ** 2
        for kept, change in zip(self._sums, changes, strict=True):
            kept[: shelf.size] += tally(slots, square * np.repeat(change, sizes), shelf.size)

    def reaching(self, products: Weights, texts: int, threshold: float) -> Numbers:
        """The slots whose product over length can reach the threshold: none is missed, a few are too many."""
        level = np.log(texts + 1.0)
        a, b, c = (kept[: len(products)] for kept in self._sums)
        whole = level * level * a
        squared = whole + 2.0 * level * b + c
        near = products * products >= squared * (max(threshold, 0.0) * (1.0 - SLACK)) ** 2
        return np.flatnonzero((products > 0.0) & (near | (squared < _CANCELLED * whole)))
