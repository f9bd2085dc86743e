"""What integrations name and their receivers do not have: told once by e-mail, and shown until it works again."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def big_id() -> sa.BigInteger:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "integration_problem",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("project_id", big_id(), nullable=False),
        sa.Column("integration_id", big_id(), nullable=False),
        sa.Column("what", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_integration_problem_project_id")),
        sa.ForeignKeyConstraint(
            ["integration_id"], ["integration.id"], name=op.f("fk_integration_problem_integration_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_integration_problem")),
        sa.UniqueConstraint(
            "integration_id", "what", "name", name=op.f("uq_integration_problem_integration_id_what_name")
        ),
    )
    op.create_index("ix_integration_problem_project_id", "integration_problem", ["project_id"])
