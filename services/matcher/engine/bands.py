# SPDX-License-Identifier: Apache-2.0
"""Where the bands lie: edges of the first score that mean the same for every need.

A score alone says little: it depends on how long texts are and how alike a catalogue is. So the edges are
percentiles of T1 among the pairs that may be paired, found from a sample that a hash of the keys draws. They
are thus a function of the present catalogue alone. A small catalogue has too few pairs to speak for itself;
there a prior, measured on public collections, holds and gives way as pairs come in.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from twinning.terms import Band

SAMPLED_NEEDS = 256
SAMPLED_PRACTICES = 4096

REFERENCE_PRACTICES = 64.0
"""Practices that a need could be paired with in the catalogue that the reference shares were read from."""

PRIOR_PAIRS = 1000.0
"""With so many pairs the catalogue's own distribution weighs as much as the prior."""


@dataclass(frozen=True, slots=True)
class Edges:
    """The lowest first score of each band."""

    strong: float
    possible: float
    weak: float

    def band(self, first: float) -> Band | None:
        """The band of a first score; None when it is below all."""
        for band in Band:
            if first >= self.least(band):
                return band
        return None

    def least(self, band: str | None) -> float:
        """The lowest first score that reaches a band; 0 for None, which asks for no band."""
        return 0.0 if band is None else float(getattr(self, band))


@dataclass(frozen=True, slots=True)
class _Share:
    """The share of pairs that reach a band, by how many practices a need could be paired with."""

    reference: float
    fall: float
    most: float

    def at(self, practices: float) -> float:
        """Fewer of many: with more practices a smaller share still is more of them for each need."""
        fewer: float = (REFERENCE_PRACTICES / max(practices, 1.0)) ** self.fall
        return min(self.most, self.reference * fewer)


# A need with 64 possible partners is shown 0.6 strong ones, 1.9 and 6.4; with 2,500 it is 2.5, 12.5 and 25.
_SHARES = (_Share(0.01, 0.63, 0.04), _Share(0.03, 0.49, 0.12), _Share(0.10, 0.63, 0.30))

PRIOR = Edges(strong=0.19, possible=0.14, weak=0.095)
"""The 99th, 97th and 90th percentile of T1 between texts that do not answer each other, in small catalogues.

Measured on catalogues of 10 to 240 texts drawn from three public collections, a little below the mean of
all (.205, .16 and .105), for the smallest ones' sake. In catalogues of 20 texts .65, .50 and .31 of the pairs
above these edges are true answers. ``benchmarks/quality.py --prior`` prints the table.
"""

LOWEST = 0.02
"""No edge lies below this: a text that shares next to nothing is no match in any catalogue."""


def draw(keys: Sequence[Hashable], size: int) -> list[Hashable]:
    """The `size` keys with the lowest hashes, in the order of their hashes."""

    def place(key: Hashable) -> tuple[bytes, str]:
        name = str(key)
        return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), name

    return sorted(keys, key=place)[:size]


def edges_of(scores: NDArray[np.float64], practices: float) -> Edges:
    """Edges from the first scores of the sampled pairs (zeros included).

    `practices` is the mean number of practices that a need may be paired with, in the whole catalogue.
    """
    trust = len(scores) / (len(scores) + PRIOR_PAIRS)
    found = []
    for share, prior in zip(_SHARES, (PRIOR.strong, PRIOR.possible, PRIOR.weak), strict=True):
        own = float(np.quantile(scores, 1.0 - share.at(practices))) if len(scores) else prior
        found.append(max(LOWEST, trust * own + (1.0 - trust) * prior))
    strong, possible, weak = found
    return Edges(max(strong, possible, weak), max(possible, weak), weak)
