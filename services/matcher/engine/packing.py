# SPDX-License-Identifier: Apache-2.0
"""The compiled loops that keep growable lists of packed entries; see ``lists`` for what an entry is."""

import numpy as np
from numpy.typing import NDArray

from services.matcher.engine.compiled import compiled

Entries = NDArray[np.uint32]
Items = NDArray[np.int32]
Numbers = NDArray[np.int64]


@compiled
def _room_of(size: int, wanted: int) -> int:
    """The room that a list gets which has outgrown its own."""
    # A first filling takes little more than it needs: most terms are rare and most texts never grow.
    return wanted + wanted // 16 if size == 0 else wanted + wanted // 4 + 1


@compiled
def wanted(size: Items, room: Items, owners: Numbers, added: Numbers) -> int:
    """How many places the lists need anew that are too small for what is added to them."""
    total = 0
    for place in range(len(owners)):
        owner = owners[place]
        if size[owner] + added[place] > room[owner]:
            total += _room_of(size[owner], size[owner] + added[place])
    return total


@compiled
def extend(
    start: Items,
    size: Items,
    room: Items,
    entries: Entries,
    end: int,
    owners: Numbers,
    added: Numbers,
    items: Items,
    counts: NDArray[np.uint16],
) -> int:
    """Append to lists; one that is too small moves to the end. Gives how many places are deserted."""
    deserted, taken = 0, 0
    for place in range(len(owners)):
        owner = owners[place]
        last = size[owner] + added[place]
        if last > room[owner]:
            deserted += room[owner]
            room[owner] = _room_of(size[owner], last)
            for step in range(size[owner]):
                entries[end + step] = entries[start[owner] + step]
            start[owner] = end
            end += room[owner]
        head = start[owner] + size[owner]
        for step in range(added[place]):
            entry = np.uint32(items[taken + step]) << np.uint32(8) | np.uint32(counts[taken + step])
            entries[head + step] = entry
        taken += added[place]
        size[owner] = last
    return deserted


@compiled
def gathered(
    start: Items, size: Items, entries: Entries, owners: Numbers
) -> tuple[Numbers, Items, NDArray[np.uint16]]:
    """The sizes of some lists, and their items and counts one list after another."""
    sizes = np.empty(len(owners), np.int64)
    total = 0
    for place in range(len(owners)):
        sizes[place] = size[owners[place]]
        total += sizes[place]
    items, counts = np.empty(total, np.int32), np.empty(total, np.uint16)
    taken = 0
    for owner in owners:
        for entry in entries[start[owner] : start[owner] + size[owner]]:
            items[taken], counts[taken] = entry >> np.uint32(8), entry & np.uint32(255)
            taken += 1
    return sizes, items, counts


@compiled
def move(source: Entries, froms: Numbers, target: Entries, tos: Numbers, sizes: Numbers) -> None:
    """Copy some stretches of one array to places of another; the stretches do not overlap."""
    for place in range(len(sizes)):
        here, there = froms[place], tos[place]
        for step in range(sizes[place]):
            target[there + step] = source[here + step]


@compiled
def turned(
    sizes: Numbers, terms: Items, counts: NDArray[np.uint16], first: int, width: int
) -> tuple[Numbers, Numbers, Items, NDArray[np.uint16]]:
    """Texts, numbered from `first`, read the other way: terms, in how many texts, in which, how often."""
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
