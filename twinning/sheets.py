# SPDX-License-Identifier: Apache-2.0
"""XLSX in bounded memory, however large or hostile the file: its first sheet is read row by row.

A workbook is an archive of XML. Its directory is judged before anything is unpacked; nothing between two
rows, and no part that is read as a whole, may be longer than some megabytes; the table of texts that
spreadsheets share between cells lies in a file. openpyxl reads with defusedxml, which refuses entities.
"""

import tempfile
import warnings
import zipfile
import zlib
from array import array
from collections.abc import Iterator
from datetime import timedelta
from typing import IO, Any, Final, Self
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse
from openpyxl.reader.excel import ExcelReader
from openpyxl.styles.stylesheet import apply_stylesheet
from openpyxl.utils import get_column_letter
from openpyxl.utils.cell import coordinate_to_tuple
from openpyxl.utils.escape import unescape
from openpyxl.utils.exceptions import InvalidFileException
from openpyxl.worksheet._reader import WorkSheetParser
from openpyxl.xml.constants import SHARED_STRINGS, SHEET_MAIN_NS

from twinning.columns import KIND
from twinning.headers import Header
from twinning.rows import BadFile, Row, wrong

MOST_UNPACKED: Final = 1024 * 1024 * 1024
MOST_RATIO: Final = 200
# Below this a workbook may be as dense as it likes.
SMALL: Final = 16 * 1024 * 1024
LONGEST_PART: Final = 8 * 1024 * 1024
MOST_ENTRIES: Final = 2000
# What spreadsheets know.
MOST_ROWS: Final = 1_048_576
_ITEM: Final = f"{{{SHEET_MAIN_NS}}}si"
_INLINE: Final = f"{{{SHEET_MAIN_NS}}}is"
_TEXT: Final = f"{{{SHEET_MAIN_NS}}}t"
_PHONETIC: Final = f"{{{SHEET_MAIN_NS}}}rPh"
_BROKEN: Final = (
    ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError, OSError, OverflowError,
    NotImplementedError, RuntimeError, UnicodeError, ParseError, zipfile.BadZipFile, zlib.error,
    InvalidFileException, DefusedXmlException,
)  # fmt: skip


def read(file: IO[bytes]) -> Iterator[Row]:
    """Read the rows of a workbook's first sheet; raises `BadFile`."""
    with warnings.catch_warnings(), tempfile.TemporaryFile() as texts:
        # The library warns of what it leaves out, which is nothing that is read here.
        warnings.simplefilter("ignore")
        try:
            reader = _Reader(file, _Texts(texts))
            reader.read()
        except _BROKEN as error:
            raise BadFile(f"the file is not an XLSX workbook: {_why(error)}", column="file") from None
        yield from _rows(reader)


def _why(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__


def _rows(reader: "_Reader") -> Iterator[Row]:
    header: Header | None = None
    last = 0
    for number, cells in _parsed(reader):
        if not last < number <= MOST_ROWS:
            raise BadFile("the rows are not in order, or more than a sheet has", line=last + 1)
        last = number
        if not cells:
            continue
        if header is None:
            header = _header(number, cells)
        elif row := _row(header, number, cells):
            yield row
    if header is None:
        raise BadFile("the file is empty", column=KIND)


def _parsed(reader: "_Reader") -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Give the rows of a sheet with those of their cells that hold something."""
    book = reader.wb
    number = 0
    try:
        with reader.archive.open(reader.sheet) as source:
            parser = _Cells(
                source,
                reader.shared_strings,
                epoch=book.epoch,
                date_formats=book._date_formats,  # noqa: SLF001
                timedelta_formats=book._timedelta_formats,  # noqa: SLF001
            )
            for number, cells in parser.parse():
                source.forget()
                # What the parser keeps of rows and formulae for writing them again would grow for ever.
                parser.row_dimensions.clear()
                parser.shared_formulae.clear()
                yield number, [cell for cell in cells if cell["value"] is not None]
    except _BROKEN as error:
        raise BadFile(f"the sheet cannot be read further: {_why(error)}", line=number + 1) from None


def _header(number: int, cells: list[dict[str, Any]]) -> Header:
    """Read the header; a name stands at the place of its column."""
    widest = cells[-1]["column"]
    if widest > LONGEST_PART:
        raise BadFile("has a column beyond any sheet", line=number)
    names = [""] * min(widest, 10_000_000)
    for cell in cells:
        names[cell["column"] - 1] = str(cell["value"])
    return Header(names, number)


def _row(header: Header, number: int, cells: list[dict[str, Any]]) -> Row | None:
    laid: list[Any] = [None] * (len(header.names) + 1)
    for cell in cells:
        place = min(cell["column"], len(laid)) - 1
        kind, value = cell["data_type"], cell["value"]
        if kind in {"f", "e"}:
            name = f"{get_column_letter(min(cell['column'], 18278))}{number}"
            what = "a formula" if kind == "f" else f"the error {value}"
            column = header.names[place] if place < len(header.names) else ""
            reason = f"cell {name} holds {what}; put its value there"
            return Row(number, number, wrong=(wrong(column or "row", None, reason),))
        if isinstance(value, timedelta):
            value = str(value)
        laid[place] = unescape(value) if isinstance(value, str) and "_x" in value else value
    return header.row(number, number, laid)


class _Cells(WorkSheetParser):  # type: ignore[misc]
    """openpyxl's parser, with a short way for what most cells of an export hold: one text of one piece."""

    def parse_cell(self, element: Any) -> dict[str, Any]:
        """Read a cell."""
        inner = element[0] if len(element) == 1 else None
        place = element.get("r")
        if inner is None or inner.tag != _INLINE or len(inner) != 1 or inner[0].tag != _TEXT or not place:
            found: dict[str, Any] = super().parse_cell(element)
            return found
        row, self.col_counter = coordinate_to_tuple(place)
        text = inner[0].text
        return {"row": row, "column": self.col_counter, "value": text, "data_type": "s", "style_id": 0}


class _Texts:
    """The texts that cells share, in a file: a list that holds none of them in memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._ends = array("Q", [0])

    def add(self, text: str) -> None:
        """Add one at the end."""
        content = text.encode("utf-8", "surrogatepass")
        self._file.write(content)
        self._ends.append(self._ends[-1] + len(content))

    def __getitem__(self, place: int) -> str:
        if not 0 <= place < len(self._ends) - 1:
            raise ValueError("a cell names a text that is not there")
        begin, end = self._ends[place], self._ends[place + 1]
        self._file.seek(begin)
        return self._file.read(end - begin).decode("utf-8", "surrogatepass")


class _Reader(ExcelReader):  # type: ignore[misc]
    """openpyxl's reader on an archive that is judged first and read in pieces of bounded length."""

    def __init__(self, file: IO[bytes], texts: _Texts) -> None:
        self.archive = _Archive(file)
        self.valid_files = self.archive.namelist()
        self.read_only, self.keep_vba, self.data_only = True, False, False
        self.keep_links, self.rich_text = False, False
        self.shared_strings = texts
        self.sheet = ""

    def read(self) -> None:
        """Read what is needed of the workbook, and find its first sheet that is not hidden."""
        self.read_manifest()
        self.read_strings()
        self.read_workbook()
        apply_stylesheet(self.archive, self.wb)
        for sheet, relation in self.parser.find_sheets():
            seen = sheet.state == "visible" and relation.target in self.valid_files
            if seen and "chartsheet" not in relation.Type:
                self.sheet = relation.target
                return
        raise ValueError("it has no sheet")

    def read_strings(self) -> None:
        """Lay the shared texts out in the file."""
        part = self.package.find(SHARED_STRINGS)
        if part is None:
            return
        with self.archive.open(part.PartName[1:]) as source:
            for event, element in iterparse(source, ("start", "end")):
                if event == "start" and element.tag == _ITEM:
                    source.forget()
                elif event == "end" and element.tag == _PHONETIC:
                    element.clear()
                elif event == "end" and element.tag == _ITEM:
                    self.shared_strings.add("".join(text.text or "" for text in element.iter(_TEXT)))
                    element.clear()


class _Archive(zipfile.ZipFile):
    """A workbook's archive: no bomb, and no part of it is read without measure."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        entries = self.infolist()
        unpacked = sum(entry.file_size for entry in entries)
        packed = sum(entry.compress_size for entry in entries) or 1
        if len(entries) > MOST_ENTRIES:
            raise ValueError(f"it has {len(entries)} parts")
        if unpacked > MOST_UNPACKED or (unpacked > SMALL and unpacked > MOST_RATIO * packed):
            size = f"{unpacked // 1024 // 1024} MB, {unpacked // packed} times its size"
            raise ValueError(f"it would unpack to {size}")

    def read(self, name: Any, pwd: bytes | None = None) -> bytes:
        """Read a part as a whole."""
        with self.open(name, pwd=pwd) as source:
            return source.read()

    def open(self, name: Any, mode: Any = "r", pwd: bytes | None = None, **more: Any) -> "_Measured":  # type: ignore[override]
        """Open a part."""
        return _Measured(super().open(name, mode, pwd, **more))


class _Measured:
    """A part of an archive that gives so many bytes at most until it is told to forget."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._since = 0

    def read(self, size: int = -1) -> bytes:
        """Read on; raises `ValueError` when it has become too much."""
        found = self._source.read(size if size >= 0 else LONGEST_PART + 1)
        self._since += len(found)
        if self._since > LONGEST_PART:
            raise ValueError(f"a part or a row of it is longer than {LONGEST_PART // 1024 // 1024} MB")
        return found

    def forget(self) -> None:
        """Count from nothing again: what was read is dealt with."""
        self._since = 0

    def close(self) -> None:
        """Close it."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
