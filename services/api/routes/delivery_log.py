# SPDX-License-Identifier: Apache-2.0
"""The log of deliveries to all of a key's webhook endpoints."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field, field_validator

from services.api import asking
from services.api.dependencies import Db, Filter, Listed, Span, Who, page
from services.api.transactions import KeyedRoute
from twinning import delivery_log, endpoints
from twinning.delivery_log import Wanted
from twinning.events import EventType
from twinning.subscriptions import DeliveryPublic, known_type
from twinning.terms import DeliveryState

router = APIRouter(tags=["webhook endpoints"], route_class=KeyedRoute)


class DeliveriesWanted(Span):
    """Which deliveries to list; all that is given must be so."""

    endpoint_id: Annotated[Filter | None, Field(description="The endpoint's id.")] = None
    state: DeliveryState | None = None
    type: Annotated[
        list[Filter], Field(max_length=50, description="Event types, `city.*` or `*`; commas are taken.")
    ] = []

    @field_validator("type")
    @classmethod
    def _known(cls, types: list[str]) -> list[str]:
        """Read names separated by commas, too."""
        return [known_type(name) for text in types for name in text.split(",")]

    def wanted(self) -> Wanted:
        """Give the wish without its page."""
        types = [kind for kind in EventType if endpoints.matches_type(self.type, kind)]
        return Wanted(self.endpoint_id, self.state, types, self.since, self.until)


@router.get("/deliveries")
def list_all_deliveries(
    asked: Annotated[DeliveriesWanted, Query()], session: Db, caller: Who
) -> Listed[DeliveryPublic]:
    """List the deliveries to this key's endpoints with their attempts, newest first; staff sees all."""
    before = asked.after("deliveries", str) or (None,)
    rows = delivery_log.listed(session, caller.whose, asked.wanted(), asked.limit + 1, before[0])
    told = asking.show_deliveries(session, rows)
    return page(asked, told, lambda each: each, lambda each: [each.id])
