# SPDX-License-Identifier: Apache-2.0
"""Who hears of an event: which endpoints there are, and what each of them wants and may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

from sqlalchemy import Select, bindparam, or_, select
from sqlmodel import Session, col

from twinning.database import now
from twinning.dialects import Instant
from twinning.endpoints import IS_OPEN, WebhookEndpoint, matches_type
from twinning.events import EventType, Facets
from twinning.keys import ApiKey, Caller, caller_of
from twinning.terms import Band, Role


@dataclass(frozen=True, slots=True)
class Receiver:
    """An endpoint as far as it matters who hears of an event, with its owner as a caller."""

    id: str
    is_open: bool
    round_id: str | None
    event_types: list[str]
    filters: dict[str, Any]
    owner: Caller

    @classmethod
    def of(cls, row: WebhookEndpoint, owner: ApiKey) -> Self:
        """Read it from its rows."""
        return cls(row.id, row.is_open, row.round_id, row.event_types, row.filters, caller_of(owner))

    def wants(self, event_type: EventType, facets: Facets) -> bool:
        """Say whether an event goes to it: by its type, its filters, and what the owner's key may see."""
        if facets.only_endpoint is not None:
            return facets.only_endpoint == self.id
        if self.round_id is not None:
            return facets.round_id == self.round_id
        return (
            matches_type(self.event_types, event_type)
            and (self.owner.key_id == facets.for_key or self.owner.sees(facets.cities))
            and _passes(self.filters, facets)
        )


def of_events(session: Session, facets: Sequence[Facets]) -> list[Receiver]:
    """Find every endpoint that may hear of some events; an owner whose key has ended hears nothing more."""
    named = {
        "about": list({each.round_id for each in facets} - {None}),
        "meant": list({each.only_endpoint for each in facets} - {None}),
        "moment": now(),
    }
    found = []
    for id_, is_open, round_id, types, filters, *owner in session.connection().execute(_finding(), named):
        key_id, role, countries, city_id = owner
        caller = Caller(key_id, Role(role), frozenset(countries), city_id)
        found.append(Receiver(id_, is_open, round_id, types, filters, caller))
    return found


@cache
def _finding() -> Select[Any]:
    """Build the statement once: each commit with an event asks it."""
    columns: list[Any] = [
        *(WebhookEndpoint.id, IS_OPEN, WebhookEndpoint.round_id),
        *(WebhookEndpoint.event_types, WebhookEndpoint.filters),
        *(ApiKey.id, ApiKey.role, ApiKey.countries, ApiKey.city_id),
    ]
    # The callbacks of rounds that are long over are many, and none of these events is for them.
    usual = col(WebhookEndpoint.round_id).is_(None)
    callback = col(WebhookEndpoint.round_id).in_(bindparam("about", expanding=True))
    meant = col(WebhookEndpoint.id).in_(bindparam("meant", expanding=True))
    until = col(ApiKey.expires_at)
    return (
        select(*columns)
        .join(ApiKey, col(ApiKey.id) == col(WebhookEndpoint.owner_id))
        .where(
            or_(usual, callback, meant),
            col(ApiKey.revoked_at).is_(None),
            or_(until.is_(None), until > bindparam("moment", type_=Instant())),
        )
        .order_by(col(WebhookEndpoint.id))
    )


def _passes(filters: dict[str, Any], facets: Facets) -> bool:
    """Try an event against the filters; a side that the event has not is no reason to keep it back."""
    countries = filters.get("countries")
    if countries and facets.cities and not any(country in countries for _, country in facets.cities):
        return False
    themes = filters.get("themes")
    if themes and facets.themes is not None and not facets.themes.intersection(themes):
        return False
    kinds = filters.get("kinds")
    if kinds and facets.kind is not None and facets.kind not in kinds:
        return False
    least = filters.get("min_band")
    return not (least and facets.band is not None and not facets.band.reaches(Band(least)))
