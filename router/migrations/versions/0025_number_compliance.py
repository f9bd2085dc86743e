"""Regulatory bundles and addresses that projects chose for numbers of a country and kind, at their account at the carrier."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UNIQUE = ["project_id", "carrier_account", "country", "kind"]


def upgrade() -> None:
    op.create_table(
        "number_compliance",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("carrier_account", sa.String(length=64), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("bundle_sid", sa.String(length=64), nullable=False),
        sa.Column("bundle_name", sa.String(length=120), nullable=False),
        sa.Column("address_sid", sa.String(length=64), nullable=False),
        sa.Column("address_name", sa.String(length=600), nullable=False),
        sa.Column("address_country", sa.String(length=2), nullable=False),
        sa.Column("chosen_by", sa.String(length=254), nullable=False),
        sa.Column("chosen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_number_compliance_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_number_compliance")),
        sa.UniqueConstraint(*UNIQUE, name=op.f(f"uq_number_compliance_{'_'.join(UNIQUE)}")),
    )
