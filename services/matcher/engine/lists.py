# SPDX-License-Identifier: Apache-2.0
"""Growable lists of (item, count) in flat arrays: the one data layout of the index.

Read one way it holds the terms of each text, read the other way the texts of each term. The arrays are
plain numpy, so that compiled kernels can walk them as they are.
"""

from collections.abc import Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Items = NDArray[np.int32]
Counts = NDArray[np.uint16]
Weights = NDArray[np.float64]
Scalar = TypeVar("Scalar", bound=np.generic)

HIGHEST_COUNT = 65_535
"""A term that occurs more often than this in one text counts as if it occurred so many times."""


def grown(array: NDArray[Scalar], size: int) -> NDArray[Scalar]:
    """The array with room for `size` entries, new ones zero; a quarter more than asked, so growth is rare."""
    if size <= len(array):
        return array
    larger = np.zeros(size + size // 4 + 16, dtype=array.dtype)
    larger[: len(array)] = array
    return larger


def ranges(starts: Numbers, sizes: Numbers) -> Numbers:
    """The concatenation of ``arange(start, start + size)`` over all starts."""
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    places: Numbers = np.arange(total) + np.repeat(starts - (ends - sizes), sizes)
    return places


class Lists:
    """Many lists, numbered from 0, each of which may grow at its end.

    A list that outgrows its room moves to the end of the arrays with half as much again to spare, and the
    arrays are packed when more of them is deserted than is in use: appending costs constant time on average.
    """

    def __init__(self) -> None:
        self.start = np.zeros(0, np.int64)
        self.size = np.zeros(0, np.int64)
        self._room = np.zeros(0, np.int64)
        self.items = np.zeros(0, np.int32)
        self.counts = np.zeros(0, np.uint16)
        self._end = 0
        self._deserted = 0

    def reach(self, owners: int) -> None:
        """Make sure that lists 0 to `owners` - 1 exist."""
        self.start = grown(self.start, owners)
        self.size = grown(self.size, owners)
        self._room = grown(self._room, owners)

    def extend(self, owners: Numbers, added: Numbers, items: Items, counts: Counts) -> None:
        """Append to each of the (different) `owners` as many entries as `added` says, in the order given."""
        wanted = self.size[owners] + added
        self._make_room(owners[wanted > self._room[owners]], wanted[wanted > self._room[owners]])
        places = ranges(self.start[owners] + self.size[owners], added)
        self.items[places] = items
        self.counts[places] = counts
        self.size[owners] = wanted

    def _make_room(self, owners: Numbers, wanted: Numbers) -> None:
        """Move the lists that are full to the end of the arrays."""
        sizes = self.size[owners]
        # A first filling takes what it needs: most terms are rare and most texts never grow.
        room = np.where(sizes == 0, wanted, wanted + wanted // 2 + 2)
        starts = self._end + np.cumsum(room) - room
        self._end += int(room.sum())
        self.items = grown(self.items, self._end)
        self.counts = grown(self.counts, self._end)
        source, target = ranges(self.start[owners], sizes), ranges(starts, sizes)
        self.items[target] = self.items[source]
        self.counts[target] = self.counts[source]
        self._deserted += int(self._room[owners].sum())
        self.start[owners], self._room[owners] = starts, room
        if self._deserted > self._end // 2 + 1024:
            self._pack()

    def _pack(self) -> None:
        """Close the gaps that moved lists have left."""
        source = ranges(self.start, self.size)
        starts = np.cumsum(self._room) - self._room
        target = ranges(starts, self.size)
        items, counts = self.items[source], self.counts[source]
        self._end, self._deserted = int(self._room.sum()), 0
        self.items, self.counts = np.zeros(self._end, np.int32), np.zeros(self._end, np.uint16)
        self.items[target], self.counts[target] = items, counts
        self.start = starts

    def of(self, owner: int) -> tuple[Items, Counts]:
        """One list, as two views."""
        inside = slice(self.start[owner], self.start[owner] + self.size[owner])
        return self.items[inside], self.counts[inside]

    def gather(self, owners: Iterable[int] | Numbers) -> tuple[Numbers, Items, Counts]:
        """The sizes of some lists, and their entries one list after another."""
        chosen = np.asarray(owners, np.int64)
        sizes = self.size[chosen]
        starts = self.start[chosen].tolist()
        ends = (self.start[chosen] + sizes).tolist()
        if len(starts) > 4096:
            places = ranges(self.start[chosen], sizes)
            return sizes, self.items[places], self.counts[places]
        if not starts:
            return sizes, self.items[:0], self.counts[:0]
        slices = [slice(start, end) for start, end in zip(starts, ends, strict=True)]
        items = np.concatenate([self.items[inside] for inside in slices])
        return sizes, items, np.concatenate([self.counts[inside] for inside in slices])

    @property
    def nbytes(self) -> int:
        """Bytes held by the arrays."""
        arrays = (self.start, self.size, self._room, self.items, self.counts)
        return sum(array.nbytes for array in arrays)
