# SPDX-License-Identifier: Apache-2.0
"""Listings, that is practices and needs: their table, their shapes, how they change.

Both kinds live in one table, since they are registered, matched and withdrawn alike.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from pydantic import computed_field
from sqlalchemy import Index, insert, or_, text, tuple_, update
from sqlmodel import Field, Session, SQLModel, col, select

from twinning import catalogue, work
from twinning.catalogue import Subject
from twinning.cities import City
from twinning.database import Id, Instant, Json, holds, is_id, new_id, now, table_of
from twinning.errors import Conflict, NotFound
from twinning.fields import (
    Shape,
)
from twinning.forms import Hosting, NeedCreate, NeedUpdate, PracticeCreate, PracticeUpdate
from twinning.keys import Caller
from twinning.languages import ENGLISH, detect
from twinning.reference import THEMES
from twinning.terms import ListingKind, ListingState, Region, SuggestionKind, Work

LIFE_OF_A_NEED = timedelta(days=365)


class Listing(SQLModel, table=True):
    """A practice or a need of a city."""

    __table_args__ = (
        Index(
            "uq_listing_external_ref",
            "city_id",
            "kind",
            "external_ref",
            unique=True,
            sqlite_where=text("state != 'withdrawn'"),
            postgresql_where=text("state != 'withdrawn'"),
        ),
        Index("ix_listing_kind_city_id", "kind", "city_id"),
    )

    id: str = Field(default_factory=new_id, primary_key=True, sa_type=Id)
    kind: str = Field(max_length=10)
    city_id: str = Field(foreign_key="city.id", sa_type=Id)
    external_ref: str | None = Field(default=None, max_length=200)
    state: str = Field(max_length=20)
    title: str
    description: str
    challenge: str | None = None
    outcomes: str | None = None
    lessons: str | None = None
    transfer_conditions: str | None = None
    themes: list[str] = Field(default_factory=list, sa_type=Json)
    target_groups: list[str] = Field(default_factory=list, sa_type=Json)
    languages: list[str] = Field(default_factory=list, sa_type=Json)
    # The language that its texts are written in, detected whenever they change.
    language: str = Field(default=ENGLISH, max_length=2, sa_column_kwargs={"server_default": ENGLISH})
    # A practice's hosting.
    hosting: dict[str, Any] | None = Field(default=None, sa_type=Json)
    # A need's wishes.
    strength: int | None = None
    seeks: list[str] = Field(default_factory=list, sa_type=Json)
    party_size: int | None = None
    months: list[int] = Field(default_factory=list, sa_type=Json)
    expires_on: date | None = None
    # Whether any practice answers this need; unknown until a matching worker has looked.
    unmet: bool | None = None
    version: int = 1
    created_at: datetime = Field(default_factory=now, sa_type=Instant)
    updated_at: datetime = Field(default_factory=now, sa_type=Instant)


class _Stored(Shape):
    """What the house adds to a listing."""

    id: str
    city_id: str
    created_at: datetime
    updated_at: datetime

    # Answers must be able to show what was stored under rules that have since become stricter.
    title: str
    description: str
    external_ref: str | None
    themes: list[str]
    target_groups: list[str]
    languages: list[str]
    # Found by us in the texts; `languages` are those that the city says it can speak about it in.
    language: str
    state: ListingState


class PracticePublic(_Stored):
    """A practice as every key sees it."""

    challenge: str | None
    outcomes: str | None
    lessons: str | None
    transfer_conditions: str | None
    hosting: Hosting | None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def kind(self) -> ListingKind:
        """Always `practice`."""
        return ListingKind.PRACTICE


class NeedPublic(_Stored):
    """A need as every key sees it; `unmet` is null until a matching worker has looked."""

    strength: int | None
    seeks: list[SuggestionKind]
    party_size: int | None
    months: list[int]
    expires_on: date | None
    unmet: bool | None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def kind(self) -> ListingKind:
        """Always `need`."""
        return ListingKind.NEED


ListingCreate = PracticeCreate | NeedCreate
ListingUpdate = PracticeUpdate | NeedUpdate
ListingPublic = PracticePublic | NeedPublic

_PUBLIC: dict[str, type[PracticePublic | NeedPublic]] = {
    ListingKind.PRACTICE: PracticePublic,
    ListingKind.NEED: NeedPublic,
}
_TEXTS = ("title", "description", "challenge", "outcomes", "lessons", "transfer_conditions")
_DETECTED_FROM = frozenset({*_TEXTS, "languages"})


def kind_of(wanted: ListingCreate) -> ListingKind:
    """Tell which kind is to be registered."""
    return ListingKind.PRACTICE if isinstance(wanted, PracticeCreate) else ListingKind.NEED


def register(session: Session, city: City, wanted: ListingCreate) -> Listing:
    """Register a listing of a city and ask for its matching; raises `Conflict` for a taken reference."""
    kind = kind_of(wanted)
    _keep_reference_free(session, city.id, kind, wanted.external_ref)
    listing = Listing(**new_columns(city.id, wanted))
    session.add(listing)
    _announce(session, listing)
    return listing


def register_all(session: Session, rows: Sequence[tuple[str, ListingCreate]]) -> list[ListingPublic]:
    """Register listings of cities, given by id, whose references are known to be free; in few statements."""
    moment = now()
    made = [
        {"id": new_id(), **new_columns(city_id, wanted), "created_at": moment, "updated_at": moment}
        for city_id, wanted in rows
    ]
    for kind in ListingKind:
        some = [columns for columns in made if columns["kind"] is kind]
        if some:
            session.connection().execute(insert(table_of(Listing)), some)
    for columns in made:
        catalogue.note(session, Subject.LISTING, columns["id"])
    work.enqueue_all(session, Work.MATCH_LISTING, [columns["id"] for columns in made])
    return [_shown_new(columns) for columns in made]


def _shown_new(columns: dict[str, Any]) -> ListingPublic:
    """Show a new listing without reading it back."""
    fields = {name: value for name, value in columns.items() if name != "kind"}
    if columns["kind"] is ListingKind.NEED:
        fields["unmet"] = None
    return _PUBLIC[columns["kind"]].model_validate(fields)


def references_of(
    session: Session, wanted: Iterable[tuple[str, ListingKind, str]]
) -> dict[tuple[str, str, str], Listing]:
    """Find listings by city, kind and the city's own reference, or their id in its place."""
    found: dict[tuple[str, str, str], Listing] = {}
    asked = sorted(set(wanted))
    for start in range(0, len(asked), 500):
        some = asked[start : start + 500]
        there = select(Listing).where(Listing.state != ListingState.WITHDRAWN)
        key = tuple_(col(Listing.city_id), col(Listing.kind), col(Listing.external_ref))
        ids = [reference for _, _, reference in some if is_id(reference)]
        for row in session.exec(there.where(col(Listing.id).in_(ids))) if ids else ():
            found[row.city_id, row.kind, row.id] = row
        for row in session.exec(there.where(key.in_(some))):
            found[row.city_id, row.kind, row.external_ref or ""] = row
    return found


def new_columns(city_id: str, wanted: ListingCreate) -> dict[str, Any]:
    """Lay a listing out as the columns that it begins with, its language found."""
    kind = kind_of(wanted)
    columns = _columns(wanted.model_dump(mode="json"))
    if kind is ListingKind.NEED and columns["expires_on"] is None:
        columns["expires_on"] = now().date() + LIFE_OF_A_NEED
    texts = "\n".join(text for name in _TEXTS if (text := columns.get(name)))
    return {
        "kind": kind,
        "city_id": city_id,
        **columns,
        "language": detect(texts, columns["languages"]),
    }


def difference(listing: Listing, wanted: ListingCreate) -> dict[str, Any]:
    """Give those of the sent fields that are different, as columns."""
    columns = _columns(wanted.model_dump(mode="json", include=wanted.model_fields_set))
    return {name: value for name, value in columns.items() if getattr(listing, name) != value}


def change(session: Session, listing: Listing, wanted: ListingCreate) -> frozenset[str]:
    """Change the fields that were sent; gives the names of those that are really different now."""
    columns = difference(listing, wanted)
    if columns.get("external_ref") is not None:
        _keep_reference_free(session, listing.city_id, ListingKind(listing.kind), columns["external_ref"])
    for name, value in columns.items():
        setattr(listing, name, value)
    if columns.keys() & _DETECTED_FROM:
        _detect_language(listing)
    if columns:
        _touch(session, listing)
    return frozenset(columns)


def withdraw(session: Session, listing: Listing) -> None:
    """Take a listing out; what was suggested because of it falls when the matching workers hear of it."""
    listing.state = ListingState.WITHDRAWN
    _touch(session, listing)


def get(session: Session, kind: ListingKind, listing_id: str, *, hold: bool = False) -> Listing:
    """Find a listing that is not withdrawn, held until the commit when asked; raises `NotFound`."""
    listing = session.get(Listing, listing_id, with_for_update=hold)
    if listing is None or listing.kind != kind or listing.state == ListingState.WITHDRAWN:
        raise NotFound(f"There is no such {kind}.")
    return listing


def of_city(session: Session, city_id: str) -> Sequence[Listing]:
    """Give a city's listings that are not withdrawn."""
    mine = select(Listing).where(Listing.city_id == city_id, Listing.state != ListingState.WITHDRAWN)
    return session.exec(mine.order_by(col(Listing.id))).all()


def listed(
    session: Session,
    kind: ListingKind,
    caller: Caller,
    most: int,
    after: str | None = None,
    *,
    city_id: str | None = None,
    country: str | None = None,
    region: Region | None = None,
    theme: str | None = None,
    state: ListingState | None = None,
    text: str | None = None,
    external_ref: str | None = None,
    unmet: bool | None = None,
) -> Sequence[Listing]:
    """Give the listings that a caller may see, by id; `text` is looked for in title and texts."""
    query = select(Listing).join(City, col(City.id) == Listing.city_id).where(Listing.kind == kind)
    query = query.where(Listing.state != ListingState.WITHDRAWN)
    if not caller.is_staff:
        mine = or_(col(City.id) == caller.city_id, col(City.country).in_(caller.countries))
        query = query.where(or_(col(Listing.state) == ListingState.PUBLISHED, mine))
    equal = {Listing.city_id: city_id, City.country: country, City.region: region, Listing.state: state}
    for column, value in (equal | {Listing.external_ref: external_ref, Listing.unmet: unmet}).items():
        if value is not None:
            query = query.where(column == value)
    if theme is not None:
        query = query.where(holds(session, Listing.themes, theme))
    if text is not None:
        found = (col(getattr(Listing, name)).icontains(text, autoescape=True) for name in _TEXTS)
        query = query.where(or_(*found))
    if after is not None:
        query = query.where(col(Listing.id) > after)
    return session.exec(query.order_by(col(Listing.id)).limit(most)).all()


def by_reference(session: Session, city_id: str, kind: ListingKind, reference: str) -> Listing | None:
    """Find a city's listing by the city's own reference."""
    query = select(Listing).where(
        Listing.city_id == city_id,
        Listing.kind == kind,
        Listing.external_ref == reference,
        Listing.state != ListingState.WITHDRAWN,
    )
    return session.exec(query).first()


def needs_about(session: Session, themes: Sequence[str]) -> frozenset[str]:
    """Give the ids of the published needs that bear any of these themes."""
    about = or_(*(holds(session, Listing.themes, theme) for theme in themes))
    query = select(Listing.id).where(
        Listing.kind == ListingKind.NEED, Listing.state == ListingState.PUBLISHED, about
    )
    return frozenset(session.exec(query))


def public(listing: Listing) -> ListingPublic:
    """Show a listing."""
    return _PUBLIC[listing.kind].model_validate(listing)


def is_matched(listing: Listing, city_is_registered: bool) -> bool:
    """Say whether a listing takes part in matching: published, of a registered city."""
    return city_is_registered and listing.state == ListingState.PUBLISHED


def body_of(listing: Listing) -> str:
    """Lay out what was written under a listing's title."""
    parts: list[str | None] = [getattr(listing, name) for name in _TEXTS[1:]]
    return "\n".join(part for part in parts if part)


def labels_of(listing: Listing) -> tuple[str, ...]:
    """Give the labels of a listing's themes and its target groups, which are matched as words."""
    return (
        *(THEMES[theme].label for theme in listing.themes if theme in THEMES),
        *listing.target_groups,
    )


def text_of(listing: Listing) -> str:
    """Lay out all that is matched of a listing, each part once."""
    return "\n".join((listing.title, body_of(listing), *labels_of(listing)))


def mark_unmet(session: Session, need_ids: Iterable[str], *, unmet: bool) -> None:
    """Keep whether needs are answered; it is an observation, so it makes no new version.

    A need that someone is changing at this moment is left alone: that change asks for its own matching.
    """
    for some in _batches(sorted(need_ids)):
        differing = select(Listing.id).where(
            col(Listing.id).in_(some), col(Listing.unmet).is_distinct_from(unmet)
        )
        free = session.exec(differing.with_for_update(skip_locked=True)).all()
        if free:
            session.execute(update(Listing).where(col(Listing.id).in_(free)).values(unmet=unmet))


def _batches(ids: Sequence[str], size: int = 500) -> Iterable[Sequence[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _detect_language(listing: Listing) -> None:
    """Say which language a listing is written in; the labels of its themes are always English."""
    listing.language = detect(f"{listing.title}\n{body_of(listing)}", listing.languages)


def _touch(session: Session, listing: Listing) -> None:
    listing.version += 1
    listing.updated_at = now()
    session.add(listing)
    _announce(session, listing)


def _announce(session: Session, listing: Listing) -> None:
    """Tell the change log and ask for the matching of this listing."""
    catalogue.note(session, Subject.LISTING, listing.id)
    work.enqueue(session, Work.MATCH_LISTING, listing.id)


def _columns(fields: dict[str, Any]) -> dict[str, Any]:
    """Lay a shape's fields out as columns."""
    if isinstance(fields.get("expires_on"), str):
        fields["expires_on"] = date.fromisoformat(fields["expires_on"])
    return fields


def _keep_reference_free(session: Session, city_id: str, kind: ListingKind, reference: str | None) -> None:
    if reference is not None and by_reference(session, city_id, kind, reference):
        raise Conflict(
            f"The external_ref {reference!r} is taken by another {kind} of this city.",
            code="external-ref-taken",
        )
