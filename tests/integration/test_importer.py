# SPDX-License-Identifier: Apache-2.0
"""The importer's manners: it gives way to others, and leaves the interpreter as it was."""

import gc
import io
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from services.matcher.giving_way import NICENESS, NICENESS_OF_SESSION, give_way
from services.matcher.importing import Importer
from services.watch import Watch
from tests.faults.parts import eventually
from twinning import imports, json_lines, keys
from twinning.database import Database
from twinning.imports import Import
from twinning.keys import ApiKeyCreate
from twinning.settings import Settings
from twinning.table_files import TableFormat
from twinning.terms import ImportState, Role


def _asked(database: Database) -> str:
    """Ask for the import of one city; gives its id."""
    content = b"".join(json_lines.write([{"kind": "city", "ref": "c", "name": "Cork", "country": "IE"}]))
    with database.transaction() as session:
        key, _ = keys.create(session, ApiKeyCreate(role=Role.STAFF, name="Importer"))
        row = imports.ask(session, key.id, "c.jsonl", TableFormat.JSONL, len(content), io.BytesIO(content))
        return row.id


def _state(database: Database, import_id: str) -> str:
    with database.snapshot() as session:
        return imports.get(session, import_id).state


def test_cycles_are_looked_for_between_batches(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search for cycles rests while a batch is landed, and is on again afterwards."""
    import_id, seen = _asked(database), []
    touch = imports.end

    def look(session: object, row: Import, state: ImportState, error: str | None = None) -> None:
        seen.append(gc.isenabled())
        touch(session, row, state, error)  # type: ignore[arg-type]

    monkeypatch.setattr(imports, "end", look)
    importer = Importer(database, Settings(), "importer")

    while importer.take():
        pass

    assert _state(database, import_id) == ImportState.COMPLETED
    assert seen == [False]
    assert gc.isenabled()


def test_a_file_is_in_hand_while_its_batch_is_landed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The importer says so during a batch, when matching would slow it down, and not after the last."""
    import_id, seen = _asked(database), []
    importer = Importer(database, Settings(), "importer")
    count = imports.count

    def look(row: Import, more: Mapping[str, int]) -> None:
        seen.append(importer.is_busy)
        count(row, more)

    monkeypatch.setattr(imports, "count", look)

    while importer.go_on():
        pass

    assert _state(database, import_id) == ImportState.COMPLETED
    assert seen
    assert all(seen)
    assert not importer.is_busy


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a niceness for each thread")
def test_the_thread_gives_way_to_everybody_else(database: Database) -> None:
    """The thread that imports is nicer than the one that has started it, which stays as it was."""
    import_id = _asked(database)
    importer = Importer(database, Settings(), "importer")
    watch = Watch("importing", importer.go_on, 1.0, at_the_beginning=give_way, at_the_end=importer.let_go)
    watch.start()
    try:
        eventually(lambda: _state(database, import_id) == ImportState.COMPLETED, "the import has ended")
        [thread] = [each for each in threading.enumerate() if each.name == "importing"]
        niceness = [_niceness(each) for each in (thread.native_id, threading.get_native_id())]
    finally:
        watch.stop(5)

    assert niceness == [max(NICENESS, niceness[1]), niceness[1]]


LOOKS = """
import sys
from pathlib import Path

from services.matcher import giving_way
from tests.faults.parts import eventually

group = Path("/proc/self/autogroup")
more = iter([True, True, False])
look = giving_way.ProcessSession().while_there_is_more(lambda: next(more, False))


def niceness():
    # Nothing is read where the session has no group of its own.
    return int((group.read_text().split() or [0])[-1])


def niceness_after_a_look():
    look()
    return niceness()


before = niceness()
print(niceness_after_a_look() - before, niceness_after_a_look() - before)
eventually(lambda: niceness_after_a_look() == before, "the session is as it was")
"""


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="the kernel has no such groups")
@pytest.mark.parametrize(("leads", "told"), [(True, NICENESS_OF_SESSION), (False, 0)])
def test_a_session_of_ones_own_gives_way_while_there_is_more(leads: bool, told: int) -> None:
    """A process that leads its session makes it nice while it imports; another stays as it is."""
    asked = [sys.executable, "-c", LOOKS]
    said = subprocess.check_output(asked, start_new_session=leads, text=True, timeout=60)

    assert said.split() == [str(told)] * 2


def _niceness(thread: int | None) -> int:
    """Read a thread's niceness."""
    return int(Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()[16])
