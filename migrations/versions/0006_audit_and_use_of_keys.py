# SPDX-License-Identifier: Apache-2.0
"""The audit log, the last use of keys, and what a kept answer is about."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0004"

INDEXED = ("at", "key_id", "object_id", "city_id")


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key_id", sa.String(36), nullable=True),
        sa.Column("key_name", sa.String(300), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("action", sa.String(60), nullable=False),
        sa.Column("object_type", sa.String(40), nullable=False),
        sa.Column("object_id", sa.String(36), nullable=False),
        sa.Column("city_id", sa.String(36), nullable=True),
        sa.Column("fields", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("address", sa.String(45), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    for name in INDEXED:
        op.create_index(op.f(f"ix_audit_{name}"), "audit", [name])
    op.add_column("api_key", sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("kept_answer", sa.Column("about", sa.String(36), nullable=True))
    op.create_index(op.f("ix_kept_answer_about"), "kept_answer", ["about"])


def downgrade() -> None:
    op.drop_index(op.f("ix_kept_answer_about"), "kept_answer")
    op.drop_column("kept_answer", "about")
    op.drop_column("api_key", "last_used_at")
    for name in INDEXED:
        op.drop_index(op.f(f"ix_audit_{name}"), "audit")
    op.drop_table("audit")
