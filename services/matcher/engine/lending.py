# SPDX-License-Identifier: Apache-2.0
"""What needs are lent: the stored synonyms and relatives of their words, each with a share.

One need and many are lent by the same rules. What is asked of a word is asked once, however many needs have
it, so that a need costs what its few words with relatives or synonyms cost.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import numpy as np

from services.matcher.engine import families, synonyms
from services.matcher.engine.lists import Items, Numbers, Weights
from services.matcher.engine.weights import FAMILY_SHARE, SYNONYM_SHARE


def lent(
    needs: Sequence[Items], stems: Sequence[str], numbers: Mapping[str, int], frequency: Numbers
) -> tuple[Numbers, Items, Weights]:
    """How many terms each of some needs is lent, the terms in the order of their stems, and their shares.

    A need is its own terms, by number. Nobody is lent an own term, or one that no stored text has.
    """
    kin, opening = _kin(needs, stems, numbers, frequency)
    told = np.zeros(len(stems), np.bool_)
    told[[*kin.keys() | opening]] = True
    sizes = np.zeros(len(needs), np.int64)
    terms: list[int] = []
    shares: list[float] = []
    for place, own in enumerate(needs):
        telling = own[told[own]].tolist()
        if not telling:
            continue
        found = dict.fromkeys(chain.from_iterable(kin.get(term, ()) for term in telling), FAMILY_SHARE)
        words = (stems[term] for term in telling if term in opening)
        for stem, part in synonyms.lent(dict.fromkeys(words, 1)).items():
            # A number may outlive the last text with its term, so to ask for one is not enough.
            if (number := numbers.get(stem)) is not None and frequency[number]:
                found[number] = SYNONYM_SHARE * part
        for term in found.keys() & own.tolist():
            del found[term]
        ordered = sorted(found, key=stems.__getitem__)
        sizes[place] = len(ordered)
        terms += ordered
        shares += map(found.__getitem__, ordered)
    return sizes, np.array(terms, np.int32), np.array(shares)


def _kin(
    needs: Iterable[Items], stems: Sequence[str], numbers: Mapping[str, int], frequency: Numbers
) -> tuple[dict[int, list[int]], set[int]]:
    """Of the needs' terms the stored relatives of those that have any, and which stand in the synonyms."""
    kin: dict[int, list[int]] = {}
    opening: set[int] = set()
    for term in set(chain.from_iterable(own.tolist() for own in needs)):
        stem = stems[term]
        if stem in synonyms.WORDS:
            opening.add(term)
        stored = map(numbers.get, families.relatives(stem))
        if found := [each for each in stored if each is not None and frequency[each]]:
            kin[term] = found
    return kin, opening
