# SPDX-License-Identifier: Apache-2.0
"""XLSX written row by row: the same rows give the same bytes, and no text is ever taken for a formula."""

import re
import shutil
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter
from openpyxl.writer.excel import ExcelWriter

# The first moment that an archive can name.
_STILL: Final = (1980, 1, 1, 0, 0, 0)
_BEGINNING: Final = datetime(*_STILL, tzinfo=UTC).replace(tzinfo=None)
# What a reader would take for an escaped character.
_LIKE_AN_ESCAPE: Final = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)")
_ESCAPED: Final = {"\r": "_x000D_", "\ufffe": "_xFFFE_", "\uffff": "_xFFFF_"}
_TO_ESCAPE: Final = re.compile("|".join(_ESCAPED))
_BOLD: Final = Font(bold=True)
_WIDTH: Final = 24

Table = tuple[Sequence[str], Iterable[Sequence[Any]]]


def write(file: IO[bytes], sheets: Mapping[str, Table]) -> None:
    """Write a workbook of some sheets, each with a header and rows of texts, numbers and truths."""
    book = Workbook(write_only=True)
    book.properties.created = book.properties.modified = _BEGINNING
    for name, (names, rows) in sheets.items():
        sheet = book.create_sheet(name)
        sheet.freeze_panes = "A2"
        for place in range(1, len(names) + 1):
            sheet.column_dimensions[get_column_letter(place)].width = _WIDTH
        sheet.append([_cell(sheet, column, bold=True) for column in names])
        for row in rows:
            sheet.append([_cell(sheet, value) for value in row])
    with _StillArchive(file, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
        ExcelWriter(book, archive).save()


def _cell(sheet: Any, value: Any, *, bold: bool = False) -> Any:
    cell = WriteOnlyCell(sheet, value if not isinstance(value, str | float) else None)
    if isinstance(value, float):
        # All its digits, of which the library would drop some.
        cell._value, cell.data_type = repr(value), "n"  # noqa: SLF001
    if not isinstance(value, str):
        return cell
    # Set past the library's own setter, which reads a text that begins with = as a formula.
    cell._value, cell.data_type = _escaped(value), "s"  # noqa: SLF001
    if bold:
        cell.font = _BOLD
    return cell


def _escaped(text: str) -> str:
    """Spell what XML cannot hold, or would change, as spreadsheets do."""
    return _TO_ESCAPE.sub(lambda found: _ESCAPED[found.group()], _LIKE_AN_ESCAPE.sub("_x005F_", text))


class _StillArchive(zipfile.ZipFile):
    """An archive whose entries bear no time."""

    def writestr(self, zinfo_or_arcname: Any, data: Any, *_: Any, **__: Any) -> None:
        """Add a part."""
        super().writestr(self._entry(str(zinfo_or_arcname)), data, zipfile.ZIP_DEFLATED)

    def write(self, filename: Any, arcname: Any = None, *_: Any, **__: Any) -> None:
        """Add a part from a file."""
        entry = self._entry(str(arcname))
        with Path(filename).open("rb") as source, self.open(entry, "w", force_zip64=True) as part:
            shutil.copyfileobj(source, part, 64 * 1024)

    def _entry(self, name: str) -> zipfile.ZipInfo:
        entry = zipfile.ZipInfo(name, _STILL)
        entry.compress_type = zipfile.ZIP_DEFLATED
        return entry
