# SPDX-License-Identifier: Apache-2.0
"""What the command line says of a database, folder or file that is not there: a line, never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.system import free_port
from twinning import keys
from twinning.database import Database
from twinning.settings import PREFIX
from twinning.terms import Role


def run(folder: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """One call of the command line in a folder, as in a pipe of 80 columns."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    env |= {"COLUMNS": "80"} | {PREFIX + name: value for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, "-m", "services.cli.main", *words],
        cwd=folder, env=env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_migrate_makes_the_folder_and_keys_are_listed_whole(tmp_path: Path) -> None:
    """On a fresh machine `migrate` makes the folder; ids in a pipe are whole, in one line with the rest."""
    migrated = run(tmp_path, "migrate")
    made = run(tmp_path, "keys", "create", "--role", "staff", "--name", "a [bold] name " * 10)
    shown = run(tmp_path, "keys", "list")
    database = Database(f"sqlite:///{tmp_path}/data/twinning.db")
    with database.snapshot() as session:
        (row,) = keys.live(session)
    database.close()

    assert (migrated.returncode, migrated.stderr) == (0, "")
    assert (made.returncode, row.role) == (0, Role.STAFF)
    (line,) = [each for each in shown.stdout.splitlines() if row.id in each]
    assert row.name.strip() in line
    assert line.rstrip().endswith("never")


def test_there_are_no_keys_where_there_is_no_data(tmp_path: Path) -> None:
    """In a folder without data `keys list` says what to do, and makes nothing."""
    told = run(tmp_path, "keys", "list")

    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith(f"twinning: there is no database in {tmp_path}/data; ")
    assert "twinning migrate" in told.stderr
    assert "TWINNING_DATA_DIR" in told.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """Where a file stands in the way of the data folder, `migrate` names it."""
    (tmp_path / "data").write_text("a file")

    told = run(tmp_path, "migrate")

    assert told.returncode == 1
    assert told.stderr.startswith(f"twinning: cannot make the database's folder {tmp_path}/data: ")
    assert len(told.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    ["up --port 0", "migrate", "keys list", "keys create --role staff --name x", "keys revoke x"],
    ids=str.split,
)
@pytest.mark.parametrize("place", ["127.0.0.1:{port}/x", "nobody.invalid/x", "se/cret@127.0.0.1:{port}/x"])
def test_a_database_that_does_not_answer_is_a_line(tmp_path: Path, words: str, place: str) -> None:
    """Without its database a command names the setting, and no part of a password, however it is written."""
    url = f"postgresql://somebody:secret@{place.format(port=free_port())}"
    told = run(tmp_path, *words.split(), DATABASE_URL=url)

    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith("twinning: the database does not answer (")
    assert "TWINNING_DATABASE_URL" in told.stderr
    assert "cret" not in told.stderr
    assert len(told.stderr.splitlines()) == 1


def test_a_file_that_is_no_folder_is_a_line(tmp_path: Path) -> None:
    """A SQLite file that cannot be opened is named, and so are the settings that say where it is."""
    (tmp_path / "data" / "twinning.db").mkdir(parents=True)

    told = run(tmp_path, "keys", "list")

    assert told.returncode == 1
    assert told.stderr.startswith(f"twinning: the database {tmp_path}/data/twinning.db cannot be used (")
    assert "TWINNING_DATABASE_URL" in told.stderr


@pytest.mark.parametrize("words", ["import --template {}/x.csv", "export --key x -o {}/x.csv"])
def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, words: str) -> None:
    """A file in a folder that is not there is named, and the house is not blamed."""
    told = run(tmp_path, *words.format(tmp_path / "away").split())

    assert (told.returncode, told.stdout) == (2, "")
    assert f"{tmp_path}/away/x.csv: No such file or directory" in told.stderr.replace("\n", " ")
    assert "Traceback" not in told.stderr
    assert "http" not in told.stderr


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    """A name whose ending is no format is refused by the names of those that are."""
    told = run(tmp_path, "export", "--key", "x", "-o", "a.foo")

    assert told.returncode == 2
    assert ".csv, .xlsx, .jsonl, .geojson" in told.stderr
    assert not list(tmp_path.iterdir())


def test_an_export_that_fails_has_written_nothing(tmp_path: Path) -> None:
    """Without a house nothing comes on standard output, not even a byte order mark, and no file is left."""
    away = ("export", "--key", "x", "--url", f"http://127.0.0.1:{free_port()}")
    piped, kept = run(tmp_path, *away), run(tmp_path, *away, "-o", "a.foo", "--format", "csv")

    assert [(each.returncode, each.stdout) for each in (piped, kept)] == [(1, "")] * 2
    assert all(each.stderr.startswith("twinning: cannot reach http://") for each in (piped, kept))
    assert not list(tmp_path.iterdir())
