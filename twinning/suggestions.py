# SPDX-License-Identifier: Apache-2.0
"""Suggestions: their tables, their shape, and the rules by which they appear, change and fall.

There is one live suggestion for each kind and set of cities. It *stands* while some learner's list
of best partners holds it; one that a round added beside those lists lives as long as its ground does.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Index, delete, or_, text, tuple_
from sqlmodel import Field, Session, SQLModel, col, select

from twinning.cities import City
from twinning.database import new_id, now
from twinning.dialects import Id, Instant, Json, holds
from twinning.errors import NotFound
from twinning.fields import Shape
from twinning.keys import Caller
from twinning.listings import Listing
from twinning.proposals import Direction, Proposal, Reason, SuggestedCity
from twinning.terms import Band, SuggestionKind, SuggestionStatus

# A score that moves by less than this, with the same reasons, is not news.
NEWS = 1.0
GONE = (SuggestionStatus.WITHDRAWN, SuggestionStatus.EXPIRED)
# Until two cities have been introduced a suggestion may still fall with its ground.
OPEN = (SuggestionStatus.PROPOSED, SuggestionStatus.ACCEPTED, SuggestionStatus.AGREED)
_LIVE = text("status NOT IN ('withdrawn', 'expired')")


class Suggestion(SQLModel, table=True):
    """One proposed study visit, twinning or seminar."""

    __table_args__ = (
        Index(
            "uq_suggestion_kind_pair_key",
            "kind",
            "pair_key",
            unique=True,
            sqlite_where=_LIVE,
            postgresql_where=_LIVE,
        ),
    )

    id: str = Field(default_factory=new_id, primary_key=True, sa_type=Id)
    kind: str = Field(max_length=20)
    pair_key: str = Field(max_length=400)
    score: float = Field(index=True)
    band: str = Field(max_length=10)
    status: str = Field(default=SuggestionStatus.PROPOSED, max_length=20)
    round_id: str | None = Field(default=None, sa_type=Id)
    catalogue_version: int = Field(sa_type=BigInteger)
    engine_version: str = Field(max_length=60)
    cities: list[dict[str, Any]] = Field(sa_type=Json)
    directions: list[dict[str, Any]] = Field(sa_type=Json)
    reasons: list[dict[str, Any]] = Field(sa_type=Json)
    themes: list[str] = Field(sa_type=Json)
    # The weakest reason it was made with: a round may ask for weak ones.
    min_band: str = Field(max_length=10)
    # The score that its last event told.
    told_score: float
    version: int = 1
    created_at: datetime = Field(default_factory=now, sa_type=Instant)
    updated_at: datetime = Field(default_factory=now, sa_type=Instant)


class SuggestionCity(SQLModel, table=True):
    """A city's part in a suggestion, and whether the city's own list of best partners holds it."""

    __tablename__ = "suggestion_city"

    suggestion_id: str = Field(primary_key=True, foreign_key="suggestion.id", sa_type=Id)
    city_id: str = Field(primary_key=True, sa_type=Id, index=True)
    country: str = Field(max_length=2, index=True)
    listed: bool = False


class SuggestionListing(SQLModel, table=True):
    """A listing that a suggestion rests on."""

    __tablename__ = "suggestion_listing"

    suggestion_id: str = Field(primary_key=True, foreign_key="suggestion.id", sa_type=Id)
    listing_id: str = Field(primary_key=True, sa_type=Id, index=True)


class SuggestionPublic(Shape):
    """A suggestion as it is read and as its events carry it."""

    id: str
    kind: SuggestionKind
    score: float
    band: Band
    status: SuggestionStatus
    round_id: str | None
    catalogue_version: int
    engine_version: str
    cities: list[SuggestedCity]
    directions: list[Direction]
    reasons: list[Reason]
    created_at: datetime
    updated_at: datetime


def create(session: Session, proposal: Proposal, round_id: str | None = None) -> Suggestion:
    """Make a new suggestion of a proposal."""
    row = Suggestion(
        kind=proposal.kind,
        pair_key=proposal.pair_key,
        round_id=round_id,
        told_score=proposal.score,
        **proposal.columns(),
    )
    session.add(row)
    # What names a suggestion by its id may only be written after it.
    session.flush()
    session.add_all(
        SuggestionCity(suggestion_id=row.id, city_id=city.city_id, country=city.country)
        for city in proposal.cities
    )
    _link_listings(session, row)
    return row


def revise(session: Session, row: Suggestion, proposal: Proposal) -> bool:
    """Bring a live suggestion to what was found now; gives whether that is news to tell."""
    columns = proposal.columns()
    if all(getattr(row, name) == value for name, value in columns.items() if name != "catalogue_version"):
        return False
    moved = row.cities != columns["cities"]
    grounds = _grounds(row.reasons) != _grounds(columns["reasons"])
    news = moved or grounds or row.band != columns["band"] or abs(row.told_score - proposal.score) >= NEWS
    for name, value in columns.items():
        setattr(row, name, value)
    row.version += 1
    row.updated_at = now()
    if news:
        row.told_score = proposal.score
    if grounds:
        session.execute(delete(SuggestionListing).where(col(SuggestionListing.suggestion_id) == row.id))
        _link_listings(session, row)
    if moved:
        countries = {city.city_id: city.country for city in proposal.cities}
        for part in _parts(session, row.id):
            part.country = countries[part.city_id]
            session.add(part)
    session.add(row)
    return news


def withdraw(session: Session, row: Suggestion) -> None:
    """Let a suggestion fall."""
    row.status = SuggestionStatus.WITHDRAWN
    row.version += 1
    row.updated_at = now()
    session.add(row)
    for part in _parts(session, row.id):
        part.listed = False
        session.add(part)


def get(session: Session, suggestion_id: str) -> Suggestion:
    """Find a suggestion; raises `NotFound`."""
    row = session.get(Suggestion, suggestion_id)
    if row is None:
        raise NotFound("There is no such suggestion.")
    return row


def listed(
    session: Session,
    caller: Caller,
    most: int,
    after: tuple[float, str] | None = None,
    *,
    kind: SuggestionKind | None = None,
    city_id: str | None = None,
    country: str | None = None,
    theme: str | None = None,
    status: SuggestionStatus | None = None,
    min_band: Band | None = None,
    text: str | None = None,
    among: Any = None,
) -> Sequence[Suggestion]:
    """Give the suggestions that a caller may see, best first; those that fell only when asked for by status.

    `among` narrows them to the ids of a sub-query, `text` is looked for in the cities' names and the titles.
    """
    query = select(Suggestion)
    live = col(Suggestion.status).not_in(GONE)
    query = query.where(live if status is None else col(Suggestion.status) == status)
    if not caller.is_staff:
        query = query.where(naming(caller.city_id, caller.countries))
    if kind is not None:
        query = query.where(Suggestion.kind == kind)
    if city_id is not None:
        query = query.where(naming(city_id, ()))
    if country is not None:
        query = query.where(naming(None, (country,)))
    if theme is not None:
        query = query.where(holds(session, Suggestion.themes, theme))
    if min_band is not None:
        query = query.where(col(Suggestion.band).in_([band for band in Band if band.reaches(min_band)]))
    if text is not None:
        query = query.where(_mentions(text))
    if among is not None:
        query = query.where(col(Suggestion.id).in_(among))
    if after is not None:
        query = query.where(tuple_(-col(Suggestion.score), col(Suggestion.id)) > tuple_(-after[0], after[1]))
    order = (col(Suggestion.score).desc(), col(Suggestion.id))
    return session.exec(query.order_by(*order).limit(most)).all()


def naming(city_id: str | None, countries: Collection[str]) -> ColumnElement[bool]:
    """Ask whether a suggestion names a city or one of some countries."""
    wanted = or_(col(SuggestionCity.city_id) == city_id, col(SuggestionCity.country).in_(countries))
    return col(Suggestion.id).in_(select(SuggestionCity.suggestion_id).where(wanted))


def _mentions(text: str) -> ColumnElement[bool]:
    """Ask whether a suggestion's cities or listings have a text in their name or title."""
    cities = (
        select(SuggestionCity.suggestion_id)
        .join(City, col(City.id) == SuggestionCity.city_id)
        .where(col(City.name).icontains(text, autoescape=True))
    )
    listings = (
        select(SuggestionListing.suggestion_id)
        .join(Listing, col(Listing.id) == SuggestionListing.listing_id)
        .where(col(Listing.title).icontains(text, autoescape=True))
    )
    return or_(col(Suggestion.id).in_(cities), col(Suggestion.id).in_(listings))


def public(row: Suggestion) -> SuggestionPublic:
    """Show a suggestion."""
    return SuggestionPublic.model_validate(row)


def cities_of(row: Suggestion) -> list[tuple[str, str]]:
    """Give the (city id, country) that a suggestion names."""
    return [(city["city_id"], city["country"]) for city in row.cities]


def _parts(session: Session, suggestion_id: str) -> Sequence[SuggestionCity]:
    query = select(SuggestionCity).where(SuggestionCity.suggestion_id == suggestion_id)
    return session.exec(query.order_by(col(SuggestionCity.city_id))).all()


def _grounds(reasons: Iterable[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """Name what a suggestion rests on, apart from figures that drift."""
    return {(reason["need_id"], reason["practice_id"], reason["band"]) for reason in reasons}


def _link_listings(session: Session, row: Suggestion) -> None:
    ids = {reason[side] for reason in row.reasons for side in ("need_id", "practice_id")}
    session.add_all(
        SuggestionListing(suggestion_id=row.id, listing_id=listing_id) for listing_id in sorted(ids)
    )
