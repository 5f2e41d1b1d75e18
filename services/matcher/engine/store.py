# SPDX-License-Identifier: Apache-2.0
"""The stored needs and practices as term counts, exact under every arrival, change and removal.

An update costs what its one text costs. Whatever came and went before, all that is kept for scoring equals
what a store built anew from the present texts would keep.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from services.matcher.engine import weights
from services.matcher.engine.lists import HIGHEST_COUNT, Counts, Items, Numbers, Weights, grown
from services.matcher.engine.nearness import NeedLengths
from services.matcher.engine.shelf import Key, Shelf
from services.matcher.engine.words import Counted, gathered, newest, numbering
from twinning.terms import ListingKind

City = Hashable
Mask = NDArray[np.bool_]
Entry = tuple[Key, str, City, Mapping[str, int]]
Outline = tuple[Key, str, City]
NEED, PRACTICE = ListingKind.NEED, ListingKind.PRACTICE

_UNITS = float(1 << 36)


def _occurring(
    sizes: Numbers, terms: Items, counts: Counts, known: int
) -> tuple[Items, Numbers, NDArray[np.integer]]:
    """Which of the known terms occur in some texts, in how many of them, and how often."""
    if len(sizes) == 1:
        return terms, np.ones(len(terms), np.int64), counts
    if len(terms) < known:
        found, places, times = np.unique(terms, return_inverse=True, return_counts=True)
        return found, times, np.bincount(places, counts).astype(np.int64)
    times, often = np.bincount(terms, minlength=known), np.bincount(terms, counts, known)
    present = np.flatnonzero(times)
    return present.astype(np.int32), times[present], often[present].astype(np.int64)


class Texts:
    """Needs and practices by key, each with its city and its term counts."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._numbers: defaultdict[str, int] = numbering()
        self._stems: list[str] = []
        self._frequency: Numbers = np.zeros(0, np.int64)
        self._occurrences: Numbers = np.zeros(0, np.int64)
        self._cities: dict[City, int] = {}
        self._shelves: dict[str, Shelf] = {NEED: Shelf(), PRACTICE: Shelf()}
        self._kinds: dict[Key, str] = {}
        self._norms: Weights = np.zeros(0)
        # Lengths are added up in whole units, so that their sum is free of history to the last bit.
        self._norm_units = 0
        self._lengths = NeedLengths()
        self._emptied = 0
        self.put_many(entries)

    def __len__(self) -> int:
        return len(self._kinds)

    def __contains__(self, key: Key) -> bool:
        return key in self._kinds

    def kind(self, key: Key) -> str:
        """Whether a stored text is a need or a practice; ``KeyError`` for one that is not stored."""
        return self._kinds[key]

    def keys(self, kind: str) -> list[Key]:
        """The keys of all stored texts of a kind, in no particular order."""
        return list(self._shelves[kind].slots)

    def city_number(self, city: City) -> int:
        """The place of a city in a mask; a city that is new gets the next one."""
        return self._cities.setdefault(city, len(self._cities))

    def mask(self, allowed: Iterable[City]) -> Mask:
        """A mask that allows these cities alone."""
        places = [self.city_number(city) for city in allowed]
        mask = np.zeros(len(self._cities), np.bool_)
        mask[places] = True
        return mask

    def put(self, key: Key, kind: str, city: City, counts: Mapping[str, int]) -> None:
        """Store a text, in place of the one that had its key; costs what the one text costs."""
        if key in self._kinds:
            self.drop(key)
        self._changed()
        stems = sorted(counts)
        terms = np.fromiter(map(self._numbers.__getitem__, stems), np.int32, len(stems))
        times = np.fromiter((min(counts[stem], HIGHEST_COUNT) for stem in stems), np.uint16, len(stems))
        self._stems.extend(newest(self._numbers, len(self._stems)))
        city_number = np.array([self.city_number(city)], np.int32)
        self._store(kind, [key], city_number, (np.array([len(stems)]), terms, times))

    def put_many(self, entries: Iterable[Entry]) -> None:
        """Store many texts at once; of two with one key the later stays."""
        held = list(entries)
        self.put_texts(
            [(key, kind, city) for key, kind, city, _ in held], gathered([counts for *_, counts in held])
        )

    def put_texts(self, texts: Sequence[Outline], counted: Counted) -> None:
        """Store many texts whose terms were counted in bulk; of two with one key the later stays."""
        latest = {text[0]: place for place, text in enumerate(texts)}
        for key in latest.keys() & self._kinds.keys():
            self.drop(key)
        self._changed()
        for kind in self._shelves:
            places = [place for place in latest.values() if texts[place][1] == kind]
            if places:
                chosen = counted if len(places) == len(texts) else counted.chosen(np.array(places))
                self._add(kind, [texts[place] for place in places], chosen)

    def _add(self, kind: str, texts: Sequence[Outline], counted: Counted) -> None:
        """Number the terms of new texts and hand them to the shelf of their kind."""
        terms, counts = counted.by_stem(self._numbers)
        self._stems.extend(newest(self._numbers, len(self._stems)))
        numbers = {city: self.city_number(city) for city in dict.fromkeys(city for _, _, city in texts)}
        cities = np.fromiter((numbers[city] for _, _, city in texts), np.int32, len(texts))
        self._store(kind, [key for key, _, _ in texts], cities, (counted.sizes, terms, counts))

    def _store(self, kind: str, keys: list[Key], cities: Items, rows: tuple[Numbers, Items, Counts]) -> None:
        """Store texts whose terms have numbers, and count them in."""
        sizes, terms, counts = rows
        shelf = self._shelves[kind]
        for each in self._shelves.values():
            each.postings.reach(len(self._stems))
        self._frequency = grown(self._frequency, len(self._stems))
        self._occurrences = grown(self._occurrences, len(self._stems))
        slots = shelf.add(keys, cities, sizes, terms, counts)
        self._kinds.update(dict.fromkeys(keys, kind))
        self._lengths.reach(len(self._stems), self._shelves[NEED].size)
        if kind == NEED:
            self._lengths.set(shelf, slots)
        else:
            self._norms = grown(self._norms, shelf.size)
            self._norms[slots] = weights.lengths(weights.PRACTICE_WEIGHT[counts], sizes)
            self._norm_units += int(np.rint(self._norms[slots] * _UNITS).sum())
        found, times, often = _occurring(sizes, terms, counts, len(self._stems))
        self._frequency[found] += times
        self._occurrences[found] += often
        self._lengths.moved(found)

    def drop(self, key: Key) -> None:
        """Forget a text; ``KeyError`` when it is not stored."""
        kind = self._kinds.pop(key)
        shelf = self._shelves[kind]
        slot = shelf.slots[key]
        terms, counts = shelf.rows.of(slot)
        self._frequency[terms] -= 1
        self._occurrences[terms] -= counts
        self._lengths.moved(terms)
        self._changed()
        if kind == PRACTICE:
            self._norm_units -= int(np.rint(self._norms[slot] * _UNITS))
        if shelf.remove(key):
            self._forget_newest_terms()
            return
        self._emptied += 1
        if self._emptied > len(self) // 4 + 256:
            self._pack()

    def _forget_newest_terms(self) -> None:
        """Give back the numbers of the latest terms when nothing holds them: previews leave no trace."""
        while self._stems and self._frequency[len(self._stems) - 1] == 0:
            self._stems.pop()
            self._numbers.popitem()

    def _changed(self) -> None:
        """Called before each change; who remembers answers forgets them here."""

    def _pack(self) -> None:
        """Build the shelves anew without empty slots and without terms that nothing holds any more."""
        used = self._frequency[: len(self._stems)] > 0
        renumbered = (np.cumsum(used) - 1).astype(np.int32)
        self._stems = [stem for stem, kept in zip(self._stems, used.tolist(), strict=True) if kept]
        self._numbers = numbering()
        self._numbers.update(zip(self._stems, range(len(self._stems)), strict=True))
        self._frequency, self._occurrences = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._lengths = NeedLengths()
        self._norm_units, self._emptied = 0, 0
        old, self._shelves = self._shelves, {NEED: Shelf(), PRACTICE: Shelf()}
        for kind, shelf in old.items():
            live = shelf.live()
            sizes, terms, counts = shelf.rows.gather(live)
            keys = [shelf.keys[slot] for slot in live.tolist()]
            self._store(kind, keys, shelf.city[live], (sizes, renumbered[terms], counts))

    @property
    def mean_norm(self) -> float:
        """The mean length of the stored practices' vectors."""
        practices = len(self._shelves[PRACTICE])
        return self._norm_units / practices / _UNITS if practices else 1.0

    def _worth(self, terms: NDArray[np.integer]) -> Weights:
        """What terms are worth in a need; of very many each different one is asked for once."""
        known = len(self._stems)
        if len(terms) > known:
            everything: Weights = self._worth(np.arange(known))[terms]
            return everything
        return weights.term_weight(len(self), self._frequency[terms], self._occurrences[terms])

    def frequency(self, stem: str) -> int:
        """In how many stored texts a term occurs."""
        number = self._numbers.get(stem)
        return 0 if number is None else int(self._frequency[number])

    def vectors(self, keys: Sequence[Key]) -> csr_array:
        """The idf-weighted words of stored texts of one kind: a row for each, a column for each word in them.

        Rows have length 1; that of an empty text is empty.
        """
        shelf = self._shelves[self._kinds[keys[0]]] if keys else self._shelves[NEED]
        sizes, terms, counts = shelf.rows.gather([shelf.slots[key] for key in keys])
        values = weights.NEED_WEIGHT[counts] * self._worth(terms)
        values /= np.repeat(weights.lengths(values, sizes), sizes)
        words, columns = np.unique(terms, return_inverse=True)
        heads = np.append(0, np.cumsum(sizes))
        return csr_array((values, columns, heads), shape=(len(keys), len(words)))
