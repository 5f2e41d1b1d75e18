# SPDX-License-Identifier: Apache-2.0
"""The stored texts of one kind: who they are, their terms, and for each term the texts that hold it."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from services.matcher.engine.lists import Counts, Items, Lists, Numbers, grown

Key = Hashable


class Shelf:
    """Texts in numbered slots; a slot is given once and stays empty after its text has gone.

    Taking a text away costs the same whatever else is stored: its slot is marked, and the index packs the
    shelves when empty slots have become many. The newest text alone is taken out without a trace, which is
    what a preview needs.
    """

    def __init__(self) -> None:
        self.keys: list[Key | None] = []
        self.slots: dict[Key, int] = {}
        self.alive: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.city: Items = np.zeros(0, np.int32)
        self.rows = Lists()
        self.postings = Lists()

    def __len__(self) -> int:
        return len(self.slots)

    @property
    def size(self) -> int:
        """How many slots there are, empty ones included."""
        return len(self.keys)

    def add(
        self, keys: Sequence[Key], cities: Items, sizes: Numbers, terms: Items, counts: Counts
    ) -> Numbers:
        """Store new texts, their terms one text after another; gives their slots."""
        first = self.size
        slots = np.arange(first, first + len(keys))
        self.keys.extend(keys)
        self.slots.update(zip(keys, slots.tolist(), strict=True))
        self.alive, self.city = grown(self.alive, self.size), grown(self.city, self.size)
        self.alive[slots], self.city[slots] = True, cities
        self.rows.reach(self.size)
        self.rows.extend(slots, sizes, terms, counts)
        order = np.argsort(terms, kind="stable")
        by_term = terms[order]
        heads = np.flatnonzero(np.diff(by_term, prepend=-1))
        added = np.diff(heads, append=len(by_term))
        holders = np.repeat(slots, sizes)[order].astype(np.int32)
        self.postings.extend(by_term[heads].astype(np.int64), added, holders, counts[order])
        return slots

    def remove(self, key: Key) -> bool:
        """Take a text away; says whether its slot could be taken out without a trace."""
        slot = self.slots.pop(key)
        self.alive[slot] = False
        if slot < self.size - 1:
            self.keys[slot] = None
            return False
        self.keys.pop()
        terms, _ = self.rows.of(slot)
        self.postings.size[terms] -= 1
        self.rows.size[slot] = 0
        return True

    def open(self, mask: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        """Which slots hold a text whose city the mask allows."""
        alive = self.alive[: self.size]
        return alive if mask is None else alive & mask[self.city[: self.size]]

    def live(self) -> Numbers:
        """The slots that hold a text, in order."""
        return np.flatnonzero(self.alive[: self.size])

    def best(self, values: NDArray[np.float64], slots: Numbers, limit: int | None) -> list[int]:
        """The slots with the highest values, best first; equal values in the order of their keys."""
        if limit is not None and len(slots) > limit > 0:
            held = values[slots]
            bar = np.partition(held, len(held) - limit)[len(held) - limit]
            slots = slots[held >= bar]
        ranked = sorted(zip((-values[slots]).tolist(), slots.tolist(), strict=True))
        if len({value for value, _ in ranked}) < len(ranked):
            ranked.sort(key=lambda entry: (entry[0], str(self.keys[entry[1]])))
        return [slot for _, slot in ranked[:limit]]
