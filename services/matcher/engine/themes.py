# SPDX-License-Identifier: Apache-2.0
"""Which themes a text seems to be about: its words beside the words of each theme.

TF-IDF cosine with our own way of cutting words; the idf counts the themes, not the catalogue, so a text is
given the same themes wherever it is asked. Nothing is learned from labelled texts. The words are English.
"""

from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from math import log, log1p, sqrt

import yaml

from services.matcher.engine.text import count_terms
from twinning.reference import THEMES

LEAST = 0.08
"""Themes that score less are not suggested: one word in common, in passing."""


def suggest_themes(text: str, limit: int | None = 5, least: float = LEAST) -> list[tuple[str, float]]:
    """The themes that a text is most about, best first, each with a score from 0 to 1; often none.

    A focal area that is a building block under another number is left out: the block stands for it.
    """
    words = {
        term: (1.0 + log(times)) * _idf()[term] for term, times in count_terms(text).items() if term in _idf()
    }
    length = sqrt(sum(weight * weight for weight in words.values())) or 1.0
    scores = {
        theme: sum(weight * its[term] for term, weight in words.items() if term in its) / length
        for theme, its in _vectors().items()
    }
    ranked = sorted(scores.items(), key=lambda score: (-score[1], score[0]))
    return [(theme, score) for theme, score in ranked if score > 0.0 and score >= least][:limit]


@cache
def theme_texts() -> Mapping[str, str]:
    """The text of each theme that can be suggested: its label and the words that ship with it."""
    file = files("twinning") / "data" / "theme_words.yaml"
    words: dict[str, str] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {theme: f"{THEMES[theme].label}\n{its}" for theme, its in words.items()}


@cache
def _counts() -> Mapping[str, Mapping[str, int]]:
    return {theme: count_terms(text) for theme, text in theme_texts().items()}


@cache
def _idf() -> Mapping[str, float]:
    """Inverse document frequency of each term among the themes."""
    held = Counter(term for counts in _counts().values() for term in counts)
    return {term: log1p(len(_counts()) / times) for term, times in held.items()}


@cache
def _vectors() -> Mapping[str, Mapping[str, float]]:
    """The terms of each theme, weighed and scaled to length 1."""
    found = {}
    for theme, counts in _counts().items():
        weights = {term: (1.0 + log(times)) * _idf()[term] for term, times in counts.items()}
        length = sqrt(sum(weight * weight for weight in weights.values()))
        found[theme] = {term: weight / length for term, weight in weights.items()}
    return found
