"""Files that are brought over: what a person says about old settings, and call logs that wait for it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"


def json() -> sa.JSON:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def big_id() -> sa.BigInteger:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("old_settings_file", sa.Column("choices", json(), server_default="{}", nullable=False))
    op.create_table(
        "call_log_file",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("project_id", big_id(), nullable=False),
        sa.Column("person_id", big_id(), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("choices", json(), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_call_log_file_person_id")),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_call_log_file_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_call_log_file")),
        sa.UniqueConstraint("project_id", "person_id", name=op.f("uq_call_log_file_project_id_person_id")),
    )
