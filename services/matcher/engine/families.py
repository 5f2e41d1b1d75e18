# SPDX-License-Identifier: Apache-2.0
"""Families of words: who does a thing, what they are together, and the thing itself.

A stemmer takes "teaching" and "teach" for one word and leaves "teacher" another; so with mentors and
mentorship, entrepreneurs and entrepreneurship, tourists and tourism, librarians and libraries. A need lends
such relatives of its words a small weight, as it does synonyms: to take them for one word would be too much,
for a citizen is not citizenship.
"""

from functools import lru_cache

LEAST = 4
"""Letters of the part that relatives share; fewer would make relatives of "letter" and "let"."""

ENDINGS = ("ship", "ist", "ism", "ian", "ari", "er", "or", "")
"""What a stem of a family ends in, beside the part that all of it share."""


@lru_cache(maxsize=1 << 16)
def relatives(stem: str) -> tuple[str, ...]:
    """The stems that could be of one family with a stem, whether or not there are such words."""
    if not stem.isalpha() or not stem.isascii():
        return ()
    found: dict[str, None] = {}
    for ending in ENDINGS:
        shared = stem.removesuffix(ending)
        if stem.endswith(ending) and len(shared) >= LEAST:
            found |= dict.fromkeys(f"{shared}{other}" for other in ENDINGS)
    found.pop(stem, None)
    return tuple(found)
