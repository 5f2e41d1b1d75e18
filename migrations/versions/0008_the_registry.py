# SPDX-License-Identifier: Apache-2.0
"""Names that cities are found by, reviews, confirmations, suggested themes, marks of texts"""

from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from twinning import repeats
from twinning.city_names import Named

revision = "0008"
down_revision = "0007"

TEXTS = ("title", "description", "challenge", "outcomes", "lessons", "transfer_conditions")
COLUMNS: dict[str, tuple[Any, dict[str, Any]]] = {
    # The version before goes on writing rows without these, so each has a default or takes nothing.
    "approved": (sa.Boolean(), {"nullable": False, "server_default": sa.true()}),
    "review_comment": (sa.String(), {"nullable": True}),
    "confirmed_at": (sa.DateTime(timezone=True), {"nullable": True}),
    "confirm_by": (sa.Date(), {"nullable": True}),
    "stale": (sa.Boolean(), {"nullable": False, "server_default": sa.false()}),
    "suggested_themes": (sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), {"nullable": True}),
}
PUBLISHED = "state = 'published'"


def upgrade() -> None:
    op.create_table(
        "city_name",
        sa.Column("city_id", sa.String(36), nullable=False),
        sa.Column("key", sa.String(110), nullable=False),
        sa.ForeignKeyConstraint(
            ["city_id"], ["city.id"], name=op.f("fk_city_name_city_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("city_id", "key", name=op.f("pk_city_name")),
    )
    op.create_index(op.f("ix_city_name_key"), "city_name", ["key"])
    op.create_table(
        "listing_mark",
        sa.Column("listing_id", sa.String(36), nullable=False),
        sa.Column("mark", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.ForeignKeyConstraint(
            ["listing_id"], ["listing.id"], name=op.f("fk_listing_mark_listing_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("listing_id", "mark", name=op.f("pk_listing_mark")),
    )
    op.create_index(op.f("ix_listing_mark_mark"), "listing_mark", ["mark"])
    for name, (kind, options) in COLUMNS.items():
        op.add_column("listing", sa.Column(name, kind, **options))
    for name in ("expires_on", "confirm_by"):
        op.create_index(
            f"ix_listing_{name}",
            "listing",
            [name],
            sqlite_where=sa.text(PUBLISHED),
            postgresql_where=sa.text(PUBLISHED),
        )
    _fill("city_name", _names())
    _fill("listing_mark", _marks())


def _fill(table: str, rows: Iterable[dict[str, Any]]) -> None:
    found = list(rows)
    if found:
        op.bulk_insert(sa.table(table, *map(sa.column, found[0])), found)


def _names() -> Iterator[dict[str, Any]]:
    city = sa.table("city", *map(sa.column, ("id", "name", "country", "latitude", "longitude", "state")))
    query = sa.select(city).where(city.c.state == "registered").execution_options(yield_per=500)
    for row in op.get_bind().execute(query):
        point = (row.latitude, row.longitude)
        named = Named(row.name, row.country, None if None in point else point)
        yield from ({"city_id": row.id, "key": key} for key in named.found_by())


def _marks() -> Iterator[dict[str, Any]]:
    listing = sa.table("listing", *map(sa.column, ("id", "kind", "city_id", "state", *TEXTS)))
    query = sa.select(listing).where(listing.c.state != "withdrawn").execution_options(yield_per=500)
    for row in op.get_bind().execute(query):
        text = "\n".join(part for name in TEXTS if (part := getattr(row, name)))
        for mark in repeats.marks_of(row.city_id, row.kind, text):
            yield {"listing_id": row.id, "mark": mark}


def downgrade() -> None:
    for name in ("confirm_by", "expires_on"):
        op.drop_index(f"ix_listing_{name}", "listing")
    for name in reversed(COLUMNS):
        op.drop_column("listing", name)
    op.drop_index(op.f("ix_listing_mark_mark"), "listing_mark")
    op.drop_table("listing_mark")
    op.drop_index(op.f("ix_city_name_key"), "city_name")
    op.drop_table("city_name")
