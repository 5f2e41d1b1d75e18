# SPDX-License-Identifier: Apache-2.0
"""The front doors that functional tests knock at."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.factories import Door, door


@pytest.fixture
def front(database_url: str) -> Iterator[Door]:
    """A front door on a fresh database, once of each kind."""
    with door(database_url) as opened:
        yield opened


@pytest.fixture
def embedded(sqlite_url: str) -> Iterator[Door]:
    """A front door on a fresh SQLite database, for what no database makes a difference to."""
    with door(sqlite_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, sqlite_file: Path) -> Iterator[Door]:
    """A front door that the tests of a module share, for those that leave nothing behind which matters."""
    path = shutil.copy(sqlite_file, tmp_path_factory.mktemp("door") / "twinning.db")
    with door(f"sqlite:///{path}") as opened:
        yield opened
