# SPDX-License-Identifier: Apache-2.0
"""The command `import`: sends files to a house, follows what becomes of them, and prints what was refused."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.input_files import WHOLE_ROW
from services.cli.reaching import Data, Key, Url, reach

if TYPE_CHECKING:
    from services.cli.client import Client

LOOK_EVERY_S = 0.3
ENDED = frozenset({"completed", "failed", "cancelled"})


def import_files(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE...", exists=True, dir_okay=False, help="CSV, XLSX or JSON Lines."),
    ] = None,
    template: Annotated[
        Path | None,
        typer.Option(help="Write a file to start from here, in the format of its ending.", metavar="FILE"),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until they have been imported.")] = True,
    url: Url = None,
    key: Key = None,
    data: Data = None,
) -> None:
    """Import files of cities, practices and needs into a house.

    Good rows land; each that is refused is printed with its file, row, column and reason, and the exit code
    is 2 then. The same file twice changes nothing. docs/imports.md says what the columns are.
    """
    if template is not None:
        _write_template(template)
    elif not files:
        raise typer.BadParameter("name a file, or --template", param_hint="FILE...")
    for path in files or ():
        _format_of(path)
    client = reach(url, key, data) if files else None
    codes = [_import(client, path, wait=wait) for path in files or () if client is not None]
    raise typer.Exit(max(codes, key=(0, 2, 1).index, default=0))


def _format_of(path: Path) -> Any:
    from twinning.table_files import ENDINGS, format_of

    form = format_of(path.name)
    if form is None:
        raise typer.BadParameter(f"{path}: the name should end in {', '.join(ENDINGS)}")
    return form


def _write_template(path: Path) -> None:
    from twinning import table_files

    form = _format_of(path)
    try:
        with path.open("wb") as file:
            table_files.template(form, file)
    except OSError as error:
        raise typer.BadParameter(f"--template {path}: {error.strerror}") from None


def _import(client: "Client", path: Path, *, wait: bool) -> int:
    """Import a file; gives the exit code for it."""
    with path.open("rb") as file, reached(client):
        asked = client.send("/imports", path.name, file)
        if not wait:
            print(f"{path}: {client.url}/v1/imports/{asked['id']}")
            return 0
        with _bar(path.name) as show:
            while asked["state"] not in ENDED:
                time.sleep(LOOK_EVERY_S)
                asked = client.get(f"/imports/{asked['id']}")
                show(asked["progress"])
        for refusal in client.pages(f"/imports/{asked['id']}/refusals"):
            print(f"{path}, {_told(refusal)}", file=sys.stderr)
    counts = asked["counts"]
    told = ", ".join(f"{counts[name]} {name}" for name in ("created", "updated", "unchanged", "refused"))
    print(f"{path}: {asked['state']}, {counts['rows']} rows: {told}")
    if asked["error"]:
        print(f"{path}: {asked['error']}", file=sys.stderr)
    if asked["state"] == "cancelled":
        return 1
    return 2 if counts["refused"] or asked["error"] else 0


def _told(refusal: Mapping[str, Any]) -> str:
    """Say which row was refused, in which column unless it is the whole row, and why, the value once."""
    column = "" if refusal["column"] == WHOLE_ROW else f", {refusal['column']}"
    value = "" if refusal["value"] is None else f"{refusal['value']!r} "
    reason = refusal["reason"].removeprefix(value)
    return f"row {refusal['row']}{column}: {value}{reason}"


@contextmanager
def reached(client: "Client") -> Iterator[None]:
    """Tell in a line that a house cannot be reached."""
    from twinning.errors import Unready

    try:
        yield
    except OSError as error:
        raise Unready(f"cannot reach {client.url} ({getattr(error, 'reason', error)})") from None


@contextmanager
def _bar(name: str) -> Iterator[Any]:
    """Show a progress bar on a terminal, and nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda _progress: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=None)
        yield lambda its: progress.update(task, completed=its["done"], total=its["total"])
