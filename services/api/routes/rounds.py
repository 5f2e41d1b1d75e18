# SPDX-License-Identifier: Apache-2.0
"""Matching rounds over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from services.api import access, asking, exporting
from services.api.dependencies import Db, House, Identifier, Listed, Page, Who, etag, page
from services.api.downloads import download, files
from services.api.exporting import MEDIA_TYPES, ExportFormat
from services.api.receivers import LeadsOutside, ReceiverRoute
from twinning import rounds, suggestions
from twinning.fields import Shape
from twinning.rounds import RoundAsked, RoundPublic, RoundRequest
from twinning.suggestions import Suggestion, SuggestionPublic
from twinning.terms import RoundState

router = APIRouter(prefix="/matching-rounds", tags=["matching rounds"], route_class=ReceiverRoute)


class RoundFilter(Page):
    """Which rounds to list."""

    state: RoundState | None = None


class ExportWanted(Shape):
    """How an export is written."""

    format: ExportFormat = ExportFormat.CSV


@router.post("", status_code=202)
def ask_for_round(
    wanted: RoundRequest, session: Db, caller: Who, settings: House, answer: Response, _looked: LeadsOutside
) -> RoundAsked:
    """Ask for a round; a coordinator's and a city's is held to their own cities as learners."""
    row, secret = asking.ask_round(session, caller, wanted, settings)
    answer.headers["Location"] = f"/v1/matching-rounds/{row.id}"
    return RoundAsked(**rounds.public(session, row).model_dump(), callback_secret=secret)


@router.get("")
def list_rounds(wanted: Annotated[RoundFilter, Query()], session: Db, caller: Who) -> Listed[RoundPublic]:
    """List the rounds that this key asked for; staff sees all."""
    after = wanted.after("matching-rounds", str) or (None,)
    rows = rounds.listed(session, caller.whose, wanted.limit + 1, after[0], state=wanted.state)
    return page(wanted, rows, lambda row: rounds.public(session, row), lambda row: [row.id])


@router.get("/{round_id}")
def read_round(round_id: Identifier, session: Db, caller: Who, answer: Response) -> RoundPublic:
    """Read how far a round is and what came of it."""
    row, reader = access.readable_round(session, caller, round_id)
    told = rounds.public(session, row)
    if reader is not None:
        # Where somebody else has the result sent is between them and us.
        told = told.model_copy(update={"callback_url": None})
    answer.headers["ETag"] = etag(f"{row.version}-{told.progress.done}")
    return told


@router.post("/{round_id}/cancel")
def cancel_round(round_id: Identifier, session: Db, caller: Who) -> RoundPublic:
    """Stop a round that has not ended."""
    return rounds.public(session, asking.cancel_round(session, caller, round_id))


@router.get("/{round_id}/suggestions")
def list_round_suggestions(
    round_id: Identifier, wanted: Annotated[Page, Query()], session: Db, caller: Who
) -> Listed[SuggestionPublic]:
    """List what a round proposes, best first."""
    _, reader = access.readable_round(session, caller, round_id)
    after = wanted.after(f"rounds/{round_id}", float, int)
    rows = rounds.proposed(
        session, round_id, wanted.limit + 1, (after[0], after[1]) if after else None, reader
    )

    def show(row: tuple[int, Suggestion]) -> SuggestionPublic:
        return suggestions.public(row[1])

    return page(wanted, rows, show, lambda row: [row[1].score, row[0]])


@router.get("/{round_id}/export", responses=files(MEDIA_TYPES), response_class=Response)
def export_round(
    round_id: Identifier, wanted: Annotated[ExportWanted, Query()], session: Db, caller: Who
) -> Response:
    """Read what a round proposes as a file, best first: a row for each reason, or lines on a map.

    It names cities and listings by id, and no suggestion, round or time: the same catalogue and parameters
    give the same bytes. It never holds a contact.
    """
    _, reader = access.readable_round(session, caller, round_id)
    return download(
        lambda file: exporting.write(file, wanted.format, session, round_id, reader),
        MEDIA_TYPES[wanted.format],
        f"suggestions.{wanted.format}",
    )
