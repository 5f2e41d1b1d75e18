# SPDX-License-Identifier: Apache-2.0
"""The forms that cities fill in: what is asked of a practice and of a need, and what may be changed later."""

from typing import Annotated

from pydantic import AfterValidator, Strict, field_validator
from pydantic import Field as ShapeField

from twinning.fields import (
    Count,
    Day,
    Flag,
    Languages,
    Line,
    Lines,
    Months,
    Note,
    Reference,
    SaidText,
    Shape,
    Text,
    Themes,
    once,
)
from twinning.terms import ListingState, SuggestionKind


class Hosting(Shape):
    """Whether a city shows a practice to visitors, and to how many."""

    offers_visits: Flag = True
    seats: Count | None = None
    visits_per_year: Count | None = None
    months: Months = []


class ListingFields(Shape):
    """What practices and needs have in common."""

    title: Line
    description: SaidText
    external_ref: Reference | None = None
    themes: Themes = []
    target_groups: Lines = []
    languages: Languages = []
    state: ListingState = ListingState.PUBLISHED

    @field_validator("state")
    @classmethod
    def _is_theirs_to_set(cls, state: ListingState) -> ListingState:
        """Refuse the one state that the calendar alone gives."""
        if state is ListingState.EXPIRED:
            raise ValueError("expired is not set by hand; a need expires on its expires_on")
        return state


class PracticeCreate(ListingFields):
    """A practice to be registered: something the city does well and can show others."""

    challenge: Text | None = None
    outcomes: Text | None = None
    lessons: Text | None = None
    transfer_conditions: Text | None = None
    hosting: Hosting | None = None


class NeedCreate(ListingFields):
    """A need to be registered: something the city wants to learn or solve."""

    strength: Annotated[int, Strict(), ShapeField(ge=1, le=5)] | None = None
    seeks: Annotated[
        list[SuggestionKind], AfterValidator(once), ShapeField(json_schema_extra={"uniqueItems": True})
    ] = []
    party_size: Count | None = None
    months: Months = []
    expires_on: Day | None = None


class PracticeUpdate(PracticeCreate):
    """What may be changed of a practice; a field left out stays as it is."""

    title: Line = ""
    description: SaidText = ""
    review_comment: Note | None = None


class NeedUpdate(NeedCreate):
    """What may be changed of a need; a field left out stays as it is."""

    title: Line = ""
    description: SaidText = ""
    review_comment: Note | None = None
