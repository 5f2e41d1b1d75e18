# SPDX-License-Identifier: Apache-2.0
"""Files to import, sent and landed, for the tests of imports."""

import io
from collections.abc import Sequence
from typing import Any

from services.matcher.importing import Importer
from tests.factories import Door
from twinning import table_files
from twinning.columns import COLUMNS
from twinning.table_files import TableFormat

CITY = {"kind": "city", "ref": "cork", "name": "Cork", "country": "IE"}
PRACTICE = {
    "kind": "practice", "ref": "p1", "city_ref": "cork", "title": "Reading circles",
    "description": "Volunteers read with adults in the library.", "themes": ["sdg-4"],
    "hosting": {"offers_visits": True, "seats": 4},
}  # fmt: skip
NEED = {
    "kind": "need", "ref": "n1", "city_ref": "cork", "title": "Digital skills",
    "description": "How do older people learn to use the internet?", "expires_on": "2099-03-01",
}  # fmt: skip
ROWS = [CITY, PRACTICE, NEED]


def file_of(rows: Sequence[dict[str, Any]], form: TableFormat = TableFormat.JSONL) -> bytes:
    """A file of these rows."""
    file = io.BytesIO()
    table_files.write(form, file, list(COLUMNS), rows)
    return file.getvalue()


def send(front: Door, content: bytes, name: str = "rows.jsonl", **more: Any) -> Any:
    """Send a file."""
    headers = more.pop("headers", front.staff)
    return front.client.post("/v1/imports", files={"file": (name, content)}, headers=headers, **more)


def done(front: Door, answer: Any, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Have an import done and read it."""
    assert answer.status_code == 202, answer.text
    importer = Importer(front.database, front.settings, "i1")
    while importer.take():
        pass
    read = front.client.get(answer.headers["location"], headers=headers or front.staff)
    assert read.status_code == 200
    found: dict[str, Any] = read.json()
    return found


def imported(front: Door, rows: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Import some rows."""
    return done(front, send(front, file_of(rows), **more), more.get("headers"))


def refused(report: dict[str, Any]) -> list[tuple[int, str, str | None]]:
    """Which rows were refused, by what column and value."""
    return [(each["row"], each["column"], each["value"]) for each in report["refusals"]]
