# SPDX-License-Identifier: Apache-2.0
"""When two names in one country mean one city: accents, other names, ways to spell, a slip of one letter.

Nothing here knows a database. A city is looked up by a handful of keys; whether two are the same is then
decided from both names, what the gazetteer knows of them, and where they lie.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from twinning import gazetteer
from twinning.gazetteer import Point, distance_km
from twinning.spelling import fold, slipped, slips, spellings, words

# Cities that lie so far apart are two, whatever they are called.
APART_KM: Final = 50.0
_SIGNS: Final = re.compile(r"[0-9]+|\b[a-z]\b")


@dataclass(frozen=True)
class Named:
    """A city as far as telling it from others goes; where it lies, if that is known."""

    name: str
    country: str
    point: Point | None = None

    @cached_property
    def spellings(self) -> frozenset[str]:
        """The ways to spell it that count as one."""
        return frozenset(spellings(self.name))

    @cached_property
    def signs(self) -> list[str]:
        """What is no slip where it differs: numbers, and words of one letter, as in Ward 4 and Block C."""
        return _SIGNS.findall(words(self.name))

    @cached_property
    def places(self) -> frozenset[int]:
        """What the gazetteer may know it as: several, where several bear its name and nobody says which."""
        meant = gazetteer.find(self.name, self.country, self.point)
        some = [meant] if meant else gazetteer.called(self.name, self.country) if self.point is None else ()
        return frozenset(place.id for place in some)

    def found_by(self) -> list[str]:
        """Give what it is looked up by: whoever is the same shares one of these with it."""
        return sorted(f"{self.country}:{key}" for key in set(self._keys()))

    def _keys(self) -> Iterator[str]:
        yield from (f"#{place}" for place in self.places)
        for spelling in self.spellings:
            # Where the signs differ there is no slip: Ward 12 need not be held against each other ward.
            signed = (slip + "".join(f"/{sign}" for sign in self.signs) for slip in slips(spelling))
            # No column is as long as the longest name; what agrees so far is looked at closely anyway.
            yield from (key[:100] for key in (spelling, *signed))


def is_same(first: Named, second: Named) -> bool:
    """Say whether two cities of one country are one, as far as can be told."""
    if first.point and second.point and distance_km(first.point, second.point) > APART_KM:
        return False
    if fold(first.name) == fold(second.name):
        return True
    if first.places and second.places:
        return not first.places.isdisjoint(second.places)
    if first.spellings & second.spellings:
        return True
    if first.signs != second.signs:
        return False
    return any(slipped(one, other) for one in first.spellings for other in second.spellings)
