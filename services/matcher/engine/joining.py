# SPDX-License-Identifier: Apache-2.0
"""The compiled loops of the join: an exact top-k product of two sparse matrices; see ``join`` for the method.

They only select, in single precision; what is selected is scored again by whoever asked, as in ``finishing``.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.matcher.engine.compiled import compiled
from services.matcher.engine.layout import GROUP, Floats, Items, Laid, Matrix, Numbers
from services.matcher.engine.prefetch import fetch

_PART = 16
_HEAVY = 0.5
_AKIN = 48
_AKIN_A_TERM = 16


class Queries(NamedTuple):
    """Queries at their levels: by cut, the length of the frequent part and where the rest begins."""

    matrix: Matrix
    norms: Floats
    begins: Items


class Wishes(NamedTuple):
    """By query a floor above which every row is wanted, and the line of `masks` that its cities stand in."""

    floors: Floats
    masks: NDArray[np.bool_]
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
    """Room for one query in one block: sums by row, candidates, lists to walk, the query's frequent terms."""

    sums: Floats
    places: Items
    found: Floats
    froms: Numbers
    tos: Numbers
    factors: Floats
    dense: Floats


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
def _akin(queries: Matrix, query: int, laid: Laid, found: Numbers) -> int:
    """The first rows whose own heaviest term is among the heavy ones of a query, as many as there is room."""
    heaviest = np.float32(0.0)
    for entry in range(queries.ptr[query], queries.ptr[query + 1]):
        heaviest = max(heaviest, queries.values[entry])
    count = 0
    for entry in range(queries.ptr[query], queries.ptr[query + 1]):
        if queries.values[entry] < _HEAVY * heaviest:
            continue
        first = laid.themes[queries.terms[entry]]
        last = min(laid.themes[queries.terms[entry] + 1], first + _AKIN_A_TERM, first + len(found) - count)
        for row in range(first, last):
            found[count] = row
            count += 1
            fetch(laid.matrix.terms, laid.matrix.ptr[row])
            fetch(laid.matrix.values, laid.matrix.ptr[row])
    return count


@compiled
def seed(queries: Matrix, laid: Laid, wishes: Wishes, heaps: Heaps) -> None:
    """Raise the bar of each query to what the rows on its own themes surely reach."""
    ptr, terms, values = queries
    rows = laid.matrix
    dense = np.zeros(laid.width + 1, np.float32)
    nothing, akin = np.empty(heaps.scores.shape[1], np.int32), np.empty(_AKIN, np.int64)
    for query in range(len(ptr) - 1):
        heap = heaps.scores[query]
        count = _akin(queries, query, laid, akin)
        if count < len(heap):
            continue
        for entry in range(ptr[query], ptr[query + 1]):
            dense[terms[entry]] = values[entry]
        for row in akin[:count]:
            if wishes.masks[wishes.mask_of[query], laid.city[row]]:
                score = np.float32(0.0)
                for entry in range(rows.ptr[row], rows.ptr[row + 1]):
                    score += dense[rows.terms[entry]] * rows.values[entry]
                if score > heap[0]:
                    push(heap, nothing, score, row)
        # The rows come again when their turn comes; the bar must let them pass whatever the rounding.
        heap[:] = heap[0] * np.float32(1.0 - 1e-4)
        for entry in range(ptr[query], ptr[query + 1]):
            dense[terms[entry]] = 0.0


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
def _sweep(
    sums: Floats, rest: float, norms: Floats, peaks: Floats, bar: float, places: Items, found: Floats
) -> int:
    """Find the places where sum + rest x norm exceeds the bar, with their sums; all sums are 0 afterwards.

    A stretch of 64 is first held against the highest norm in it, which the processor does at once. The loops
    say "or", into a number, because neither a running maximum nor a truth value would be taken at once.
    """
    count = 0
    for group in range(len(peaks)):
        begin = group * GROUP
        near = sums[begin : begin + GROUP]
        lowest = bar - rest * peaks[group]
        hit = 0
        for place in range(GROUP):
            hit |= near[place] > lowest
        if hit:
            for part in range(0, GROUP, _PART):
                some, norm = near[part : part + _PART], norms[begin + part : begin + part + _PART]
                hit = 0
                for place in range(_PART):
                    hit |= some[place] + rest * norm[place] > bar
                if hit:
                    for place in range(_PART):
                        places[count], found[count] = begin + part + place, some[place]
                        count += some[place] + rest * norm[place] > bar
        for place in range(GROUP):
            near[place] = 0.0
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
    for place in range(kept):
        fetch(rows.terms, rows.ptr[base + work.places[place]])
        fetch(rows.values, rows.ptr[base + work.places[place]])
    for place in range(kept):
        row, score = base + work.places[place], work.found[place]
        if score + rest * laid.norms[level, row] <= min(heap[0], floor):
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


@compiled
def _room(queries: Matrix, laid: Laid) -> Work:
    """Room for the longest query and the widest block."""
    widest, longest = 0, 1
    for block in range(len(laid.blocks) - 1):
        widest = max(widest, laid.blocks[block + 1] - laid.blocks[block])
    for query in range(len(queries.ptr) - 1):
        longest = max(longest, queries.ptr[query + 1] - queries.ptr[query])
    widest = (widest + GROUP - 1) // GROUP * GROUP
    return Work(
        np.zeros(widest, np.float32),
        np.zeros(widest + 1, np.int32),
        np.zeros(widest + 1, np.float32),
        np.zeros(longest + 1, np.int64),
        np.zeros(longest + 1, np.int64),
        np.zeros(longest + 1, np.float32),
        np.zeros(laid.cuts[-1] + 1, np.float32),
    )


@compiled
def select(
    queries: Queries, laid: Laid, wishes: Wishes, boldness: float | np.float32, heaps: Heaps, above: Above
) -> None:
    """Fill the heaps with the best rows of each query, and `above` with the rows that reach its floor."""
    ptr, terms, values = queries.matrix
    work = _room(queries.matrix, laid)
    for block in range(len(laid.blocks) - 1):
        base = laid.blocks[block]
        groups = (laid.blocks[block + 1] - base + GROUP - 1) // GROUP
        inside, whole = slice(base, base + groups * GROUP), slice(base // GROUP, base // GROUP + groups)
        for query in range(len(ptr) - 1):
            bar = min(heaps.scores[query, 0], wishes.floors[query])
            level = len(laid.cuts) - 1
            while level > 0 and queries.norms[query, level] * laid.typical[level] > boldness * bar:
                level -= 1
            begin, rest = ptr[query] + queries.begins[query, level], queries.norms[query, level]
            _add_up(queries.matrix, begin, ptr[query + 1], laid, block, work)
            sums, norms, peaks = work.sums[: groups * GROUP], laid.norms[level], laid.peaks[level]
            count = _sweep(sums, rest, norms[inside], peaks[whole], bar, work.places, work.found)
            if count == 0:
                continue
            for entry in range(ptr[query], begin):
                work.dense[terms[entry]] = values[entry]
            _complete(query, count, level, block, laid, wishes, work, heaps, above, rest)
            for entry in range(ptr[query], begin):
                work.dense[terms[entry]] = 0.0
