# SPDX-License-Identifier: Apache-2.0
"""The compiled loops of the join: an exact top-k product of two sparse matrices; see ``join`` for the method.

They only select, in single precision; what is selected is scored again by whoever asked, as in ``finishing``.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.matcher.engine.compiled import compiled
from services.matcher.engine.instructions import GROUP, fetch, lift, lowest, over, total
from services.matcher.engine.layout import Floats, Items, Laid, Matrix, Numbers

# The bar is found to a part in 256 of its distance to the highest score: finer would leave out no more rows.
_HALVINGS = 8
# With eight times as many lanes as places, two of the best rarely share one.
_LANES_A_PLACE = 8
# Blocks whose sums may raise the bar; later it moves too little to pay for that.
_EARLY = 3
# So many times as many candidates as places raise the bar before they are completed.
_MANY = 3


class Queries(NamedTuple):
    """Queries at their levels: by cut, the length of the frequent part and where the rest begins."""

    matrix: Matrix
    norms: Floats
    begins: Items


class Wishes(NamedTuple):
    """By query a floor above which every row is wanted, and the line of `masks` that its cities stand in.

    `open` says of a line whether it allows all.
    """

    floors: Floats
    masks: NDArray[np.bool_]
    open: NDArray[np.bool_]
    mask_of: Numbers


class Heaps(NamedTuple):
    """By query the best rows so far, the lowest first, and their scores."""

    scores: Floats
    rows: Items


class Above(NamedTuple):
    """By query the rows that reach its floor, as far as there is room, and how many there are."""

    rows: Items
    reached: Numbers


class Work(NamedTuple):
    """Room for one query in one block: sums by row, candidates, lists to walk, the query's frequent terms.

    `lanes` holds the highest of every so many sums.
    """

    sums: Floats
    places: Items
    found: Floats
    froms: Numbers
    tos: Numbers
    factors: Floats
    dense: Floats
    lanes: Floats


@compiled
def push(scores: Floats, rows: Items, score: float | np.float32, row: int) -> None:
    """Put a row in the place of the one with the lowest score, which stands first in the heap."""
    here = 0
    while True:
        below = 2 * here + 1
        if below >= len(scores):
            break
        if below + 1 < len(scores) and scores[below + 1] < scores[below]:
            below += 1
        if scores[below] >= score:
            break
        scores[here], rows[here] = scores[below], rows[below]
        here = below
    scores[here], rows[here] = score, row


@compiled
def _add_up(queries: Matrix, begin: int, end: int, laid: Laid, block: int, work: Work) -> None:
    """Add the lists of some terms of a query, in one block, to the sums."""
    head, offset = laid.heads[block], laid.matrix.ptr[laid.blocks[block]]
    froms, tos, factors = work.froms, work.tos, work.factors
    count = 0
    for entry in range(begin, end):
        # Terms that no row has share the number behind all others.
        if queries.terms[entry] >= laid.width:
            continue
        term = np.uintp(queries.terms[entry])
        froms[count], tos[count] = offset + head[term], offset + head[term + np.uintp(1)]
        factors[count] = queries.values[entry]
        fetch(laid.list_rows, froms[count])
        fetch(laid.list_values, froms[count])
        count += tos[count] > froms[count]
    rows, weights, sums = laid.list_rows, laid.list_values, work.sums
    one, two, three, four = np.uintp(1), np.uintp(2), np.uintp(3), np.uintp(4)
    for place in range(count):
        at, last, factor = np.uintp(froms[place]), np.uintp(tos[place]), factors[place]
        # Four entries at a time, read before they are written: the compiler may not know that they differ.
        while at + four <= last:
            a, b = np.uintp(rows[at]), np.uintp(rows[at + one])
            c, d = np.uintp(rows[at + two]), np.uintp(rows[at + three])
            w, x = factor * weights[at], factor * weights[at + one]
            y, z = factor * weights[at + two], factor * weights[at + three]
            sums[a] += w
            sums[b] += x
            sums[c] += y
            sums[d] += z
            at += four
        while at < last:
            sums[np.uintp(rows[at])] += factor * weights[at]
            at += one


@compiled
def _raised(scores: Floats, count: int, heap: Floats) -> float:
    """A bar that at least as many exceed as a heap has places, of its own and of so many scores of others.

    The scores from that count to the next 64 are made zero.
    """
    low = high = heap[0]
    for place in range(count):
        high = max(high, scores[place])
    groups = (count + GROUP - 1) // GROUP
    scores[count : groups * GROUP] = 0.0
    for _ in range(_HALVINGS):
        middle = np.float32(0.5) * (low + high)
        above = 0
        for group in range(groups):
            above += total(over(scores, np.uintp(group * GROUP), middle))
        for score in heap:
            above += score > middle
        if above >= len(heap):
            low = middle
        else:
            high = middle
    return float(low)


@compiled
def _opened(query: int, rows: int, laid: Laid, wishes: Wishes, heap: Floats, work: Work) -> float:
    """The bar that the sums of the first block set, whose rows are a sample of all.

    What is left out can only add to a sum. One sum of every so many stands for all of them: hardly ever do
    two of the best fall together, and if they do the bar is a little lower than it could be.
    """
    allowed, lanes, sums = wishes.masks[wishes.mask_of[query]], work.lanes, work.sums
    if not wishes.open[wishes.mask_of[query]]:
        for row in range(rows):
            if not allowed[laid.city[row]]:
                sums[row] = 0.0
    lanes[:] = 0.0
    for begin in range(0, rows, len(lanes)):
        for lane in range(0, len(lanes), GROUP):
            lift(lanes, np.uintp(lane), sums, np.uintp(begin + lane))
    return _raised(lanes, len(lanes), heap)


@compiled
def _sweep(
    sums: Floats, groups: int, base: int, rest: float, norms: Floats, peaks: Floats, bar: float,
    places: Items, found: Floats,
) -> int:  # fmt: skip
    """Find the places where sum + rest x norm exceeds the bar, with their sums; all sums are 0 afterwards.

    A stretch of 64 is first held against the highest norm in it, which the processor does at once.
    """
    count = 0
    for group in range(groups):
        begin = np.uintp(group * GROUP)
        bits = over(sums, begin, np.float32(bar - rest * peaks[base // GROUP + group]))
        while bits:
            place = begin + lowest(bits)
            bits &= bits - np.uint64(1)
            places[count], found[count] = place, sums[place]
            count += sums[place] + rest * norms[np.uintp(base) + place] > bar
        for place in range(GROUP):
            sums[begin + np.uintp(place)] = 0.0
    return count


@compiled
def _complete(
    query: int, count: int, level: int, block: int, laid: Laid, wishes: Wishes, work: Work, heaps: Heaps,
    above: Above, rest: float,
) -> None:  # fmt: skip
    """Add what was left out to the sums of the candidates that are allowed, and keep those that remain."""
    base, cut, rows = laid.blocks[block], laid.cuts[level], laid.matrix
    allowed, floor, heap = wishes.masks[wishes.mask_of[query]], wishes.floors[query], heaps.scores[query]
    kept = 0
    for place in range(count):
        row = base + work.places[place]
        work.places[kept], work.found[kept] = work.places[place], work.found[place]
        if allowed[laid.city[row]]:
            fetch(rows.ptr, row)
            kept += 1
    bar = heap[0] if kept < _MANY * len(heap) else _raised(work.found, kept, heap)
    for place in range(kept):
        fetch(rows.terms, rows.ptr[base + work.places[place]])
        fetch(rows.values, rows.ptr[base + work.places[place]])
    for place in range(kept):
        row, score = base + work.places[place], work.found[place]
        if score + rest * laid.norms[level, row] <= min(max(heap[0], bar), floor):
            continue
        at, last = rows.ptr[row], rows.ptr[row + 1]
        while at < last and rows.terms[at] < cut:
            score += work.dense[rows.terms[at]] * rows.values[at]
            at += 1
        if score >= floor:
            if above.reached[query] < above.rows.shape[1]:
                above.rows[query, above.reached[query]] = row
            above.reached[query] += 1
        if score > heap[0]:
            push(heap, heaps.rows[query], score, row)


def room(queries: Matrix, laid: Laid, keep: int) -> Work:
    """Room for the longest query and the widest block, where each query keeps so many rows."""
    longest = int(np.diff(queries.ptr).max(initial=0)) + 1
    lanes = -(-_LANES_A_PLACE * keep // GROUP) * GROUP
    widest = -(-int(np.diff(laid.blocks).max(initial=1)) // lanes) * lanes
    return Work(
        np.zeros(widest, np.float32),
        np.zeros(widest + GROUP, np.int32),
        np.zeros(widest + GROUP, np.float32),
        np.zeros(longest, np.int64),
        np.zeros(longest, np.int64),
        np.zeros(longest, np.float32),
        np.zeros(laid.cuts[-1] + 1, np.float32),
        np.zeros(lanes, np.float32),
    )


@compiled
def select(
    queries: Queries, laid: Laid, wishes: Wishes, boldness: float | np.float32, work: Work, heaps: Heaps,
    above: Above,
) -> None:  # fmt: skip
    """Fill the heaps with the best rows of each query, and `above` with the rows that reach its floor."""
    ptr, terms, values = queries.matrix
    for block in range(len(laid.blocks) - 1):
        base = laid.blocks[block]
        rows = laid.blocks[block + 1] - base
        for query in range(len(ptr) - 1):
            bar = heaps.scores[query, 0]
            level = len(laid.cuts) - 1
            most = boldness * min(bar, wishes.floors[query])
            while level > 0 and queries.norms[query, level] * laid.typical[level] > most:
                level -= 1
            begin, rest = ptr[query] + queries.begins[query, level], queries.norms[query, level]
            _add_up(queries.matrix, begin, ptr[query + 1], laid, block, work)
            if block == 0 or (block < _EARLY and wishes.open[wishes.mask_of[query]]):
                bar = _opened(query, rows, laid, wishes, heaps.scores[query], work)
            count = _sweep(
                work.sums, (rows + GROUP - 1) // GROUP, base, rest, laid.norms[level], laid.peaks[level],
                min(bar, wishes.floors[query]), work.places, work.found,
            )  # fmt: skip
            if count == 0:
                continue
            for entry in range(ptr[query], begin):
                work.dense[terms[entry]] = values[entry]
            _complete(query, count, level, block, laid, wishes, work, heaps, above, rest)
            for entry in range(ptr[query], begin):
                work.dense[terms[entry]] = 0.0
