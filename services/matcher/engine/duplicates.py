# SPDX-License-Identifier: Apache-2.0
"""Practices of one city that were written twice in other words: they take one place in a list.

Alikeness is the cosine of two texts' idf-weighted words. It is looked at only between practices of one city
that stand on one list, at the present catalogue, so that an arrival costs what the lists that it touches
cost, and history plays no part.
"""

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from services.matcher.engine.index import Match, MatchIndex

ALIKE = 0.5
"""From this cosine on two practices of one city count as one written twice.

Measured on paraphrases: the questions of one answer in the collection StackFAQ, laid together by turns to
two texts of some 58 words that share no sentence. 0.81 of 125 such pairs reach 0.5 and 1.9 of 10,000 pairs
of texts that ask different things do; at 0.4 it is 0.95 and 10, at 0.6 it is 0.43 and 0. Of 340,000 pairs
among 825 European public services 21 reach it, nearly all of them one service described twice.
"""


def once_each(
    index: MatchIndex, ranked: Sequence[Match], city_of: Callable[[Hashable], Hashable]
) -> list[Match]:
    """The matches without those whose practice is much like a better one of the same city."""
    places: dict[Hashable, list[int]] = {}
    for place, match in enumerate(ranked):
        places.setdefault(city_of(match.practice), []).append(place)
    folded: set[int] = set()
    for several in places.values():
        if len(several) > 1:
            folded.update(_repeats(index, ranked, several))
    return [match for place, match in enumerate(ranked) if place not in folded] if folded else list(ranked)


def _repeats(index: MatchIndex, ranked: Sequence[Match], places: Sequence[int]) -> list[int]:
    """Those of some places of one city, best first, that repeat one before them that is kept."""
    vectors = index.vectors([ranked[place].practice for place in places]).toarray()
    # Rounded, for the order in which products are added up hangs on the numbers that words were given.
    alike = np.round(vectors @ vectors.T, 9) >= ALIKE
    kept: list[int] = []
    for number in range(len(places)):
        if not alike[number, kept].any():
            kept.append(number)
    return [place for number, place in enumerate(places) if number not in kept]
