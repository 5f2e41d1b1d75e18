# SPDX-License-Identifier: Apache-2.0
"""The first tables"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(300), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("countries", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("city_id", sa.String(36), nullable=True),
        sa.Column("key_hash", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_key_key_hash")),
    )
    op.create_table(
        "catalogue_change",
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("subject", sa.String(10), nullable=False),
        sa.Column("subject_id", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_catalogue_change")),
    )
    op.create_table(
        "city",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(300), nullable=False),
        sa.Column("external_ref", sa.String(200), nullable=True),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("region", sa.String(10), nullable=False),
        sa.Column("languages", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("latitude", sa.Float(), nullable=True),
        sa.Column("longitude", sa.Float(), nullable=True),
        sa.Column("population", sa.Integer(), nullable=True),
        sa.Column("website", sa.String(), nullable=True),
        sa.Column("summary", sa.String(), nullable=True),
        sa.Column("networks", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column(
            "existing_partners", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False
        ),
        sa.Column("contact_name", sa.String(), nullable=True),
        sa.Column("contact_email", sa.String(), nullable=True),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_city")),
    )
    with op.batch_alter_table("city", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_city_country"), ["country"], unique=False)
        batch_op.create_index(batch_op.f("ix_city_name"), ["name"], unique=False)
        batch_op.create_index(
            "uq_city_external_ref",
            ["external_ref"],
            unique=True,
            sqlite_where=sa.text("state != 'withdrawn'"),
            postgresql_where=sa.text("state != 'withdrawn'"),
        )

    op.create_table(
        "event",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(60), nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("for_key", sa.String(36), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sa.UniqueConstraint("sequence", name=op.f("uq_event_sequence")),
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_event_timestamp"), ["timestamp"], unique=False)

    op.create_table(
        "event_city",
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("city_id", sa.String(36), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.PrimaryKeyConstraint("sequence", "city_id", name=op.f("pk_event_city")),
    )
    with op.batch_alter_table("event_city", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_event_city_city_id"), ["city_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_event_city_country"), ["country"], unique=False)

    op.create_table(
        "kept_answer",
        sa.Column("caller", sa.String(36), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("request_hash", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("caller", "key", name=op.f("pk_kept_answer")),
    )
    with op.batch_alter_table("kept_answer", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_kept_answer_created_at"), ["created_at"], unique=False)

    op.create_table(
        "log",
        sa.Column("name", sa.String(20), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_log")),
    )
    op.create_table(
        "matching_round",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("asked_by", sa.String(36), nullable=False),
        sa.Column("parameters", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("catalogue_version", sa.BigInteger(), nullable=True),
        sa.Column("engine_version", sa.String(), nullable=True),
        sa.Column("summary", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_matching_round")),
    )
    with op.batch_alter_table("matching_round", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_matching_round_state"), ["state"], unique=False)

    op.create_table(
        "preview",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("asked_by", sa.String(36), nullable=False),
        sa.Column("request", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("answer", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_preview")),
    )
    with op.batch_alter_table("preview", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_preview_created_at"), ["created_at"], unique=False)

    op.create_table(
        "suggestion",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("pair_key", sa.String(400), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("band", sa.String(10), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("round_id", sa.String(36), nullable=True),
        sa.Column("catalogue_version", sa.BigInteger(), nullable=False),
        sa.Column("engine_version", sa.String(60), nullable=False),
        sa.Column("cities", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("directions", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("reasons", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("themes", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("min_band", sa.String(10), nullable=False),
        sa.Column("told_score", sa.Float(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suggestion")),
    )
    with op.batch_alter_table("suggestion", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_suggestion_score"), ["score"], unique=False)
        batch_op.create_index(
            "uq_suggestion_kind_pair_key",
            ["kind", "pair_key"],
            unique=True,
            sqlite_where=sa.text("status NOT IN ('withdrawn', 'expired')"),
            postgresql_where=sa.text("status NOT IN ('withdrawn', 'expired')"),
        )

    op.create_table(
        "term_counts",
        sa.Column("listing_id", sa.String(36), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("analysis", sa.String(40), nullable=False),
        sa.Column("counts", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.PrimaryKeyConstraint("listing_id", name=op.f("pk_term_counts")),
    )
    op.create_table(
        "work_unit",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("subject", sa.String(80), nullable=False),
        sa.Column("payload", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("leased_by", sa.String(80), nullable=True),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work_unit")),
        sa.UniqueConstraint("kind", "subject", name=op.f("uq_work_unit_kind_subject")),
    )
    with op.batch_alter_table("work_unit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_work_unit_due_at"), ["due_at"], unique=False)

    op.create_table(
        "worker",
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("service", sa.String(20), nullable=False),
        sa.Column("beat_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_worker")),
    )
    op.create_table(
        "listing",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("city_id", sa.String(36), nullable=False),
        sa.Column("external_ref", sa.String(200), nullable=True),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("challenge", sa.String(), nullable=True),
        sa.Column("outcomes", sa.String(), nullable=True),
        sa.Column("lessons", sa.String(), nullable=True),
        sa.Column("transfer_conditions", sa.String(), nullable=True),
        sa.Column("themes", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("target_groups", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("languages", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("hosting", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("strength", sa.Integer(), nullable=True),
        sa.Column("seeks", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("party_size", sa.Integer(), nullable=True),
        sa.Column("months", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("expires_on", sa.Date(), nullable=True),
        sa.Column("unmet", sa.Boolean(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["city_id"], ["city.id"], name=op.f("fk_listing_city_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_listing")),
    )
    with op.batch_alter_table("listing", schema=None) as batch_op:
        batch_op.create_index("ix_listing_kind_city_id", ["kind", "city_id"], unique=False)
        batch_op.create_index(
            "uq_listing_external_ref",
            ["city_id", "kind", "external_ref"],
            unique=True,
            sqlite_where=sa.text("state != 'withdrawn'"),
            postgresql_where=sa.text("state != 'withdrawn'"),
        )

    op.create_table(
        "round_block",
        sa.Column("round_id", sa.String(36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("learners", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("catalogue_version", sa.BigInteger(), nullable=True),
        sa.Column("found", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["round_id"], ["matching_round.id"], name=op.f("fk_round_block_round_id")),
        sa.PrimaryKeyConstraint("round_id", "number", name=op.f("pk_round_block")),
    )
    op.create_table(
        "round_suggestion",
        sa.Column("round_id", sa.String(36), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("suggestion_id", sa.String(36), nullable=False),
        sa.ForeignKeyConstraint(
            ["round_id"], ["matching_round.id"], name=op.f("fk_round_suggestion_round_id")
        ),
        sa.ForeignKeyConstraint(
            ["suggestion_id"], ["suggestion.id"], name=op.f("fk_round_suggestion_suggestion_id")
        ),
        sa.PrimaryKeyConstraint("round_id", "place", name=op.f("pk_round_suggestion")),
    )
    with op.batch_alter_table("round_suggestion", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_round_suggestion_suggestion_id"), ["suggestion_id"], unique=False
        )

    op.create_table(
        "suggestion_city",
        sa.Column("suggestion_id", sa.String(36), nullable=False),
        sa.Column("city_id", sa.String(36), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("listed", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["suggestion_id"], ["suggestion.id"], name=op.f("fk_suggestion_city_suggestion_id")
        ),
        sa.PrimaryKeyConstraint("suggestion_id", "city_id", name=op.f("pk_suggestion_city")),
    )
    with op.batch_alter_table("suggestion_city", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_suggestion_city_city_id"), ["city_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_suggestion_city_country"), ["country"], unique=False)

    op.create_table(
        "suggestion_listing",
        sa.Column("suggestion_id", sa.String(36), nullable=False),
        sa.Column("listing_id", sa.String(36), nullable=False),
        sa.ForeignKeyConstraint(
            ["suggestion_id"], ["suggestion.id"], name=op.f("fk_suggestion_listing_suggestion_id")
        ),
        sa.PrimaryKeyConstraint("suggestion_id", "listing_id", name=op.f("pk_suggestion_listing")),
    )
    with op.batch_alter_table("suggestion_listing", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_suggestion_listing_listing_id"), ["listing_id"], unique=False)

    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("owner_id", sa.String(36), nullable=False),
        sa.Column("round_id", sa.String(36), nullable=True),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("event_types", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("filters", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("headers", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("description", sa.String(), nullable=True),
        sa.Column("rate_per_second", sa.Float(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_because", sa.String(), nullable=True),
        sa.Column("secrets", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["api_key.id"], name=op.f("fk_webhook_endpoint_owner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoint")),
    )
    with op.batch_alter_table("webhook_endpoint", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_webhook_endpoint_owner_id"), ["owner_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_webhook_endpoint_round_id"), ["round_id"], unique=False)

    op.create_table(
        "delivery",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("event_id", sa.String(36), nullable=False),
        sa.Column("endpoint_id", sa.String(36), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("leased_by", sa.String(80), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["webhook_endpoint.id"], name=op.f("fk_delivery_endpoint_id")
        ),
        sa.ForeignKeyConstraint(["event_id"], ["event.id"], name=op.f("fk_delivery_event_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint("event_id", "endpoint_id", name=op.f("uq_delivery_event_id_endpoint_id")),
    )
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.create_index(
            "ix_delivery_due",
            ["due_at"],
            unique=False,
            sqlite_where=sa.text("state = 'pending'"),
            postgresql_where=sa.text("state = 'pending'"),
        )
        batch_op.create_index("ix_delivery_endpoint_id_state", ["endpoint_id", "state"], unique=False)
        batch_op.create_index(
            "ix_delivery_leased",
            ["endpoint_id"],
            unique=False,
            sqlite_where=sa.text("leased_by IS NOT NULL"),
            postgresql_where=sa.text("leased_by IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_delivery_waiting",
            ["endpoint_id", "due_at", "id"],
            unique=False,
            sqlite_where=sa.text("state = 'pending' AND leased_by IS NULL"),
            postgresql_where=sa.text("state = 'pending' AND leased_by IS NULL"),
        )

    op.create_table(
        "attempt",
        sa.Column("delivery_id", sa.String(36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("duration_ms", sa.Float(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(60), nullable=True),
        sa.Column("answer", sa.String(), nullable=True),
        sa.Column("address", sa.String(60), nullable=True),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["delivery_id"], ["delivery.id"], name=op.f("fk_attempt_delivery_id")),
        sa.PrimaryKeyConstraint("delivery_id", "number", name=op.f("pk_attempt")),
    )
    op.execute("INSERT INTO log (name, value) VALUES ('commits', 0), ('keeping', 0)")


def downgrade() -> None:
    op.drop_table("attempt")
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_delivery_waiting",
            sqlite_where=sa.text("state = 'pending' AND leased_by IS NULL"),
            postgresql_where=sa.text("state = 'pending' AND leased_by IS NULL"),
        )
        batch_op.drop_index(
            "ix_delivery_leased",
            sqlite_where=sa.text("leased_by IS NOT NULL"),
            postgresql_where=sa.text("leased_by IS NOT NULL"),
        )
        batch_op.drop_index("ix_delivery_endpoint_id_state")
        batch_op.drop_index(
            "ix_delivery_due",
            sqlite_where=sa.text("state = 'pending'"),
            postgresql_where=sa.text("state = 'pending'"),
        )

    op.drop_table("delivery")
    with op.batch_alter_table("webhook_endpoint", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_webhook_endpoint_round_id"))
        batch_op.drop_index(batch_op.f("ix_webhook_endpoint_owner_id"))

    op.drop_table("webhook_endpoint")
    with op.batch_alter_table("suggestion_listing", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_suggestion_listing_listing_id"))

    op.drop_table("suggestion_listing")
    with op.batch_alter_table("suggestion_city", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_suggestion_city_country"))
        batch_op.drop_index(batch_op.f("ix_suggestion_city_city_id"))

    op.drop_table("suggestion_city")
    with op.batch_alter_table("round_suggestion", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_round_suggestion_suggestion_id"))

    op.drop_table("round_suggestion")
    op.drop_table("round_block")
    with op.batch_alter_table("listing", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_listing_external_ref",
            sqlite_where=sa.text("state != 'withdrawn'"),
            postgresql_where=sa.text("state != 'withdrawn'"),
        )
        batch_op.drop_index("ix_listing_kind_city_id")

    op.drop_table("listing")
    op.drop_table("worker")
    with op.batch_alter_table("work_unit", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_work_unit_due_at"))

    op.drop_table("work_unit")
    op.drop_table("term_counts")
    with op.batch_alter_table("suggestion", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_suggestion_kind_pair_key",
            sqlite_where=sa.text("status NOT IN ('withdrawn', 'expired')"),
            postgresql_where=sa.text("status NOT IN ('withdrawn', 'expired')"),
        )
        batch_op.drop_index(batch_op.f("ix_suggestion_score"))

    op.drop_table("suggestion")
    with op.batch_alter_table("preview", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_preview_created_at"))

    op.drop_table("preview")
    with op.batch_alter_table("matching_round", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_matching_round_state"))

    op.drop_table("matching_round")
    op.drop_table("log")
    with op.batch_alter_table("kept_answer", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_kept_answer_created_at"))

    op.drop_table("kept_answer")
    with op.batch_alter_table("event_city", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_event_city_country"))
        batch_op.drop_index(batch_op.f("ix_event_city_city_id"))

    op.drop_table("event_city")
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_event_timestamp"))

    op.drop_table("event")
    with op.batch_alter_table("city", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_city_external_ref",
            sqlite_where=sa.text("state != 'withdrawn'"),
            postgresql_where=sa.text("state != 'withdrawn'"),
        )
        batch_op.drop_index(batch_op.f("ix_city_name"))
        batch_op.drop_index(batch_op.f("ix_city_country"))

    op.drop_table("city")
    op.drop_table("catalogue_change")
    op.drop_table("api_key")
