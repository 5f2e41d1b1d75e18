# SPDX-License-Identifier: Apache-2.0
"""Files to download: written to disk in the request's transaction, then streamed.

So a reader that is slow holds a file and no place at the database, and what goes wrong while it is written is
still told as a problem.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from starlette.responses import StreamingResponse

BLOCK = 64 * 1024
# Smaller files need no disk.
IN_MEMORY = 1024 * 1024


def download(write: Callable[[IO[bytes]], object], media_type: str, filename: str) -> StreamingResponse:
    """Write a file and give the answer that streams it."""
    file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - the answer closes it
    try:
        write(file)
        size = file.tell()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return StreamingResponse(
        _blocks(file),
        media_type=media_type,
        headers={
            "Content-Length": str(size),
            "Content-Disposition": f'attachment; filename="{filename}"',
        },
    )


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while block := file.read(BLOCK):
            yield block


def files(media_types: Mapping[Any, str]) -> dict[int | str, dict[str, Any]]:
    """Describe an answer that is a file of one of some media types."""
    content = {
        media_type: {"schema": {"type": "string"}, "example": "…"} for media_type in media_types.values()
    }
    return {200: {"description": "The file.", "content": content}}
