"""What the tag reports and what it may do: numbers really shown, consent, own fields, the site's own address for it, staff."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

NO = sa.false()


def json() -> sa.JSON:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("project", sa.Column("consent", sa.String(length=10), server_default="full", nullable=False))
    op.add_column("project", sa.Column("gpc_refuses", sa.Boolean(), server_default=NO, nullable=False))
    op.add_column("project", sa.Column("tag_address", sa.String(length=200), server_default="", nullable=False))
    op.add_column("project", sa.Column("staff_addresses", json(), server_default="[]", nullable=False))
    op.add_column("scenario", sa.Column("given_times", sa.Integer(), nullable=True))
    op.add_column("scenario", sa.Column("shown_times", sa.Integer(), nullable=True))
    op.add_column("visit", sa.Column("limited", sa.Boolean(), server_default=NO, nullable=False))
    op.add_column("visit", sa.Column("params", json(), server_default="{}", nullable=False))
    op.add_column("lease", sa.Column("shown_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("lease", sa.Column("returned_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("lease", sa.Column("unplaced_at", sa.DateTime(timezone=True), nullable=True))
