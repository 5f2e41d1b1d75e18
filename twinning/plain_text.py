# SPDX-License-Identifier: Apache-2.0
"""The text of a file as offices save it: UTF-8 with or without a mark, UTF-16 with one, Windows-1252.

A mark decides; without one it is UTF-8 if every byte fits, else Windows-1252, unless the bytes are plainly
letters of another alphabet, which would be read as nonsense and are refused.
"""

import codecs
import io
import re
from collections.abc import Iterator
from typing import IO, Final

from twinning.rows import BadFile

LONGEST_LINE: Final = 8 * 1024 * 1024
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BLOCK: Final = 1024 * 1024
_HIGH: Final = re.compile(rb"[\x80-\xff]+")
# Western texts have their accents alone or in pairs; Korean, Chinese, Cyrillic and Greek ones in rows.
_LONG_RUN: Final = 4
_UNDEFINED: Final = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")


def text_of(file: IO[bytes]) -> io.TextIOWrapper:
    """Open a file's text from its beginning; line ends stay as they are. Raises `BadFile`."""
    encoding = _encoding(file)
    file.seek(0)
    return io.TextIOWrapper(io.BufferedReader(_Kept(file)), encoding=encoding, errors="strict", newline="")


def lines(text: io.TextIOWrapper) -> Iterator[str]:
    """Give the lines of a text with their ends; raises `BadFile` for one of many megabytes."""
    number = 0
    try:
        while line := text.readline(LONGEST_LINE):
            number += 1
            if len(line) == LONGEST_LINE and not line.endswith("\n"):
                raise BadFile(f"is longer than {LONGEST_LINE} characters", line=number)
            yield line
    except UnicodeError:
        raise BadFile(f"is not {text.encoding}", line=number + 1) from None


class _Kept(io.RawIOBase):
    """A file that stays open when the text over it is closed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        found = self._file.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)


def _encoding(file: IO[bytes]) -> str:
    file.seek(0)
    head = file.read(4)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    file.seek(0)
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while block := file.read(_BLOCK):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return _western(file)
    return "utf-8"


def _western(file: IO[bytes]) -> str:
    """Take a file for Windows-1252, or say that it is neither that nor Unicode."""
    file.seek(0)
    high = in_runs = 0
    while block := file.read(_BLOCK):
        if _UNDEFINED.search(block):
            raise BadFile(_UNKNOWN)
        for run in _HIGH.findall(block):
            high += len(run)
            in_runs += len(run) if len(run) >= _LONG_RUN else 0
    if 2 * in_runs > high:
        raise BadFile(_UNKNOWN)
    return "cp1252"


_UNKNOWN: Final = "is neither UTF-8, UTF-16 with its mark, nor Windows-1252; save the file as CSV UTF-8"
