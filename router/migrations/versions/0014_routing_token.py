"""A token beside the version of all that an answer depends on, new and random with each: after a restore of the database, two states may
have one number, and have not one token.

On PostgreSQL the transaction that raised the version last is told by its row. A number of it, as it stood there before, may be another
transaction's after a restore, whose change would not have counted.
"""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("routing_version", sa.Column("token", sa.String(length=36), server_default="", nullable=False))
    op.execute(sa.text("UPDATE routing_version SET token = :token").bindparams(token=str(uuid.uuid4())))
    if op.get_bind().dialect.name == "postgresql":
        _renew_on_postgresql()
    else:
        op.execute(
            "CREATE TRIGGER renew_routing_token AFTER UPDATE OF version ON routing_version"
            " BEGIN UPDATE routing_version SET token = lower(hex(randomblob(16))); END"
        )
    op.drop_column("routing_version", "changed_in")


def _renew_on_postgresql() -> None:
    op.execute(
        """
        CREATE FUNCTION renew_routing_token() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            NEW.token = CAST(gen_random_uuid() AS text);
            RETURN NEW;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER renew_routing_token BEFORE UPDATE OF version ON routing_version"
        " FOR EACH ROW EXECUTE FUNCTION renew_routing_token()"
    )
    op.execute(
        """
        CREATE OR REPLACE FUNCTION raise_routing_version() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            UPDATE routing_version SET version = version + 1
            WHERE xmin <> CAST(pg_current_xact_id() AS xid);
            RETURN NULL;
        END $$
        """
    )
