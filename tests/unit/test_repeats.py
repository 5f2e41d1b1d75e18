# SPDX-License-Identifier: Apache-2.0
"""The marks by which texts that say nearly the same are found: stored ones must go on to be found."""

import zlib
from hashlib import blake2b
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.matcher.engine.neighbours import smallest_sums
from twinning import repeats

TEXTS = (
    "Volunteers teach older adults to read, and to write letters, in the library. " * 3,
    "Straße, Übergänge und Bücher: Ältere lernen lesen; mit Freiwilligen im Café",
    "µ-Gärten an Schulen",
    " ".join(map(chr, range(1, 0xB5))) + " " + " ".join(map(chr, range(0xB6, 256))),
    "".join(map(chr, range(1, 0xB5))) + "".join(map(chr, range(0xB6, 256))) + "µ",
    "Łódź uczy dorosłych czytać",
    "学びの街 と библиотека \u201cquoted\u201d it's_one 2027",
    "one",
    "?!",
    "",
)


@pytest.mark.parametrize("text", TEXTS)
def test_marks_are_those_that_were_stored_before(text: str) -> None:
    """The marks are the smallest sums of neighbouring words, however quickly they are found."""
    words = [word.encode() for word in repeats._words(text)]
    pairs = {zlib.crc32(b" " + other, zlib.crc32(one)) for one, other in pairwise(words)}
    smallest = sorted(pairs or {zlib.crc32(b" ".join(words))})[: repeats.MARKS]
    spoken = (f"city/need/{number}".encode() for number in smallest)
    known = [int.from_bytes(blake2b(each, digest_size=8).digest(), "big") >> 1 for each in spoken]

    assert list(repeats.marks_of("city", "need", text)) == known


@given(
    st.text() | st.lists(st.sampled_from(["of", "The", "of,", "Łódź", "ß", "µ", "図書", "\n"])).map(" ".join)
)
def test_an_import_marks_as_everybody_does(text: str) -> None:
    """The compiled loop finds the same marks in any text, those of one word or none included."""
    assert repeats.marks_of("city", "need", text, smallest_sums) == repeats.marks_of("city", "need", text)


@pytest.mark.parametrize("text", TEXTS)
def test_known_texts_are_marked_alike(text: str) -> None:
    """What has every kind of letter, or many words, is marked the same in an import."""
    assert repeats.marks_of("city", "need", text, smallest_sums) == repeats.marks_of("city", "need", text)


def test_long_texts_are_not_remembered() -> None:
    """What takes megabytes as words is taken apart for each comparison, and then let go."""
    long = "図書館と学校" * repeats.LONGEST_REMEMBERED
    before = repeats._remembered.cache_info().currsize

    assert repeats.is_repeat(long, long + "町")
    assert repeats._remembered.cache_info().currsize == before
