# SPDX-License-Identifier: Apache-2.0
"""The rules of the life of a listing, without a database."""

from dataclasses import dataclass
from datetime import date, timedelta

import pytest

from twinning import lifecycle
from twinning.database import now
from twinning.errors import Conflict, Forbidden, Invalid
from twinning.lifecycle import MOVES, Hand, state_after
from twinning.terms import ListingState

ANYONE, CITY, KEEPER = Hand(), Hand(moderated=True, reviews=False), Hand(moderated=True)
DRAFT, SUBMITTED, PUBLISHED = ListingState.DRAFT, ListingState.SUBMITTED, ListingState.PUBLISHED
RETURNED, PAUSED, EXPIRED = ListingState.RETURNED, ListingState.PAUSED, ListingState.EXPIRED


@dataclass
class Row:
    """A listing as far as the rules ask."""

    kind: str = "practice"
    state: str = PUBLISHED
    approved: bool = True
    stale: bool = False
    confirm_by: date | None = None
    expires_on: date | None = None


def test_every_state_has_its_moves() -> None:
    """The table has each state; only what is published expires, and nothing comes back from the dead."""
    assert set(MOVES) == {None, *ListingState}
    assert {before for before, after in MOVES.items() if EXPIRED in after} == {PUBLISHED}
    assert MOVES[ListingState.WITHDRAWN] == frozenset()


@pytest.mark.parametrize(
    ("hand", "present", "wanted", "approved", "after"),
    [
        (ANYONE, None, PUBLISHED, True, PUBLISHED),
        (ANYONE, SUBMITTED, PUBLISHED, False, PUBLISHED),
        (CITY, None, PUBLISHED, False, SUBMITTED),
        (CITY, None, DRAFT, False, DRAFT),
        (CITY, DRAFT, PUBLISHED, False, SUBMITTED),
        (CITY, RETURNED, PUBLISHED, False, SUBMITTED),
        (CITY, PAUSED, PUBLISHED, True, PUBLISHED),
        (CITY, PAUSED, PUBLISHED, False, SUBMITTED),
        (CITY, PUBLISHED, PUBLISHED, False, SUBMITTED),
        (CITY, EXPIRED, PUBLISHED, True, PUBLISHED),
        (KEEPER, SUBMITTED, PUBLISHED, False, PUBLISHED),
        (KEEPER, SUBMITTED, RETURNED, False, RETURNED),
        (CITY, SUBMITTED, RETURNED, False, Forbidden),
        (CITY, RETURNED, RETURNED, False, RETURNED),
        (KEEPER, DRAFT, RETURNED, False, Conflict),
        (ANYONE, EXPIRED, RETURNED, True, Conflict),
    ],
)
def test_what_becomes_of_a_wish(
    hand: Hand,
    present: ListingState | None,
    wanted: ListingState,
    approved: bool,
    after: ListingState | type[Exception],
) -> None:
    """A city's words are handed in until they were reviewed; who reviews publishes and returns."""
    if isinstance(after, ListingState):
        assert state_after(present, wanted, approved=approved, hand=hand) is after
    else:
        with pytest.raises(after):
            state_after(present, wanted, approved=approved, hand=hand)


def test_new_words_are_reviewed_again() -> None:
    """A city that rewrites what is published hands it in again; a coordinator who does so publishes it."""
    row = Row()

    assert lifecycle.settled(row, {"title": "New"}, CITY, rewritten=True)["state"] is SUBMITTED
    assert lifecycle.settled(row, {"title": "New"}, KEEPER, rewritten=True)["state"] is PUBLISHED
    assert lifecycle.settled(row, {"title": "New"}, ANYONE, rewritten=True)["state"] is PUBLISHED
    assert lifecycle.settled(row, {"months": [1]}, CITY, rewritten=False)["state"] is PUBLISHED


@pytest.mark.parametrize("comment", [None, "", "  "])
def test_who_returns_says_why(comment: str | None) -> None:
    """Where the house moderates, a listing is returned with a comment; elsewhere as anybody likes."""
    columns = {"state": RETURNED, "review_comment": comment}
    with pytest.raises(Invalid):
        lifecycle.settled(Row(state=SUBMITTED), columns, KEEPER, rewritten=False)

    assert lifecycle.settled(Row(state=SUBMITTED), columns, ANYONE, rewritten=False)["state"] is RETURNED


@pytest.mark.parametrize(
    ("row", "hand", "rewritten", "until", "stays"),
    [
        (Row(state=SUBMITTED), CITY, False, None, True),
        (Row(state=RETURNED), CITY, False, None, True),
        (Row(state=RETURNED), CITY, True, None, False),
        (Row(state=RETURNED), KEEPER, False, None, False),
        (Row(state=RETURNED), ANYONE, False, None, False),
        (Row(state=PAUSED, stale=True), ANYONE, False, None, True),
        (Row(state=PAUSED, stale=True), ANYONE, True, None, False),
        (Row(state=PAUSED), ANYONE, False, None, False),
        (Row(kind="need", state=EXPIRED), ANYONE, False, date(2020, 1, 1), True),
        (Row(kind="need", state=EXPIRED), ANYONE, False, None, False),
    ],
)
def test_what_a_nightly_list_leaves_alone(
    row: Row, hand: Hand, rewritten: bool, until: date | None, stays: bool
) -> None:
    """Sent again as it was, a listing stays what a review, the calendar or a missing word has made of it."""
    assert lifecycle.stays(row, PUBLISHED, until, hand, rewritten=rewritten) is stays


def test_a_confirmation_is_good_for_a_year() -> None:
    """It moves the end by a year from today, brings back what had lapsed, and does nothing twice in a day."""
    year = now().date() + timedelta(days=365)
    stale = lifecycle.confirmed(Row(state=PAUSED, stale=True, confirm_by=date(2020, 1, 1)))
    over = lifecycle.confirmed(Row(kind="need", state=EXPIRED, expires_on=date(2020, 1, 1)))

    assert (stale["confirm_by"], stale["stale"], stale["state"]) == (year, False, PUBLISHED)
    assert over == {"expires_on": year, "state": PUBLISHED}
    assert lifecycle.confirmed(Row(confirm_by=year)) == {}
    assert "state" not in lifecycle.confirmed(Row(state=PAUSED, confirm_by=date(2020, 1, 1)))
    with pytest.raises(Conflict):
        lifecycle.confirmed(Row(state=DRAFT))
