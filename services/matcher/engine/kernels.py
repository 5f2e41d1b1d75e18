# SPDX-License-Identifier: Apache-2.0
"""The compiled loops over stored lists: walks over the texts of a term and over the terms of a text.

Each is compiled at its first call and kept on disk beside this file (or in the user's cache directory where
that cannot be written); ``warm`` in ``services.matcher.engine.warming`` compiles all. No loop may reorder its
sums: a score is added up in the order of its terms' stems, whichever loop adds it, so that its bits depend on
nothing else. An entry holds an item in its upper 24 bits and a count in its lower 8; see ``lists``.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Entries = NDArray[np.uint32]
Items = NDArray[np.int32]
Numbers = NDArray[np.int64]
Weights = NDArray[np.float64]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

_GROUP = 64


@njit(cache=True, nogil=True)
def append(
    start: Items, size: Items, kept: Entries, owners: Numbers, added: Numbers, entries: Entries
) -> None:
    """Put entries at the ends of lists that have the room."""
    taken = 0
    for place in range(len(owners)):
        owner = owners[place]
        end = start[owner] + size[owner]
        for step in range(added[place]):
            kept[end + step] = entries[taken + step]
        taken += added[place]
        size[owner] += added[place]


@njit(cache=True, nogil=True)
def move(source: Entries, froms: Numbers, target: Entries, tos: Numbers, sizes: Numbers) -> None:
    """Copy some stretches of one array to places of another; the stretches do not overlap."""
    for place in range(len(sizes)):
        here, there = froms[place], tos[place]
        for step in range(sizes[place]):
            target[there + step] = source[here + step]


@njit(cache=True, nogil=True)
def turned(
    sizes: Numbers, terms: Items, counts: NDArray[np.uint16], first: int, width: int
) -> tuple[Numbers, Numbers, Items, NDArray[np.uint16]]:
    """Texts, numbered from `first`, read the other way: the terms that occur, in how many, in which, how often."""
    held = np.zeros(width + 1, np.int64)
    for term in terms:
        held[term + 1] += 1
    owners = np.flatnonzero(held[1:])
    added = held[1:][owners]
    ends = np.cumsum(held)
    texts = np.empty(len(terms), np.int32)
    times = np.empty(len(terms), np.uint16)
    place = 0
    for text in range(len(sizes)):
        for entry in range(place, place + sizes[text]):
            end = ends[terms[entry]]
            texts[end], times[end] = first + text, counts[entry]
            ends[terms[entry]] = end + 1
        place += sizes[text]
    return owners, added, texts, times


@njit(cache=True, nogil=True)
def add_products(
    start: Items, size: Items, entries: Entries, terms: Items, values: Weights, table: Weights, sums: Weights
) -> None:
    """Add to each holder of each term, term by term, the term's value times the weight of its count."""
    for place in range(len(terms)):
        value = values[place]
        first = np.uintp(start[terms[place]])
        last = first + np.uintp(size[terms[place]])
        for entry in entries[first:last]:
            sums[np.uintp(entry >> np.uint32(8))] += value * table[np.uintp(entry & np.uint32(255))]


@njit(cache=True, nogil=True)
def scores_of(
    start: Items,
    size: Items,
    entries: Entries,
    texts: Numbers,
    dense: Weights,
    table: Weights,
    scales: Weights,
    found: Weights,
) -> None:
    """For each of some texts the sum of its terms' `dense` values times the weights of their counts, scaled."""
    for place in range(len(texts)):
        text = texts[place]
        total = 0.0
        for entry in entries[start[text] : start[text] + size[text]]:
            total += dense[entry >> np.uint32(8)] * table[entry & np.uint32(255)]
        found[place] = total * scales[text]


@njit(cache=True, nogil=True)
def unit_scores_of(
    start: Items,
    size: Items,
    entries: Entries,
    texts: Numbers,
    factors: Weights,
    table: Weights,
    dense: Weights,
    found: Weights,
) -> None:
    """The product of `dense` with each of some texts, whose terms weigh count times factor, at length 1."""
    for place in range(len(texts)):
        text = texts[place]
        own = entries[start[text] : start[text] + size[text]]
        square = 0.0
        for entry in own:
            weight = table[entry & np.uint32(255)] * factors[entry >> np.uint32(8)]
            square += weight * weight
        length = np.sqrt(square) if square > 0.0 else 1.0
        total = 0.0
        for entry in own:
            weight = table[entry & np.uint32(255)] * factors[entry >> np.uint32(8)]
            total += weight / length * dense[entry >> np.uint32(8)]
        found[place] = total


@njit(cache=True, nogil=True)
def leading(values: Weights, limit: int, slack: float) -> Numbers:
    """The places of values at least the `limit`-th highest, less a share of slack; equal ones included."""
    best = np.full(limit, -np.inf)
    for value in values:
        if value > best[0]:
            replace_lowest(best, value)
    bar = best[0] - slack * abs(best[0]) if best[0] > -np.inf else -np.inf
    return np.flatnonzero(values >= bar)


@njit(cache=True, nogil=True)
def replace_lowest(heap: Weights, value: float) -> None:
    """Put a value in the place of the lowest of a heap, which stands first."""
    here = 0
    while True:
        below = 2 * here + 1
        if below >= len(heap):
            break
        if below + 1 < len(heap) and heap[below + 1] < heap[below]:
            below += 1
        if heap[below] >= value:
            break
        heap[here] = heap[below]
        here = below
    heap[here] = value


@njit(cache=True, nogil=True)
def leading_open(values: Weights, limit: int, alive: Flags, city: Items, mask: Flags) -> Numbers:
    """The living, allowed slots with the `limit` highest values above 0; equal ones included."""
    best = np.zeros(limit)
    for slot in range(len(values)):
        if values[slot] > best[0] and alive[slot] and mask[city[slot]]:
            replace_lowest(best, values[slot])
    return open_above(values, best[0], alive, city, mask)


@njit(cache=True, nogil=True)
def open_above(values: Weights, floor: float, alive: Flags, city: Items, mask: Flags) -> Numbers:
    """The living slots whose value is above 0 and at least the floor, and whose city the mask allows."""
    kept = np.empty(len(values), np.int64)
    found = 0
    for slot in range(len(values)):
        if values[slot] > 0.0 and values[slot] >= floor and alive[slot] and mask[city[slot]]:
            kept[found] = slot
            found += 1
    return kept[:found].copy()


@njit(cache=True, nogil=True)
def pooled(
    start: Items,
    size: Items,
    entries: Entries,
    texts: Numbers,
    shares: Weights,
    factors: Weights,
    table: Weights,
    dense: Weights,
) -> tuple[Items, Weights]:
    """The shares of some texts at length 1 added up: terms and values, highest first; `dense` is left zero.

    A text's terms weigh as in ``unit_scores_of``.
    """
    room = 0
    for text in texts:
        room += size[text]
    terms = np.empty(room, np.int32)
    found = 0
    for place in range(len(texts)):
        own = entries[start[texts[place]] : start[texts[place]] + size[texts[place]]]
        square = 0.0
        for entry in own:
            weight = table[entry & np.uint32(255)] * factors[entry >> np.uint32(8)]
            square += weight * weight
        share = shares[place] / (np.sqrt(square) if square > 0.0 else 1.0)
        for entry in own:
            term = entry >> np.uint32(8)
            if dense[term] == 0.0:
                terms[found] = term
                found += 1
            dense[term] += table[entry & np.uint32(255)] * factors[term] * share
    values = dense[terms[:found]]
    dense[terms[:found]] = 0.0
    order = np.argsort(-values, kind="mergesort")
    return terms[:found][order], values[order]


@njit(cache=True, nogil=True)
def swept(sums: Floats, lows: Floats, bar: float, alive: Flags, city: Items, mask: Flags) -> Numbers:
    """The living, allowed slots whose sum is above 0 and at least bar times low; all sums are 0 afterwards.

    The slots are looked at 64 at a time, which the processor does at once; hardly any stretch holds one.
    """
    kept = np.empty(len(sums), np.int64)
    found = 0
    bar32 = np.float32(bar)
    for begin in range(0, len(sums), _GROUP):
        end = min(begin + _GROUP, len(sums))
        near, low = sums[begin:end], lows[begin:end]
        hit = 0
        for place in range(end - begin):
            hit |= near[place] >= bar32 * low[place]
        if hit:
            for place in range(end - begin):
                slot = begin + place
                if (
                    near[place] > 0.0
                    and near[place] >= bar32 * low[place]
                    and alive[slot]
                    and mask[city[slot]]
                ):
                    kept[found] = slot
                    found += 1
        near[:] = 0.0
    return kept[:found].copy()


@njit(cache=True, nogil=True)
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
    """A, B and C of some needs from their own terms; see ``nearness``."""
    for text in texts:
        a, b, c = 0.0, 0.0, 0.0
        for entry in entries[start[text] : start[text] + size[text]]:
            square = table[entry & np.uint32(255)]
            burst, level = bursts[entry >> np.uint32(8)], settled[entry >> np.uint32(8)]
            a += square * burst * burst
            b += square * burst * level
            c += square * level * level
        sums[text, 0], sums[text, 1], sums[text, 2] = a, b, c


@njit(cache=True, nogil=True)
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
    """Move A, B and C of the holders of some terms whose burstiness and level move from old to new."""
    for place in range(len(terms)):
        first = start[terms[place]]
        alone = new_bursts[place] ** 2 - old_bursts[place] ** 2
        mixed = new_bursts[place] * new[place] - old_bursts[place] * old[place]
        level = new[place] ** 2 - old[place] ** 2
        for entry in entries[first : first + size[terms[place]]]:
            square = table[entry & np.uint32(255)]
            sums[entry >> np.uint32(8), 0] += square * alone
            sums[entry >> np.uint32(8), 1] += square * mixed
            sums[entry >> np.uint32(8), 2] += square * level


@njit(cache=True, nogil=True)
def bound_length(a: float, b: float, c: float, level: float, drift: float) -> float:
    """The lowest that a length can be while neither its terms nor the level drift further; 0 if unsure."""
    whole = level * level * a
    squared = whole + 2.0 * level * b + c
    # A small difference of large numbers may be nothing but rounding.
    if not squared > 1e-6 * whole:
        return 0.0
    return max(0.0, np.sqrt(squared) * (1.0 - 1e-4) - 2.0 * drift * np.sqrt(a))


@njit(cache=True, nogil=True)
def bound_lengths(texts: Numbers, sums: Weights, level: float, drift: float, lows: Floats) -> None:
    """The lower bounds of the lengths of some needs."""
    for text in texts:
        lows[text] = bound_length(sums[text, 0], sums[text, 1], sums[text, 2], level, drift)


@njit(cache=True, nogil=True)
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
