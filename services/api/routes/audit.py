# SPDX-License-Identifier: Apache-2.0
"""The audit log over HTTP, for staff: who did what, when and from where."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from services.api.dependencies import Db, Filter, Listed, Span, Who, page
from services.api.transactions import KeyedRoute
from twinning import audit
from twinning.audit import AuditPublic, Wanted
from twinning.terms import Role

router = APIRouter(prefix="/audit", tags=["audit"], route_class=KeyedRoute)


class AuditWanted(Span):
    """Which entries to list; all that is given must be so."""

    key_id: Annotated[Filter | None, Field(description="Done with this key.")] = None
    action: Annotated[
        Filter | None, Field(description="Such as `city.updated`, or `city.*` for all that was done to any.")
    ] = None
    object_type: Annotated[Filter | None, Field(description="Such as `city` or `webhook_endpoint`.")] = None
    object_id: Annotated[Filter | None, Field(description="Done to this object.")] = None
    city_id: Annotated[Filter | None, Field(description="About this city or what belongs to it.")] = None


@router.get("")
def list_audit(wanted: Annotated[AuditWanted, Query()], session: Db, caller: Who) -> Listed[AuditPublic]:
    """List what was done, newest first; an entry names the fields that were changed, not what they hold."""
    caller.must_be(Role.STAFF)
    before = wanted.after("audit", str) or (None,)
    asked = Wanted(**wanted.model_dump(exclude={"limit", "cursor"}))
    rows = audit.listed(session, asked, wanted.limit + 1, before[0])
    return page(wanted, rows, AuditPublic.model_validate, lambda row: [row.id])
