# SPDX-License-Identifier: Apache-2.0
"""The smallest sums of a text's neighbouring words, by which texts that say nearly the same are found.

The sum of two words is the CRC-32 (as zlib's `crc32`) of the first, a blank and the second. Every byte goes
into two sums at once: that of the pair which its word ends, and that of the pair which its word begins.
"""

import zlib

import numpy as np
import numpy.typing as npt

from services.matcher.engine.compiled import compiled

Bytes = npt.NDArray[np.uint8]
Sums = npt.NDArray[np.uint32]

_BLANK = np.uint32(ord(" "))
_BYTE = np.uint32(0xFF)
_WHOLE = np.uint32(0xFFFFFFFF)
# What each byte does to a sum (D. V. Sarwate, Computation of cyclic redundancy checks, 1988), told from what
# zlib makes of it alone.
_TABLE = np.array([zlib.crc32(bytes([byte ^ 0xFF])) ^ 0xFF000000 for byte in range(256)], np.uint32)


def smallest_sums(words: bytes, most: int) -> list[int]:
    """Give the smallest few different sums of words that blanks part, in their order.

    A word alone has its own sum, and no word at all has 0: the same as `twinning.repeats` reckons by itself.
    """
    found = np.empty(most, np.uint32)
    count = _find_smallest(np.frombuffer(words, np.uint8), _TABLE, found)
    sums: list[int] = found[:count].tolist()
    return sums


@compiled
def _put(found: Sums, count: int, value: np.uint32) -> int:
    """Put a sum in its place among the smallest, unless it is there or too large; gives their number."""
    place = count
    while place > 0 and found[place - 1] > value:
        place -= 1
    if place == found.size or (place > 0 and found[place - 1] == value):
        return count
    for later in range(min(count, found.size - 1), place, -1):
        found[later] = found[later - 1]
    found[place] = value
    return min(count + 1, found.size)


@compiled
def _find_smallest(words: Bytes, table: Sums, found: Sums) -> int:
    """Put the smallest different sums into `found`, in their order; gives how many there are."""
    count = seen = 0
    place = 0
    own = before = _WHOLE
    while True:
        while place < words.size and words[place] == _BLANK:
            place += 1
        if place == words.size:
            break
        own, pair = _WHOLE, before
        while place < words.size and words[place] != _BLANK:
            byte = np.uint32(words[place])
            own = table[(own ^ byte) & _BYTE] ^ (own >> np.uint32(8))
            pair = table[(pair ^ byte) & _BYTE] ^ (pair >> np.uint32(8))
            place += 1
        seen += 1
        if seen > 1:
            count = _put(found, count, pair ^ _WHOLE)
        before = table[(own ^ _BLANK) & _BYTE] ^ (own >> np.uint32(8))
    if seen < 2:
        count = _put(found, 0, own ^ _WHOLE)
    return count
