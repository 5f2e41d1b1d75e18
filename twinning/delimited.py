# SPDX-License-Identifier: Apache-2.0
"""CSV as offices have it: commas, semicolons or tabs, in any of the encodings of `plain_text`.

Written cells are safe in a spreadsheet: a text that would be taken for a formula gets an apostrophe before
it, which is taken off again when the file is read.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, Final

from twinning.columns import KIND, REF
from twinning.headers import Header, column_name
from twinning.plain_text import lines, text_of
from twinning.rows import BadFile, Row

DELIMITERS: Final = ",;\t"
# Longer cells end the reading; what is longer than a field may be is refused by its row.
LONGEST_CELL: Final = 4 * 1024 * 1024
_SAID: Final = re.compile(r'"?sep=(.)"?\s*\Z')
# The full-width signs begin a formula in spreadsheets of East Asia.
_STARTS: Final = "=+\\-@\t\r\n＝＋－＠"  # noqa: RUF001
_UNSAFE: Final = re.compile(f"'*[{_STARTS}]")
_SAFE: Final = re.compile(f"'+[{_STARTS}]")


def read(file: IO[bytes]) -> Iterator[Row]:
    """Read the rows of a CSV file; raises `BadFile`."""
    csv.field_size_limit(LONGEST_CELL)
    source = lines(text_of(file))
    first = next(source, None)
    if first is None:
        raise BadFile("the file is empty", column=KIND)
    before = 0
    delimiter = None
    if said := _SAID.match(first):
        delimiter, first, before = said.group(1), next(source, ""), 1
    delimiter = delimiter or _delimiter(first)
    yield from _rows(csv.reader(_all(first, source), delimiter=delimiter, strict=True), before)


def _all(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _rows(reader: Any, before: int) -> Iterator[Row]:
    """Read the header and then the rows under it."""
    number, line = before, before + 1
    header: Header | None = None
    while True:
        line = before + reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            raise BadFile(f"is not CSV: {error}", line=line) from None
        number += 1
        if header is None:
            header = Header(cells, line)
        elif row := header.row(number, line, cells, bare):
            yield row


def _delimiter(first: str) -> str:
    """Tell by the first line what stands between the cells: that by which its columns are found."""
    best, most = DELIMITERS[0], -1
    for delimiter in DELIMITERS:
        try:
            names = next(csv.reader([first], delimiter=delimiter), [])
        except csv.Error:
            continue
        found = {column_name(name) for name in names}
        known = len(found & {KIND, REF}) * 1000 + len(names)
        if known > most:
            best, most = delimiter, known
    return best


def bare(cell: str) -> str:
    """Take off the apostrophe that makes a cell safe."""
    return cell[1:] if _SAFE.match(cell) else cell


def safe(cell: Any) -> Any:
    """Put an apostrophe before a text that a spreadsheet would take for a formula; numbers stay."""
    return f"'{cell}" if isinstance(cell, str) and _UNSAFE.match(cell) else cell


def write(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """Write a table as CSV in UTF-8 with its mark, as spreadsheets know it by."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(names)
    yield "\ufeff".encode()
    for row in rows:
        writer.writerow([safe(cell) for cell in row])
        if buffer.tell() > 64 * 1024:
            yield _emptied(buffer)
    yield _emptied(buffer)


def _emptied(buffer: io.StringIO) -> bytes:
    content = buffer.getvalue().encode("utf-8", "replace")
    buffer.seek(0)
    buffer.truncate()
    return content
