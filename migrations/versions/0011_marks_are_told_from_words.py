# SPDX-License-Identifier: Apache-2.0
"""What marks a listing has is told from its words; no index finds them by the listing"""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.drop_index("ix_listing_mark_listing_id", "listing_mark")


def downgrade() -> None:
    op.create_index("ix_listing_mark_listing_id", "listing_mark", ["listing_id"])
