# SPDX-License-Identifier: Apache-2.0
"""Proposing: from pairs of the engine to proposals with names, quotes and reasons, ready to be kept."""

from collections.abc import Iterable, Sequence

from sqlmodel import Session

from services.matcher import listing_words
from services.matcher.engine.index import Match
from services.matcher.engine.pairing import Pair
from services.matcher.engine.reasons import Document, explain
from services.matcher.keeping import ENGINE_VERSION, Keeper, rows_of
from twinning.cities import City
from twinning.listings import Listing
from twinning.proposals import Direction, Proposal, Reason, SuggestedCity, Term, key_of
from twinning.terms import Band, CityRole, Region


class Texts:
    """What was written about the cities and listings of some pairs, read in one go."""

    def __init__(self, session: Session, pairs: Iterable[Pair]) -> None:
        pairs = list(pairs)
        cities = {str(city) for pair in pairs for city in pair.cities}
        texts = {str(key) for pair in pairs for match in pair.matches for key in (match.need, match.practice)}
        self.cities = {row.id: row for row in rows_of(session, City, cities)}
        self.listings = {row.id: row for row in rows_of(session, Listing, texts)}
        self._documents = {key: document_of(row) for key, row in self.listings.items()}

    def document(self, listing: str) -> Document:
        """Give what a city wrote in a listing."""
        return self._documents[listing]


def document_of(listing: Listing) -> Document:
    """Lay out a listing as the engine explains it."""
    return Document(
        title=listing.title,
        body=listing_words.body_of(listing),
        themes=tuple(listing.themes),
        labels=listing_words.labels_of(listing),
        language=listing.language,
    )


def pair_key(pair: Pair) -> str:
    """Name a pair as its suggestion is named."""
    return key_of(pair.kind, [str(city) for city in pair.cities])


def proposals(keeper: Keeper, session: Session, pairs: Sequence[tuple[Pair, Band]]) -> list[Proposal]:
    """Explain pairs of the present catalogue, each with the weakest band that it was asked with."""
    texts = Texts(session, (pair for pair, _ in pairs))
    return [_proposal(keeper, texts, pair, min_band) for pair, min_band in pairs]


def _proposal(keeper: Keeper, texts: Texts, pair: Pair, min_band: Band) -> Proposal:
    return Proposal(
        kind=pair.kind,
        score=pair.score,
        band=pair.band or Band.WEAK,
        cities=tuple(
            _city(texts.cities[str(key)], role) for key, role in zip(pair.cities, pair.roles, strict=True)
        ),
        directions=tuple(
            Direction(learner_city_id=str(direction.learner), score=direction.score)
            for direction in pair.directions
        ),
        reasons=tuple(_reason(keeper, texts, match) for match in pair.matches),
        catalogue_version=keeper.version,
        engine_version=ENGINE_VERSION,
        min_band=min_band,
    )


def _city(city: City, role: CityRole) -> SuggestedCity:
    return SuggestedCity(
        city_id=city.id, name=city.name, country=city.country, region=Region(city.region), role=role
    )


def _reason(keeper: Keeper, texts: Texts, match: Match) -> Reason:
    need, practice = texts.listings[str(match.need)], texts.listings[str(match.practice)]
    why = explain(keeper.corpus, match, texts.document(need.id), texts.document(practice.id))
    return Reason(
        need_id=need.id,
        need_title=need.title,
        need_city_id=need.city_id,
        practice_id=practice.id,
        practice_title=practice.title,
        practice_city_id=practice.city_id,
        score=why.score,
        band=why.band or Band.WEAK,
        terms=[
            Term(term=term.term, contribution=term.contribution, related=term.related) for term in why.terms
        ],
        other=why.other,
        themes=list(why.themes),
        need_quote=why.need_quote,
        practice_quote=why.practice_quote,
        missing=list(why.missing),
    )
