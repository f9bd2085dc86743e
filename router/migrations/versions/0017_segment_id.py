"""Which segment of a journal was applied so far: one of another journal may have its number. A release before leaves the id as it is, and
then the next applier reads again what the last hour has left, which changes nothing."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.add_column("journal_position", sa.Column("segment_id", sa.String(length=16), server_default="", nullable=False))
