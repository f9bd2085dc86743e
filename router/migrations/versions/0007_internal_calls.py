"""Internal calls: a project's own telephones, who is told about their calls, and the kind of each call."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"

NOT_EXTERNAL = sa.text("kind <> 'external'")


def json() -> sa.JSON:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("project", sa.Column("own_numbers", json(), server_default="[]", nullable=False))
    op.add_column("project", sa.Column("destination_numbers", json(), server_default="[]", nullable=False))
    op.add_column("project", sa.Column("tell_internal", sa.String(length=10), server_default="nobody", nullable=False))
    op.add_column("call", sa.Column("kind", sa.String(length=10), server_default="external", nullable=False))
    for name, columns in (
        ("ix_call_internal", ["number_id", "scenario_id", "started_at"]),
        ("ix_call_project_internal", ["project_id", "started_at", "id"]),
    ):
        op.create_index(name, "call", columns, sqlite_where=NOT_EXTERNAL, postgresql_where=NOT_EXTERNAL)
