# SPDX-License-Identifier: Apache-2.0
"""Counts the terms of many texts at once: just what `count_terms` finds, many times as fast.

A compiled loop walks the characters of many texts, looks each one up in a small table of what it becomes when
a text is made normal, and finds each word in a hash table whose entries are compared letter by letter. Only a
word that was never met before goes through Python, once, to be stemmed. The table knows the characters that
become one letter, or part two words, wherever they stand. A text with any other is left to `count_terms`.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from typing import Final

import numpy as np

from services.matcher.engine.compiled import compiled
from services.matcher.engine.lists import HIGHEST_COUNT, Counts, Items, Numbers, grown, ranges
from services.matcher.engine.spelling import SEPARATOR, UNTABLED, Codes, Spellings
from services.matcher.engine.text import _WORD, LONGEST_TERM, STOP_WORDS, count_terms, normal, stems_of

# Latin, Greek and Cyrillic letters, punctuation, currency and other signs; the table covers nothing else.
_TABLED: Final = ((0x0000, 0x0250), (0x0370, 0x0530), (0x1E00, 0x1F00), (0x2000, 0x2200))
_APART: Final = "\ue000"
_BATCH: Final = 256
_NOTHING: Items = np.zeros(0, np.int32)


@dataclass(frozen=True, slots=True)
class Counted:
    """Term counts of many texts, one text after another; no term stands twice in a text.

    A term is a place in `stems`, and a count stops at the highest that the index tells apart.
    """

    stems: Sequence[str]
    sizes: Numbers
    terms: Items
    counts: Counts

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[dict[str, int]]:
        """Each text's counts by stem."""
        terms = map(self.stems.__getitem__, self.terms.tolist())
        pairs = zip(terms, self.counts.tolist(), strict=True)
        for size in self.sizes.tolist():
            yield {stem: times for _, (stem, times) in zip(range(size), pairs, strict=False)}

    def by_stem(self, numbers: Mapping[str, int]) -> tuple[Items, Counts]:
        """The terms as `numbers` numbers them, and their counts: in each text in the order of their stems.

        That order depends on nothing else, so sums over a text come out the same whatever came before it.
        """
        present = np.flatnonzero(np.bincount(self.terms, minlength=len(self.stems)))
        order = sorted(present.tolist(), key=self.stems.__getitem__)
        ranks = np.zeros(len(self.stems), np.int32)
        ranks[order] = np.arange(len(order))
        stems = map(self.stems.__getitem__, order)
        new = np.fromiter(map(numbers.__getitem__, stems), np.int32, len(order))
        return _ordered(self.sizes, self.terms, self.counts, ranks, new)

    def chosen(self, texts: Numbers) -> "Counted":
        """Some of the texts, in the order given."""
        starts = np.cumsum(self.sizes) - self.sizes
        places = ranges(starts[texts], self.sizes[texts])
        return Counted(self.stems, self.sizes[texts], self.terms[places], self.counts[places])


def numbering() -> defaultdict[str, int]:
    """A table that gives each new stem the next number when it is first asked for it."""
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    return numbers


def newest(numbers: dict[str, int], known: int) -> list[str]:
    """The stems that a numbering has given numbers from `known` on."""
    return [*islice(reversed(numbers), len(numbers) - known)][::-1]


def gathered(counts: Sequence[Mapping[str, int]], few: int = 20_000) -> Counted:
    """Term counts that were kept by stem, as one `Counted`; of more than a few, reading is quicker."""
    sizes = np.fromiter(map(len, counts), np.int64, len(counts))
    entries = int(sizes.sum())
    times = chain.from_iterable(each.values() for each in counts)
    capped = np.minimum(np.fromiter(times, np.int64, entries), HIGHEST_COUNT).astype(np.uint16)
    stems, terms = (entries > few and _read_stems(counts)) or _looked_up(counts, entries)
    return Counted(stems, sizes, terms, capped)


def _looked_up(counts: Sequence[Mapping[str, int]], entries: int) -> tuple[list[str], Items]:
    """Different stems, and for each entry the place of its own, by asking a table."""
    numbers = numbering()
    terms = np.fromiter(map(numbers.__getitem__, chain.from_iterable(counts)), np.int32, entries)
    return list(numbers), terms


def _read_stems(counts: Sequence[Mapping[str, int]]) -> tuple[list[str], Items] | None:
    """The same by reading the stems as lines, which touches each once; None where they are no lines."""
    spellings, parts = Spellings(), []
    for start in range(0, len(counts), _BATCH):
        stems = list(chain.from_iterable(counts[start : start + _BATCH]))
        lines = "\n".join(stems)
        terms, _ = spellings.read([lines], _lines())
        if len(terms) != len(stems) or lines.count("\n") + 1 > max(len(stems), 1):
            return None
        parts.append(terms)
    return spellings.since(0), np.concatenate([_NOTHING, *parts])


@cache
def _lines() -> Codes:
    """A table of letters that changes none, for words that stand one a line."""
    table = np.arange(1 << 16, dtype=np.uint16)
    table[[SEPARATOR, UNTABLED]] = UNTABLED
    table[ord("\n")] = SEPARATOR
    return table


@cache
def _plain() -> Codes:
    """What becomes of each code point: a letter, `SEPARATOR`, or `UNTABLED` where neighbours may matter."""
    table = np.full(_TABLED[-1][1], UNTABLED, np.uint16)
    characters = [chr(code) for first, end in _TABLED for code in range(first, end)]
    seen = [
        normal(_APART.join(f"{before}{character}{after}" for character in characters)).split(_APART)
        for before, after in (("", ""), ("a", ""), ("", "a"), ("a", "a"))
    ]
    for character, alone, *beside in zip(characters, *seen, strict=True):
        if beside != [f"a{alone}", f"{alone}a", f"a{alone}a"] or not alone:
            continue
        if not any(_WORD.fullmatch(part * 2) for part in alone):
            table[ord(character)] = SEPARATOR
        elif re.fullmatch(r"\w", alone) and ord(alone) < len(table):
            table[ord(character)] = ord(alone)
    return table


@compiled
def _ordered(
    sizes: Numbers, terms: Items, counts: Counts, ranks: Items, numbers: Items
) -> tuple[Items, Counts]:
    """Bring each text's terms into the order of their ranks by counting, twice; gives them by new numbers."""
    heads = np.zeros(len(numbers) + 1, np.int64)
    for term in terms:
        heads[ranks[term] + 1] += 1
    heads = np.cumsum(heads)
    owners, times = np.empty(len(terms), np.int32), np.empty(len(terms), np.uint16)
    place = 0
    for text in range(len(sizes)):
        for _ in range(sizes[text]):
            rank = ranks[terms[place]]
            owners[heads[rank]], times[heads[rank]] = text, counts[place]
            heads[rank] += 1
            place += 1
    nexts = np.cumsum(sizes) - sizes
    ordered, kept = np.empty(len(terms), np.int32), np.empty(len(terms), np.uint16)
    rank = 0
    for place in range(len(terms)):
        while heads[rank] <= place:
            rank += 1
        owner = owners[place]
        ordered[nexts[owner]], kept[nexts[owner]] = numbers[rank], times[place]
        nexts[owner] += 1
    return ordered, kept


@compiled
def _tally(words: Items, sizes: Numbers, term_of: Items, latest: Items, terms: Items, counts: Counts) -> int:
    """Count each text's terms in the order of their first words; `sizes` then says how many terms it has."""
    place = out = 0
    for text in range(len(sizes)):
        begin = out
        for word in words[place : place + max(sizes[text], 0)]:
            term = term_of[word]
            if term < 0:
                continue
            at = latest[term]
            if begin <= at < out and terms[at] == term:
                counts[at] += counts[at] < HIGHEST_COUNT
            else:
                latest[term] = out
                terms[out] = term
                counts[out] = 1
                out += 1
        if sizes[text] >= 0:
            place += sizes[text]
            sizes[text] = out - begin
    return out


class Vocabulary:
    """The words met so far, each with its term; kept from call to call, it makes the next one faster."""

    def __init__(self) -> None:
        self.stems: list[str] = []
        self._numbers = numbering()
        self._spellings = Spellings()
        self._term_of: Items = np.zeros(0, np.int32)
        self._latest: Items = np.zeros(0, np.int32)
        self._count_batch([" ".join(STOP_WORDS)], ["en"])
        self._term_of[: self._spellings.known] = -1

    def count(self, texts: Sequence[str], languages: Sequence[str] = ()) -> Counted:
        """The terms of some texts: for each what `count_terms` finds; all English if not told otherwise."""
        told = languages or ["en"] * len(texts)
        batches = (slice(start, start + _BATCH) for start in range(0, len(texts), _BATCH))
        parts = [self._count_batch(texts[batch], told[batch]) for batch in batches]
        return Counted(self.stems, *map(np.concatenate, zip(*parts, strict=True))) if parts else gathered(())

    def _count_batch(self, texts: Sequence[str], languages: Sequence[str]) -> tuple[Numbers, Items, Counts]:
        """Sizes, terms and counts of a few texts; what the table does not cover is counted one by one."""
        pairs = [*zip(texts, languages, strict=True)]
        # Only English is cut into nothing but words; a character that has no place in the table says so.
        words, sizes = self._words([text if language == "en" else _APART for text, language in pairs])
        terms, counts = np.empty(len(words), np.int32), np.empty(len(words), np.uint16)
        end = _tally(words, sizes, self._term_of, self._latest, terms, counts)
        left = np.flatnonzero(sizes < 0)
        if not len(left):
            return sizes, terms[:end], counts[:end]
        apart = gathered([count_terms(*pairs[place]) for place in left.tolist()])
        numbers = self._numbered(apart.stems)
        both = Counted(
            self.stems,
            np.concatenate((sizes[sizes >= 0], apart.sizes)),
            np.concatenate((terms[:end], numbers[apart.terms])),
            np.concatenate((counts[:end], apart.counts)),
        )
        found = both.chosen(np.argsort(np.concatenate((np.flatnonzero(sizes >= 0), left))))
        return found.sizes, found.terms, found.counts

    def _words(self, texts: Sequence[str]) -> tuple[Items, Numbers]:
        """The words of some texts, new ones included, and how many each has; -1 where the table has a gap."""
        known = self._spellings.known
        words, sizes = self._spellings.read(list(texts), _plain(), 2, LONGEST_TERM)
        new = self._spellings.since(known)
        self._term_of = grown(self._term_of, self._spellings.known)
        self._term_of[known : self._spellings.known] = self._numbered(stems_of(new))
        return words, sizes

    def _numbered(self, stems: Sequence[str]) -> Items:
        """The numbers of some stems, new ones included."""
        numbers = np.fromiter(map(self._numbers.__getitem__, stems), np.int32, len(stems))
        self.stems.extend(newest(self._numbers, len(self.stems)))
        self._latest = grown(self._latest, len(self.stems))
        return numbers
