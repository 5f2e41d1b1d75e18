# SPDX-License-Identifier: Apache-2.0
"""Keeping the catalogue in memory: read once, then brought up to date from the change log before any work.

A score therefore always belongs to a definite version of the catalogue, and nothing is ever invalidated.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Final, TypeVar

import sqlalchemy
from sqlmodel import Session, col, select

from services.matcher import listing_words
from services.matcher.engine.corpus import CityFacts, Corpus
from services.matcher.engine.exchange import Exchange, exchange_of
from services.matcher.engine.text import ANALYSIS, count_terms
from twinning import catalogue
from twinning.catalogue import Subject, TermCounts
from twinning.cities import City
from twinning.listings import Listing
from twinning.many_rows import in_batches
from twinning.terms import CityState, ListingState

# The edges of the bands are found anew once so large a share of the catalogue has changed. A small
# catalogue is always cut anew: there every listing moves them, and it costs next to nothing.
CUT_AGAIN_AFTER: Final = 0.02
ENGINE_VERSION: Final = f"t3-3/{ANALYSIS}"
# So many listings have their counts in hand at once, however large the catalogue is that is read.
AT_ONCE: Final = 5000
_Row = TypeVar("_Row", City, Listing)


class Keeper:
    """The catalogue as a matching worker holds it: a corpus, and the last change that is in it."""

    def __init__(self) -> None:
        self.corpus = Corpus()
        self.version = 0
        # Words counted here and not yet kept in the database.
        self.counted: list[TermCounts] = []
        self._cut_at = 0
        self._changed_since_cut = 0

    def catch_up(self, session: Session) -> None:
        """Bring the corpus to the version of the catalogue that this session sees."""
        latest = catalogue.latest_version(session)
        if latest == self.version:
            return
        if self.version == 0:
            self._read_all(session)
        else:
            self._read_changes(session)
        self.version = latest
        if self._changed_since_cut > CUT_AGAIN_AFTER * len(self.corpus.index):
            self.cut(session)

    def cut(self, session: Session) -> None:
        """Find the edges of the bands for the present catalogue; they are kept while it stays the same."""
        self.catch_up(session)
        if self._cut_at != self.version:
            self._cut_at = self.version
            self._changed_since_cut = 0
            self.corpus.recut()

    def _read_all(self, session: Session) -> None:
        """Start from nothing: cities, and the counted words of what is published."""
        for city in session.exec(select(City).where(City.state == CityState.REGISTERED)):
            self.corpus.put_city(facts_of(city))
        published = select(Listing.id).where(Listing.state == ListingState.PUBLISHED)
        self._put(session, session.exec(published.order_by(col(Listing.id))).all())

    def _read_changes(self, session: Session) -> None:
        """Go through what has changed since the last look, each thing once and as it is now."""
        changes = catalogue.changes_since(session, self.version)
        cities = {change.subject_id for change in changes if change.subject == Subject.CITY}
        changed = {change.subject_id for change in changes if change.subject == Subject.LISTING}
        for city in rows_of(session, City, cities):
            if city.state == CityState.REGISTERED:
                self.corpus.put_city(facts_of(city))
            else:
                self.corpus.drop_city(city.id)
        for listing_id in changed:
            self.corpus.drop_listing(listing_id)
        self._put(session, sorted(changed))
        self._changed_since_cut += len(changes)

    def _put(self, session: Session, listing_ids: Sequence[str]) -> None:
        """Put those of the listings into the corpus that are matched."""
        for some in in_batches(listing_ids, AT_ONCE):
            kept = catalogue.stored_counts(session, some, ANALYSIS)
            rows = [row for row in _outlines(session, some) if self.corpus.knows(row[2])]
            stale = [id_ for id_, _, _, revision in rows if id_ not in kept or kept[id_].revision != revision]
            said = _exchanges(session, some)
            for listing in rows_of(session, Listing, stale):
                kept[listing.id] = self._count(listing)
            entries = ((id_, kind, city_id, kept[id_].counts) for id_, kind, city_id, _ in rows)
            self.corpus.put_listings(entries, {id_: said[id_] for id_, _, _, _ in rows if id_ in said})
        self._changed_since_cut += len(listing_ids)

    def _count(self, listing: Listing) -> TermCounts:
        """Count a listing's words, once for all workers."""
        row = TermCounts(
            listing_id=listing.id,
            revision=listing.version,
            analysis=ANALYSIS,
            counts=count_terms(listing_words.text_of(listing), listing.language),
        )
        self.counted.append(row)
        return row


def facts_of(city: City) -> CityFacts:
    """Give what pairing asks of a city; partners are ids, or names for cities not registered."""
    partners = frozenset(part for name in city.existing_partners for part in (name, name.strip().casefold()))
    return CityFacts(key=city.id, name=city.name, region=city.region, partners=partners)


def _outlines(session: Session, listing_ids: Sequence[str]) -> Iterator[tuple[str, str, str, int]]:
    """Read id, kind, city and version of the published ones, without their texts."""
    for some in in_batches(listing_ids):
        query = select(Listing.id, Listing.kind, Listing.city_id, Listing.version)
        yield from session.exec(
            query.where(col(Listing.id).in_(some), Listing.state == ListingState.PUBLISHED).order_by(
                col(Listing.id)
            )
        )


def _exchanges(session: Session, listing_ids: Sequence[str]) -> dict[str, Exchange]:
    """Read what listings say of how an exchange could go, of those that say anything."""
    found: dict[str, Exchange] = {}
    for some in in_batches(listing_ids):
        said = (col(Listing.languages), col(Listing.seeks), col(Listing.months), col(Listing.party_size))
        query = sqlalchemy.select(col(Listing.id), *said, col(Listing.hosting))
        rows = session.execute(query.where(col(Listing.id).in_(some)))
        for id_, languages, seeks, months, party_size, hosting in rows:
            if languages or seeks or months or party_size is not None or hosting:
                found[id_] = exchange_of(
                    languages=languages, seeks=seeks, months=months, party_size=party_size, hosting=hosting
                )
    return found


def rows_of(session: Session, table: type[_Row], ids: Collection[str]) -> Iterator[_Row]:
    """Read cities or listings by id, some hundreds at a time."""
    for some in in_batches(ids):
        yield from session.exec(select(table).where(col(table.id).in_(some)))
