# SPDX-License-Identifier: Apache-2.0
"""Previews: what would match a text now; asked of the matching workers, stored as no listing."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import Field as ShapeField
from pydantic import Strict
from sqlalchemy import delete
from sqlmodel import Field, Session, SQLModel, col

from twinning import work
from twinning.database import new_id, now
from twinning.dialects import Id, Instant, Json
from twinning.errors import NotFound
from twinning.fields import CountryCode, SaidText, Shape
from twinning.listing_shapes import SuggestedTheme
from twinning.proposals import Term
from twinning.terms import Band, ListingKind, Region, Work

KEPT: Final = timedelta(days=1)


class Preview(SQLModel, table=True):
    """A preview asked for, and its answer once a worker has given it."""

    id: str = Field(default_factory=new_id, primary_key=True, sa_type=Id)
    asked_by: str = Field(sa_type=Id)
    request: dict[str, Any] = Field(sa_type=Json)
    answer: dict[str, Any] | None = Field(default=None, sa_type=Json)
    created_at: datetime = Field(default_factory=now, sa_type=Instant, index=True)


class PreviewRequest(Shape):
    """A text to be matched as a need or a practice of some country."""

    text: SaidText
    as_kind: ListingKind = ShapeField(alias="as")
    country: CountryCode
    limit: Annotated[int, Strict(), ShapeField(ge=1, le=50)] = 10


class PreviewCity(Shape):
    """The city of a listing that matches."""

    city_id: str
    name: str
    country: str
    region: Region


class PreviewListing(Shape):
    """A listing that matches."""

    id: str
    kind: ListingKind
    title: str


class PreviewItem(Shape):
    """One match of the text, with its reasons; `band` is null below every band."""

    score: float
    band: Band | None
    city: PreviewCity
    listing: PreviewListing
    terms: list[Term]
    themes: list[str]
    quote: str


class PreviewAnswer(Shape):
    """What would match, best first, at one version of the catalogue, and themes that the text may bear."""

    items: list[PreviewItem]
    catalogue_version: int
    # Answers from before there were any have none.
    suggested_themes: list[SuggestedTheme] = []


def ask(session: Session, wanted: PreviewRequest, asked_by: str) -> Preview:
    """Ask the matching workers for a preview."""
    row = Preview(asked_by=asked_by, request=wanted.model_dump(mode="json", by_alias=True))
    session.add(row)
    work.enqueue(session, Work.PREVIEW, row.id)
    return row


def get(session: Session, preview_id: str) -> Preview:
    """Find a preview; raises `NotFound`."""
    row = session.get(Preview, preview_id)
    if row is None:
        raise NotFound("There is no such preview.")
    return row


def forget_old(session: Session) -> None:
    """Delete the previews that nobody will ask for again."""
    session.execute(delete(Preview).where(col(Preview.created_at) < now() - KEPT))
