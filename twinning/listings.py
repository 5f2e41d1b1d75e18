# SPDX-License-Identifier: Apache-2.0
"""Listings, that is practices and needs: their table and how they change.

Both kinds live in one table, since they are registered, matched and withdrawn alike.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from functools import cache
from typing import Any

from sqlalchemy import Index, false, inspect, text, true
from sqlmodel import Field, Session, SQLModel, col, select

from twinning import catalogue, lifecycle, repeats, work
from twinning.catalogue import Subject
from twinning.database import HELD, before_commit, new_id, now
from twinning.dialects import Id, Instant, Json
from twinning.errors import Conflict, NotFound
from twinning.forms import NeedCreate, NeedUpdate, PracticeCreate, PracticeUpdate
from twinning.inserting import insert_rows
from twinning.languages import ENGLISH, detect
from twinning.lifecycle import Hand, state_after
from twinning.listing_shapes import ListingPublic, NeedPublic, PracticePublic
from twinning.terms import ListingKind, ListingState, Work

HOUSE = Hand()


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
        # A page of one kind, however many there are.
        Index("ix_listing_kind_id", "kind", "id"),
        *(
            Index(f"ix_listing_{name}", name, sqlite_where=text(its), postgresql_where=text(its))
            for name, its in dict.fromkeys(("expires_on", "confirm_by"), "state = 'published'").items()
        ),
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
    # A practice's yearly confirmation.
    confirmed_at: datetime | None = Field(default=None, sa_type=Instant)
    confirm_by: date | None = None
    stale: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    # Whether its present words need no review, and what the last review said.
    approved: bool = Field(default=True, sa_column_kwargs={"server_default": true()})
    review_comment: str | None = None
    # Themes that its texts seem to be about; unknown until a matching worker has looked.
    suggested_themes: list[dict[str, Any]] | None = Field(default=None, sa_type=Json)
    # Whether any practice answers this need; unknown until a matching worker has looked.
    unmet: bool | None = None
    version: int = 1
    created_at: datetime = Field(default_factory=now, sa_type=Instant)
    updated_at: datetime = Field(default_factory=now, sa_type=Instant)


ListingCreate = PracticeCreate | NeedCreate
ListingUpdate = PracticeUpdate | NeedUpdate

_PUBLIC: dict[str, type[PracticePublic | NeedPublic]] = {
    ListingKind.PRACTICE: PracticePublic,
    ListingKind.NEED: NeedPublic,
}
_SHOWN = {kind: tuple(shape.model_fields) for kind, shape in _PUBLIC.items()}
# What a city writes, in the order in which it is read.
WRITTEN = ("title", "description", "challenge", "outcomes", "lessons", "transfer_conditions")
_DETECTED_FROM = frozenset({*WRITTEN, "languages"})
TEXTS = frozenset(WRITTEN)
_MARKED_FROM = TEXTS | {"state"}
# A change of these alone is nobody's news but the city's, and one of those no matter for the matching.
UNTOLD = frozenset({"approved", "review_comment"})
_UNMATCHED = UNTOLD | {"confirmed_at", "confirm_by", "stale", "expires_on"}
# Whose term ends is looked at by one unit of work for all.
ALL = "all"


def kind_of(wanted: ListingCreate) -> ListingKind:
    """Tell which kind is to be registered."""
    return ListingKind.PRACTICE if isinstance(wanted, PracticeCreate) else ListingKind.NEED


def register(session: Session, city_id: str, wanted: ListingCreate, hand: Hand = HOUSE) -> Listing:
    """Register a listing of a city and ask for its matching; raises `Conflict` for a taken reference."""
    kind = kind_of(wanted)
    _keep_reference_free(session, city_id, kind, wanted.external_ref)
    moment = now()
    # Named here, since a default costs more than its value.
    made: dict[str, Any] = {"id": new_id(), "created_at": moment, "updated_at": moment}
    listing = _laid_out({**made, **new_columns(city_id, wanted, hand)})
    session.add(listing)
    before_commit(session, "listings", _write_new)
    repeats.mark(session, listing.id, marks_of(listing))
    _announce(session, listing)
    return listing


def _laid_out(columns: Mapping[str, Any]) -> Listing:
    """Make a listing as one that is read from the database is made; column by column takes far longer."""
    listing: Listing = inspect(Listing).class_manager.new_instance()
    vars(listing).update(_blank(), **columns)
    return listing


@cache
def _blank() -> dict[str, Any]:
    """Give the columns that a listing has when nothing is said of them; nobody changes lists in place."""
    row = Listing(id="", kind="", city_id="", state="", title="", description="")
    return {name: value for name, value in vars(row).items() if name in Listing.model_fields}


def _write_new(session: Session) -> None:
    """Write at once what is registered and not yet written, after all that it refers to."""
    new = [row for row in session.new if isinstance(row, Listing)]
    for listing in new:
        session.expunge(listing)
    session.flush()
    insert_rows(session, Listing, new)


def change(session: Session, listing: Listing, wanted: ListingCreate, hand: Hand = HOUSE) -> frozenset[str]:
    """Change the fields that were sent; gives the names of those that are really different now."""
    columns = _columns(wanted.model_dump(mode="json", include=wanted.model_fields_set))
    if columns.get("external_ref") not in {None, listing.external_ref}:
        _keep_reference_free(session, listing.city_id, ListingKind(listing.kind), columns["external_ref"])
    rewritten = any(columns[name] != getattr(listing, name) for name in columns.keys() & TEXTS)
    return _apply(session, listing, columns | lifecycle.settled(listing, columns, hand, rewritten=rewritten))


def confirm(session: Session, listing: Listing) -> frozenset[str]:
    """Say that a listing still holds; gives what is different now: nothing the second time in a day."""
    return _apply(session, listing, lifecycle.confirmed(listing))


def stays(listing: Listing, wanted: ListingCreate, hand: Hand) -> bool:
    """Say whether a listing sent again, as each night, leaves the state that it has now.

    A field that is not sent counts as it would be stored: whoever keeps it should take it from the listing.
    """
    rewritten = any(getattr(wanted, name, None) != getattr(listing, name) for name in WRITTEN)
    until = getattr(wanted, "expires_on", None)
    return lifecycle.stays(listing, wanted.state, until, hand, rewritten=rewritten)


def _apply(session: Session, listing: Listing, columns: dict[str, Any]) -> frozenset[str]:
    changed = frozenset(name for name, value in columns.items() if getattr(listing, name) != value)
    was = marks_of(listing) if changed & _MARKED_FROM else ()
    for name in changed:
        setattr(listing, name, columns[name])
    if changed & _DETECTED_FROM:
        _detect_language(listing)
    if changed & _MARKED_FROM:
        repeats.mark(session, listing.id, marks_of(listing), was)
    if changed:
        _touch(session, listing, changed)
    return changed


def new_columns(city_id: str, wanted: ListingCreate, hand: Hand = HOUSE) -> dict[str, Any]:
    """Lay a listing out as the columns that it begins with: its state, its term, its language found."""
    kind = kind_of(wanted)
    columns = _columns(wanted.model_dump(mode="json"))
    approved = not hand.waits
    return {
        "kind": kind,
        "city_id": city_id,
        **columns,
        **lifecycle.begun(kind, columns.get("expires_on")),
        "approved": approved,
        "state": state_after(None, wanted.state, approved=approved, hand=hand),
        "language": detect(written(columns), columns["languages"]),
    }


def difference(listing: Listing, wanted: ListingCreate) -> dict[str, Any]:
    """Give those of the sent fields that are different, as columns."""
    columns = _columns(wanted.model_dump(mode="json", include=wanted.model_fields_set))
    return {name: value for name, value in columns.items() if getattr(listing, name) != value}


def is_over(columns: Mapping[str, Any]) -> bool:
    """Say whether a listing, as columns, is published though its term is over."""
    until = columns.get("expires_on")
    return until is not None and until < now().date() and columns["state"] == ListingState.PUBLISHED


def expire(session: Session, listing: Listing) -> None:
    """End a need whose term is over."""
    _apply(session, listing, {"state": ListingState.EXPIRED})


def lapse(session: Session, listing: Listing) -> None:
    """Show a practice that nobody has confirmed as stale; one that has been so for long is paused."""
    if listing.stale:
        _apply(session, listing, {"state": ListingState.PAUSED})
    else:
        _apply(session, listing, {"stale": True})


def withdraw(session: Session, listing: Listing) -> None:
    """Take a listing out; what was suggested because of it falls when the matching workers hear of it."""
    _apply(session, listing, {"state": ListingState.WITHDRAWN})


def get(session: Session, kind: ListingKind, listing_id: str, *, hold: bool = False) -> Listing:
    """Find a listing that is not withdrawn, held until the commit when asked; raises `NotFound`."""
    # What was read before the wait may have changed meanwhile.
    listing = session.get(Listing, listing_id, with_for_update=hold and HELD, populate_existing=hold)
    if listing is None or listing.kind != kind or listing.state == ListingState.WITHDRAWN:
        raise NotFound(f"There is no such {kind}.")
    return listing


def of_city(session: Session, city_id: str) -> Sequence[Listing]:
    """Give a city's listings that are not withdrawn, and hold them until the commit."""
    mine = select(Listing).where(Listing.city_id == city_id, Listing.state != ListingState.WITHDRAWN)
    return session.exec(mine.order_by(col(Listing.id)).with_for_update(key_share=True)).all()


def by_reference(
    session: Session, city_id: str, kind: ListingKind, reference: str, *, hold: bool = False
) -> Listing | None:
    """Find a city's listing by the city's own reference, held until the commit when asked."""
    query = select(Listing).where(
        Listing.city_id == city_id,
        Listing.kind == kind,
        Listing.external_ref == reference,
        Listing.state != ListingState.WITHDRAWN,
    )
    return session.exec(query.with_for_update(key_share=True) if hold else query).first()


def public(listing: Listing) -> ListingPublic:
    """Show a listing."""
    return _PUBLIC[listing.kind].model_validate(listing)


def public_of(columns: Mapping[str, Any]) -> ListingPublic:
    """Show a new listing from the columns that it begins with, without reading it back."""
    kind = columns["kind"]
    return _PUBLIC[kind].model_validate({name: columns.get(name) for name in _SHOWN[kind]})


def marks_of(listing: Listing) -> Sequence[int]:
    """Mark a listing's words, for those that look for its like; one that is withdrawn is like no other."""
    if listing.state == ListingState.WITHDRAWN:
        return ()
    return repeats.remembered_marks_of(listing.city_id, listing.kind, written_by(listing))


def written_by(listing: Listing) -> str:
    """Lay out what a city wrote, from a listing."""
    return written({name: getattr(listing, name) for name in WRITTEN})


def written(columns: Mapping[str, Any]) -> str:
    """Lay out what a city wrote, from a listing's columns."""
    return "\n".join(text for name in WRITTEN if (text := columns.get(name)))


def _detect_language(listing: Listing) -> None:
    """Say which language a listing is written in; the labels of its themes are always English."""
    listing.language = detect(written_by(listing), listing.languages)


def _touch(session: Session, listing: Listing, changed: Collection[str]) -> None:
    listing.version += 1
    listing.updated_at = now()
    session.add(listing)
    _announce(session, listing, matching=not _UNMATCHED.issuperset(changed))


def _announce(session: Session, listing: Listing, *, matching: bool = True) -> None:
    """Tell the change log, ask for the matching of this listing, and for the end of a need that is over."""
    if matching:
        catalogue.note(session, Subject.LISTING, listing.id)
        work.enqueue(session, Work.MATCH_LISTING, listing.id)
    if is_over(listing.__dict__):
        work.enqueue(session, Work.DEADLINES, ALL)


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
