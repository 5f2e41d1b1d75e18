# SPDX-License-Identifier: Apache-2.0
"""Reading and writing the formats of imports, as offices save them and as attackers would."""

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook
from openpyxl.xml.constants import SHARED_STRINGS

from twinning import delimited, sheets, table_files
from twinning.column_texts import EXPLAINED
from twinning.columns import COLUMNS, SHAPES, flat
from twinning.records import Record, record_of
from twinning.rows import BadFile, Row, Wrong
from twinning.table_files import TableFormat, format_of

HEADER = "kind,ref,name,country,languages,latitude,population,summary\n"
LODZ = "city,lodz,Łódź,PL,pl|en,51.77,664071,Uczące się miasto\n"
CORK = "city,cork,Cork — Corcaigh,IE,en|ga,51.9,224004,“A learning city”\n"


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
    return saved(book)


def saved(book: Workbook) -> bytes:
    """A workbook's bytes."""
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_is_read_as_offices_save_it(encoding: str, delimiter: str, end: str) -> None:
    """Marks, UTF-16, semicolons and tabs make no difference to what is read."""
    text = (HEADER + LODZ).replace(",", delimiter).replace("\n", end)
    mark = b"" if not encoding.endswith(("-le", "-be")) else "\ufeff".encode(encoding)

    (row,) = csv_rows(mark + text.encode(encoding))

    assert row.fields == {
        "kind": "city", "ref": "lodz", "name": "Łódź", "country": "PL", "languages": ["pl", "en"],
        "latitude": 51.77, "population": 664071, "summary": "Uczące się miasto",
    }  # fmt: skip


def test_windows_1252_is_read() -> None:
    """Without a mark and not UTF-8, a Western file is read by the code page of Western Windows."""
    (row,) = csv_rows((HEADER + CORK).encode("cp1252"))

    assert (row.fields["name"], row.fields["summary"]) == ("Cork — Corcaigh", "“A learning city”")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("배우는 도시 수원", "cp949"), ("Учещият град София", "cp1251"), ("生涯学習のまちづくり", "cp932")],
)
def test_another_alphabet_is_no_windows_1252(text: str, encoding: str) -> None:
    """A file that would be read as nonsense is refused, and the office told how to save it."""
    with pytest.raises(BadFile, match="CSV UTF-8"):
        csv_rows((HEADER + f"city,a,{text},KR,,,,{text}\n").encode(encoding))


def test_decimal_commas_and_headers_as_people_write_them() -> None:
    """`Kind` and `City ref` are columns, 52,66 is a number, and Excel's `sep=` says what stands between."""
    (row,) = csv_rows('sep=;\nKind;REF; City ref ;Latitude\ncity;a;;"52,66"\n')

    assert row.fields == {"kind": "city", "ref": "a", "latitude": 52.66}
    assert (row.number, row.line) == (3, 3)


def test_rows_are_numbered_as_a_spreadsheet_counts() -> None:
    """A row's number counts cells of many lines once, its line does not; blank rows are passed over."""
    read = csv_rows('kind,ref,summary\ncity,a,"one\ntwo"\n\n,,\ncity,b,x\n')

    assert [(row.number, row.line, row.fields["ref"]) for row in read] == [(2, 2, "a"), (5, 6, "b")]


@pytest.mark.parametrize(
    ("cells", "column", "reason"),
    [
        ("city,a,A,KR,,,many,", "population", "whole number"),
        ("city,a,A,KR,,north,,", "latitude", "number"),
        ("city,a,A,KR,,,1.5,", "population", "whole number"),
        ("city,a,A,KR,,,,,more", "row", "more cells"),
    ],
)
def test_a_cell_of_the_wrong_kind_is_named(cells: str, column: str, reason: str) -> None:
    """What does not fit its column is told with the column, and other rows are read."""
    first, second = csv_rows(HEADER + cells + "\n" + LODZ)

    assert [flaw.column for flaw in first.wrong] == [column]
    assert reason in first.wrong[0].reason
    assert not second.wrong


@pytest.mark.parametrize(
    ("content", "line", "column"),
    [
        (b"", 1, "kind"),
        (b"name,ref\nA,a\n", 1, "kind"),
        (b"kind,name\ncity,A\n", 1, "ref"),
        (b"kind,ref,ref\n", 1, "ref"),
        (",".join(["kind", "ref", *map(str, range(10_000))]).encode(), 1, "row"),
        (b'kind,ref\ncity,"a"x\n', 2, "row"),
        (b'kind,ref\ncity,"' + b"a" * (5 * 1024 * 1024), 2, "row"),
        (b"kind,ref\n" + b"a" * (9 * 1024 * 1024), 2, "row"),
        (b"\xff\xfe" + "kind,ref\ncity,a\n".encode("utf-16-le") + b"\x00\xd8\x00", 3, "row"),
    ],
)
def test_a_csv_file_that_cannot_be_read_says_where(content: bytes, line: int, column: str) -> None:
    """An empty file, a missing or doubled column, ten thousand of them, a broken quote, an endless line."""
    with pytest.raises(BadFile) as caught:
        csv_rows(content)

    assert (caught.value.line, caught.value.column) == (line, column)


def test_a_cell_of_a_megabyte_spoils_its_row_alone() -> None:
    """A long cell is read, refused by its form with the value cut, and the next row is read."""
    long, short = csv_rows(HEADER + f"city,a,{'n' * 1_000_000},KR,,,,\n" + LODZ)
    flaws = record_of(long)

    assert isinstance(flaws, tuple)
    assert flaws[0].column == "name"
    assert len(flaws[0].value or "") < 100
    assert isinstance(record_of(short), Record)


def test_a_header_alone_has_no_rows() -> None:
    """A file with nothing under its header is read as nothing, whatever its format."""
    assert csv_rows(HEADER) == []
    assert rows(TableFormat.XLSX, workbook(["kind", "ref"])) == []
    assert rows(TableFormat.JSONL, b"\n\n") == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"kind": "city"', "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"kind": "a", "kind": "b"}', "twice"),
        (b'{"latitude": NaN}', "NaN"),
        (b'{"population": ' + b"9" * 5000 + b"}", "digits"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_a_broken_line_of_json_spoils_its_row_alone(line: bytes, reason: str) -> None:
    """What is no JSON object, or no strict one, is told with its line, and the next is read."""
    good = b'\n{"kind": "city", "ref": "a"}\n'
    for content in (line + good, b"\xef\xbb\xbf" + line + good):
        broken, read = rows(TableFormat.JSONL, content)

        assert broken.number == 1
        assert reason in broken.wrong[0].reason
        assert read.fields == {"kind": "city", "ref": "a"}


# Workbooks --------------------------------------------------------------------------------------------


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
    "a row without an end": (lambda: sheet_of(f"{HEAD}<row>{'<c/>' * 3_000_000}"), "longer than"),
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


# Records ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "column", "reason"),
    [
        ({}, "kind", "missing"),
        ({"kind": "town", "ref": "a"}, "kind", "none of city, practice, need"),
        ({"kind": {"a": 1}, "ref": "a"}, "kind", "none of"),
        ({"kind": "city"}, "ref", "missing"),
        ({"kind": "city", "ref": ["a"]}, "ref", "not a text"),
        ({"kind": "city", "ref": "a b", "name": "A", "country": "KR"}, "ref", "blanks"),
        (
            {"kind": "city", "ref": "a", "city_ref": "b", "name": "A", "country": "KR"},
            "city_ref",
            "practices",
        ),
        ({"kind": "need", "ref": "a", "title": "T", "description": "D"}, "city_ref", "missing"),
        ({"kind": "city", "ref": "a", "name": "A", "country": "US"}, "country", "'US'"),
        ({"kind": "city", "ref": "a", "name": "A", "country": "KR", "languages": ["zz"]}, "languages", "zz"),
        ({"kind": "city", "ref": "a", "name": "A", "country": "KR", "title": "T"}, "title", "not a field"),
        (
            {"kind": "city", "ref": "a", "name": "A", "country": "KR", "external_ref": "x"},
            "external_ref",
            "ref",
        ),
        ({"kind": "city", "ref": "a\x00", "name": "A", "country": "KR"}, "ref", "U+0000"),
        ({"kind": "city", "ref": "a", "name": "A", "country": "KR", "a\ud800": 1}, "row", "unicode"),
    ],
)
def test_a_row_that_is_no_record_says_why(fields: dict[str, Any], column: str, reason: str) -> None:
    """What is wrong is told by the column that the office sees, in words that every database can keep."""
    found = record_of(Row(2, 2, fields))

    assert isinstance(found, tuple)
    assert found[0].column == column
    assert reason in found[0].reason
    for flaw in found:
        assert "\x00" not in f"{flaw.value}"
        f"{flaw.field}{flaw.value}{flaw.reason}".encode()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("contact", {"name": "Jane Roe", "email": "not an address"}),
        ("contact", "Jane Roe jane@example.org"),
        ("country", "jane@example.org"),
        ("population", "call jane.roe@example.org, please"),
    ],
)
def test_a_refusal_never_shows_a_contact(field: str, value: object) -> None:
    """Neither the columns of the contact nor an address that has slipped into another are shown again."""
    found = record_of(Row(2, 2, {"kind": "city", "ref": "a", "name": "A", "country": "KR", field: value}))

    assert isinstance(found, tuple)
    told = " ".join(f"{flaw.value} {flaw.reason}" for flaw in found)
    assert not any(part in told for part in ("Jane", "@example", "jane"))


# Writing ----------------------------------------------------------------------------------------------

CONTROL = [chr(code) for code in (*range(9), 11, 12, *range(14, 32), 127)]
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=CONTROL), max_size=12)
DANGEROUS = st.sampled_from(
    ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "'=x", "''", "\uff1d1", "a|b", "[]", '["a"]', " a ", "\\|",
     "_x000D_", "a\r\nb", "\ufffe", "\uffff"]
)  # fmt: skip
WORDS = st.one_of(TEXTS, DANGEROUS)


@given(summary=WORDS, networks=st.lists(WORDS.filter(str.strip), max_size=3), longitude=st.floats(-180, 180))
@pytest.mark.parametrize("form", list(TableFormat))
def test_what_is_written_is_read_back_as_it_was(
    form: TableFormat, summary: str, networks: list[str], longitude: float
) -> None:
    """Whatever a field holds, an export of it says the same when it is imported."""
    fields = {"summary": summary, "networks": networks, "longitude": longitude}
    file = io.BytesIO()
    table_files.write(form, file, list(COLUMNS), [{"kind": "city", "ref": "a", **fields}])

    (row,) = rows(form, file.getvalue())

    # A blank cell says nothing, and what says nothing is not changed.
    assert {name: row.fields.get(name, fields[name]) for name in fields} == fields
    assert not row.wrong


@given(WORDS)
def test_no_written_cell_of_csv_begins_a_formula(text: str) -> None:
    """A text that begins like a formula is written with an apostrophe; a number is a number."""
    assert not str(delimited.safe(text)).startswith(
        ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
    )
    assert delimited.bare(delimited.safe(text)) == text
    assert delimited.safe(-8.6) == -8.6


def test_a_text_of_a_written_workbook_is_no_formula() -> None:
    """What begins with = is written as a text, and Excel shows it as one."""
    file = io.BytesIO()
    table_files.write(TableFormat.XLSX, file, ["kind", "ref"], [{"kind": "city", "ref": "=1+1"}])
    with zipfile.ZipFile(file) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml").decode()

    assert "<f>" not in sheet
    assert "=1+1" in sheet


@pytest.mark.parametrize("form", list(TableFormat))
def test_templates_are_imports_whose_bytes_stay(form: TableFormat) -> None:
    """A template is read without a flaw, has every column, and is the same file each time."""
    first, second = io.BytesIO(), io.BytesIO()
    table_files.template(form, first)
    table_files.template(form, second)
    found = [record_of(row) for row in rows(form, first.getvalue())]

    assert first.getvalue() == second.getvalue()
    assert [record.kind for record in found if isinstance(record, Record)] == ["city", "practice", "need"]


def test_every_column_is_explained_and_every_field_has_one() -> None:
    """The columns are the fields of the forms, no more and no fewer, each explained in the template."""
    fields = {name for shape in SHAPES.values() for name in shape.model_fields} - {"external_ref"}

    assert {name.partition(".")[0] for name in COLUMNS} == fields | {"kind", "ref", "city_ref"}
    assert set(EXPLAINED) == set(COLUMNS)


def test_the_name_decides_the_format_and_else_the_media_type() -> None:
    """The ending goes before the media type, and what neither tells is unknown."""
    asked = [
        ("a.csv", "application/json"), ("A.XLSX", ""), ("a.jsonl", ""), ("a.tsv", ""),
        ("a", "text/csv; charset=x"), ("a.bin", "application/x-ndjson"),
        ("a.xls", "application/vnd.ms-excel"), ("", ""), ("a.txt", "text/plain"),
    ]  # fmt: skip

    assert [format_of(*each) for each in asked] == [
        "csv", "xlsx", "jsonl", "csv", "csv", "jsonl", None, None, None,
    ]  # fmt: skip


def test_rows_are_read_one_at_a_time() -> None:
    """A reader gives its first row before it has seen the last of the file."""
    content = ('{"kind": "city", "ref": "a"}\n' * 200_000).encode()
    file = io.BytesIO(content)
    next(iter(table_files.read(TableFormat.JSONL, file)))

    assert file.tell() < len(content)
    assert sheets.LONGEST_PART < 16 * 1024 * 1024
    assert json.loads(json.dumps(flat({"hosting": {"seats": 3}}))) == {"hosting.seats": 3}
    assert Wrong("themes.0", None, "x").column == "themes"
