# SPDX-License-Identifier: Apache-2.0
"""The stored texts of one kind: who they are, their terms, and for each term the texts that hold it."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from services.matcher.engine import kernels, packing
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
        if len(keys) == 1:
            self.postings.extend(
                terms, np.ones(len(terms), np.int64), np.full(len(terms), first, np.int32), counts
            )
        else:
            width = len(self.postings.start)
            self.postings.extend(*packing.turned(sizes, terms, counts, first, width))
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

    @property
    def nbytes(self) -> int:
        """Bytes held by the arrays."""
        return self.alive.nbytes + self.city.nbytes + self.rows.nbytes + self.postings.nbytes

    def live(self) -> Numbers:
        """The slots that hold a text, in order."""
        return np.flatnonzero(self.alive[: self.size])

    def best(self, slots: Numbers, values: NDArray[np.float64], limit: int | None) -> list[tuple[int, float]]:
        """The slots with the highest values, each with its own, best first; equal ones by their keys."""
        if limit is not None and len(slots) > limit > 0:
            places = kernels.leading(values, limit, 0.0)
            slots, values = slots[places], values[places]
        ranked = sorted(zip((-values).tolist(), slots.tolist(), strict=True))
        if len({value for value, _ in ranked}) < len(ranked):
            ranked.sort(key=lambda entry: (entry[0], str(self.keys[entry[1]])))
        return [(slot, -value) for value, slot in ranked[:limit]]
