# SPDX-License-Identifier: Apache-2.0
"""The work of an import: its batches, the workers that share or lose it, and its long reports."""

from typing import Any

import pytest
from sqlmodel import select

from services.matcher import file_reading
from services.matcher.importing import Importer
from tests.factories import Door
from tests.imports import CITY, NEED, ROWS, done, file_of, refused, send
from twinning import work
from twinning.terms import Work


def many(count: int) -> list[dict[str, Any]]:
    """A city and so many needs of it."""
    return [CITY, *({**NEED, "ref": f"n{number}"} for number in range(count))]


def test_what_was_refused_is_read_page_by_page(front: Door) -> None:
    """The report shows the first thousand flaws, the list of refusals all of them, each once."""
    answer = send(
        front,
        file_of(
            [{"kind": "city", "ref": f"c{number}", "name": "C", "country": "US"} for number in range(1100)]
        ),
    )
    report = done(front, answer)
    rows: list[int] = []
    cursor = ""
    while cursor is not None:
        page = front.client.get(
            f"{report['refusals_url']}?limit=200" + (f"&cursor={cursor}" if cursor else ""),
            headers=front.staff,
        ).json()
        rows += [each["row"] for each in page["items"]]
        cursor = page["next_cursor"]

    assert len(report["refusals"]) == 1000
    assert rows == list(range(1, 1101))


def test_two_workers_share_an_import(front: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches may be done by any worker in turn; a duplicate is told however far apart the two stand."""
    monkeypatch.setattr(file_reading, "AT_ONCE", 500)
    rows = [*many(1200), {**NEED, "ref": "n0"}, {**NEED, "ref": "n1199", "title": "Other"}]
    answer = send(front, file_of(rows))
    workers = [Importer(front.database, front.settings, name) for name in ("i1", "i2")]
    turns = 0
    while workers[turns % 2].take():
        turns += 1
    report = done(front, answer)

    assert turns >= 3
    assert report["counts"] == {"rows": 1203, "created": 1201, "updated": 0, "unchanged": 0, "refused": 2}
    assert refused(report) == [(1202, "ref", "n0"), (1203, "ref", "n1199")]


def test_a_worker_that_comes_late_writes_nothing(front: Door) -> None:
    """Between its reading and its writing another has taken the import over: nothing of it is kept."""
    answer = send(front, file_of(many(3)))
    late = Importer(front.database, front.settings, "late")
    with front.database.transaction() as session:
        (claim,) = work.claim(session, "late", 1, 30.0, [Work.IMPORT])
    with front.database.transaction() as session:
        work.enqueue(session, Work.IMPORT, claim.subject)
    late._do(claim)
    with front.database.snapshot() as session:
        assert not front.client.get("/v1/needs", headers=front.staff).json()["items"]
    report = done(front, answer)

    assert report["counts"]["created"] == 4


def test_an_import_that_fails_every_worker_is_given_up(front: Door) -> None:
    """A unit that was set aside ends its import, which says so."""
    answer = send(front, file_of(ROWS))
    import_id = answer.json()["id"]
    with front.database.transaction() as session:
        unit = session.exec(select(work.WorkUnit).where(work.WorkUnit.subject == import_id)).one()
        unit.due_at = None
        session.add(unit)
    Importer(front.database, front.settings, "i1")._give_up()
    report = front.client.get(answer.headers["location"], headers=front.staff).json()

    assert report["state"] == "failed"
    assert "each time" in report["error"]
