# SPDX-License-Identifier: Apache-2.0
"""A page of needs or practices is read from an index of their ids; without it all of them were sorted"""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_index("ix_listing_kind_id", "listing", ["kind", "id"])


def downgrade() -> None:
    op.drop_index("ix_listing_kind_id", "listing")
