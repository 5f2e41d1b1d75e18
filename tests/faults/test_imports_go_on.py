# SPDX-License-Identifier: Apache-2.0
"""An import goes on where it was, whoever is killed in the middle of it, and does nothing twice."""

import io
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import func, select

from tests.faults.house import eventually, house
from twinning import table_files
from twinning.columns import COLUMNS
from twinning.listings import Listing
from twinning.outbox import StoredEvent
from twinning.table_files import TableFormat

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(180)]

ROWS = 6000
KILLS = 3


def _file() -> bytes:
    """Some cities at the end of a file, some at its beginning, their needs between, and duplicates."""
    cities: list[dict[str, Any]] = [
        {"kind": "city", "ref": f"c{number}", "name": f"City {number}", "country": "IE"}
        for number in range(20)
    ]
    need = {"kind": "need", "title": "Reading", "description": "Adults want to read with others."}
    # Drafts: what is matched is another matter.
    needs = [{**need, "ref": f"n{n}", "city_ref": f"c{n % 20}", "state": "draft"} for n in range(ROWS)]
    file = io.BytesIO()
    rows = [*cities[:10], *needs, *cities[10:], *needs[:50]]
    table_files.write(TableFormat.CSV, file, list(COLUMNS), rows)
    return file.getvalue()


def test_a_killed_import_goes_on_where_it_was(tmp_path: Path, database_url: str) -> None:
    """Killed again and again, every row lands once with one event, and every duplicate is told."""
    with house(tmp_path, database_url) as built:
        built.start(built.broker, built.api, built.matcher)
        sent = built.client.post("/v1/imports", files={"file": ("rows.csv", _file())})
        path = sent.headers["location"].removeprefix("/v1")
        before = 0
        for _ in range(KILLS):
            # The next batch has been committed, and the one after it is under way.
            eventually(lambda last=before: built.get(path)["counts"]["rows"] > last, "a batch", 60)  # type: ignore[misc]
            built.matcher.kill()
            before = built.get(path)["counts"]["rows"]
            assert built.get(path)["state"] == "running"
            built.start(built.matcher)
        eventually(lambda: built.get(path)["state"] == "completed", "completed", 120)
        report = built.get(path)
        with built.database.snapshot() as session:
            listings = session.exec(select(func.count()).select_from(Listing)).one()
            told = Counter(session.exec(select(StoredEvent.type)).all())

    assert report["counts"] == {
        "rows": ROWS + 70, "created": ROWS + 20, "updated": 0, "unchanged": 0, "refused": 50,
    }  # fmt: skip
    assert listings == ROWS
    assert told == {"city.registered": 20, "need.registered": ROWS, "import.completed": 1}
