"""Who changed a scenario last, and when: told to whoever had it open meanwhile."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("scenario", sa.Column("changed_by", sa.String(length=254), server_default="", nullable=False))
    op.add_column("scenario", sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True))
