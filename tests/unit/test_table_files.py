# SPDX-License-Identifier: Apache-2.0
"""The formats of imports as one: what is written is read back, whatever the format."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tables import HEADER, WORDS, csv_rows, rows, workbook
from twinning import table_files
from twinning.column_texts import EXPLAINED
from twinning.columns import COLUMNS, SHAPES
from twinning.records import Record, record_of
from twinning.table_files import TableFormat, format_of


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
