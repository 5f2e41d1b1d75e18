# SPDX-License-Identifier: Apache-2.0
"""What the tests of imports make and read: rows of a file, workbooks, texts that look like formulas."""

import io
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from openpyxl import Workbook

from twinning import table_files
from twinning.rows import Row
from twinning.table_files import TableFormat

HEADER = "kind,ref,name,country,languages,latitude,population,summary\n"
LODZ = "city,lodz,Łódź,PL,pl|en,51.77,664071,Uczące się miasto\n"


def rows(form: TableFormat, content: bytes) -> list[Row]:
    """What a file is read as."""
    return list(table_files.read(form, io.BytesIO(content)))


def csv_rows(content: bytes | str) -> list[Row]:
    """What a CSV file is read as."""
    return rows(TableFormat.CSV, content.encode() if isinstance(content, str) else content)


def workbook(*cells: Sequence[Any]) -> bytes:
    """An XLSX workbook of these rows."""
    book = Workbook()
    assert book.active is not None
    for row in cells:
        book.active.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


CONTROL = [chr(code) for code in (*range(9), 11, 12, *range(14, 32), 127)]
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=CONTROL), max_size=12)
DANGEROUS = st.sampled_from(
    ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "'=x", "''", "\uff1d1", "a|b", "[]", '["a"]', " a ", "\\|",
     "_x000D_", "a\r\nb", "\ufffe", "\uffff"]
)  # fmt: skip
WORDS = st.one_of(TEXTS, DANGEROUS)
