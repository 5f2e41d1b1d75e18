# SPDX-License-Identifier: Apache-2.0
"""Imports over HTTP: a file is sent, read in the background, and reported on row by row."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from services.api import access, asking
from services.api.dependencies import Db, Identifier, Listed, Page, Who, etag, page
from services.api.downloads import download, files
from services.api.transactions import KeyedRoute
from services.api.uploads import FIELD, Sent, UploadRoute
from twinning import imports, table_files
from twinning.imports import ImportPublic, ImportReport, RefusalPublic
from twinning.table_files import MEDIA_TYPES, TableFormat
from twinning.terms import ImportState

router = APIRouter(prefix="/imports", tags=["imports"], route_class=KeyedRoute)
uploads = APIRouter(prefix="/imports", tags=["imports"], route_class=UploadRoute)

_FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "additionalProperties": False,
                    "properties": {
                        FIELD: {
                            "type": "string",
                            "contentMediaType": "application/octet-stream",
                            "description": "CSV, XLSX or JSON Lines, up to 256 MiB.",
                        }
                    },
                },
                "example": {FIELD: "kind,ref,name,country\ncity,limerick,Limerick,IE\n"},
                "encoding": {FIELD: {"contentType": ", ".join(MEDIA_TYPES.values())}},
            }
        },
    }
}


class ImportFilter(Page):
    """Which imports to list."""

    state: ImportState | None = None


@uploads.post("", status_code=202, openapi_extra=_FILE)
def import_file(sent: Sent, session: Db, caller: Who, answer: Response) -> ImportPublic:
    """Import a file of cities, practices and needs: good rows land, the others are told one by one.

    The ending of the file's name decides the format, else the part's media type. Ask again at `Location`.
    """
    row = imports.ask(session, caller.key_id, sent.name, sent.format, sent.size, sent.file)
    answer.headers["Location"] = f"/v1/imports/{row.id}"
    return imports.public(row)


@router.get("")
def list_imports(wanted: Annotated[ImportFilter, Query()], session: Db, caller: Who) -> Listed[ImportPublic]:
    """List the imports that this key asked for; staff sees all."""
    after = wanted.after("imports", str) or (None,)
    rows = imports.listed(session, caller.whose, wanted.limit + 1, after[0], state=wanted.state)
    return page(wanted, rows, imports.public, lambda row: [row.id])


@router.get("/templates/{format}", responses=files(MEDIA_TYPES), response_class=Response)
def read_template(format: TableFormat) -> Response:  # noqa: A002 - it is the name in the path
    """Read a file to start from: every column with an example of each kind; a workbook explains them, too."""
    return download(
        lambda file: table_files.template(format, file), MEDIA_TYPES[format], f"template.{format}"
    )


@router.get("/{import_id}")
def read_import(import_id: Identifier, session: Db, caller: Who, answer: Response) -> ImportReport:
    """Read how far an import is, its counts, and why rows were refused: the first thousand flaws."""
    row = access.own_import(session, caller, import_id)
    answer.headers["ETag"] = etag(row.version)
    return imports.report(session, row)


@router.get("/{import_id}/refusals")
def list_refusals(
    import_id: Identifier, wanted: Annotated[Page, Query()], session: Db, caller: Who
) -> Listed[RefusalPublic]:
    """List all that was refused, in the order of the file's rows."""
    access.own_import(session, caller, import_id)
    after = wanted.after(f"imports/{import_id}", int, int)
    rows = imports.refusals(session, import_id, wanted.limit + 1, after)
    return page(wanted, rows, imports.refusal, lambda row: [row.row, row.place])


@router.post("/{import_id}/cancel")
def cancel_import(import_id: Identifier, session: Db, caller: Who) -> ImportPublic:
    """Stop an import that has not ended; what has landed stays."""
    return imports.public(asking.cancel_import(session, caller, import_id))
