# SPDX-License-Identifier: Apache-2.0
"""From a text to the terms it is matched by, and back to the words its author wrote.

Words are cut after Unicode NFKC and lower-casing, stop words go, the rest becomes English Snowball stems of
its American spelling. Scripts that put no spaces between words, or hang particles on them (Han, Kana, Hangul,
Thai, Lao, Khmer, Burmese), are taken as bigrams of characters instead, combining marks staying with their
letter.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise

import Stemmer

from services.matcher.engine.spelling import american

ANALYSIS = "snowball-en.stop-153.us-spelling.bigrams.1"
"""Names the way texts are cut; counts kept under another name are to be counted anew."""

LONGEST_TERM = 64
"""Characters of a word that count; longer ones are blobs of data, and no stem is."""

_STOP_LIST = """
    a about above after again against ain all am an and any are aren as at be because been before being
    below between both but by can couldn d did didn do does doesn doing don down during each few for from
    further had hadn has hasn have haven having he her here hers herself him himself his how i if in into is
    isn it its itself just ll m ma me mightn more most mustn my myself needn no nor not now o of off on once
    only or other our ours ourselves out over own re s same shan she should shouldn so some such t than that
    the their theirs them themselves then there these they this those through to too under until up ve very
    was wasn we were weren what when where which while who whom why will with won wouldn y you your yours
    yourself yourselves
"""

STOP_WORDS = frozenset(_STOP_LIST.split())
"""Words too common to tell one text from another."""

# Blocks of the scripts that are cut into bigrams; digits and punctuation inside them are left out below.
_UNSPACED_BLOCKS = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1100, 0x11FF), (0x1780, 0x17FF), (0x19E0, 0x19FF),
    (0x3005, 0x3007), (0x3040, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF),
    (0xA960, 0xA97F), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F), (0xAC00, 0xD7FF), (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F), (0x1AFF0, 0x1B16F), (0x20000, 0x3FFFF),
)  # fmt: skip


def _character_class(ranges: Iterable[tuple[int, int]]) -> str:
    """The inside of a regular expression's brackets for some ranges of code points."""
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)


def _spaced_marks() -> str:
    """Combining marks of the scripts that do put spaces between words; they belong to the word."""
    unspaced = {code for first, last in _UNSPACED_BLOCKS for code in range(first, min(last, 0x1800) + 1)}
    marks = (code for code in range(0x0300, 0x1AFF) if unicodedata.category(chr(code))[0] == "M")
    return _character_class((code, code) for code in marks if code not in unspaced)


_UNSPACED = _character_class(_UNSPACED_BLOCKS)
_HAS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_WORD = re.compile(rf"[\w{_spaced_marks()}]{{2,}}")
_RUN = re.compile(rf"[{_UNSPACED}]+|(?:(?![{_UNSPACED}])[\w{_spaced_marks()}])+")
_CLOSING = "\"')\\]\u2019\u201d\u300d\u300f\uff09"
_SENTENCE_END = re.compile(
    rf"[.!?\u2026]+[{_CLOSING}]*\s+(?=[^\sa-z])|[\u3002\uff01\uff1f][{_CLOSING}]*\s*|\s*\n\s*"
)
_stem = Stemmer.Stemmer("english").stemWord


@lru_cache(maxsize=1 << 16)
def _term(word: str) -> str | None:
    """The stem of one lower-case word, or None when it is a stop word."""
    return None if word in STOP_WORDS else _stem(american(word[:LONGEST_TERM]))


def _clusters(run: str) -> Iterator[str]:
    """The letters of a run, each with its combining marks; what is no letter gives an empty string."""
    cluster = ""
    for character in run:
        category = unicodedata.category(character)[0]
        if category == "M" and cluster:
            cluster += character
            continue
        if cluster:
            yield cluster
        cluster = character if category in "LN" else ""
        if not cluster:
            yield ""
    if cluster:
        yield cluster


def _bigrams(run: str) -> Iterator[str]:
    """Each two letters that stand side by side; a letter that stands alone, by itself."""
    stretch: list[str] = []
    for cluster in [*_clusters(run), ""]:
        if cluster:
            stretch.append(cluster)
            continue
        if len(stretch) == 1:
            yield stretch[0]
        yield from map("".join, pairwise(stretch))
        stretch = []


def _terms(normal: str) -> Iterator[str]:
    """The terms of a text that is already in NFKC and lower case, in order, with repeats."""
    if not _HAS_UNSPACED.search(normal):
        yield from (term for term in map(_term, _WORD.findall(normal)) if term)
        return
    for run in _RUN.findall(normal):
        if _HAS_UNSPACED.match(run):
            yield from _bigrams(run)
        elif len(run) > 1 and (term := _term(run)):
            yield term


def count_terms(text: str) -> dict[str, int]:
    """How often each term occurs in a text; empty for a text without any."""
    normal = unicodedata.normalize("NFKC", text).lower()
    if _HAS_UNSPACED.search(normal):
        return dict(Counter(_terms(normal)))
    counts: dict[str, int] = {}
    for word, times in Counter(_WORD.findall(normal)).items():
        if term := _term(word):
            counts[term] = counts.get(term, 0) + times
    return counts


def surfaces(text: str) -> dict[str, str]:
    """For each term of a text a word as its author wrote it: the first, or the first without capitals."""
    found: dict[str, str] = {}
    for run in _RUN.findall(text):
        for term in _terms(unicodedata.normalize("NFKC", run).lower()):
            word = term if _HAS_UNSPACED.match(run) else run
            if term not in found or (word.islower() and not found[term].islower()):
                found[term] = word
    return found | {term: term for term in count_terms(text) if term not in found}


def sentences(text: str) -> list[str]:
    """The sentences of a text, each a verbatim slice of it without the white space around it."""
    found, start = [], 0
    for end in _SENTENCE_END.finditer(text):
        found.append(text[start : end.end()].strip())
        start = end.end()
    found.append(text[start:].strip())
    return [sentence for sentence in found if sentence]
