# SPDX-License-Identifier: Apache-2.0
"""Imports of files."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.create_table(
        "import",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("asked_by", sa.String(36), nullable=False),
        sa.Column("address", sa.String(45), nullable=True),
        sa.Column("filename", sa.String(300), nullable=False),
        sa.Column("format", sa.String(10), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("read", sa.Boolean(), nullable=False),
        sa.Column("counts", json, nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import")),
    )
    op.create_index(op.f("ix_import_asked_by"), "import", ["asked_by"])
    op.create_index(op.f("ix_import_updated_at"), "import", ["updated_at"])
    op.create_table(
        "import_part",
        sa.Column("import_id", sa.String(36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["import_id"], ["import.id"], name=op.f("fk_import_part_import_id")),
        sa.PrimaryKeyConstraint("import_id", "number", name=op.f("pk_import_part")),
    )
    op.create_table(
        "import_waiting",
        sa.Column("import_id", sa.String(36), nullable=False),
        sa.Column("row", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("fields", json, nullable=False),
        sa.ForeignKeyConstraint(["import_id"], ["import.id"], name=op.f("fk_import_waiting_import_id")),
        sa.PrimaryKeyConstraint("import_id", "row", name=op.f("pk_import_waiting")),
    )
    op.create_table(
        "import_refusal",
        sa.Column("import_id", sa.String(36), nullable=False),
        sa.Column("row", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("column", sa.String(200), nullable=False),
        sa.Column("value", sa.String(), nullable=True),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.ForeignKeyConstraint(["import_id"], ["import.id"], name=op.f("fk_import_refusal_import_id")),
        sa.PrimaryKeyConstraint("import_id", "row", "place", name=op.f("pk_import_refusal")),
    )


def downgrade() -> None:
    for table in ("import_refusal", "import_waiting", "import_part", "import"):
        op.drop_table(table)
