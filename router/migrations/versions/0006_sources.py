"""Which visits count and where they came from: browsers that a program drives, and hosts that are no source."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("project", sa.Column("ignore_automation", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("project", sa.Column("unwanted_referrals", json, server_default="[]", nullable=False))
