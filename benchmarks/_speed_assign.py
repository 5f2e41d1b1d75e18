# SPDX-License-Identifier: Apache-2.0
"""Sharing out partners one to one: our flows over sparse candidates beside scipy's dense assignment.

Scores are those of city profiles: low-rank (each city has a few subjects) with noise, seeded; they are harder
than uniform ones. A candidate is one of the 30 best of either side; the peer sees every score.
"""

from collections.abc import Iterator

import numpy as np
from _rows import Row, side_by_side
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from services.matcher.engine.assignment import assign

BEST = 30
SUBJECTS = 24
NOISE = 8.0
SMALL, LARGE = (5_000, 25.0), (10_000, 50.0)


def scores_of(size: int, seed: int = 11) -> NDArray[np.float64]:
    """Scores from 0 to 100 between so many learners and as many hosts."""
    chance = np.random.default_rng([size, seed])
    sides = chance.gamma(0.3, size=(2, size, SUBJECTS))
    sides /= np.linalg.norm(sides, axis=2, keepdims=True)
    scores: NDArray[np.float64] = 90.0 * (sides[0] @ sides[1].T)
    for place in range(size):
        scores[place] += chance.normal(0.0, NOISE, size)
    return np.clip(scores, 0.0, 100.0, out=scores)


def candidates(scores: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pairs that are among the best of the one or of the other."""
    kept = np.zeros(scores.shape, np.bool_)
    for axis in (0, 1):
        best = np.argpartition(scores, -BEST, axis=axis)
        best = best[-BEST:] if axis == 0 else best[:, -BEST:]
        np.put_along_axis(kept, best, values=True, axis=axis)
    left, right = np.nonzero(kept)
    return left.astype(np.int64), right.astype(np.int64)


class _Market:
    """One market for both; each keeps the total that it found."""

    def __init__(
        self, scores: NDArray[np.float64], left: NDArray[np.int64], right: NDArray[np.int64]
    ) -> None:
        self._scores, self._left, self._right = scores, left, right
        self._worth, self._room = scores[left, right], np.ones(len(scores), np.int64)
        self.total: dict[str, float] = {}

    def ours(self) -> None:
        """Share out the candidates."""
        chosen = assign(self._left, self._right, self._worth, self._room, self._room)
        self.total["ours"] = float(self._worth[chosen].sum())

    def peer(self) -> None:
        """Assign by all scores."""
        self.total["peer"] = float(self._scores[linear_sum_assignment(self._scores, maximize=True)].sum())


def rows(*, large: bool = False) -> Iterator[Row]:
    """Compare at 5,000 cities a side, and with `large` at 10,000, where the peer takes 800 MB."""
    for size, must in (SMALL, LARGE) if large else (SMALL,):
        scores = scores_of(size)
        left, right = candidates(scores)
        market = _Market(scores, left, right)
        ours_s, peer_s = side_by_side(market.ours, market.peer, turns=3 if size < LARGE[0] else 1, warm=False)
        share = market.total["ours"] / market.total["peer"]
        note = f"{len(left)} candidates, total {share:.6f} of the optimum (must 0.999)"
        yield Row(
            f"share out {size} cities a side, one to one",
            ours_s,
            "scipy linear_sum_assignment, dense",
            peer_s,
            must,
            note,
        )


if __name__ == "__main__":
    import argparse

    from _rows import HEAD, printed

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="also at 10,000 cities a side")
    asked = parser.parse_args()
    print(HEAD)
    printed(rows(large=asked.large))
