# SPDX-License-Identifier: Apache-2.0
"""How names are compared: without accents, case, blanks and hyphens, a slip of one letter forgiven."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from rapidfuzz.distance import OSA

# A slip of one letter is forgiven from so many letters on; shorter names differ by one too often.
SHORTEST: Final = 7
# Letters that are none with an accent, as Unicode has it, and what people write where they lack them.
_PLAIN: Final = str.maketrans(
    {
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "æ": "ae",
        "œ": "oe",
        "þ": "th",
        "\u0131": "i",
        "ħ": "h",
        "ə": "e",
    }
)
# The German way of doing without an umlaut, which is also that of passports.
_UMLAUTS: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
_DROPPED: Final = "'\u2019\u02bc`."
_ACCENTS: Final = re.compile("[\u0300-\u036f]")
# A letter of these scripts is a sound; one of a script of syllables or pictures is far more than a slip.
_ALPHABETIC: Final = re.compile("[a-z0-9\u0370-\u03ff\u0400-\u04ff]*")
# What offices add to a name, before it or after it, and what says nothing about which city it is.
_BEFORE: Final = re.compile(r"^(?:the )?(?:city|town|municipality|metropolitan city) of ")
_AFTER: Final = re.compile(r" (?:metropolitan city|city|municipality|si|shi)$|(?<=..)[市시]$")


def words(name: str) -> str:
    """Spell a name in small letters without accents, one blank between its words."""
    folded = unicodedata.normalize("NFKD", name).casefold().translate(_PLAIN)
    bare = unicodedata.normalize("NFC", _ACCENTS.sub("", folded))
    # In scripts like Thai's the vowels are marks and belong to the word.
    kept = (c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in bare if c not in _DROPPED)
    return " ".join("".join(kept).split())


def fold(name: str) -> str:
    """Spell a name so that ways to write the same one agree: Xi'an, Xian; Câmara de Lobos, CAMARA-DE-LOBOS.

    A name without any letter or digit is only itself.
    """
    return words(name).replace(" ", "") or name


def spellings(name: str) -> Iterator[str]:
    """Give the foldings of a name that count as one: itself, as `oe` for `ö`, and without `City of`."""
    for written in {name, unicodedata.normalize("NFC", name).lower().translate(_UMLAUTS)}:
        bare = words(written)
        yield bare.replace(" ", "") or name
        yield _AFTER.sub("", _BEFORE.sub("", bare)).replace(" ", "") or name


def slips(spelling: str) -> set[str]:
    """Give a spelling with each of its letters left out: two that differ by a slip have one in common."""
    if not _may_slip(spelling):
        return set()
    return {spelling[:cut] + spelling[cut + 1 :] for cut in range(len(spelling))}


def slipped(one: str, other: str) -> bool:
    """Say whether two foldings differ by a slip: a letter more, less or other, or two that changed places.

    The first letter must agree: Suzhou is not Fuzhou.
    """
    if one[:1] != other[:1] or not (_may_slip(one) and _may_slip(other)):
        return False
    return OSA.distance(one, other, score_cutoff=1) <= 1


def _may_slip(spelling: str) -> bool:
    return len(spelling) >= SHORTEST and _ALPHABETIC.fullmatch(spelling) is not None
