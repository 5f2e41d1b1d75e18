# SPDX-License-Identifier: Apache-2.0
"""The compiled loops of the join: an exact top-k product of two sparse matrices; see ``join`` for the method.

Everything here only selects, in single precision; what is selected is scored again by whoever asked.
"""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

Items = NDArray[np.int32]
Numbers = NDArray[np.int64]
Floats = NDArray[np.float32]
Table = NDArray[np.float32]
Flags = NDArray[np.bool_]

GROUP = 64
_PART = 16


@intrinsic
def _fetch(typing: object, array: types.Type, place: types.Type) -> object:
    """Tell the processor that an array is soon read at a place: lists lie far apart, and waiting costs most."""

    def code(
        context: object, builder: ir.IRBuilder, signature: object, arguments: tuple[ir.Value, ...]
    ) -> object:
        kept = context.make_array(array)(context, builder, arguments[0])  # type: ignore[attr-defined]
        byte = ir.IntType(8).as_pointer()
        number = ir.IntType(32)
        shape = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        fetch = cgutils.get_or_insert_function(builder.module, shape, "llvm.prefetch.p0i8")
        where = builder.bitcast(builder.gep(kept.data, [arguments[1]]), byte)
        builder.call(fetch, [where, number(0), number(3), number(1)])
        return context.get_dummy_value()  # type: ignore[attr-defined]

    return types.void(array, place), code


@njit(cache=True, nogil=True)
def by_rank(ptr: Numbers, terms: Items, values: Floats, rank: Items, width: int) -> tuple[Items, Floats]:
    """The rows with their terms renumbered by rank and sorted, by turning the matrix over twice."""
    ends = np.zeros(width + 1, np.int64)
    for term in terms:
        ends[rank[term] + 1] += 1
    ends = np.cumsum(ends)
    rows = np.empty(len(terms), np.int32)
    turned = np.empty(len(terms), np.float32)
    for row in range(len(ptr) - 1):
        for entry in range(ptr[row], ptr[row + 1]):
            number = rank[terms[entry]]
            rows[ends[number]], turned[ends[number]] = row, values[entry]
            ends[number] += 1
    heads = ptr[:-1].copy()
    numbers = np.empty(len(terms), np.int32)
    weights = np.empty(len(terms), np.float32)
    place = 0
    for number in range(width):
        for entry in range(place, ends[number]):
            row = rows[entry]
            numbers[heads[row]], weights[heads[row]] = number, turned[entry]
            heads[row] += 1
        place = ends[number]
    return numbers, weights


@njit(cache=True, nogil=True)
def heaviest(ptr: Numbers, terms: Items, values: Floats) -> Items:
    """The term of each row that weighs most; -1 for an empty row."""
    found = np.full(len(ptr) - 1, -1, np.int32)
    for row in range(len(found)):
        most = np.float32(-1.0)
        for entry in range(ptr[row], ptr[row + 1]):
            if values[entry] > most:
                most, found[row] = values[entry], terms[entry]
    return found


@njit(cache=True, nogil=True)
def chosen(ptr: Numbers, terms: Items, values: Floats, order: Numbers) -> tuple[Numbers, Items, Floats]:
    """The rows of a matrix in another order."""
    heads = np.zeros(len(order) + 1, np.int64)
    for place in range(len(order)):
        heads[place + 1] = heads[place] + ptr[order[place] + 1] - ptr[order[place]]
    numbers = np.empty(heads[-1], np.int32)
    weights = np.empty(heads[-1], np.float32)
    for place in range(len(order)):
        here = ptr[order[place]]
        for step in range(heads[place + 1] - heads[place]):
            numbers[heads[place] + step], weights[heads[place] + step] = (
                terms[here + step],
                values[here + step],
            )
    return heads, numbers, weights


@njit(cache=True, nogil=True)
def listed(
    ptr: Numbers, terms: Items, values: Floats, blocks: Numbers, width: int
) -> tuple[NDArray[np.int32], NDArray[np.uint16], Floats]:
    """For each block of rows and each term where its list begins, and the lists: row in the block, weight."""
    heads = np.zeros((len(blocks) - 1, width + 1), np.int32)
    rows = np.empty(len(terms), np.uint16)
    weights = np.empty(len(terms), np.float32)
    ends = np.empty(width + 1, np.int64)
    for block in range(len(blocks) - 1):
        first, last = blocks[block], blocks[block + 1]
        head = heads[block]
        for entry in range(ptr[first], ptr[last]):
            head[terms[entry] + 1] += 1
        base = ptr[first]
        ends[0] = base
        for term in range(width):
            head[term + 1] += head[term]
            ends[term + 1] = base + head[term + 1]
        for row in range(first, last):
            for entry in range(ptr[row], ptr[row + 1]):
                end = ends[terms[entry]]
                rows[end], weights[end] = row - first, values[entry]
                ends[terms[entry]] = end + 1
    return heads, rows, weights


@njit(cache=True, nogil=True)
def cut_norms(ptr: Numbers, terms: Items, values: Floats, cuts: Numbers) -> tuple[Floats, Items]:
    """For each row and cut: the length of what lies below the cut, never too short, and where the rest begins."""
    norms = np.zeros((len(ptr) - 1, len(cuts)), np.float32)
    begins = np.zeros((len(ptr) - 1, len(cuts)), np.int32)
    for row in range(len(ptr) - 1):
        entry, square = ptr[row], 0.0
        for level in range(len(cuts)):
            while entry < ptr[row + 1] and terms[entry] < cuts[level]:
                square += np.float64(values[entry]) * np.float64(values[entry])
                entry += 1
            norms[row, level] = np.sqrt(square) * (1.0 + 1e-6)
            begins[row, level] = entry - ptr[row]
    return norms, begins


@njit(cache=True, nogil=True)
def push(scores: Floats, rows: Items, score: float, row: int) -> None:
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


@njit(cache=True, nogil=True)
def seed(
    queries: tuple[Numbers, Items, Floats],
    rows: tuple[Numbers, Items, Floats, Items],
    firsts: Numbers,
    lasts: Numbers,
    mask_of: Numbers,
    masks: Flags,
    width: int,
    heaps: Floats,
) -> None:
    """Raise the bar of each query to what the rows of its own theme, from first to last, surely reach."""
    ptr, terms, values = queries
    row_ptr, row_terms, row_values, city = rows
    dense = np.zeros(width, np.float32)
    nothing = np.empty(heaps.shape[1], np.int32)
    for query in range(len(ptr) - 1):
        heap = heaps[query]
        for entry in range(ptr[query], ptr[query + 1]):
            dense[terms[entry]] = values[entry]
        for row in range(firsts[query], lasts[query]):
            if masks[mask_of[query], city[row]]:
                score = np.float32(0.0)
                for entry in range(row_ptr[row], row_ptr[row + 1]):
                    score += dense[row_terms[entry]] * row_values[entry]
                if score > heap[0]:
                    push(heap, nothing, score, row)
        # The rows come again when their turn comes; the bar must let them pass whatever the rounding.
        heap[:] = heap[0] * np.float32(1.0 - 1e-4)
        for entry in range(ptr[query], ptr[query + 1]):
            dense[terms[entry]] = 0.0


@njit(cache=True, nogil=True)
def _placed(scores: NDArray[np.float64], rows: Numbers, score: float, row: int) -> None:
    """Put a row where it belongs among the best, higher scores first, equal ones by row; the last falls out."""
    at = len(scores) - 1
    if score < scores[at] or (score == scores[at] and (rows[at] >= 0 and row > rows[at])):
        return
    while at > 0 and (scores[at - 1] < score or (scores[at - 1] == score and rows[at - 1] > row)):
        scores[at], rows[at] = scores[at - 1], rows[at - 1]
        at -= 1
    scores[at], rows[at] = score, row


@njit(cache=True, nogil=True)
def finish(
    queries: tuple[Numbers, Items, Floats],
    rows: tuple[Numbers, Items, Floats, Items],
    order: Numbers,
    heaps: tuple[Floats, Items],
    slack: NDArray[np.float64],
    width: int,
    best: tuple[NDArray[np.float64], Numbers],
) -> int:
    """Score what was selected in double precision and keep the best; gives for how many all rows were scored.

    Where a row that was left out might tie with the last that is kept, every row is scored.
    """
    ptr, terms, values = queries
    row_ptr, row_terms, row_values, _ = rows
    heap_scores, heap_rows = heaps
    scores, kept = best
    dense = np.zeros(width)
    again = 0
    for query in range(len(ptr) - 1):
        for entry in range(ptr[query], ptr[query + 1]):
            dense[terms[entry]] = values[entry]
        for attempt in range(2):
            scores[query, :], kept[query, :] = 0.0, -1
            for place in range(heap_rows.shape[1] if attempt == 0 else len(order)):
                row = heap_rows[query, place] if attempt == 0 else place
                if row < 0:
                    continue
                score = 0.0
                for entry in range(row_ptr[row], row_ptr[row + 1]):
                    score += dense[row_terms[entry]] * row_values[entry]
                if score > 0.0:
                    _placed(scores[query], kept[query], score, order[row])
            # A heap that did not fill has lost nothing.
            lost = heap_scores[query].min() * (1.0 + slack[query])
            if scores[query, -1] > lost or heap_rows[query].min() < 0:
                break
            again += attempt == 0
        for entry in range(ptr[query], ptr[query + 1]):
            dense[terms[entry]] = 0.0
    return again


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"}, inline="always")
def _walk(
    rows: NDArray[np.uint16], weights: Floats, first: int, last: int, value: float, sums: Floats
) -> None:
    """Add one list to the sums, four entries at a time: the compiler may not know that they differ."""
    at, end, one, four = np.uintp(first), np.uintp(last), np.uintp(1), np.uintp(4)
    while at + four <= end:
        a, b = np.uintp(rows[at]), np.uintp(rows[at + one])
        c, d = np.uintp(rows[at + np.uintp(2)]), np.uintp(rows[at + np.uintp(3)])
        w, x = value * weights[at], value * weights[at + one]
        y, z = value * weights[at + np.uintp(2)], value * weights[at + np.uintp(3)]
        sums[a] += w
        sums[b] += x
        sums[c] += y
        sums[d] += z
        at += four
    while at < end:
        sums[np.uintp(rows[at])] += value * weights[at]
        at += one


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
def swept(
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


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
def join_block(
    queries: tuple[Numbers, Items, Floats, Floats, Items],
    rows: tuple[Numbers, Items, Floats, Items],
    lists: tuple[NDArray[np.int32], NDArray[np.uint16], Floats],
    shape: tuple[Numbers, Numbers, Floats, Floats, Floats],
    asked: tuple[Floats, Numbers, NDArray[np.bool_], float],
    heaps: tuple[Floats, Items],
    above: tuple[Floats, Items, Numbers],
) -> None:
    """Fill the heaps with the best rows of each query, and `above` with the rows that reach its floor."""
    ptr, terms, values, query_norms, begins = queries
    row_ptr, row_terms, row_values, city = rows
    heads, list_rows, list_weights = lists
    blocks, cuts, norms, peaks, typical = shape
    floors, mask_of, masks, boldness = asked
    heap_scores, heap_rows = heaps
    above_scores, above_rows, above_count = above
    widest = 0
    for block in range(len(blocks) - 1):
        widest = max(widest, blocks[block + 1] - blocks[block])
    widest = (widest + GROUP - 1) // GROUP * GROUP
    sums, found, places = (
        np.zeros(widest, np.float32),
        np.zeros(widest + 1, np.float32),
        np.zeros(widest + 1, np.int32),
    )
    # Terms that no row has are numbered behind all others.
    known, longest = heads.shape[1] - 1, 1
    for query in range(len(ptr) - 1):
        longest = max(longest, ptr[query + 1] - ptr[query])
    froms, tos = np.zeros(longest + 1, np.int64), np.zeros(longest + 1, np.int64)
    factors = np.zeros(longest + 1, np.float32)
    dense = np.zeros(cuts[-1] + 1, np.float32)
    for block in range(len(blocks) - 1):
        base, head = blocks[block], heads[block]
        groups = (blocks[block + 1] - base + GROUP - 1) // GROUP
        offset = row_ptr[base]
        for query in range(len(ptr) - 1):
            heap = heap_scores[query]
            bar = min(heap[0], floors[query])
            level = len(cuts) - 1
            while level > 0 and query_norms[query, level] * typical[level] > boldness * bar:
                level -= 1
            begin, end = ptr[query] + begins[query, level], ptr[query + 1]
            count = 0
            for entry in range(begin, end):
                if terms[entry] >= known:
                    break
                term = np.uintp(terms[entry])
                froms[count], tos[count] = offset + head[term], offset + head[term + np.uintp(1)]
                factors[count] = values[entry]
                _fetch(list_rows, froms[count])
                _fetch(list_weights, froms[count])
                count += tos[count] > froms[count]
            for place in range(count):
                _walk(list_rows, list_weights, froms[place], tos[place], factors[place], sums)
            rest = query_norms[query, level]
            count = swept(
                sums[: groups * GROUP],
                rest,
                norms[level, base : base + groups * GROUP],
                peaks[level, base // GROUP : base // GROUP + groups],
                bar,
                places,
                found,
            )
            if count == 0:
                continue
            allowed = masks[mask_of[query]]
            kept = 0
            for place in range(count):
                row = base + places[place]
                places[kept], found[kept] = places[place], found[place]
                if allowed[city[row]]:
                    _fetch(row_ptr, row)
                    kept += 1
            for entry in range(ptr[query], begin):
                dense[terms[entry]] = values[entry]
            cut = cuts[level]
            if cut > 0:
                for place in range(kept):
                    _fetch(row_terms, row_ptr[base + places[place]])
                    _fetch(row_values, row_ptr[base + places[place]])
            for place in range(kept):
                row = base + places[place]
                score = found[place]
                if score + rest * norms[level, row] <= bar:
                    continue
                at, last = row_ptr[row], row_ptr[row + 1]
                while at < last and row_terms[at] < cut:
                    score += dense[row_terms[at]] * row_values[at]
                    at += 1
                if score >= floors[query]:
                    if above_count[query] < above_scores.shape[1]:
                        above_scores[query, above_count[query]] = score
                        above_rows[query, above_count[query]] = row
                    above_count[query] += 1
                if score > heap[0]:
                    push(heap, heap_rows[query], score, row)
                    bar = min(heap[0], floors[query])
            for entry in range(ptr[query], begin):
                dense[terms[entry]] = 0.0
