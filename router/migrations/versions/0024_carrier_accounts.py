"""Accounts of projects at the carrier, and at which account a number is rented; empty: at the server's own. Whoever changes an account
raises the project's `list_version`."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "carrier_account",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("sid", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=300), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_carrier_account_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_carrier_account")),
        sa.UniqueConstraint("project_id", name=op.f("uq_carrier_account_project_id")),
    )
    for table in ("tracking_number", "number_order"):
        op.add_column(table, sa.Column("carrier_account", sa.String(length=64), server_default="", nullable=False))
