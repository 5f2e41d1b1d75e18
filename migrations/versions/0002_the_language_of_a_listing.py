# SPDX-License-Identifier: Apache-2.0
"""The language of a listing"""

import sqlalchemy as sa
from alembic import op

from twinning.languages import ENGLISH, detect

revision = "0002"
down_revision = "0001"

TEXTS = ("title", "description", "challenge", "outcomes", "lessons", "transfer_conditions")


def upgrade() -> None:
    # Plain statements, which SQLite knows for columns: rebuilding a table would touch what refers to it.
    op.add_column("listing", sa.Column("language", sa.String(2), nullable=False, server_default=ENGLISH))
    listing = sa.table("listing", *map(sa.column, ("id", "language", *TEXTS)))
    connection = op.get_bind()
    found = [
        {"of": row.id, "found": language}
        for row in connection.execute(sa.select(listing).execution_options(yield_per=500))
        if (language := detect("\n".join(getattr(row, name) or "" for name in TEXTS))) != ENGLISH
    ]
    if found:
        told = sa.update(listing).where(listing.c.id == sa.bindparam("of"))
        connection.execute(told.values(language=sa.bindparam("found")), found)


def downgrade() -> None:
    op.drop_column("listing", "language")
