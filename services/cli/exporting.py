# SPDX-License-Identifier: Apache-2.0
"""The command `export`: the catalogue of a house in the form of an import, or what a round proposes."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from services.cli.importing import reached
from services.cli.reaching import Data, Key, Url, reach

if TYPE_CHECKING:
    from services.cli.client import Client


class ExportFormat(StrEnum):
    """The formats of an export; a map holds the cities alone."""

    CSV = "csv"
    XLSX = "xlsx"
    JSONL = "jsonl"
    GEOJSON = "geojson"


class RowKind(StrEnum):
    """What an export holds."""

    CITY = "city"
    PRACTICE = "practice"
    NEED = "need"


def export(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; without it, standard output.")
    ] = None,
    format_: Annotated[
        ExportFormat | None,
        typer.Option("--format", help="Without it the ending of --output decides; csv on standard output."),
    ] = None,
    kind: Annotated[
        list[RowKind] | None, typer.Option(help="What to export; may be repeated. All, without it.")
    ] = None,
    round_: Annotated[
        str | None, typer.Option("--round", metavar="ID", help="What this round proposes, instead.")
    ] = None,
    url: Url = None,
    key: Key = None,
    data: Data = None,
) -> None:
    """Export the cities, practices and needs that a key may see, as a file that can be imported again.

    No contact is in it, and no need that has expired. A city without a reference of its own has its id in
    `ref`. With --round it is what a matching round proposes, best first.
    """
    form = format_ or (ExportFormat.CSV if output is None else _by_ending(output))
    if form is ExportFormat.XLSX and output is None and sys.stdout.isatty():
        raise typer.BadParameter("a workbook is not for a terminal; give a file with --output")
    client = reach(url, key, data)
    with _target(output) as file:
        if round_ is not None:
            with reached(client):
                client.download(f"/matching-rounds/{round_}/export?format={form}", file)
        elif form is ExportFormat.GEOJSON:
            _write_map(client, file)
        else:
            _write_table(client, form, kind or list(RowKind), file)


def _by_ending(output: Path) -> ExportFormat:
    ending = output.suffix.lower().removeprefix(".")
    if ending not in set(ExportFormat):
        known = ", ".join(f".{form}" for form in ExportFormat)
        raise typer.BadParameter(f"--output {output}: the name should end in {known}; or give --format")
    return ExportFormat(ending)


@contextmanager
def _target(output: Path | None) -> Iterator[IO[bytes]]:
    """Open what is written to; a file appears under its name when it is whole."""
    if output is None:
        yield sys.stdout.buffer
        return
    part = output.with_name(f"{output.name}.part")
    try:
        try:
            with part.open("wb") as file:
                yield file
            part.replace(output)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        # A house that does not answer has been told of as such, so this is about the file.
        raise typer.BadParameter(f"--output {output}: {error.strerror}") from None


def _write_table(client: "Client", form: ExportFormat, kinds: Sequence[RowKind], file: IO[bytes]) -> None:
    from twinning import table_files
    from twinning.columns import COLUMNS, SHAPES
    from twinning.table_files import TableFormat

    wanted = {kind.value for kind in kinds}
    # An export bears no contact, so it has no column for one, which an import would take for an empty one.
    names = [
        name for name, its in COLUMNS.items() if wanted & {*its.kinds} and not name.startswith("contact.")
    ]
    rows = _rows(client, wanted, {kind: frozenset(shape.model_fields) for kind, shape in SHAPES.items()})
    # A house that does not answer leaves nothing behind, not even a table's head.
    first = [*islice(rows, 1)]
    table_files.write(TableFormat(form.value), file, names, chain(first, rows))


def _rows(
    client: "Client", kinds: set[str], fields: Mapping[str, frozenset[str]]
) -> Iterator[dict[str, Any]]:
    """Give what is there as rows of an import: the cities first, whose references the listings name."""
    refs: dict[str, str] = {}
    for city in _pages(client, "/cities"):
        refs[city["id"]] = city["external_ref"] or city["id"]
        if RowKind.CITY in kinds:
            yield {"kind": "city", "ref": refs[city["id"]], **_said(city, fields["city"])}
    for kind, path in (("practice", "/practices"), ("need", "/needs")):
        for its in _pages(client, path) if kind in kinds else ():
            # The calendar alone says so of a need; no import can.
            if its["state"] != "expired":
                ref, city_ref = its["external_ref"] or its["id"], refs.get(its["city_id"], its["city_id"])
                yield {"kind": kind, "ref": ref, "city_ref": city_ref, **_said(its, fields[kind])}


def _pages(client: "Client", path: str) -> Iterator[Any]:
    """Read a list to its end; what its reader does meanwhile is not taken for the house's failure."""
    with reached(client):
        yield from client.pages(path)


def _said(its: Mapping[str, Any], fields: frozenset[str]) -> dict[str, Any]:
    """Give the fields that say something."""
    names = fields - {"external_ref", "contact"}
    return {name: value for name, value in its.items() if name in names and value not in (None, [])}


def _write_map(client: "Client", file: IO[bytes]) -> None:
    """Write the cities as points; those that do not say where they lie have no geometry."""
    features = []
    for city in _pages(client, "/cities"):
        point = [city["longitude"], city["latitude"]]
        geometry = None if None in point else {"type": "Point", "coordinates": point}
        facts = {name: value for name, value in city.items() if name != "contact"}
        features.append({"type": "Feature", "id": city["id"], "geometry": geometry, "properties": facts})
    whole = {"type": "FeatureCollection", "features": features}
    file.write(json.dumps(whole, ensure_ascii=False, indent=1).encode("utf-8", "replace") + b"\n")
