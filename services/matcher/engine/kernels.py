# SPDX-License-Identifier: Apache-2.0
"""The compiled walks over stored lists: over the texts of a term and over the terms of a text.

Each is compiled at its first call; ``services.matcher.engine.warming`` compiles all beforehand. No loop may
reorder its sums: a score is added up in the order of its terms' stems, whichever loop adds it, so that its
bits depend on nothing else. An entry holds an item in its upper 24 bits, a count in its lower 8: ``lists``.
"""

import numpy as np
from numpy.typing import NDArray

from services.matcher.engine.compiled import compiled

Entries = NDArray[np.uint32]
Items = NDArray[np.int32]
Numbers = NDArray[np.int64]
Weights = NDArray[np.float64]
Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

_GROUP = 64


@compiled
def add_products(
    start: Items,
    size: Items,
    entries: Entries,
    terms: Items,
    values: Weights | Floats,
    table: Weights | Floats,
    sums: Weights | Floats,
) -> None:
    """Add to each holder of each term, term by term, the term's value times the weight of its count."""
    for place in range(len(terms)):
        value = values[place]
        first = np.uintp(start[terms[place]])
        last = first + np.uintp(size[terms[place]])
        for entry in entries[first:last]:
            sums[np.uintp(entry >> np.uint32(8))] += value * table[np.uintp(entry & np.uint32(255))]


@compiled
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
    """For each of some texts the sum of `dense` over its terms times the weights of their counts, scaled."""
    for place in range(len(texts)):
        text = texts[place]
        total = 0.0
        for entry in entries[start[text] : start[text] + size[text]]:
            total += dense[entry >> np.uint32(8)] * table[entry & np.uint32(255)]
        found[place] = total * scales[text]


@compiled
def need_scores_of(
    start: Items,
    size: Items,
    entries: Entries,
    texts: Numbers,
    factors: Weights,
    table: Weights,
    rarest: float,
    trust: float,
    dense: Weights,
    found: Weights,
) -> None:
    """The product of `dense` with each of some needs, whose terms weigh count times factor.

    How long a need is taken to be is as in `weights.reach`.
    """
    for place in range(len(texts)):
        text = texts[place]
        own = entries[start[text] : start[text] + size[text]]
        square = 0.0
        for entry in own:
            weight = table[entry & np.uint32(255)] * factors[entry >> np.uint32(8)]
            square += weight * weight
        length = np.sqrt(square) if square > 0.0 else 1.0
        by = length / (1.0 + trust * (max(1.0, np.sqrt(np.sqrt(length / rarest))) - 1.0))
        total = 0.0
        for entry in own:
            weight = table[entry & np.uint32(255)] * factors[entry >> np.uint32(8)]
            total += weight / by * dense[entry >> np.uint32(8)]
        found[place] = total


@compiled
def leading(values: Weights, limit: int, slack: float) -> Numbers:
    """The places of values at least the `limit`-th highest, less a share of slack; equal ones included."""
    best = np.full(limit, -np.inf)
    for value in values:
        if value > best[0]:
            replace_lowest(best, value)
    bar = best[0] - slack * abs(best[0]) if best[0] > -np.inf else -np.inf
    return np.flatnonzero(values >= bar)


@compiled
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


@compiled
def leading_open(values: Weights, limit: int, alive: Flags, city: Items, mask: Flags) -> Numbers:
    """The living, allowed slots with the `limit` highest values above 0; equal ones included."""
    best = np.zeros(limit)
    for slot in range(len(values)):
        if values[slot] > best[0] and alive[slot] and mask[city[slot]]:
            replace_lowest(best, values[slot])
    return open_above(values, best[0], alive, city, mask)


@compiled
def open_above(values: Weights, floor: float, alive: Flags, city: Items, mask: Flags) -> Numbers:
    """The living slots whose value is above 0 and at least the floor, and whose city the mask allows."""
    kept = np.empty(len(values), np.int64)
    found = 0
    for slot in range(len(values)):
        if values[slot] > 0.0 and values[slot] >= floor and alive[slot] and mask[city[slot]]:
            kept[found] = slot
            found += 1
    return kept[:found].copy()


@compiled
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
    """The shares of some texts at length 1 added up: terms and values as they come; `dense` is left zero.

    A text's terms weigh as in ``need_scores_of``.
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
    values = np.empty(found)
    for place in range(found):
        values[place] = dense[terms[place]]
        dense[terms[place]] = 0.0
    return terms[:found], values


@compiled
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
