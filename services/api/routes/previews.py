# SPDX-License-Identifier: Apache-2.0
"""Previews over HTTP: what would match a text, now."""

from fastapi import APIRouter, Request, Response

from services.api import access, asking
from services.api.dependencies import Db, Identifier, Who
from services.api.transactions import KeyedRoute
from twinning import previews
from twinning.fields import Shape
from twinning.previews import PreviewAnswer, PreviewRequest

router = APIRouter(prefix="/matches/preview", tags=["previews"], route_class=KeyedRoute)


class PreviewWaiting(Shape):
    """No worker has answered yet; ask again at `Location`."""

    id: str
    detail: str = "No worker has answered yet; ask again at the address in Location."


_LATER = {202: {"model": PreviewWaiting, "description": "No worker answered in 5 s; ask at `Location`."}}


@router.post("", response_model=PreviewAnswer, responses=_LATER)  # type: ignore[arg-type]
def preview(wanted: PreviewRequest, session: Db, caller: Who, request: Request) -> Response:
    """Say what would match this text, taken as a need or a practice of a country; stores no listing."""
    row = previews.ask(session, wanted, caller.key_id)
    request.state.afterwards = asking.preview_afterwards(row.id)
    return _waiting(row.id)


@router.get("/{preview_id}", response_model=PreviewAnswer, responses=_LATER)  # type: ignore[arg-type]
def read_preview(preview_id: Identifier, session: Db, caller: Who) -> Response:
    """Ask again for a preview that took longer."""
    row = access.own_preview(session, caller, preview_id)
    return asking.preview_answer(row) or _waiting(row.id)


def _waiting(preview_id: str) -> Response:
    answer = asking.written(PreviewWaiting(id=preview_id))
    answer.status_code = 202
    answer.headers["Location"] = f"/v1/matches/preview/{preview_id}"
    return answer
