# SPDX-License-Identifier: Apache-2.0
"""The life of a listing: which state may follow which, whose words wait for a review, and how long it lasts.

Pure rules, asked by whoever changes a listing. A need ends on its `expires_on`; a practice is confirmed each
year, is shown as stale when nobody does, and is paused when nobody does for a while longer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final, Protocol

from twinning.database import now
from twinning.errors import Conflict, Forbidden, Invalid
from twinning.terms import ListingKind, ListingState

LIFE_OF_A_NEED: Final = timedelta(days=365)
CONFIRM_EVERY: Final = timedelta(days=365)
# A practice that is stale for so long is paused.
PATIENCE: Final = timedelta(days=90)

_BY_HAND: Final = frozenset(ListingState) - {ListingState.EXPIRED}
# What was never handed in, or is over, cannot be handed back.
_NOT_RETURNED: Final = _BY_HAND - {ListingState.RETURNED}

MOVES: Final[Mapping[ListingState | None, frozenset[ListingState]]] = {
    None: _BY_HAND - {ListingState.WITHDRAWN},
    ListingState.DRAFT: _NOT_RETURNED,
    ListingState.SUBMITTED: _BY_HAND,
    ListingState.RETURNED: _BY_HAND,
    ListingState.PUBLISHED: _BY_HAND | {ListingState.EXPIRED},
    ListingState.PAUSED: _BY_HAND,
    ListingState.EXPIRED: _NOT_RETURNED,
    ListingState.WITHDRAWN: frozenset(),
}
"""What a listing may become, by what it is; None is being registered. The calendar alone expires."""

CONFIRMABLE: Final = frozenset({ListingState.PUBLISHED, ListingState.PAUSED, ListingState.EXPIRED})


class Life(Protocol):
    """What these rules ask of a listing."""

    kind: str
    state: str
    approved: bool
    stale: bool
    confirm_by: date | None
    expires_on: date | None


@dataclass(frozen=True, slots=True)
class Hand:
    """Whose hand writes: whether the house moderates, and whether this is one of those who review."""

    moderated: bool = False
    reviews: bool = True

    @property
    def waits(self) -> bool:
        """Say whether what this hand writes waits for somebody else's review."""
        return self.moderated and not self.reviews


def state_after(
    present: ListingState | None, wanted: ListingState, *, approved: bool, hand: Hand
) -> ListingState:
    """Give the state that a listing gets when another is wanted; raises `Conflict` or `Forbidden`.

    What nobody has reviewed in its present words is handed in rather than published.
    """
    if wanted is ListingState.PUBLISHED and hand.waits and not approved:
        wanted = ListingState.SUBMITTED
    if wanted is present:
        return wanted
    if wanted not in MOVES[present]:
        raise Conflict(f"What is {present or 'new'} cannot become {wanted}.", code="wrong-move")
    if wanted is ListingState.RETURNED and hand.waits:
        raise Forbidden("Only a coordinator or staff return what a city has handed in.")
    return wanted


def begun(kind: ListingKind, until: date | None) -> dict[str, Any]:
    """Give the term that a listing begins with, as columns; `until` is the last day that a need names."""
    if kind is ListingKind.NEED:
        return {"expires_on": until or now().date() + LIFE_OF_A_NEED}
    return _confirmed_now()


def settled(row: Life, columns: Mapping[str, Any], hand: Hand, *, rewritten: bool) -> dict[str, Any]:
    """Work out what else changes when these columns do: the state, and what follows from it.

    `rewritten` says whether the texts change. Raises `Conflict`, `Forbidden` or `Invalid`.
    """
    present = ListingState(row.state)
    approved = row.approved and not (hand.waits and rewritten)
    wanted = ListingState(columns.get("state", present))
    more = _extended(row, columns, wanted) if row.kind == ListingKind.NEED else {}
    state = state_after(present, more.get("state", wanted), approved=approved, hand=hand)
    more |= {"state": state, "approved": approved or state is ListingState.PUBLISHED}
    if state is present:
        return more
    if (
        state is ListingState.RETURNED
        and hand.moderated
        and not (columns.get("review_comment") or "").strip()
    ):
        raise Invalid.field("/review_comment", "Say why it is returned.")
    if state is ListingState.PUBLISHED:
        more["review_comment"] = columns.get("review_comment")
    # Whoever moves a practice by hand has looked at it.
    return more | (_confirmed_now() if row.kind == ListingKind.PRACTICE else {})


def _extended(row: Life, columns: Mapping[str, Any], wanted: ListingState) -> dict[str, Any]:
    """Give a need its term; one that is over comes back when its end is moved, or begins a new term."""
    today, until = now().date(), columns.get("expires_on", row.expires_on)
    term: dict[str, Any] = {}
    if until is None and "expires_on" in columns:
        until = term["expires_on"] = today + LIFE_OF_A_NEED
    if row.state != ListingState.EXPIRED:
        return term
    over = until is not None and until < today
    if wanted is ListingState.EXPIRED and not over:
        term["state"] = ListingState.PUBLISHED
    elif wanted is ListingState.PUBLISHED and over:
        term["expires_on"] = today + LIFE_OF_A_NEED
    return term


def confirmed(row: Life) -> dict[str, Any]:
    """Give what changes when somebody says that a listing still holds, as columns.

    A practice is good for another year, and comes back if it was paused because nobody said so; a need gets
    another year from today, and comes back if it had expired. The second time in a day nothing changes.
    """
    if row.state not in CONFIRMABLE:
        raise Conflict(f"What is {row.state} is not confirmed.", code="wrong-move")
    if row.kind == ListingKind.NEED:
        term: dict[str, Any] = {"expires_on": max(row.expires_on or date.min, now().date() + LIFE_OF_A_NEED)}
    else:
        term = _confirmed_now()
        if row.confirm_by == term["confirm_by"] and not row.stale:
            return {}
    if row.state == ListingState.EXPIRED or is_lapsed(row):
        term["state"] = ListingState.PUBLISHED if row.approved else ListingState.SUBMITTED
    return term


def stays(row: Life, wanted: ListingState, until: date | None, hand: Hand, *, rewritten: bool) -> bool:
    """Say whether a listing that is sent again as a whole keeps the state that it has.

    What is sent each night is `published` by default. That is no new request where a review, the calendar or
    a missing confirmation has decided otherwise: for that the words must change, or somebody must say so.
    """
    if wanted is not ListingState.PUBLISHED:
        return False
    if row.state == ListingState.EXPIRED:
        return until is not None and until < now().date()
    handed_in = hand.waits and row.state in {ListingState.SUBMITTED, ListingState.RETURNED}
    return not rewritten and (handed_in or is_lapsed(row))


def is_lapsed(row: Life) -> bool:
    """Say whether a practice was paused because nobody confirmed it: by hand none is paused and stale."""
    return row.state == ListingState.PAUSED and row.stale


def _confirmed_now() -> dict[str, Any]:
    return {"confirmed_at": now(), "confirm_by": now().date() + CONFIRM_EVERY, "stale": False}
