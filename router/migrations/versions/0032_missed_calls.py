"""Missed calls that people are told of."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "missed_call_notice",
        sa.Column("id", ID, nullable=False),
        sa.Column("integration_id", ID, nullable=False),
        sa.Column("call_id", ID, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("notice_call_id", ID, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_missed_call_notice")),
        sa.UniqueConstraint("integration_id", "call_id", name=op.f("uq_missed_call_notice_integration_id_call_id")),
    )
    untold = sa.text("told_at IS NULL")
    op.create_index(
        "ix_missed_call_notice_untold",
        "missed_call_notice",
        ["integration_id"],
        sqlite_where=untold,
        postgresql_where=untold,
    )
