"""Webhooks that choose their events and change their secret; what receivers answered."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    op.add_column("integration", sa.Column("sealed_before", sa.Text(), server_default="", nullable=False))
    op.add_column("integration", sa.Column("earlier_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("integration", sa.Column("events", sa.String(length=120), server_default="", nullable=False))
    op.add_column("delivery_attempt", sa.Column("answer", sa.Text(), server_default="", nullable=False))
