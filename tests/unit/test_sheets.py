# SPDX-License-Identifier: Apache-2.0
"""Workbooks as offices save them and as attackers would."""

import io
import zipfile
from collections.abc import Callable
from datetime import date, datetime

import pytest
from openpyxl.xml.constants import SHARED_STRINGS

from tests.tables import rows, workbook
from twinning import table_files
from twinning.rows import BadFile
from twinning.table_files import TableFormat


def test_a_workbook_is_read_by_what_its_cells_are() -> None:
    """Numbers, dates and truths of a sheet become what their fields hold, and numbers may be references."""
    header = ["kind", "ref", "city_ref", "title", "strength", "expires_on", "hosting.offers_visits", "months"]
    read = rows(
        TableFormat.XLSX,
        workbook(
            header,
            ["need", 17, "a", 2024, 4.0, datetime.fromisoformat("2027-03-01"), None, "5|9"],
            [],
            ["practice", "p", 3.0, date(2027, 1, 1), None, None, True, 4],
        ),
    )

    assert [(row.number, row.fields) for row in read] == [
        (2, {"kind": "need", "ref": "17", "city_ref": "a", "title": "2024", "strength": 4,
             "expires_on": "2027-03-01", "months": [5, 9]}),
        (4, {"kind": "practice", "ref": "p", "city_ref": "3", "title": "2027-01-01",
             "hosting": {"offers_visits": True}, "months": [4]}),
    ]  # fmt: skip


def test_a_formula_is_refused_by_the_name_of_its_cell() -> None:
    """A cell that computes, or holds an error, is refused by name, and the other rows are read."""
    read = rows(
        TableFormat.XLSX,
        workbook(
            ["kind", "ref", "name"],
            ["city", "a", '="Su" & "won"'],
            ["city", "b", "#REF!"],
            ["city", "c", "C"],
        ),
    )

    assert [row.wrong[0].reason.split(";")[0] for row in read[:2]] == [
        "cell C2 holds a formula", "cell C3 holds the error #REF!",
    ]  # fmt: skip
    assert [row.wrong[0].column for row in read[:2]] == ["name", "name"]
    assert not read[2].wrong


def sheet_of(xml: str, **more: str) -> bytes:
    """A workbook whose sheet is this XML, with more parts or others in place of its own."""
    parts = {"xl/worksheets/sheet1.xml": xml, **more}
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook(["kind", "ref"]))) as old:
        parts = {name: old.read(name).decode() for name in old.namelist()} | parts
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in parts.items():
            new.writestr(name, content)
    return file.getvalue()


NAMESPACE = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
HEAD = (
    f'<worksheet xmlns="{NAMESPACE}"><sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>kind</t></is></c>'
)
HEAD += '<c r="B1" t="inlineStr"><is><t>ref</t></is></c></row>'
TAIL = "</sheetData></worksheet>"
ENTITIES = '<!DOCTYPE x [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>'


def bomb(name: str) -> bytes:
    """A workbook one of whose parts unpacks to 300 MB."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook(["kind"]))) as old, zipfile.ZipFile(file, "w") as new:
        for part in old.namelist():
            if part != name:
                new.writestr(part, old.read(part))
        entry = zipfile.ZipInfo(name)
        entry.compress_type = zipfile.ZIP_DEFLATED
        with new.open(entry, "w") as part_file:
            for _ in range(300):
                part_file.write(b"0" * 1024 * 1024)
    return file.getvalue()


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a bomb": (lambda: bomb("xl/worksheets/sheet1.xml"), "would unpack to"),
    "a bomb beside": (lambda: bomb("xl/media/big.bin"), "would unpack to"),
    "a row without an end": (lambda: sheet_of(f"{HEAD}<row>{'<c/>' * 3_000_000}"), "longer than 8 MB"),
    "entities": (lambda: sheet_of(f"{ENTITIES}{HEAD}<row><c><v>&b;</v></c></row>{TAIL}"), "Entit"),
    "broken XML": (lambda: sheet_of(f"{HEAD}<row><c>"), "cannot be read further"),
    "no archive": (lambda: b"PK\x03\x04 not really", "not an XLSX workbook"),
    "plain text": (lambda: b"kind,ref\n", "not an XLSX workbook"),
    "an empty file": (lambda: b"", "not an XLSX workbook"),
    "rows out of order": (
        lambda: sheet_of(f'{HEAD}<row r="1"><c r="A1"><v>1</v></c></row>{TAIL}'),
        "not in order",
    ),
    "a row below any sheet": (
        lambda: sheet_of(f'{HEAD}<row r="99999999999"><c><v>1</v></c></row>{TAIL}'),
        "more than a sheet has",
    ),
    "a text that is not there": (
        lambda: sheet_of(f'{HEAD}<row><c t="s"><v>99</v></c></row>{TAIL}'),
        "cannot be read further",
    ),
    "ten thousand columns": (lambda: workbook(["kind", "ref", *map(str, range(10_000))]), "columns"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_workbook_is_refused(what: str) -> None:
    """A bomb is refused by its directory, and what grows without end while it is read is cut off."""
    make, reason = HOSTILE[what]
    with pytest.raises(BadFile, match=reason):
        rows(TableFormat.XLSX, make())


def test_a_cell_far_away_costs_nothing() -> None:
    """A row keeps its number, nobody counts up to it; a column beyond all is one cell too many."""
    cell = '<c r="A1048576" t="inlineStr"><is><t>city</t></is></c><c r="XFD1048576"><v>1</v></c>'
    (read,) = rows(TableFormat.XLSX, sheet_of(f'{HEAD}<row r="1048576">{cell}</row>{TAIL}'))

    assert read.number == 1_048_576
    assert [flaw.reason for flaw in read.wrong] == ["has more cells than the header"]


def test_shared_texts_are_read_from_a_file() -> None:
    """What Excel keeps once for many cells is read as the cells' own, runs of formatting put together."""
    runs = "<si><r><t>Su</t></r><r><t>won</t></r><rPh><t>x</t></rPh></si>"
    texts = f'<sst xmlns="{NAMESPACE}"><si><t>city</t></si>{runs}</sst>'
    with zipfile.ZipFile(io.BytesIO(workbook(["kind"]))) as plain:
        kinds = plain.read("[Content_Types].xml").decode()
    shared = f'<Override PartName="/xl/sharedStrings.xml" ContentType="{SHARED_STRINGS}" /></Types>'
    kinds = kinds.replace("</Types>", shared)
    xml = HEAD + '<row><c t="s"><v>0</v></c><c t="s"><v>1</v></c></row>' + TAIL
    content = sheet_of(xml, **{"xl/sharedStrings.xml": texts, "[Content_Types].xml": kinds})

    (read,) = rows(TableFormat.XLSX, content)

    assert read.fields == {"kind": "city", "ref": "Suwon"}


def test_a_text_of_a_written_workbook_is_no_formula() -> None:
    """What begins with = is written as a text, and Excel shows it as one."""
    file = io.BytesIO()
    table_files.write(TableFormat.XLSX, file, ["kind", "ref"], [{"kind": "city", "ref": "=1+1"}])
    with zipfile.ZipFile(file) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml").decode()

    assert "<f>" not in sheet
    assert "=1+1" in sheet
