# SPDX-License-Identifier: Apache-2.0
"""The migrations: they make just the tables that the code has, up and down, on both databases."""

import os
import subprocess
import sys
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import TextClause, inspect, text
from sqlmodel import SQLModel

from twinning import cities, listing_search, listings
from twinning.city_shapes import CityCreate
from twinning.database import Database
from twinning.errors import Conflict
from twinning.forms import PracticeCreate
from twinning.migrating import downgrade, migrate


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


def test_listings_that_were_there_get_their_language(empty_database_url: str) -> None:
    """A database of the first tables keeps its listings, up and down, and learns what they are written in."""
    texts = {"a": "Libraries that teach the families of our town", "b": "노인을 위한 평생학습 교실을 엽니다"}
    city = dict.fromkeys(("languages", "networks", "existing_partners"), "[]")
    moments = {"created_at": "2026-01-01 00:00:00+00:00", "updated_at": "2026-01-01 00:00:00+00:00"}
    city |= {"id": "c", "name": "C", "country": "KR", "region": "asia", "state": "registered", "version": 1}
    listing = dict.fromkeys(("themes", "target_groups", "languages", "seeks", "months"), "[]")
    listing |= {"kind": "need", "city_id": "c", "state": "published", "description": "", "version": 1}
    migrate(empty_database_url, "0001")
    database = Database(empty_database_url)
    with database.engine.begin() as connection:
        connection.execute(_insert("city", city | moments), city | moments)
        for key, title in texts.items():
            row = listing | moments | {"id": key, "title": title}
            connection.execute(_insert("listing", row), row)

    migrate(empty_database_url, "0002")
    with database.engine.connect() as connection:
        found = {row.id: row.language for row in connection.execute(text("SELECT id, language FROM listing"))}
    downgrade(empty_database_url, "0001")
    with database.engine.connect() as connection:
        kept = {row.id: row.title for row in connection.execute(text("SELECT id, title FROM listing"))}
    database.close()

    assert found == {"a": "en", "b": "ko"}
    assert kept == texts


def test_cities_and_listings_that_were_there_are_found(empty_database_url: str) -> None:
    """A database of before keeps its rows, up and down; its cities are found by name, its texts marked."""
    moments = {"created_at": "2026-01-01 00:00:00+00:00", "updated_at": "2026-01-01 00:00:00+00:00"}
    city = dict.fromkeys(("languages", "networks", "existing_partners"), "[]") | moments
    city |= {"country": "JP", "region": "asia", "version": 1}
    listing = dict.fromkeys(("themes", "target_groups", "languages", "seeks", "months"), "[]") | moments
    listing |= {"id": "p", "kind": "practice", "city_id": "c", "state": "published", "version": 1}
    listing |= {"title": "Reading circles", "description": "Volunteers read with adults in the library."}
    migrate(empty_database_url, "0004")
    database = Database(empty_database_url)
    with database.engine.begin() as connection:
        for key, name, state in (("c", "Okayama", "registered"), ("d", "Kurashiki", "withdrawn")):
            row = city | {"id": key, "name": name, "state": state}
            connection.execute(_insert("city", row), row)
        connection.execute(_insert("listing", listing), listing)

    migrate(empty_database_url)
    with database.transaction() as session:
        with pytest.raises(Conflict) as refused:
            cities.register(session, CityCreate(name="Okoyama", country="JP"))
        cities.register(session, CityCreate(name="Kurashiki", country="JP"))
        again = PracticeCreate(title="Circles", description=str(listing["description"]))
        like = listing_search.repeated(session, listings.register(session, "c", again))
    downgrade(empty_database_url, "0004")
    with database.engine.connect() as connection:
        kept = {row.id for row in connection.execute(text("SELECT id FROM listing"))}
    database.close()

    assert refused.value.members["existing"]["id"] == "c"
    assert [each.id for each in like] == ["p"]
    assert "p" in kept


def _insert(table: str, row: dict[str, Any]) -> TextClause:
    """The statement that puts a row of plain values into a table of some earlier revision."""
    return text(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})")


def test_processes_that_start_together_migrate_once(empty_database_url: str) -> None:
    """Several processes may bring the same database up to date at the same moment."""
    command = [sys.executable, "-m", "services.cli.main", "migrate"]
    env = {**os.environ, "TWINNING_DATABASE_URL": empty_database_url}
    together = [subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=60)[1] for process in together]

    assert [process.returncode for process in together] == [0, 0, 0], said
