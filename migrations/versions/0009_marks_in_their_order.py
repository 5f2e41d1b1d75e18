# SPDX-License-Identifier: Apache-2.0
"""Marks of texts stand in their own order, so that the oldest few of one are read and no others"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

TABLE = "listing_mark"


def upgrade() -> None:
    _stand_by("mark", "listing_id", rows_numbered=False)


def downgrade() -> None:
    _stand_by("listing_id", "mark", rows_numbered=True)


def _stand_by(first: str, second: str, *, rows_numbered: bool) -> None:
    """Have the key begin with one column, and index the other."""
    op.drop_index(op.f(f"ix_{TABLE}_{first}"), TABLE, if_exists=True)
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(op.f(f"pk_{TABLE}"), TABLE)
        op.create_primary_key(op.f(f"pk_{TABLE}"), TABLE, [first, second])
    else:
        _copy(first, second, rows_numbered=rows_numbered)
    op.create_index(op.f(f"ix_{TABLE}_{second}"), TABLE, [second])


def _copy(first: str, second: str, *, rows_numbered: bool) -> None:
    """Make the table anew, as SQLite changes no key."""
    columns = {
        "listing_id": sa.Column("listing_id", sa.String(36), nullable=False),
        "mark": sa.Column("mark", sa.BigInteger(), nullable=False, autoincrement=False),
    }
    op.rename_table(TABLE, f"{TABLE}_before")
    op.create_table(
        TABLE,
        columns[first],
        columns[second],
        sa.ForeignKeyConstraint(
            ["listing_id"], ["listing.id"], name=op.f(f"fk_{TABLE}_listing_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint(first, second, name=op.f(f"pk_{TABLE}")),
        sqlite_with_rowid=rows_numbered,
    )
    op.execute(
        f"INSERT INTO {TABLE} ({first}, {second}) SELECT {first}, {second} FROM {TABLE}_before "  # noqa: S608
        f"ORDER BY {first}, {second}"
    )
    op.drop_table(f"{TABLE}_before")
