# SPDX-License-Identifier: Apache-2.0
"""Words numbered by how they are spelled, at the speed of compiled loops.

The numbers are in a hash table with open addressing. A hash alone is never trusted: words are equal when
their letters are. Four letters stand in one 64-bit number, so that most words are hashed and compared in one
or two steps; a line end closes each word.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.matcher.engine.compiled import compiled
from services.matcher.engine.lists import Items, Numbers, grown

Codes = NDArray[np.uint16]
Letters = NDArray[np.uint64]
Table = NDArray[np.int64]

SEPARATOR: Final = 0
"""In a table of letters: what stands between words."""
UNTABLED: Final = 1
"""In a table of letters: a character that the loops leave to others."""

_FIRST_WORDS: Final = 1 << 14
# The golden ratio as a signed 64-bit number: the upper half of a product with it hangs on every letter.
_FACTOR: Final = -7_046_029_254_386_353_131
_LETTER_BITS: Final = 16
_LETTERS_BITS: Final = 64
_TAG: Final = -(1 << 32)
_LINE_END: Final = 10
_LENGTH_BITS: Final = 24
_LENGTH: Final = (1 << _LENGTH_BITS) - 1
_PLACES: Final = np.arange(0, _LETTERS_BITS, _LETTER_BITS, dtype=np.uint64)


@compiled
def _number(
    length: int, hashed: int, known: int, slots: Table, hashes: Table, starts: Numbers, pool: Letters
) -> int:
    """The number of the word that stands behind the known words, so many numbers long; a new one is entered.

    An entry is two numbers side by side: half of the hash with the word's number from 1, then where its
    letters begin with how long they are. So a word costs one look at the table and one at its letters.
    """
    mask = len(slots) // 2 - 1
    slot = (hashed ^ (hashed >> 32)) & mask
    here = starts[known]
    while slots[2 * slot]:
        entry = slots[2 * slot]
        begin = slots[2 * slot + 1] >> _LENGTH_BITS
        if entry & _TAG == hashed & _TAG and slots[2 * slot + 1] & _LENGTH == length:
            at = 0
            while at < length and pool[begin + at] == pool[here + at]:
                at += 1
            if at == length:
                return int((entry & ~_TAG) - 1)
        slot = (slot + 1) & mask
    slots[2 * slot] = (hashed & _TAG) | (known + 1)
    slots[2 * slot + 1] = (here << _LENGTH_BITS) | length
    hashes[known] = hashed
    starts[known + 1] = here + length
    return known


@compiled
def _cut(
    codes: NDArray[np.uint32], table: Codes, shortest: int, longest: int, known: int, slots: Table,
    hashes: Table, starts: Numbers, pool: Letters, found: Items,
) -> tuple[int, int]:  # fmt: skip
    """Find the words of one text; gives how many are known now and how many it has, -1 if not covered."""
    out = length = hashed = four = bits = 0
    here = at = starts[known]
    for place in range(len(codes) + 1):
        letter = SEPARATOR
        if place < len(codes):
            letter = table[codes[place]] if codes[place] < len(table) else UNTABLED
        if letter > UNTABLED:
            if length < longest:
                four |= int(letter) << bits
                bits += _LETTER_BITS
                length += 1
                if bits == _LETTERS_BITS:
                    pool[at] = four
                    hashed = (hashed ^ four) * _FACTOR
                    at += 1
                    four = bits = 0
            continue
        if letter == UNTABLED:
            return known, -1
        if length >= shortest:
            four |= _LINE_END << bits
            pool[at] = four
            hashed = (hashed ^ four) * _FACTOR
            word = _number(at + 1 - here, hashed, known, slots, hashes, starts, pool)
            known = max(known, word + 1)
            here = starts[known]
            found[out] = word
            out += 1
        at = here
        length = hashed = four = bits = 0
    return known, out


@compiled
def _read(
    codes: NDArray[np.uint32], ends: Numbers, first: int, table: Codes, shortest: int, longest: int,
    known: int, slots: Table, hashes: Table, starts: Numbers, pool: Letters, found: Items, sizes: Numbers,
) -> tuple[int, int, int]:  # fmt: skip
    """Find the words of texts from number `first` on; stops before one that might not fit the arrays.

    Word numbers go to `found`, how many each text has to `sizes`, -1 for one that the table does not cover.
    Gives the text to go on with, how many words are known now and how many were found.
    """
    out = 0
    for text in range(first, len(ends)):
        begin, end = ends[text - 1] if text else 0, ends[text]
        words = known + (end - begin) // 2 + 1
        if 3 * words > len(slots) or words >= len(starts) or starts[known] + end - begin + 2 > len(pool):
            return text, known, out
        known, sizes[text] = _cut(
            codes[begin:end], table, shortest, longest, known, slots, hashes, starts, pool, found[out:]
        )
        out += max(sizes[text], 0)
    return len(ends), known, out


@compiled
def _seat(known: int, slots: Table, hashes: Table, starts: Numbers) -> None:
    """Enter the known words into an empty table."""
    mask = len(slots) // 2 - 1
    for word in range(known):
        hashed = hashes[word]
        slot = (hashed ^ (hashed >> 32)) & mask
        while slots[2 * slot]:
            slot = (slot + 1) & mask
        slots[2 * slot] = (hashed & _TAG) | (word + 1)
        slots[2 * slot + 1] = (starts[word] << _LENGTH_BITS) | (starts[word + 1] - starts[word])


class Spellings:
    """The words met so far, numbered from 0 as they come."""

    def __init__(self) -> None:
        self.known = 0
        self._slots: Table = np.zeros(0, np.int64)
        self._hashes: Table = np.zeros(0, np.int64)
        self._starts: Numbers = np.zeros(1, np.int64)
        self._pool: Letters = np.zeros(0, np.uint64)

    def read(
        self, texts: list[str], table: Codes, shortest: int = 1, longest: int = _LENGTH
    ) -> tuple[Items, Numbers]:
        """The words of some texts by number, one text after another, and how many each text has.

        `table` says for each character which letter it stands for, `SEPARATOR` or `UNTABLED`; beyond its end
        all are untabled. A text with such a character has -1 words. Words with fewer letters than `shortest`
        are passed over, of longer ones than `longest` only the beginning counts.
        """
        ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
        codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
        found, sizes = np.empty(len(codes) // 2 + len(texts), np.int32), np.zeros(len(texts), np.int64)
        place = end = 0
        while True:
            place, self.known, added = _read(
                codes, ends, place, table, shortest, longest, self.known,
                self._slots, self._hashes, self._starts, self._pool, found[end:], sizes,
            )  # fmt: skip
            end += added
            if place == len(texts):
                return found[:end], sizes
            self._make_room(int(ends[place] - (ends[place - 1] if place else 0)))

    def since(self, first: int) -> list[str]:
        """The words from number `first` on."""
        if first == self.known:
            return []
        fours = self._pool[self._starts[first] : self._starts[self.known]]
        letters = (fours[:, None] >> _PLACES).astype("<u2")
        told = letters[letters > SEPARATOR].tobytes().decode("utf-16-le", "surrogatepass")
        return told.split("\n")[:-1]

    def _make_room(self, characters: int) -> None:
        """Make room for at least one more text of so many characters."""
        words = max(_FIRST_WORDS, self.known + self.known // 2) + characters // 2 + 2
        self._hashes, self._starts = grown(self._hashes, words), grown(self._starts, words)
        self._pool = grown(self._pool, 3 * words + characters)
        # Two thirds of the places at most are taken.
        if 3 * words > len(self._slots):
            self._slots = np.zeros(1 << (3 * words).bit_length(), np.int64)
            _seat(self.known, self._slots, self._hashes, self._starts)
