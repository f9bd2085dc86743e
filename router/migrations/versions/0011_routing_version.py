"""The version of all that an answer to a call depends on: raised by whatever changes it, in the same transaction.

On PostgreSQL at the end of the transaction, once for each: a row that was locked earlier could be the second half of a deadlock.
"""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

READ_BY_ANSWERS = {
    "tracking_number": (
        "e164",
        "project_id",
        "scenario_id",
        "static_source",
        "overflow",
        "last_flow_id",
        "released_at",
    ),
    "project": ("fallback_destination", "repeat_credit", "own_numbers", "destination_numbers"),
    "scenario": ("enabled", "hold_seconds", "title", "call_flow_id"),
}


def upgrade() -> None:
    table = op.create_table(
        "routing_version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("installation", sa.String(length=36), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("changed_in", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_routing_version")),
    )
    op.bulk_insert(table, [{"id": 1, "installation": str(uuid.uuid4()), "version": 1, "changed_in": None}])
    if op.get_bind().dialect.name == "postgresql":
        _raise_on_postgresql()
    else:
        _raise_on_sqlite()


def _raise_on_postgresql() -> None:
    op.execute(
        """
        CREATE FUNCTION raise_routing_version() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            UPDATE routing_version SET version = version + 1, changed_in = txid_current()
            WHERE changed_in IS DISTINCT FROM txid_current();
            RETURN NULL;
        END $$
        """
    )
    for name, columns in READ_BY_ANSWERS.items():
        op.execute(
            f"CREATE CONSTRAINT TRIGGER raise_routing_version AFTER INSERT OR DELETE OR UPDATE OF {', '.join(columns)} ON {name}"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION raise_routing_version()"
        )


def _raise_on_sqlite() -> None:
    raising = "BEGIN UPDATE routing_version SET version = version + 1; END"
    for name, columns in READ_BY_ANSWERS.items():
        for event in ("INSERT", "DELETE", f"UPDATE OF {', '.join(columns)}"):
            trigger = f"routing_version_{name}_{event.split()[0].lower()}"
            op.execute(f"CREATE TRIGGER {trigger} AFTER {event} ON {name} {raising}")
