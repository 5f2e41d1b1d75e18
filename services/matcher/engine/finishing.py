# SPDX-License-Identifier: Apache-2.0
"""The last step of the join: what was selected in single precision is scored in double, and the best kept."""

import numpy as np
from numpy.typing import NDArray

from services.matcher.engine.compiled import compiled
from services.matcher.engine.instructions import fetch
from services.matcher.engine.joining import Heaps
from services.matcher.engine.layout import Floats, Items, Laid, Matrix, Numbers

_LINE = 16


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
def _product(row: int, rows: Matrix, dense: Floats) -> float:
    """The product of a query and a row in double precision.

    Four sums side by side, because each addition waits for the one before it.
    """
    first, last = np.uintp(rows.ptr[row]), np.uintp(rows.ptr[row + 1])
    one, two, three, four = np.uintp(1), np.uintp(2), np.uintp(3), np.uintp(4)
    a = b = c = d = 0.0
    at = first
    while at + four <= last:
        a += np.float64(dense[np.uintp(rows.terms[at])]) * np.float64(rows.values[at])
        b += np.float64(dense[np.uintp(rows.terms[at + one])]) * np.float64(rows.values[at + one])
        c += np.float64(dense[np.uintp(rows.terms[at + two])]) * np.float64(rows.values[at + two])
        d += np.float64(dense[np.uintp(rows.terms[at + three])]) * np.float64(rows.values[at + three])
        at += four
    while at < last:
        a += np.float64(dense[np.uintp(rows.terms[at])]) * np.float64(rows.values[at])
        at += one
    return (a + b) + (c + d)


@compiled
def _score(laid: Laid, chosen: Items, dense: Floats, scores: NDArray[np.float64], best: Numbers) -> None:
    """Score some rows in double precision, -1 for none, and keep the best."""
    rows = laid.matrix
    for row in chosen:
        for entry in range(rows.ptr[max(row, 0)], rows.ptr[max(row, 0) + 1], _LINE):
            fetch(rows.terms, entry)
            fetch(rows.values, entry)
    for row in chosen:
        score = _product(row, rows, dense) if row >= 0 else 0.0
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
    everything = np.arange(len(laid.order)).astype(np.int32)
    again = 0
    for query in range(len(ptr) - 1):
        for entry in range(ptr[query], ptr[query + 1]):
            dense[terms[entry]] = values[entry]
        _score(laid, heaps.rows[query], dense, scores[query], best[query])
        # The bar of a heap that did not fill is 0: it has lost nothing.
        lost = heaps.scores[query, 0] * (1.0 + slack[query])
        if lost > 0.0 and scores[query, -1] <= lost:
            scores[query, :], best[query, :] = 0.0, -1
            _score(laid, everything, dense, scores[query], best[query])
            again += 1
        for entry in range(ptr[query], ptr[query + 1]):
            dense[terms[entry]] = 0.0
    return again
