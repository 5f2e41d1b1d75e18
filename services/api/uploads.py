# SPDX-License-Identifier: Apache-2.0
"""A route that takes a file: `multipart/form-data` with one part, read to disk and never into memory.

The key is asked for before the first byte is read, a file that is too large is refused by its announced
length or as soon as it has become so, and the transaction begins when the whole file is there.
"""

import hashlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import IO, Annotated, Never

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.responses import Response

from services.api.bodies import Body, escape
from services.api.transactions import Handler, KeyedRoute, caller_of, house_of
from twinning.errors import Invalid
from twinning.imports import LONGEST_FILE
from twinning.rows import told
from twinning.table_files import TableFormat, format_of

FIELD = "file"
# What surrounds the file: boundaries, and the headers of its part.
ROUND_IT = 64 * 1024
_TAKEN = "A file of CSV (.csv, .tsv), XLSX (.xlsx) or JSON Lines (.jsonl, .ndjson) is taken"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was sent: its name, its format, its length in bytes, and itself."""

    name: str
    format: TableFormat
    size: int
    file: IO[bytes]


class UploadRoute(KeyedRoute):
    """A route whose body is a file: read once, and long to write."""

    ALONE = frozenset({"POST"})

    def get_route_handler(self) -> Handler:
        """Let go of the file when the request is over, however it ends."""
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            request.state.upload = None
            try:
                return await inner(request)
            finally:
                if request.state.upload is not None:
                    request.state.upload.file.close()

        return handle

    async def read_body(self, request: Request) -> Body:
        """Read the file to disk; gives what stands for it when a request is compared with an earlier one."""
        await run_in_threadpool(_must_have_key, request)
        part = await _read(request)
        if isinstance(part, HTTPException | Invalid):
            return Body(b"", wrong=part)
        upload, digest = await run_in_threadpool(_upload_of, part)
        request.state.upload = upload
        return Body(digest + told(upload.name).encode())


async def _upload(request: Request) -> Upload:
    upload: Upload = request.state.upload
    return upload


Sent = Annotated[Upload, Depends(_upload)]


def _must_have_key(request: Request) -> None:
    with house_of(request).database.snapshot() as session:
        caller_of(request, session)


async def _read(request: Request) -> UploadFile | HTTPException | Invalid:
    """Read the one part of the body; gives the error that the rest of the request has to wait for."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        return HTTPException(415, f"Send multipart/form-data with the file in the field {FIELD}.")
    _must_fit(request)
    parser = MultiPartParser(
        Headers(raw=request.headers.raw), _bounded(request), max_files=1, max_fields=8, max_part_size=ROUND_IT
    )
    try:
        form = await parser.parse()
    except (MultiPartException, UnicodeError) as error:
        return HTTPException(400, f"The body is not multipart/form-data: {told(str(error))[:200]}")
    return _only_file(form)


def _only_file(form: FormData) -> UploadFile | HTTPException | Invalid:
    """Find the file in a form that holds nothing else, and see that its format is known."""
    for name, part in form.multi_items():
        if name != FIELD:
            return Invalid.field(f"/{escape(told(name)[:100])}", "is not known here")
        if not isinstance(part, UploadFile):
            return Invalid.field(f"/{FIELD}", "is not a file; give the part a filename")
    part = form.get(FIELD, "")
    if not isinstance(part, UploadFile):
        return Invalid.field(f"/{FIELD}", "is missing")
    if format_of(part.filename or "", part.content_type or "") is None:
        return HTTPException(415, f"{_TAKEN}; the name's ending decides, else the part's media type.")
    return part


def _must_fit(request: Request) -> None:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > LONGEST_FILE + ROUND_IT:
        _too_large()


async def _bounded(request: Request) -> AsyncGenerator[bytes, None]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > LONGEST_FILE + ROUND_IT:
            _too_large()
        yield chunk


def _too_large() -> Never:
    raise HTTPException(
        413, f"A file may have {LONGEST_FILE} bytes at most; cut it in two.", {"Connection": "close"}
    )


def _upload_of(part: UploadFile) -> tuple[Upload, bytes]:
    """Look the file through once: how long it is, and the hash that stands for it."""
    part.file.seek(0)
    digest, size = hashlib.sha256(), 0
    while block := part.file.read(1024 * 1024):
        digest.update(block)
        size += len(block)
    name = part.filename or ""
    form = format_of(name, part.content_type or "")
    assert form is not None
    return Upload(name, form, size, part.file), digest.digest()
