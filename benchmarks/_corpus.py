# SPDX-License-Identifier: Apache-2.0
"""Made-up needs and practices for measuring speed, the same on every machine.

Nothing that people wrote is large enough and free to ship, so texts are drawn: words by the law of Zipf and
Mandelbrot with English function words on top, some dozens of words of the field that nearly every text
uses, and the words of up to three of 400 themes. Lengths are log-normal. ``texts`` gives texts, ``counted``
the counts of their words straight away, which is how a million of them fit into some seconds.

Text number i of a side is the same however many are asked for.
"""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

VOCABULARY = 100_000
THEMES = 400
_THEME_WORDS = 80
_THEME_SHARE, _FIELD_SHARE = 0.40, 0.06
_RAREST_THEME_WORD = 30_000
_MEDIAN_WORDS, _SPREAD, _FEWEST, _MOST = 73.5, 0.5, 20, 200
_BLOCK = 20_000
_QUANTILES = 1 << 22
# English has some 300 words that tell nothing; the rarer ones, left out below, would come in between.
_UNLISTED = 190
_SIDES = {"practice": 1, "need": 2}

FUNCTION_WORDS = tuple(
    """
    the of and to in a is that for it as was with be by on not he i this are or his from at which but have
    an had they you were their one all we can her has there been if more when will would who so no she other
    its may these what them than some him time into only do such my new could now our then also two any me
    after most over should very where just those how many because through before while both between down
    each few here about again against same under up once few further during above below off out own too
    """.split()  # noqa: SIM905 - a table of words reads best as text
)
FIELD_WORDS = tuple(
    """
    learning city education community people training programme skills local public school adults digital
    support project youth university work library literacy centre partners families employment teachers
    inclusion courses workshops citizens network health culture environment museum migrants language policy
    neighbourhood volunteers green heritage mentoring vocational campus funding participation wellbeing
    festival development outreach
    """.split()  # noqa: SIM905 - as above
)
_STARTS = "b c d f g h k l m n p r s t v w br ch cl dr fl gr pl pr sh st th tr".split()  # noqa: SIM905
_HEARTS = "a e i o u a e i o u ai ea ou io é".split()  # noqa: SIM905
_CLOSES = ("", "", "", "n", "r", "s", "t", "l", "m", "nt", "st", "ng", "ck")
_ENDINGS = ("", "", "", "s", "s", "ing", "ed", "er", "ation", "ations", "ness", "able", "ly", "ment", "al")

Numbers = NDArray[np.int64]
Items = NDArray[np.int32]
Counts = NDArray[np.uint16]


@functools.cache
def vocabulary() -> tuple[str, ...]:
    """All words by falling frequency: function words, words of the field, then pronounceable inventions."""
    rng = np.random.default_rng(20_261)
    words = dict.fromkeys(dict.fromkeys((*FUNCTION_WORDS, *FIELD_WORDS)))
    while len(words) < VOCABULARY:
        syllables = 1 + (len(words) > 1_200)
        parts = rng.integers(0, 1 << 30, 3 * syllables + 1).tolist()
        root = "".join(
            _STARTS[a % len(_STARTS)] + _HEARTS[b % len(_HEARTS)] + _CLOSES[c % len(_CLOSES)]
            for a, b, c in zip(*(iter(parts[:-1]),) * 3, strict=True)
        )
        # Two forms of each root stand near one another, so that stemming has something to bring together.
        for ending in (parts[-1], parts[-1] // 97):
            words[root + _ENDINGS[ending % len(_ENDINGS)]] = None
    return tuple(words)[:VOCABULARY]


@functools.cache
def _drawn_words() -> tuple[int, Items, Items, Items]:
    """How many function words there are; words by quantile of all, of each theme, of the field."""
    functional = len(set(FUNCTION_WORDS))
    rng = np.random.default_rng(400)
    ranks = np.arange(VOCABULARY, dtype=np.float64)
    ranks[functional:] += _UNLISTED
    everything = _quantiles(1.0 / (ranks + 3.7) ** 1.02, _QUANTILES)
    lowest, highest = np.log(functional), np.log(_RAREST_THEME_WORD)
    themes = np.exp(rng.uniform(lowest, highest, (THEMES, _THEME_WORDS))).astype(np.int32)
    within = _quantiles(1.0 / (np.arange(_THEME_WORDS) + 3.0), 1024)
    field = _quantiles(1.0 / (np.arange(len(FIELD_WORDS)) + 3.0), 4096) + functional
    return functional, everything, themes[:, within], field.astype(np.int32)


def _quantiles(shares: NDArray[np.floating[Any]], steps: int) -> Items:
    """Which of some things each of equally many quantiles falls on: drawing is then one look-up."""
    edges = np.cumsum(shares) / shares.sum()
    return np.searchsorted(edges, (np.arange(steps) + 0.5) / steps).astype(np.int32)


def _blocks(n: int, side: str, seed: int) -> Iterator[tuple[Numbers, Items]]:
    """The lengths of some thousand texts at a time, and their words as numbers, one text after another."""
    _, everything, themes, field = _drawn_words()
    liked = _quantiles(1.0 / (np.arange(THEMES) + 11.0) ** 0.7, 1 << 16)
    for start in range(0, n, _BLOCK):
        rng = np.random.default_rng([seed, _SIDES[side], start])
        drawn = np.exp(rng.normal(np.log(_MEDIAN_WORDS), _SPREAD, _BLOCK))
        lengths = np.clip(drawn, _FEWEST, _MOST).astype(np.int64)
        total = int(lengths.sum())
        chosen = liked[rng.integers(0, len(liked), (_BLOCK, 3))]
        words = everything[rng.integers(0, _QUANTILES, total, dtype=np.int32)]
        source = rng.random(total, dtype=np.float32)
        of_field = np.flatnonzero(source < _FIELD_SHARE)
        words[of_field] = field[rng.integers(0, len(field), len(of_field), dtype=np.int32)]
        topical = np.flatnonzero(source > 1.0 - _THEME_SHARE)
        # A text has a main theme, and two that it touches on.
        which = (rng.random(len(topical), dtype=np.float32) ** 2 * 3).astype(np.int32)
        theme = chosen[np.repeat(np.arange(_BLOCK), lengths)[topical], which]
        words[topical] = themes[theme, rng.integers(0, themes.shape[1], len(topical), dtype=np.int32)]
        kept = lengths[: n - start]
        yield kept, words[: int(kept.sum())]


def texts(n: int, side: str, seed: int = 7) -> list[str]:
    """The first n texts of a side, ``need`` or ``practice``: sentences of twelve words, some with a comma."""
    words = np.array(vocabulary(), object)
    found: list[str] = []
    for lengths, numbers in _blocks(n, side, seed):
        tokens, end = words[numbers].tolist(), 0
        for length in lengths.tolist():
            text, end = tokens[end : end + length], end + length
            text[11:-1:12] = [f"{word}." for word in text[11:-1:12]]
            text[5:-1:24] = [f"{word}," for word in text[5:-1:24]]
            text[0], text[-1] = text[0].capitalize(), f"{text[-1]}."
            found.append(" ".join(text))
    return found


def counted(n: int, side: str, seed: int = 7) -> tuple[Numbers, Items, Counts]:
    """How often which word occurs in each of the first n texts, function words left out.

    Gives how many different words each text has, the words' numbers (rising within a text) and their
    counts, one text after another. Words are numbered as in ``vocabulary``, from the first that is no
    function word; they are not stemmed.
    """
    functional = _drawn_words()[0]
    parts: list[tuple[Numbers, Items, Counts]] = []
    for lengths, numbers in _blocks(n, side, seed):
        owners = np.repeat(np.arange(len(lengths)), lengths)
        content = numbers >= functional
        pairs = np.sort(owners[content] * VOCABULARY + (numbers[content] - functional))
        heads = np.flatnonzero(np.diff(pairs, prepend=-1))
        times = np.diff(heads, append=len(pairs)).astype(np.uint16)
        sizes = np.bincount(pairs[heads] // VOCABULARY, minlength=len(lengths)).astype(np.int64)
        parts.append((sizes, (pairs[heads] % VOCABULARY).astype(np.int32), times))
    return (
        np.concatenate([sizes for sizes, _, _ in parts]),
        np.concatenate([terms for _, terms, _ in parts]),
        np.concatenate([times for _, _, times in parts]),
    )
