# SPDX-License-Identifier: Apache-2.0
"""The last step of the join: what was selected in single precision is scored in double, and the best kept."""

import numpy as np
from numpy.typing import NDArray

from services.matcher.engine.compiled import compiled
from services.matcher.engine.joining import Heaps
from services.matcher.engine.layout import Floats, Laid, Matrix, Numbers
from services.matcher.engine.prefetch import fetch


@compiled
def _place(scores: NDArray[np.float64], rows: Numbers, score: float, row: int) -> None:
    """Put a row where it belongs among the best, higher scores first, equal ones by row; one falls out."""
    at = len(scores) - 1
    if score < scores[at] or (score == scores[at] and rows[at] >= 0 and row > rows[at]):
        return
    while at > 0 and (scores[at - 1] < score or (scores[at - 1] == score and rows[at - 1] > row)):
        scores[at], rows[at] = scores[at - 1], rows[at - 1]
        at -= 1
    scores[at], rows[at] = score, row


@compiled
def _score(laid: Laid, chosen: Numbers, dense: Floats, scores: NDArray[np.float64], best: Numbers) -> None:
    """Score some rows in double precision and keep the best."""
    rows = laid.matrix
    for row in chosen:
        fetch(rows.terms, rows.ptr[row])
        fetch(rows.values, rows.ptr[row])
    for row in chosen:
        score = 0.0
        for entry in range(rows.ptr[row], rows.ptr[row + 1]):
            score += np.float64(dense[rows.terms[entry]]) * np.float64(rows.values[entry])
        if score > 0.0:
            _place(scores, best, score, laid.order[row])


@compiled
def finish(
    queries: Matrix,
    laid: Laid,
    heaps: Heaps,
    slack: NDArray[np.float64],
    scores: NDArray[np.float64],
    best: Numbers,
) -> int:
    """Score what was selected and keep the best; gives for how many queries all rows were scored.

    That is where a row that was left out might tie with the last that is kept.
    """
    ptr, terms, values = queries
    dense = np.zeros(laid.width + 1, np.float32)
    everything = np.arange(len(laid.order))
    again = 0
    for query in range(len(ptr) - 1):
        for entry in range(ptr[query], ptr[query + 1]):
            dense[terms[entry]] = values[entry]
        chosen = heaps.rows[query][heaps.rows[query] >= 0].astype(np.int64)
        _score(laid, chosen, dense, scores[query], best[query])
        # The bar of a heap that neither filled nor was seeded is 0: it has lost nothing.
        lost = heaps.scores[query, 0] * (1.0 + slack[query])
        if lost > 0.0 and scores[query, -1] <= lost:
            scores[query, :], best[query, :] = 0.0, -1
            _score(laid, everything, dense, scores[query], best[query])
            again += 1
        for entry in range(ptr[query], ptr[query + 1]):
            dense[terms[entry]] = 0.0
    return again
