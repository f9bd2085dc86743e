"""Receivers are switched off, told about, and known by their whole address; deliveries of which nobody knows whether they arrived.

Webhooks of one host shared a receiver, and so a failing path held up the others. They are renamed here and not when they are saved next,
because nobody saves an integration that works. What is done keeps the name that it was sent under. The release before takes either name.
"""

import hashlib
from urllib.parse import urlsplit

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"

LONGEST = 80


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.add_column("delivery", sa.Column("sending_at", moment, nullable=True))
    op.add_column("delivery", sa.Column("uncertain_at", moment, nullable=True))
    op.add_column("destination_health", sa.Column("switched_off_at", moment, nullable=True))
    op.create_table(
        "receiver_notice",
        sa.Column("receiver", sa.String(length=80), nullable=False),
        sa.Column("cause", sa.String(length=20), nullable=False),
        sa.Column("told_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("receiver", "cause", name=op.f("pk_receiver_notice")),
    )
    tried = sa.text("state = 'pending' AND attempts > 0")
    columns = ["integration_id", "next_at", "id"]
    op.create_index("ix_delivery_retry", "delivery", columns, sqlite_where=tried, postgresql_where=tried)
    if op.get_bind().dialect.name == "postgresql":  # SQLite holds no text to its length
        for table, column in (("delivery", "state"), ("delivery_attempt", "outcome")):
            op.alter_column(table, column, type_=sa.String(length=20), existing_type=sa.String(length=10))
    _rename_webhooks()


def _rename_webhooks() -> None:
    connection = op.get_bind()
    config = sa.JSON()
    integration = sa.table(
        "integration",
        *(sa.column(name) for name in ("id", "project_id", "kind", "destination")),
        sa.column("config", config),
    )
    delivery = sa.table("delivery", *(sa.column(name) for name in ("integration_id", "destination", "state")))
    health = sa.table("destination_health", sa.column("destination"))
    rows = connection.execute(sa.select(integration).where(integration.c.kind == "webhook")).all()
    for row in rows:
        name = _name(row.project_id, str((row.config or {}).get("url", "")))
        connection.execute(sa.update(integration).where(integration.c.id == row.id).values(destination=name))
        for state in ("pending", "leased", "dead"):
            is_open = (delivery.c.integration_id == row.id, delivery.c.state == state)
            connection.execute(sa.update(delivery).where(*is_open).values(destination=name))
    connection.execute(sa.delete(health).where(health.c.destination.in_([row.destination for row in rows])))


def _name(project_id: int, url: str) -> str:
    """As `Vendor.receiver` gives it."""
    parts = urlsplit(url)
    place = (
        f"{'' if parts.scheme == 'https' else f'{parts.scheme}://'}{parts.netloc.casefold()}{parts.path.rstrip('/')}"
    )
    if parts.query:
        place += f"?{hashlib.blake2b(parts.query.encode(), digest_size=4).hexdigest()}"
    name = f"webhook:{project_id}:{place}"
    if len(name) > LONGEST:
        digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
        name = f"{name[: LONGEST - 17]}~{digest}"
    return name
