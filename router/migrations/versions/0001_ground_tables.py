"""Tables of accounts, scenarios and attribution."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def json() -> sa.JSON:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def big_id() -> sa.BigInteger:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "lease",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("scenario_id", big_id(), nullable=False),
        sa.Column("number_id", big_id(), nullable=False),
        sa.Column("visit_id", big_id(), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lease")),
        sa.UniqueConstraint("number_id", "turn", name=op.f("uq_lease_number_id_turn")),
    )
    op.create_index("ix_lease_number_id_started_at", "lease", ["number_id", "started_at"], unique=False)
    op.create_index("ix_lease_visit_id", "lease", ["visit_id"], unique=False)
    op.create_table(
        "person",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=False),
        sa.Column("is_operator", sa.Boolean(), nullable=False),
        sa.Column("session_stamp", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person")),
        sa.UniqueConstraint("email", name=op.f("uq_person_email")),
    )
    op.create_table(
        "pool_number",
        sa.Column("number_id", big_id(), autoincrement=False, nullable=False),
        sa.Column("scenario_id", big_id(), nullable=False),
        sa.Column("e164", sa.String(length=16), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.Column("group_turn", sa.BigInteger(), nullable=False),
        sa.Column("visitor", sa.String(length=32), nullable=False),
        sa.Column("source_key", sa.BigInteger(), nullable=False),
        sa.Column("lease_started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_sign_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("number_id", name=op.f("pk_pool_number")),
    )
    op.create_index("ix_pool_number_last_sign", "pool_number", ["scenario_id", "last_sign_at"], unique=False)
    op.create_index("ix_pool_number_lease_start", "pool_number", ["scenario_id", "lease_started_at"], unique=False)
    op.create_index(
        "ix_pool_number_source_last_sign", "pool_number", ["scenario_id", "source_key", "last_sign_at"], unique=False
    )
    op.create_index(
        "ix_pool_number_source_lease_start",
        "pool_number",
        ["scenario_id", "source_key", "lease_started_at"],
        unique=False,
    )
    op.create_table(
        "project",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("site", json(), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("fallback_destination", sa.String(length=200), nullable=False),
        sa.Column("visit_gap_seconds", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("suspended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project")),
        sa.UniqueConstraint("key", name=op.f("uq_project_key")),
    )
    op.create_table(
        "server_fact",
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_server_fact")),
    )
    op.create_table(
        "sign_in_attempt",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in_attempt")),
    )
    op.create_index("ix_sign_in_attempt_address_at", "sign_in_attempt", ["address", "at"], unique=False)
    op.create_index("ix_sign_in_attempt_email_at", "sign_in_attempt", ["email", "at"], unique=False)
    op.create_table(
        "visit",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("project_id", big_id(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("visitor", sa.String(length=32), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("span_started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_sign_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("page", sa.Text(), nullable=False),
        sa.Column("referrer", sa.Text(), nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("medium", sa.String(length=200), nullable=False),
        sa.Column("campaign", sa.String(length=200), nullable=False),
        sa.Column("term", sa.String(length=200), nullable=False),
        sa.Column("content", sa.String(length=200), nullable=False),
        sa.Column("source_key", sa.BigInteger(), nullable=False),
        sa.Column("click_ids", json(), nullable=False),
        sa.Column("ga", json(), nullable=False),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_visit")),
        sa.UniqueConstraint("project_id", "number", name=op.f("uq_visit_project_id_number")),
    )
    op.create_index(
        "ix_visit_project_id_visitor_started_at", "visit", ["project_id", "visitor", "started_at"], unique=False
    )
    op.create_table(
        "visit_span",
        sa.Column("visit_id", big_id(), autoincrement=False, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("visit_id", "started_at", name=op.f("pk_visit_span")),
    )
    op.create_table(
        "api_token",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("project_id", big_id(), nullable=True),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("hint", sa.String(length=8), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_api_token_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_token")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_token_digest")),
    )
    op.create_index(op.f("ix_api_token_project_id"), "api_token", ["project_id"], unique=False)
    op.create_table(
        "audit_entry",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("project_id", big_id(), nullable=True),
        sa.Column("actor", sa.String(length=254), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("detail", json(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_audit_entry_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entry")),
    )
    op.create_index("ix_audit_entry_project_id_id", "audit_entry", ["project_id", "id"], unique=False)
    op.create_table(
        "membership",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("project_id", big_id(), nullable=False),
        sa.Column("person_id", big_id(), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_membership_person_id")),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_membership_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_membership")),
        sa.UniqueConstraint("project_id", "person_id", name=op.f("uq_membership_project_id_person_id")),
    )
    op.create_index(op.f("ix_membership_person_id"), "membership", ["person_id"], unique=False)
    op.create_table(
        "refused_origin",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("project_id", big_id(), nullable=False),
        sa.Column("origin", sa.String(length=300), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_refused_origin_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refused_origin")),
        sa.UniqueConstraint("project_id", "origin", name=op.f("uq_refused_origin_project_id_origin")),
    )
    op.create_table(
        "scenario",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("project_id", big_id(), nullable=False),
        sa.Column("title", sa.String(length=120), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("aim", sa.String(length=10), nullable=False),
        sa.Column("exhausted", sa.String(length=10), nullable=False),
        sa.Column("hold_seconds", sa.Integer(), nullable=False),
        sa.Column("tagging", json(), nullable=False),
        sa.Column("call_flow_id", big_id(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("accuracy", sa.Integer(), nullable=True),
        sa.Column("first_shown_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_scenario_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scenario")),
    )
    op.create_index("ix_scenario_project_id_id", "scenario", ["project_id", "id"], unique=False)
    op.create_table(
        "visit_counter",
        sa.Column("project_id", big_id(), autoincrement=False, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_visit_counter_project_id")),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_visit_counter")),
    )
    op.create_table(
        "call_flow",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("scenario_id", big_id(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("document", json(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["scenario_id"], ["scenario.id"], name=op.f("fk_call_flow_scenario_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_call_flow")),
        sa.UniqueConstraint("scenario_id", "number", name=op.f("uq_call_flow_scenario_id_number")),
    )
    op.create_table(
        "tracking_number",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("project_id", big_id(), nullable=False),
        sa.Column("e164", sa.String(length=16), nullable=False),
        sa.Column("scenario_id", big_id(), nullable=True),
        sa.Column("static_source", json(), nullable=True),
        sa.Column("owned_elsewhere", sa.Boolean(), nullable=False),
        sa.Column("pinned", sa.Boolean(), nullable=False),
        sa.Column("last_flow_id", big_id(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("last_shown_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_tracking_number_project_id")),
        sa.ForeignKeyConstraint(["scenario_id"], ["scenario.id"], name=op.f("fk_tracking_number_scenario_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tracking_number")),
        sa.UniqueConstraint("e164", name=op.f("uq_tracking_number_e164")),
    )
    op.create_index("ix_tracking_number_project_id_id", "tracking_number", ["project_id", "id"], unique=False)
    op.create_index("ix_tracking_number_scenario_id", "tracking_number", ["scenario_id"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        # every lease rewrites one row of this table: room on its page, and no waiting for a large share of dead rows
        op.execute(
            "ALTER TABLE pool_number SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0,"
            " autovacuum_vacuum_threshold = 200, autovacuum_vacuum_cost_delay = 0)"
        )
