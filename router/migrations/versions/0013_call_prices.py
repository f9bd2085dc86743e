"""What the carrier takes for both legs of a call."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("call", sa.Column("inbound_price_micros", sa.BigInteger(), nullable=True))
    op.add_column("call", sa.Column("outbound_price_micros", sa.BigInteger(), nullable=True))
    op.add_column("call", sa.Column("price_currency", sa.String(length=3), nullable=True))
