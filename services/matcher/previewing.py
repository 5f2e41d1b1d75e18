# SPDX-License-Identifier: Apache-2.0
"""Answering previews: a text joins the catalogue in memory, is matched like any other, and leaves again."""

from sqlmodel import Session

from services.matcher.engine.corpus import CityFacts, Corpus
from services.matcher.engine.index import Match
from services.matcher.engine.reasons import Document, explain
from services.matcher.engine.store import NEED
from services.matcher.engine.text import count_terms
from services.matcher.keeping import Keeper, rows_of
from services.matcher.proposing import document_of
from services.matcher.theming import themes_in
from twinning.cities import City
from twinning.languages import detect
from twinning.listings import Listing
from twinning.previews import (
    PreviewAnswer,
    PreviewCity,
    PreviewItem,
    PreviewListing,
    PreviewRequest,
)
from twinning.proposals import Term
from twinning.reference import region_of
from twinning.terms import Band, ListingKind, Region

# Keys that no stored city or listing can have.
VISITOR, TEXT = "preview", "preview/text"


def answer(keeper: Keeper, session: Session, request: PreviewRequest) -> PreviewAnswer:
    """Say what would match a text now, best first, down to weak matches."""
    keeper.catch_up(session)
    corpus = keeper.corpus
    corpus.put_city(CityFacts(VISITOR, VISITOR, region_of(request.country)))
    try:
        corpus.put_listing(TEXT, request.as_kind, VISITOR, count_terms(request.text, detect(request.text)))
        matches = _matches(corpus, request.as_kind, request.limit)
        items = _items(corpus, session, request, matches)
    finally:
        corpus.drop_city(VISITOR)
    return PreviewAnswer(
        items=items, catalogue_version=keeper.version, suggested_themes=themes_in(request.text)
    )


def _matches(corpus: Corpus, kind: ListingKind, limit: int) -> list[Match]:
    """Rank the text; as a practice, among the needs it touches most."""
    if kind == NEED:
        return corpus.matches(TEXT, Band.WEAK, depth=limit)
    found = []
    for need in list(corpus.needs_touched(TEXT, Band.WEAK))[:limit]:
        match = corpus.index.match(need, TEXT, corpus.mask(corpus.city_of(need)))
        found.append(match._replace(band=corpus.edges.band(match.first)))
    return sorted(found, key=lambda match: (-match.score, str(match.need)))


def _items(
    corpus: Corpus, session: Session, request: PreviewRequest, matches: list[Match]
) -> list[PreviewItem]:
    """Explain each match by the listing that was found."""
    as_need = request.as_kind == NEED
    found = [str(match.practice if as_need else match.need) for match in matches]
    rows = {row.id: row for row in rows_of(session, Listing, found)}
    cities = {row.id: row for row in rows_of(session, City, {row.city_id for row in rows.values()})}
    asked = Document(title="", body=request.text, language=detect(request.text))
    items = []
    for key, match in zip(found, matches, strict=True):
        row = rows[key]
        theirs = document_of(row)
        why = explain(corpus, match, *((asked, theirs) if as_need else (theirs, asked)))
        city = cities[row.city_id]
        items.append(
            PreviewItem(
                score=why.score,
                band=why.band,
                city=PreviewCity(
                    city_id=city.id, name=city.name, country=city.country, region=Region(city.region)
                ),
                listing=PreviewListing(id=row.id, kind=ListingKind(row.kind), title=row.title),
                terms=[
                    Term(term=term.term, contribution=term.contribution, related=term.related)
                    for term in why.terms
                ],
                themes=list(row.themes),
                quote=why.practice_quote if as_need else why.need_quote,
            )
        )
    return items
