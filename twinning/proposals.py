# SPDX-License-Identifier: Apache-2.0
"""Proposals: what the engine found for a set of cities, before it is kept as a suggestion."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twinning.fields import Shape
from twinning.terms import Band, CityRole, Region, SuggestionKind


class SuggestedCity(Shape):
    """A city in a suggestion."""

    city_id: str
    name: str
    country: str
    region: Region
    role: CityRole


class Direction(Shape):
    """How well one city would learn from the other, 0 to 100."""

    learner_city_id: str
    score: float


class Term(Shape):
    """A word that both texts share and what it adds to the score; `related` words the need did not use."""

    term: str
    contribution: float
    related: bool


class Reason(Shape):
    """One need that one practice answers: contributions and `other` add up to the score."""

    need_id: str
    need_title: str
    need_city_id: str
    practice_id: str
    practice_title: str
    practice_city_id: str
    score: float
    band: Band
    terms: list[Term]
    other: float
    themes: list[str]
    need_quote: str
    practice_quote: str
    # The need's own heaviest words that the practice lacks; reasons that were kept before this name none.
    missing: list[str] = []


def key_of(kind: SuggestionKind, city_ids: Sequence[str]) -> str:
    """Name a set of cities: in order for a study visit, host first; else sorted."""
    return ":".join(city_ids if kind is SuggestionKind.STUDY_VISIT else sorted(city_ids))


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the engine found for one set of cities, ready to be kept."""

    kind: SuggestionKind
    score: float
    band: Band
    cities: tuple[SuggestedCity, ...]
    directions: tuple[Direction, ...]
    reasons: tuple[Reason, ...]
    catalogue_version: int
    engine_version: str
    min_band: Band

    @property
    def pair_key(self) -> str:
        """Name the set of cities: in order for a study visit, host first; else sorted."""
        return key_of(self.kind, [city.city_id for city in self.cities])

    def columns(self) -> dict[str, Any]:
        """Lay the proposal out as a suggestion's columns."""
        return {
            "score": self.score,
            "band": self.band,
            "cities": [city.model_dump(mode="json") for city in self.cities],
            "directions": [direction.model_dump(mode="json") for direction in self.directions],
            "reasons": [reason.model_dump(mode="json") for reason in self.reasons],
            "themes": sorted({theme for reason in self.reasons for theme in reason.themes}),
            "catalogue_version": self.catalogue_version,
            "engine_version": self.engine_version,
            "min_band": self.min_band,
        }
