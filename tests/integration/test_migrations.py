# SPDX-License-Identifier: Apache-2.0
"""The migrations: they make just the tables that the code has, up and down, on both databases."""

import os
import subprocess
import sys

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect
from sqlmodel import SQLModel

from twinning.database import Database, downgrade, migrate


def test_the_migrations_make_the_tables_of_the_code(database: Database) -> None:
    """After all migrations nothing is left for another to change."""
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        differences = compare_metadata(context, SQLModel.metadata)

    assert differences == []


def test_a_migration_can_be_taken_back(empty_database_url: str) -> None:
    """Down to nothing and up again leaves a database that works."""
    migrate(empty_database_url)
    downgrade(empty_database_url, "base")
    database = Database(empty_database_url)
    left = set(inspect(database.engine).get_table_names())
    migrate(empty_database_url)

    assert left == {"alembic_version"}
    assert database.alive()
    database.close()


def test_processes_that_start_together_migrate_once(empty_database_url: str) -> None:
    """Several processes may bring the same database up to date at the same moment."""
    command = [sys.executable, "-m", "services.cli.main", "migrate"]
    env = {**os.environ, "TWINNING_DATABASE_URL": empty_database_url}
    together = [subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=60)[1] for process in together]

    assert [process.returncode for process in together] == [0, 0, 0], said
