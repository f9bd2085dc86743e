"""Text messages to tracking numbers, and the deliveries about them. A release before shows those deliveries without a call, and sends
none."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0022"
down_revision = "0021"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
UNANNOUNCED = sa.text("NOT is_announced")


def upgrade() -> None:
    op.create_table(
        "text_message",
        sa.Column("id", ID, nullable=False),
        sa.Column("sid", sa.String(length=64), nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("number_id", ID, nullable=False),
        sa.Column("number", sa.String(length=16), nullable=False),
        sa.Column("scenario_id", ID, nullable=True),
        sa.Column("sender", sa.String(length=16), nullable=True),
        sa.Column("sender_raw", sa.String(length=100), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("media", JSON, nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("is_announced", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_text_message")),
        sa.UniqueConstraint("sid", name=op.f("uq_text_message_sid")),
    )
    op.create_index("ix_text_message_project_id_id", "text_message", ["project_id", "id"])
    op.create_index("ix_text_message_received_at", "text_message", ["received_at"])
    op.create_index(
        "ix_text_message_unannounced", "text_message", ["id"], sqlite_where=UNANNOUNCED, postgresql_where=UNANNOUNCED
    )
    op.add_column("delivery", sa.Column("text_message_id", ID, nullable=True))
    op.add_column("project", sa.Column("message_days", sa.Integer(), server_default="365", nullable=False))
