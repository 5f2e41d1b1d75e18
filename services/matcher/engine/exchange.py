# SPDX-License-Identifier: Apache-2.0
"""What listings say of how an exchange could go, and which exchanges that leaves possible.

These are conditions, not merits: they decide who is listed with whom and never change a score.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from twinning.terms import SuggestionKind

HOSTED = (SuggestionKind.STUDY_VISIT, SuggestionKind.SEMINAR)
"""Kinds in which people travel to see a practice, so that its host's conditions count."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A listing's conditions: `seeks` and `party_size` of a need, seats and visits of a practice.

    An empty set and None mean that nothing is said, which excludes nothing.
    """

    seeks: frozenset[str] = frozenset()
    languages: frozenset[str] = frozenset()
    months: frozenset[int] = frozenset()
    party_size: int | None = None
    offers_visits: bool = True
    seats: int | None = None
    visits_per_year: int | None = None

    def takes_part(self, kind: str | None) -> bool:
        """Whether a need takes part in a kind of suggestion: in those that it seeks, or in all."""
        return kind is None or not self.seeks or kind in self.seeks


NOTHING_SAID = Exchange()


def exchange_of(
    *,
    languages: Collection[str] = (),
    seeks: Collection[str] = (),
    months: Collection[int] = (),
    party_size: int | None = None,
    hosting: Mapping[str, Any] | None = None,
) -> Exchange:
    """The conditions of a listing from its fields; a practice has its months and seats in `hosting`."""
    shown = hosting or {}
    told = Exchange(
        seeks=frozenset(seeks),
        languages=frozenset(languages),
        months=frozenset(shown.get("months") or months),
        party_size=party_size,
        offers_visits=bool(shown.get("offers_visits", True)),
        seats=shown.get("seats"),
        visits_per_year=shown.get("visits_per_year"),
    )
    # Most listings say nothing; they share one object.
    return NOTHING_SAID if told == NOTHING_SAID else told


def agree(need: Exchange, practice: Exchange, kind: str | None) -> bool:
    """Whether a need and a practice can come together in a kind; None asks for what holds in all kinds.

    A language in common is asked for in every kind. Where people travel the practice must be shown, in a
    month that suits both, to a party that has seats.
    """
    if need.languages and practice.languages and need.languages.isdisjoint(practice.languages):
        return False
    if not need.takes_part(kind):
        return False
    if kind not in HOSTED:
        return True
    if need.months and practice.months and need.months.isdisjoint(practice.months):
        return False
    room = need.party_size is None or practice.seats is None or need.party_size <= practice.seats
    return practice.offers_visits and room
