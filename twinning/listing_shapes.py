# SPDX-License-Identifier: Apache-2.0
"""How practices and needs are shown: to everyone, to who looks after their city, to who registers one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from pydantic import Field, computed_field

from twinning.fields import Shape
from twinning.forms import Hosting
from twinning.terms import ListingKind, ListingState, SuggestionKind


class SuggestedTheme(Shape):
    """A theme that a text seems to be about, with a score from 0 to 1; for a person to confirm."""

    theme: str
    label: str
    score: float


class ListingPointer(Shape):
    """Another listing, by its id and title."""

    id: str
    title: str


class ListingWarning(Shape):
    """What whoever registers a listing may want to know; the listing is registered all the same."""

    code: str
    detail: str
    listing: ListingPointer


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
    # Themes that the text seems to be about; null until a matching worker has looked.
    suggested_themes: list[SuggestedTheme] | None


class PracticePublic(_Stored):
    """A practice as every key sees it; `stale` when nobody has confirmed it until `confirm_by`."""

    challenge: str | None
    outcomes: str | None
    lessons: str | None
    transfer_conditions: str | None
    hosting: Hosting | None
    confirmed_at: datetime | None
    confirm_by: date | None
    stale: bool

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


class _Owned(Shape):
    """What only those see who look after the city."""

    review_comment: str | None = None


class _Made(Shape):
    """What only whoever registers or replaces a listing is told."""

    warnings: list[ListingWarning] = Field(default=[], exclude_if=lambda warnings: not warnings)


class PracticeOwned(PracticePublic, _Owned):
    """A practice as those see it who look after its city: with what the last review said."""


class NeedOwned(NeedPublic, _Owned):
    """A need as those see it who look after its city: with what the last review said."""


class PracticeMade(PracticeOwned, _Made):
    """A practice just registered or replaced; `warnings` is there when there is something to warn of."""


class NeedMade(NeedOwned, _Made):
    """A need just registered or replaced; `warnings` is there when there is something to warn of."""


ListingPublic = PracticePublic | NeedPublic
ListingOwned = PracticeOwned | NeedOwned
ListingMade = PracticeMade | NeedMade

_OWNED: dict[str, type[PracticeOwned | NeedOwned]] = {
    ListingKind.PRACTICE: PracticeOwned,
    ListingKind.NEED: NeedOwned,
}
_MADE: dict[str, type[PracticeMade | NeedMade]] = {
    ListingKind.PRACTICE: PracticeMade,
    ListingKind.NEED: NeedMade,
}


@dataclass(frozen=True, slots=True)
class Like:
    """A listing that says nearly the same as another."""

    id: str
    kind: str
    title: str


class Stored(Protocol):
    """A listing as it is stored."""

    id: str
    kind: str
    title: str


def owned(listing: Stored) -> ListingOwned:
    """Show a listing to those who look after its city."""
    return _OWNED[listing.kind].model_validate(listing)


def made(listing: Stored, like: Sequence[Like] = ()) -> ListingMade:
    """Show a listing to who has registered or replaced it, with a warning for each that is much like it."""
    shown = _MADE[listing.kind].model_validate(listing)
    shown.warnings = [
        ListingWarning(
            code="nearly-the-same",
            detail=f"Another {other.kind} of this city says nearly the same.",
            listing=ListingPointer(id=other.id, title=other.title),
        )
        for other in like
    ]
    return shown
