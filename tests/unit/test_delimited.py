# SPDX-License-Identifier: Apache-2.0
"""CSV as offices save it, and as nobody can read it."""

import pytest
from hypothesis import given

from tests.tables import HEADER, LODZ, WORDS, csv_rows
from twinning import delimited
from twinning.records import Record, record_of
from twinning.rows import BadFile

CORK = "city,cork,Cork — Corcaigh,IE,en|ga,51.9,224004,“A learning city”\n"


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


@given(WORDS)
def test_no_written_cell_of_csv_begins_a_formula(text: str) -> None:
    """A text that begins like a formula is written with an apostrophe; a number is a number."""
    assert not str(delimited.safe(text)).startswith(
        ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
    )
    assert delimited.bare(delimited.safe(text)) == text
    assert delimited.safe(-8.6) == -8.6
