# SPDX-License-Identifier: Apache-2.0
"""Growable lists of (item, count) in flat arrays: the one data layout of the index.

Read one way it holds the terms of each text, read the other way the texts of each term. An entry is one
32-bit number, the item in the upper 24 bits and the count in the lower 8, so that a walk reads one stream and
a text costs some 600 bytes in all. The arrays are plain numpy: the compiled kernels walk them as they are.
"""

from collections.abc import Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from services.matcher.engine import packing

Numbers = NDArray[np.int64]
Items = NDArray[np.int32]
Counts = NDArray[np.uint16]
Entries = NDArray[np.uint32]
Weights = NDArray[np.float64]
Scalar = TypeVar("Scalar", bound=np.generic)

HIGHEST_COUNT = 255
"""A term that occurs more often than this in one text counts as if it occurred so many times."""

MOST_ITEMS = 1 << 24
"""Texts of a kind, and terms, that the layout can number."""

_MOST_ENTRIES = (1 << 31) - 1


def grown(array: NDArray[Scalar], size: int) -> NDArray[Scalar]:
    """The array with room for `size` entries, new ones zero; an eighth more than asked, so growth is rare."""
    if size <= len(array):
        return array
    larger = np.zeros(size + size // 8 + 16, dtype=array.dtype)
    larger[: len(array)] = array
    return larger


def ranges(starts: NDArray[np.integer], sizes: NDArray[np.integer]) -> Numbers:
    """The concatenation of ``arange(start, start + size)`` over all starts."""
    ends = np.cumsum(sizes, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    places: Numbers = np.arange(total) + np.repeat(starts - (ends - sizes), sizes)
    return places


class Lists:
    """Many lists, numbered from 0, each of which may grow at its end.

    A list that outgrows its room moves to the end of the arrays with a quarter as much again to spare, and
    the arrays are packed when more of them is deserted than is in use: appending costs constant time on
    average.
    """

    def __init__(self) -> None:
        self.start = np.zeros(0, np.int32)
        self.size = np.zeros(0, np.int32)
        self._room = np.zeros(0, np.int32)
        self.entries: Entries = np.zeros(0, np.uint32)
        self._end = 0
        self._deserted = 0

    def reach(self, owners: int) -> None:
        """Make sure that lists 0 to `owners` - 1 exist."""
        if owners > MOST_ITEMS:
            raise OverflowError(f"more than {MOST_ITEMS} texts or terms do not fit")
        self.start = grown(self.start, owners)
        self.size = grown(self.size, owners)
        self._room = grown(self._room, owners)

    def extend(
        self,
        owners: NDArray[np.integer],
        added: NDArray[np.integer],
        items: NDArray[np.integer],
        counts: NDArray[np.integer],
    ) -> None:
        """Append to each of the (different) `owners` as many entries as `added` says, in the order given."""
        places, more = owners.astype(np.int64, copy=False), added.astype(np.int64, copy=False)
        whole = self._end + packing.wanted(self.size, self._room, places, more)
        if whole > _MOST_ENTRIES:
            raise OverflowError(f"more than {_MOST_ENTRIES} entries do not fit")
        self.entries = grown(self.entries, whole)
        lists = (self.start, self.size, self._room, self.entries)
        new = (items.astype(np.int32, copy=False), counts.astype(np.uint16, copy=False))
        self._deserted += packing.extend(*lists, self._end, places, more, *new)
        self._end = whole
        if self._deserted > self._end // 2 + 1024:
            self._pack()

    def _pack(self) -> None:
        """Close the gaps that moved lists have left."""
        starts = np.cumsum(self._room, dtype=np.int64) - self._room
        self._end, self._deserted = int(self._room.sum()), 0
        entries = np.zeros(self._end, np.uint32)
        packing.move(self.entries, self.start.astype(np.int64), entries, starts, self.size.astype(np.int64))
        self.entries, self.start = entries, starts.astype(np.int32)

    def of(self, owner: int) -> tuple[Items, Counts]:
        """The items and the counts of one list."""
        start = int(self.start[owner])
        return _apart(self.entries[start : start + int(self.size[owner])])

    def gather(self, owners: Iterable[int] | NDArray[np.integer]) -> tuple[Numbers, Items, Counts]:
        """The sizes of some lists, and their entries one list after another."""
        return packing.gathered(self.start, self.size, self.entries, np.asarray(owners, np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes held by the arrays."""
        return sum(array.nbytes for array in (self.start, self.size, self._room, self.entries))


def _apart(entries: Entries) -> tuple[Items, Counts]:
    """Entries as items and counts."""
    return (entries >> np.uint32(8)).astype(np.int32), (entries & np.uint32(255)).astype(np.uint16)
