# SPDX-License-Identifier: Apache-2.0
"""The formulas of the match score, each in one place.

TF-IDF in SMART terms: saturated counts on the practice's side, idf and burstiness on the need's side alone
(Singhal's pivoted length normalisation, 1996), widened by synonyms and by the best practices' own words
(Rocchio's feedback, 1971). Because no practice weight holds either, a stored practice vector never changes
when the catalogue does.
"""

import numpy as np
from numpy.typing import NDArray

from services.matcher.engine.lists import HIGHEST_COUNT, Numbers, Weights

SATURATION = 2.0
SLOPE = 0.65
BURSTS = 0.3
FEEDBACK_PRACTICES = 3
FEEDBACK_TERMS = 100
FEEDBACK_LENGTH = 0.42
FEEDBACK_RARITY = 1.5
SYNONYM_SHARE = 0.3
FAMILY_SHARE = 0.2
SETTLED = 100.0
RAREST = 1.5
"""The idf of a word that stands in one text is the logarithm of one more than all texts, over this."""

_TIMES = np.arange(HIGHEST_COUNT + 1, dtype=np.float64)

PRACTICE_WEIGHT: Weights = _TIMES / (_TIMES + SATURATION)
"""Weight of a term in a practice by how often it occurs there; rises from 1/3 towards 1."""

NEED_WEIGHT: Weights = np.append(0.0, 1.0 + np.log(_TIMES[1:]))
"""Weight of a term in a need by how often it occurs there, before idf."""


def idf(texts: int, frequency: Numbers) -> Weights:
    """Inverse document frequency of terms found in `frequency` of `texts` needs and practices together."""
    weights: Weights = np.log1p((texts - frequency + 0.5) / (frequency + 0.5))
    return weights


def burstiness(frequency: Numbers, occurrences: Numbers) -> Weights:
    """How much more a term says because it comes in bursts: ``1 + 0.3 ln(occurrences per text)``, at least 1.

    A word that comes again where it has come once is what its text is about (Kwok 1996; Church and Gale,
    1995). One is added to both numbers, so that a single long text does not decide.
    """
    bursts: Weights = 1.0 + BURSTS * np.log((occurrences + 1.0) / (frequency + 1.0))
    return bursts


def term_weight(texts: int, frequency: Numbers, occurrences: Numbers) -> Weights:
    """What a term is worth in a need: idf times burstiness, both over needs and practices together."""
    worth: Weights = idf(texts, frequency) * burstiness(frequency, occurrences)
    return worth


def feedback_weight(worth: Weights) -> Weights:
    """What a term of a feedback practice is worth: rare words carry over better than common ones."""
    raised: Weights = worth**FEEDBACK_RARITY
    return raised


def feedback_shares(scores: Weights) -> Weights:
    """The share of each feedback practice, by its score to the power 5/4: the best lends a little more."""
    raised = scores * np.sqrt(np.sqrt(scores))
    shares: Weights = raised / raised.sum()
    return shares


def rarest_worth(texts: int) -> float:
    """What a word is worth that stands once in a single one of the stored texts."""
    return float(np.log((texts + 1.0) / RAREST))


def trust(texts: int) -> float:
    """How far idf tells rare words from common ones, from 0 to 1: in a small catalogue all look rare."""
    return texts / (texts + SETTLED)


def reach(lengths: Weights, texts: int) -> Weights:
    """How long needs are taken to be: the fourth root of their length, in rarest words, and at least 1.

    At length 1 for all, a heading of two words would reach as high as a page that is answered in half of its
    words. Which practice answers a need best does not depend on it; whether any does, and how needs compare,
    do. The smaller the catalogue, the nearer to 1.
    """
    found: Weights = np.maximum(1.0, np.sqrt(np.sqrt(lengths / rarest_worth(texts))))
    return 1.0 + trust(texts) * (found - 1.0)


def tally(places: NDArray[np.integer], values: Weights, size: int) -> Weights:
    """For each of `size` places the sum of the values put there, added strictly in the order given."""
    return np.bincount(places, values, size).astype(np.float64, copy=False)


def sums(values: Weights, sizes: Numbers) -> Weights:
    """The sum of each stretch of `values`, added strictly from left to right.

    A fixed order of addition makes equal texts score equal to the last bit, whatever was stored before.
    """
    return tally(np.repeat(np.arange(len(sizes)), sizes), values, len(sizes))


def lengths(values: Weights, sizes: Numbers) -> Weights:
    """The Euclidean length of each stretch of `values`; 1 for an empty one."""
    found = np.sqrt(sums(values * values, sizes))
    found[found == 0.0] = 1.0
    return found


def length(values: Weights) -> float:
    """The Euclidean length of one vector; 1 for an empty one."""
    return float(lengths(values, np.array([len(values)]))[0])


def unit(values: Weights) -> Weights:
    """One vector scaled to length 1; an empty one stays empty."""
    scaled: Weights = values / length(values)
    return scaled


def practice_scale(norms: Weights, mean_norm: float) -> Weights:
    """What a practice's products are multiplied with: its length, pivoted about the mean length."""
    scale: Weights = 1.0 / ((1.0 - SLOPE) * mean_norm + SLOPE * norms)
    return scale
