# SPDX-License-Identifier: Apache-2.0
"""The formats of imports and exports: which one a file has, its reader, its writer, and its template."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import PurePath
from typing import IO, Any, Final

from twinning import catalogue_examples, delimited, json_lines, sheet_writing, sheets
from twinning.column_texts import EXPLAINED
from twinning.columns import CITY_REF, COLUMNS, KIND, REF, SHAPES, flat
from twinning.rows import Row


class TableFormat(StrEnum):
    """The formats that are read and written."""

    CSV = "csv"
    XLSX = "xlsx"
    JSONL = "jsonl"


ENDINGS: Final[Mapping[str, TableFormat]] = {
    ".csv": TableFormat.CSV,
    ".tsv": TableFormat.CSV,
    ".xlsx": TableFormat.XLSX,
    ".jsonl": TableFormat.JSONL,
    ".ndjson": TableFormat.JSONL,
}
MEDIA_TYPES: Final[Mapping[TableFormat, str]] = {
    TableFormat.CSV: "text/csv",
    TableFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    TableFormat.JSONL: "application/jsonl",
}
_TAKEN: Final[Mapping[str, TableFormat]] = {
    **{media_type: form for form, media_type in MEDIA_TYPES.items()},
    "text/tab-separated-values": TableFormat.CSV,
    "application/csv": TableFormat.CSV,
    "application/x-ndjson": TableFormat.JSONL,
    "application/ndjson": TableFormat.JSONL,
    "application/jsonlines": TableFormat.JSONL,
    "application/x-jsonlines": TableFormat.JSONL,
}
_READERS: Final[Mapping[TableFormat, Callable[[IO[bytes]], Iterator[Row]]]] = {
    TableFormat.CSV: delimited.read,
    TableFormat.XLSX: sheets.read,
    TableFormat.JSONL: json_lines.read,
}


def format_of(name: str, media_type: str = "") -> TableFormat | None:
    """Tell a file's format: by its name's ending, else by its media type; None for neither."""
    ending = PurePath(name.replace("\\", "/")).suffix.lower()
    plain = media_type.partition(";")[0].strip().lower()
    return ENDINGS.get(ending) or _TAKEN.get(plain)


def read(form: TableFormat, file: IO[bytes]) -> Iterator[Row]:
    """Read the rows of a file, one at a time; raises `BadFile` where it cannot be read further."""
    return _READERS[form](file)


def write(
    form: TableFormat, file: IO[bytes], names: Sequence[str], rows: Iterable[Mapping[str, Any]]
) -> None:
    """Write rows, given as JSON has them, in one of the formats; tables have these columns."""
    if form is TableFormat.JSONL:
        file.writelines(json_lines.write(rows))
        return
    cells = ([laid.get(name) for name in names] for laid in map(flat, rows))
    if form is TableFormat.CSV:
        file.writelines(delimited.write(names, cells))
    else:
        sheet_writing.write(file, {"rows": (names, cells)})


def template(form: TableFormat, file: IO[bytes]) -> None:
    """Write what an office starts from: an example of each kind, and in a workbook a page that explains."""
    names = list(COLUMNS)
    if form is not TableFormat.XLSX:
        write(form, file, names, EXAMPLES)
        return
    cells = ([laid.get(name) for name in names] for laid in map(flat, EXAMPLES))
    sheet_writing.write(file, {"rows": (names, cells), "columns": (_EXPLAINS, _explanations())})


_EXPLAINS: Final = ("column", "for", "needed by", "holds", "what it is")


def _explanations() -> Iterator[Sequence[str]]:
    for its in COLUMNS.values():
        holds = f"{its.holds.value}; several with | between" if its.is_list else its.holds.value
        yield its.name, ", ".join(its.kinds), ", ".join(its.needed), holds, EXPLAINED.get(its.name, "")


def _example(kind: str, ref: str, request: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    fields = {name: value for name, value in request.items() if name in SHAPES[kind].model_fields}
    fields.pop("external_ref", None)
    return {KIND: kind, REF: ref, **more, **fields}


EXAMPLES: Final[Sequence[Mapping[str, Any]]] = (
    _example("city", "limerick", catalogue_examples.CITY_REQUEST),
    _example("practice", "reading-circles", catalogue_examples.PRACTICE_REQUEST, **{CITY_REF: "limerick"}),
    _example("need", "adult-literacy", catalogue_examples.NEED_REQUEST, **{CITY_REF: "limerick"}),
)
