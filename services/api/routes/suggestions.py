# SPDX-License-Identifier: Apache-2.0
"""Suggestions over HTTP: read by the cities they name, their coordinators and staff."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from services.api import access
from services.api.dependencies import Db, Filter, Identifier, Listed, Page, Who, etag, page
from services.api.transactions import KeyedRoute
from twinning import rounds, suggestions
from twinning.fields import CountryCode, Theme
from twinning.suggestions import SuggestionPublic
from twinning.terms import Band, SuggestionKind, SuggestionStatus

router = APIRouter(prefix="/suggestions", tags=["suggestions"], route_class=KeyedRoute)


class SuggestionFilter(Page):
    """Which suggestions to list; withdrawn and expired ones are given only when asked for by `status`."""

    kind: SuggestionKind | None = None
    city_id: Filter | None = None
    country: CountryCode | None = None
    theme: Theme | None = None
    status: SuggestionStatus | None = None
    round_id: Filter | None = None
    min_band: Band | None = None
    text: Filter | None = None


@router.get("")
def list_suggestions(
    wanted: Annotated[SuggestionFilter, Query()], session: Db, caller: Who
) -> Listed[SuggestionPublic]:
    """List suggestions, best first; `text` is looked for in the cities' names and the listings' titles."""
    filters = wanted.model_dump(exclude={"limit", "cursor", "round_id"})
    if wanted.round_id is not None:
        filters["among"] = rounds.proposed_ids(wanted.round_id)
    after = wanted.after("suggestions", float, str)
    rows = suggestions.listed(
        session, caller, wanted.limit + 1, (after[0], after[1]) if after else None, **filters
    )
    return page(wanted, rows, suggestions.public, lambda row: [row.score, row.id])


@router.get("/{suggestion_id}")
def read_suggestion(
    suggestion_id: Identifier, session: Db, caller: Who, answer: Response
) -> SuggestionPublic:
    """Read a suggestion with its reasons."""
    row = access.readable_suggestion(session, caller, suggestion_id)
    answer.headers["ETag"] = etag(row.version)
    return suggestions.public(row)
