"""Tables of voice and integrations."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"


def json() -> sa.JSON:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def big_id() -> sa.BigInteger:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "call",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("sid", sa.String(length=64), nullable=False),
        sa.Column("project_id", big_id(), nullable=False),
        sa.Column("number_id", big_id(), nullable=False),
        sa.Column("number", sa.String(length=16), nullable=False),
        sa.Column("scenario_id", big_id(), nullable=True),
        sa.Column("scenario_enabled", sa.Boolean(), nullable=False),
        sa.Column("flow", json(), nullable=False),
        sa.Column("caller", sa.String(length=16), nullable=True),
        sa.Column("caller_raw", sa.String(length=100), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_event_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("first_call", sa.Boolean(), nullable=False),
        sa.Column("destination", sa.String(length=200), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ring_seconds", sa.Integer(), nullable=True),
        sa.Column("talk_seconds", sa.Integer(), nullable=True),
        sa.Column("recording_sid", sa.String(length=64), nullable=False),
        sa.Column("recording_url", sa.Text(), nullable=False),
        sa.Column("recording_seconds", sa.Integer(), nullable=True),
        sa.Column("visit_id", big_id(), nullable=True),
        sa.Column("rule", sa.String(length=10), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("source_confidence", sa.Double(), nullable=True),
        sa.Column("candidates", json(), nullable=False),
        sa.Column("decision", json(), nullable=False),
        sa.Column("source", json(), nullable=True),
        sa.Column("source_key", sa.BigInteger(), nullable=True),
        sa.Column("fan_out_due", sa.String(length=60), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_call")),
        sa.UniqueConstraint("sid", name=op.f("uq_call_sid")),
    )
    op.create_index(
        "ix_call_fan_out_due",
        "call",
        ["id"],
        unique=False,
        sqlite_where=sa.text("fan_out_due <> ''"),
        postgresql_where=sa.text("fan_out_due <> ''"),
    )
    op.create_index("ix_call_number_id_caller_started_at", "call", ["number_id", "caller", "started_at"], unique=False)
    op.create_index(
        "ix_call_open",
        "call",
        ["last_event_at"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index("ix_call_project_id_id", "call", ["project_id", "id"], unique=False)
    op.create_index("ix_call_project_id_started_at", "call", ["project_id", "started_at"], unique=False)
    op.create_index("ix_call_scenario_id_id", "call", ["scenario_id", "id"], unique=False)
    op.create_index("ix_call_visit_id", "call", ["visit_id"], unique=False)
    op.create_table(
        "call_event",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("call_sid", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=160), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("facts", json(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_call_event")),
        sa.UniqueConstraint("call_sid", "key", name=op.f("uq_call_event_call_sid_key")),
    )
    op.create_table(
        "call_leg",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("call_sid", sa.String(length=64), nullable=False),
        sa.Column("sid", sa.String(length=64), nullable=False),
        sa.Column("destination", sa.String(length=200), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("ringing_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seconds", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_call_leg")),
        sa.UniqueConstraint("call_sid", "sid", name=op.f("uq_call_leg_call_sid_sid")),
    )
    op.create_table(
        "delivery",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("message_id", sa.String(length=40), nullable=False),
        sa.Column("project_id", big_id(), nullable=False),
        sa.Column("integration_id", big_id(), nullable=False),
        sa.Column("call_id", big_id(), nullable=False),
        sa.Column("event", sa.String(length=20), nullable=False),
        sa.Column("destination", sa.String(length=80), nullable=False),
        sa.Column("order_key", sa.String(length=100), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_owner", sa.String(length=80), nullable=False),
        sa.Column("changed", sa.Boolean(), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reference", json(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint(
            "integration_id", "event", "call_id", name=op.f("uq_delivery_integration_id_event_call_id")
        ),
        sa.UniqueConstraint("message_id", name=op.f("uq_delivery_message_id")),
    )
    op.create_index("ix_delivery_call_id", "delivery", ["call_id"], unique=False)
    op.create_index("ix_delivery_due", "delivery", ["integration_id", "state", "next_at", "id"], unique=False)
    op.create_index(
        "ix_delivery_leased",
        "delivery",
        ["next_at"],
        unique=False,
        sqlite_where=sa.text("state = 'leased'"),
        postgresql_where=sa.text("state = 'leased'"),
    )
    op.create_index(
        "ix_delivery_order_key",
        "delivery",
        ["order_key", "id"],
        unique=False,
        sqlite_where=sa.text("order_key <> ''"),
        postgresql_where=sa.text("order_key <> ''"),
    )
    op.create_index("ix_delivery_project_id_id", "delivery", ["project_id", "id"], unique=False)
    op.create_index("ix_delivery_project_id_state_id", "delivery", ["project_id", "state", "id"], unique=False)
    op.create_table(
        "destination_health",
        sa.Column("destination", sa.String(length=80), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("open_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("destination", name=op.f("pk_destination_health")),
    )
    op.create_table(
        "delivery_attempt",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("delivery_id", big_id(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["delivery.id"], name=op.f("fk_delivery_attempt_delivery_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery_attempt")),
    )
    op.create_index("ix_delivery_attempt_delivery_id", "delivery_attempt", ["delivery_id"], unique=False)
    op.create_table(
        "lead",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("project_id", big_id(), nullable=False),
        sa.Column("destination", sa.String(length=80), nullable=False),
        sa.Column("caller", sa.String(length=16), nullable=False),
        sa.Column("external_key", sa.String(length=100), nullable=False),
        sa.Column("external_id", sa.String(length=100), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_lead_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lead")),
        sa.UniqueConstraint("destination", "caller", name=op.f("uq_lead_destination_caller")),
    )
    op.create_index(op.f("ix_lead_project_id"), "lead", ["project_id"], unique=False)
    op.create_table(
        "integration",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("project_id", big_id(), nullable=False),
        sa.Column("scenario_id", big_id(), nullable=False),
        sa.Column("slot", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("destination", sa.String(length=80), nullable=False),
        sa.Column("config", json(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_integration_project_id")),
        sa.ForeignKeyConstraint(["scenario_id"], ["scenario.id"], name=op.f("fk_integration_scenario_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_integration")),
        sa.UniqueConstraint("scenario_id", "slot", name=op.f("uq_integration_scenario_id_slot")),
    )
    op.create_index(op.f("ix_integration_project_id"), "integration", ["project_id"], unique=False)
