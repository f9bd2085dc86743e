"""Callers whose number was erased. A release before writes no forgotten caller, and reads his calls as those of a withheld number."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
FORGOTTEN = sa.text("forgotten_id IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "forgotten_caller",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("line_hash", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=254), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_forgotten_caller_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_forgotten_caller")),
    )
    op.create_index("ix_forgotten_caller_at", "forgotten_caller", ["at"])
    for table in ("call", "unknown_call"):
        op.add_column(table, sa.Column("forgotten_id", ID, nullable=True))
    op.create_index(
        "ix_call_forgotten_id", "call", ["forgotten_id"], sqlite_where=FORGOTTEN, postgresql_where=FORGOTTEN
    )
