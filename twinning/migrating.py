# SPDX-License-Identifier: Apache-2.0
"""The tables brought from one revision to another, by one process at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect

from twinning.database import Database
from twinning.engines import file_of

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def has_tables(database: Database) -> bool:
    """Say whether a database has been migrated at all."""
    return inspect(database.engine).has_table("log")


def migrate(url: str, revision: str = "head") -> None:
    """Bring the tables up to a revision; safe to run from several processes at once."""
    from alembic import command

    with _alone(url):
        command.upgrade(_migrations(url), revision)


@contextmanager
def _alone(url: str) -> Iterator[None]:
    """Keep others from migrating what lies in the same folder meanwhile, where the database is a file.

    Its own lock comes too late for those who make the file at the same moment.
    """
    file = file_of(url)
    if file is None or not file.parent.is_dir():
        yield
        return
    opened = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def downgrade(url: str, revision: str) -> None:
    """Take the tables back to an earlier revision, and lose what only later ones can hold."""
    from alembic import command

    command.downgrade(_migrations(url), revision)


def _migrations(url: str) -> "Config":
    """Say where the migrations are and for which database."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    return config
