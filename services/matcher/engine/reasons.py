# SPDX-License-Identifier: Apache-2.0
"""Why a practice answers a need, in the words that the two cities wrote.

A reason's terms and the rest that is not listed add up to the score that is shown: a match is explained by
the very products that made it, not by a story told afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import fsum

from services.matcher.engine.corpus import Corpus
from services.matcher.engine.index import Match
from services.matcher.engine.pairing import public_score
from services.matcher.engine.text import count_terms, sentences, surfaces
from twinning.terms import Band


@dataclass(frozen=True, slots=True)
class Document:
    """What a city wrote in a listing, the ids of its themes, and labels that match but are not quoted."""

    title: str
    body: str
    themes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Term:
    """One word and its part of the score; `related` marks a word that the need did not use itself."""

    term: str
    contribution: float
    related: bool


@dataclass(frozen=True, slots=True)
class Reason:
    """The grounds of one match: the terms' contributions and `other` add up to the score."""

    score: float
    band: Band | None
    terms: tuple[Term, ...]
    other: float
    themes: tuple[str, ...]
    need_quote: str
    practice_quote: str


def explain(
    corpus: Corpus, match: Match, need_doc: Document, practice_doc: Document, limit: int = 8
) -> Reason:
    """Say why a match of this corpus, as it stands now, scores what it scores."""
    mask = corpus.mask(corpus.city_of(match.need), match.cross_region)
    parts = corpus.index.contributions(match.need, match.practice, mask)
    total = fsum(value for _, value, _ in parts)
    score = public_score(total)
    points = score / total if total else 0.0
    words = {**_words(practice_doc), **_words(need_doc)}
    terms = tuple(
        Term(words.get(stem, stem), value * points, related) for stem, value, related in parts[:limit]
    )
    worth = {stem: value for stem, value, _ in parts}
    return Reason(
        score=score,
        band=match.band,
        terms=terms,
        other=score - fsum(term.contribution for term in terms) if len(parts) > limit else 0.0,
        themes=tuple(sorted(set(need_doc.themes) & set(practice_doc.themes))),
        need_quote=_quote(need_doc, worth),
        practice_quote=_quote(practice_doc, worth),
    )


@lru_cache(maxsize=1024)
def _words(document: Document) -> Mapping[str, str]:
    """The whole words of a document by term: the text's own form first, small letters before capitals."""
    words: dict[str, str] = {}
    for part in (document.body, document.title, "\n".join(document.labels).lower()):
        for term, word in surfaces(part).items():
            if term not in words or (word.islower() and not words[term].islower()):
                words[term] = word
    return words


def _quote(document: Document, worth: Mapping[str, float]) -> str:
    """The sentence that carries most of the score; the title when the text has no part in it."""
    quote, most = document.title, 0.0
    for sentence in sentences(document.body):
        carried = fsum(worth.get(term, 0.0) for term in count_terms(sentence))
        if carried > most:
            quote, most = sentence, carried
    return quote
