# SPDX-License-Identifier: Apache-2.0
"""The file of an import in a worker's hands: it stays open between the batches, and goes on from any row.

Whoever takes over an import reads its file again from the beginning, and only notes which references were
named in what was dealt with before. So the cost of a kill is one reading, and of many workers one each.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from twinning import imports, landing, table_files
from twinning.database import Database
from twinning.imports import Import
from twinning.landing import Seen
from twinning.records import Record, record_of
from twinning.rows import BadFile, Row, Wrong
from twinning.table_files import TableFormat

AT_ONCE: Final = 2000
# Characters, so that rows of megabytes come few at a time.
MOST_AT_ONCE: Final = 4_000_000


@dataclass
class Batch:
    """Some rows: what can be registered, what is wrong with the others, and where the file is then."""

    records: list[Record] = field(default_factory=list)
    wrong: dict[int, tuple[Wrong, ...]] = field(default_factory=dict)
    last: int = 0
    done: int = 0
    ended: bool = False
    bad: BadFile | None = None

    def add(self, row: Row) -> None:
        """Check a row and add it."""
        found = record_of(row)
        self.last = row.number
        if isinstance(found, Record):
            self.records.append(found)
        else:
            self.wrong[row.number] = found

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return len(self.records) + len(self.wrong)


class Reading:
    """An open file: `position` is the row that was read last."""

    def __init__(self, database: Database, row: Import) -> None:
        self.import_id = row.id
        self.seen = Seen()
        self.position = 0
        self._database = database
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it stays open until `close`
        with database.snapshot() as session:
            for part in imports.parts_of(session, row.id):
                self._file.write(part)
        self._rows: Iterator[Row] = table_files.read(TableFormat(row.format), self._file)

    def go_on_from(self, position: int) -> None:
        """Read on to the row after `position`, noting what was named before it."""
        while self.position < position:
            batch = self.next(position)
            with self._database.snapshot() as session:
                landing.note(session, batch.records, self.seen)
            if batch.ended:
                return

    def next(self, until: int | None = None) -> Batch:
        """Read the next rows, none beyond the row `until`."""
        batch = Batch(last=self.position)
        weight = 0
        try:
            while batch.rows < AT_ONCE and weight < MOST_AT_ONCE and batch.last != until:
                row = next(self._rows, None)
                if row is None:
                    batch.ended = True
                    break
                batch.add(row)
                weight += sum(len(value) for value in row.fields.values() if isinstance(value, str))
        except BadFile as error:
            batch.ended, batch.bad = True, error
        self.position = batch.last
        batch.done = self._file.tell()
        return batch

    def close(self) -> None:
        """Let go of the file."""
        self._rows = iter(())
        self._file.close()
