# SPDX-License-Identifier: Apache-2.0
"""How Alembic reaches the database: the URL comes from the caller, the tables from `twinning`."""

from alembic import context
from sqlalchemy import String, text
from sqlmodel import SQLModel
from sqlmodel.sql.sqltypes import AutoString

from twinning import (  # noqa: F401 - they define the tables
    audit,
    catalogue,
    idempotency,
    imports,
    outbox,
    previews,
    replays,
    rounds,
    tallies,
    workers,
)
from twinning.database import Database
from twinning.dialects import Instant

# Two processes that start together must not both make the tables.
LOCK = "SELECT pg_advisory_xact_lock(7110)"


def spell(kind: str, thing: object, _context: object) -> str | bool:
    """Write our own column types in a new migration as the plain ones that they are."""
    if kind == "type" and isinstance(thing, Instant):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(thing, String | AutoString):
        return f"sa.String({thing.length or ''})"
    return False


database = Database(context.config.attributes["url"])
with database.engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        render_item=spell,
        render_as_batch=database.is_sqlite,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        if not database.is_sqlite:
            connection.execute(text(LOCK))
        context.run_migrations()
    connection.commit()
database.close()
