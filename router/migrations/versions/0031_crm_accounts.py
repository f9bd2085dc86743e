"""CRMs by their own names, however their addresses are written, and what was found there at the last check.

The build before writes no `account`; without one the receiver stands for it, as it did."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0031"
down_revision = "0030"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("integration", sa.Column("account", sa.String(length=80), nullable=True))
    op.create_table(
        "crm_account",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("receiver", sa.String(length=80), nullable=False),
        sa.Column("identity", sa.String(length=200), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("choices", JSON, nullable=False),
        sa.Column("problems", JSON, nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_crm_account_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_crm_account")),
        sa.UniqueConstraint("project_id", "receiver", name=op.f("uq_crm_account_project_id_receiver")),
    )
