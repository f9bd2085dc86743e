"""By how many seconds each machine's clock is ahead of the database's. `seen_at` is by the database's clock from now on."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("journal_position", sa.Column("clock_offset", sa.Double(), nullable=True))
