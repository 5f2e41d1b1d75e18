# SPDX-License-Identifier: Apache-2.0
"""API keys over HTTP, for staff; a key is shown once and ends at once."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from services.api import commands
from services.api.dependencies import Db, Identifier, IfMatch, Listed, Page, Who, etag, page
from services.api.transactions import KeyedRoute
from twinning import keys
from twinning.keys import ApiKeyCreate, ApiKeyPublic, ApiKeyShown
from twinning.terms import Role

router = APIRouter(prefix="/api-keys", tags=["keys"], route_class=KeyedRoute)


@router.post("", status_code=201)
def make_key(wanted: ApiKeyCreate, session: Db, caller: Who, answer: Response) -> ApiKeyShown:
    """Make a key; it is shown in this answer and never again."""
    row, key = commands.make_key(session, caller, wanted)
    answer.headers["ETag"] = etag(keys.VERSION)
    return ApiKeyShown(**ApiKeyPublic.model_validate(row).model_dump(), key=key)


@router.get("")
def list_keys(wanted: Annotated[Page, Query()], session: Db, caller: Who) -> Listed[ApiKeyPublic]:
    """List the live keys, each without the key itself."""
    caller.must_be(Role.STAFF)
    after = wanted.after("api-keys", str) or (None,)
    rows = keys.live(session, wanted.limit + 1, after[0])
    return page(wanted, rows, ApiKeyPublic.model_validate, lambda key: [key.id])


@router.delete("/{key_id}", status_code=204)
def revoke_key(key_id: Identifier, session: Db, caller: Who, if_match: IfMatch = None) -> None:
    """Revoke a key; it ends at once."""
    commands.revoke_key(session, caller, key_id, if_match)
