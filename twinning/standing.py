# SPDX-License-Identifier: Apache-2.0
"""What stands on the cities' lists of best partners: the questions that matching asks of it.

Each takes many cities, pairs or listings at once, since one change can touch the lists of hundreds.
"""

from collections.abc import Collection, Sequence

from sqlmodel import Session, col, select

from twinning.many_rows import in_batches
from twinning.suggestions import GONE, OPEN, Suggestion, SuggestionCity, SuggestionListing, cities_of
from twinning.terms import SuggestionKind


def set_listed(session: Session, row: Suggestion, city_id: str, listed: bool) -> None:
    """Note that a city's list of best partners holds a suggestion, or holds it no more."""
    part = session.get(SuggestionCity, (row.id, city_id))
    if part is not None and part.listed != listed:
        part.listed = listed
        session.add(part)


def is_standing(session: Session, row: Suggestion) -> bool:
    """Say whether any city's list holds a suggestion."""
    parts = (session.get(SuggestionCity, (row.id, city_id)) for city_id, _ in cities_of(row))
    return any(part is not None and part.listed for part in parts)


def listed_by(
    session: Session, kind: SuggestionKind, city_ids: Collection[str]
) -> dict[str, list[Suggestion]]:
    """Give what the lists of best partners of some cities hold now, by city."""
    found: dict[str, list[Suggestion]] = {}
    for some in in_batches(city_ids):
        query = (
            select(SuggestionCity.city_id, Suggestion)
            .join(SuggestionCity, col(SuggestionCity.suggestion_id) == Suggestion.id)
            .where(col(SuggestionCity.city_id).in_(some), SuggestionCity.listed, Suggestion.kind == kind)
        )
        for city_id, row in session.exec(query.order_by(col(Suggestion.id))):
            found.setdefault(city_id, []).append(row)
    return found


def live_pairs(session: Session, kind: SuggestionKind, pair_keys: Collection[str]) -> dict[str, Suggestion]:
    """Find the live suggestions of these sets of cities."""
    found: dict[str, Suggestion] = {}
    for some in in_batches(pair_keys):
        query = select(Suggestion).where(
            Suggestion.kind == kind, col(Suggestion.pair_key).in_(some), col(Suggestion.status).not_in(GONE)
        )
        found |= {row.pair_key: row for row in session.exec(query)}
    return found


def parts_of(session: Session, suggestion_ids: Collection[str]) -> list[SuggestionCity]:
    """Read the cities' parts in some suggestions at once; while they are held, asking for one is free."""
    found: list[SuggestionCity] = []
    for some in in_batches(suggestion_ids):
        found += session.exec(select(SuggestionCity).where(col(SuggestionCity.suggestion_id).in_(some)))
    return found


def told_of(row: Suggestion) -> dict[tuple[str, str], tuple[float, str]]:
    """Give what a suggestion rests on, as (need, practice), each with the score and band that it told."""
    return {(why["need_id"], why["practice_id"]): (why["score"], why["band"]) for why in row.reasons}


def resting_on(session: Session, listing_ids: Collection[str]) -> Sequence[Suggestion]:
    """Give the open suggestions that rest on any of these listings."""
    linked = select(SuggestionListing.suggestion_id).where(col(SuggestionListing.listing_id).in_(listing_ids))
    query = select(Suggestion).where(col(Suggestion.id).in_(linked), col(Suggestion.status).in_(OPEN))
    return session.exec(query.order_by(col(Suggestion.id))).all()


def with_cities(session: Session, city_ids: Collection[str]) -> Sequence[Suggestion]:
    """Give the open suggestions that name any of these cities, each once."""
    named = select(SuggestionCity.suggestion_id).where(col(SuggestionCity.city_id).in_(city_ids))
    query = select(Suggestion).where(col(Suggestion.id).in_(named), col(Suggestion.status).in_(OPEN))
    return session.exec(query.order_by(col(Suggestion.id))).all()
