# SPDX-License-Identifier: Apache-2.0
"""Replays, rates, handshakes and sealed secrets"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "replay",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("endpoint_id", sa.String(36), nullable=False),
        sa.Column("only", sa.String(10), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("resent", sa.Integer(), nullable=False),
        sa.Column("created", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["webhook_endpoint.id"],
            name=op.f("fk_replay_endpoint_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replay")),
    )
    op.create_index(op.f("ix_replay_endpoint_id"), "replay", ["endpoint_id"])
    # The version before goes on writing rows without these, so each has a default in the database.
    op.add_column("delivery", sa.Column("tries_before", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("delivery", sa.Column("lane", sa.String(10), nullable=False, server_default="usual"))
    op.create_index(
        "ix_delivery_lane",
        "delivery",
        ["endpoint_id", "lane"],
        sqlite_where=sa.text("state = 'pending' AND lane <> 'usual'"),
        postgresql_where=sa.text("state = 'pending' AND lane <> 'usual'"),
    )
    op.add_column("event", sa.Column("thin", sa.String(), nullable=True))
    op.add_column(
        "event",
        sa.Column("facets", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
    )
    op.add_column("kept_answer", sa.Column("key_id", sa.String(16), nullable=True))
    op.add_column("webhook_endpoint", sa.Column("key_id", sa.String(16), nullable=True))
    op.add_column("webhook_endpoint", sa.Column("rate_clock", sa.DateTime(timezone=True), nullable=True))
    op.add_column("webhook_endpoint", sa.Column("challenge", sa.String(64), nullable=True))
    op.add_column(
        "webhook_endpoint", sa.Column("unverified_since", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column("webhook_endpoint", sa.Column("warned", sa.Integer(), nullable=False, server_default="0"))
    op.create_index(
        "ix_webhook_endpoint_rate_clock",
        "webhook_endpoint",
        ["rate_clock"],
        sqlite_where=sa.text("rate_clock IS NOT NULL"),
        postgresql_where=sa.text("rate_clock IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_webhook_endpoint_rate_clock", "webhook_endpoint")
    for name in ("warned", "unverified_since", "challenge", "rate_clock", "key_id"):
        op.drop_column("webhook_endpoint", name)
    op.drop_column("kept_answer", "key_id")
    op.drop_column("event", "facets")
    op.drop_column("event", "thin")
    op.drop_index("ix_delivery_lane", "delivery")
    op.drop_column("delivery", "lane")
    op.drop_column("delivery", "tries_before")
    op.drop_index(op.f("ix_replay_endpoint_id"), "replay")
    op.drop_table("replay")
