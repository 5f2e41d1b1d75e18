# SPDX-License-Identifier: Apache-2.0
"""Why a practice answers a need, in the words that the two cities wrote.

A reason's terms and the rest that is not listed add up to the score that is shown: a match is explained by
the very products that made it, not by a story told afterwards. Pieces of words and letters of unspaced
scripts count to the word that holds them.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import fsum

import numpy as np

from services.matcher.engine import weights
from services.matcher.engine.corpus import Corpus
from services.matcher.engine.index import Match
from services.matcher.engine.lists import HIGHEST_COUNT
from services.matcher.engine.pairing import public_score
from services.matcher.engine.sentences import sentences
from services.matcher.engine.text import count_terms, is_unspaced, normal, surfaces, words
from twinning.terms import Band

MOST_MISSING = 5
"""So many of a need's words that the practice lacks are named."""

_LONGEST_MISSING = 24
"""Characters of a missing word at most: longer ones are whole clauses of unspaced scripts."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a city wrote in a listing, the ids of its themes, and labels that match but are not quoted.

    `language` is that of title and body (ISO 639-1): the one that its words were counted in.
    """

    title: str
    body: str
    themes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    language: str = "en"

    @property
    def parts(self) -> tuple[str, str, str]:
        """All that is matched of it: the body, the title, and the labels as running words."""
        return self.body, self.title, "\n".join(self.labels).lower()


@dataclass(frozen=True, slots=True)
class Term:
    """One word and its part of the score; `related` marks a word that the need did not use itself."""

    term: str
    contribution: float
    related: bool


@dataclass(frozen=True, slots=True)
class Reason:
    """The grounds of one match: the terms' contributions and `other` add up to the score.

    `missing` names the need's own heaviest words that the practice does not have.
    """

    score: float
    band: Band | None
    terms: tuple[Term, ...]
    other: float
    themes: tuple[str, ...]
    need_quote: str
    practice_quote: str
    missing: tuple[str, ...] = ()


def explain(
    corpus: Corpus, match: Match, need_doc: Document, practice_doc: Document, limit: int = 8
) -> Reason:
    """Say why a match of this corpus, as it stands now, scores what it scores."""
    mask = corpus.mask(corpus.city_of(match.need), match.cross_region)
    parts = corpus.index.contributions(match.need, match.practice, mask)
    total = fsum(value for _, value, _ in parts)
    score = public_score(total)
    points = score / total if total else 0.0
    # A few letters of a word that the need does not have are no word that could be shown.
    shown = [part for part in parts if not (part[2] and is_unspaced(part[0]))]
    terms = _credited(shown, need_doc, practice_doc, points)
    told = [term.contribution for term in terms[:limit]]
    worth = {stem: value for stem, value, _ in parts}
    return Reason(
        score=score,
        band=match.band,
        terms=tuple(terms[:limit]),
        other=score - fsum(told) if len(terms) > limit or len(shown) < len(parts) else 0.0,
        themes=tuple(sorted(set(need_doc.themes) & set(practice_doc.themes))),
        need_quote=_quote(need_doc, worth),
        practice_quote=_quote(practice_doc, worth),
        missing=_missing(corpus, need_doc, practice_doc),
    )


def _credited(
    parts: Iterable[tuple[str, float, bool]], need_doc: Document, practice_doc: Document, points: float
) -> list[Term]:
    """The products summed by the word that is shown for them, the heaviest first."""
    parts = list(parts)
    # Words of English need no telling which of them matched; so their texts are looked at once.
    among = frozenset(
        term for term, _, related in parts if not related and not (term.isascii() and term.isalnum())
    )
    shown = {**_words(practice_doc, among), **_words(need_doc, among)}
    sums: dict[str, tuple[str, list[float], bool]] = {}
    for term, value, related in parts:
        word = shown.get(term, term)
        first, values, all_related = sums.get(normal(word), (word, [], True))
        sums[normal(word)] = first, [*values, value], all_related and related
    found = [Term(word, fsum(values) * points, related) for word, values, related in sums.values()]
    return sorted(found, key=lambda term: -term.contribution)


@lru_cache(maxsize=1024)
def _words(document: Document, among: Collection[str]) -> Mapping[str, str]:
    """The whole words of a document by term: the text's own form first, small letters before capitals."""
    found: dict[str, str] = {}
    for part in document.parts:
        for term, word in surfaces(part, document.language, among).items():
            if term not in found or (word.islower() and not found[term].islower()):
                found[term] = word
    return found


@lru_cache(maxsize=1024)
def _counts(document: Document) -> Mapping[str, int]:
    """How often each term occurs in a document."""
    return count_terms("\n".join(document.parts), document.language)


def _missing(corpus: Corpus, need_doc: Document, practice_doc: Document) -> tuple[str, ...]:
    """The need's heaviest words of which the practice has no part; of equal ones the earlier."""
    own, theirs = _counts(need_doc), _counts(practice_doc)
    lacking = [(terms[0], word) for word, terms in _nameable(need_doc) if theirs.keys().isdisjoint(terms)]
    if not lacking:
        return ()
    frequency = np.array([corpus.index.frequency(term) for term, _ in lacking], np.int64)
    times = np.array([min(own.get(term, 1), HIGHEST_COUNT) for term, _ in lacking])
    weight = weights.idf(len(corpus.index), frequency) * weights.NEED_WEIGHT[times]
    heaviest = np.argsort(-weight, kind="stable")[:MOST_MISSING]
    return tuple(lacking[place][1] for place in heaviest.tolist())


@lru_cache(maxsize=1024)
def _nameable(document: Document) -> list[tuple[str, list[str]]]:
    """Each word of a document that is worth naming, once, with its terms: no numbers and no whole clauses."""
    found: dict[str, tuple[str, list[str]]] = {}
    for part in (document.title, document.body):
        for word, terms in words(part, document.language):
            if 1 < len(word) <= _LONGEST_MISSING and not any(map(str.isdigit, word)):
                found.setdefault(terms[0], (word, terms))
    return list(found.values())


def _quote(document: Document, worth: Mapping[str, float]) -> str:
    """The sentence that carries most of the score; the title when the text has no part in it."""
    quote, most = document.title, 0.0
    for sentence, terms in _sentences(document):
        carried = fsum(worth.get(term, 0.0) for term in terms)
        if carried > most:
            quote, most = sentence, carried
    return quote


@lru_cache(maxsize=1024)
def _sentences(document: Document) -> list[tuple[str, list[str]]]:
    """The sentences of a document's body, each with its terms."""
    return [
        (sentence, list(count_terms(sentence, document.language))) for sentence in sentences(document.body)
    ]
