"""What each version of the routing changed: a process that follows reads again what is named here, and not all numbers.

The triggers of migration 0011 write it under the version that they have raised, so it meets other transactions nowhere but at that row. It
reaches back some minutes of busy work; who has seen nothing for longer reads everything.
What was noted of versions that the database has lost goes when they come again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.create_table(
        "routing_change",
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=40), nullable=False),
        sa.Column("token", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("version", "kind", "key", name=op.f("pk_routing_change")),
        sqlite_with_rowid=False,
    )
    if op.get_bind().dialect.name == "postgresql":
        _note_on_postgresql()
    else:
        _note_on_sqlite()


def _note_on_postgresql() -> None:
    """A version for each transaction."""
    op.execute(
        """
        CREATE OR REPLACE FUNCTION raise_routing_version() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE at bigint; mark text; is_ours boolean; keys text[];
        BEGIN
            SELECT version, token, xmin = CAST(pg_current_xact_id() AS xid) INTO at, mark, is_ours FROM routing_version;
            IF NOT is_ours THEN
                UPDATE routing_version SET version = version + 1 RETURNING version, token INTO at, mark;
                DELETE FROM routing_change WHERE version <= at - 1000;
                DELETE FROM routing_change WHERE version >= at;
            END IF;
            IF TG_TABLE_NAME <> 'tracking_number' THEN
                IF TG_OP = 'DELETE' THEN keys := ARRAY[OLD.id::text]; ELSE keys := ARRAY[NEW.id::text]; END IF;
            ELSIF TG_OP = 'INSERT' THEN
                keys := ARRAY[NEW.e164::text];
            ELSIF TG_OP = 'DELETE' OR OLD.e164 = NEW.e164 THEN
                keys := ARRAY[OLD.e164::text];
            ELSE
                keys := ARRAY[OLD.e164::text, NEW.e164::text];
            END IF;
            IF at IS NOT NULL THEN
                INSERT INTO routing_change (version, kind, key, token)
                SELECT at, TG_TABLE_NAME, key, mark FROM unnest(keys) AS key ON CONFLICT DO NOTHING;
            END IF;
            RETURN NULL;
        END $$
        """
    )


def _note_on_sqlite() -> None:
    """A version for each row that changed."""
    triggers = op.get_bind().execute(
        sa.text(
            "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'routing_version_%'"
        )
    )
    for trigger, table, sql in triggers.all():
        event = trigger.rsplit("_", 1)[1]
        column = "e164" if table == "tracking_number" else "id"
        notes = "".join(
            f" INSERT OR IGNORE INTO routing_change SELECT version, '{table}', {row}.{column}, token FROM routing_version;"  # noqa: S608 - names of the schema
            for row in {"insert": ("NEW",), "delete": ("OLD",), "update": ("OLD", "NEW")}[event]
        )
        pruning = (
            " DELETE FROM routing_change WHERE version <= (SELECT version - 10000 FROM routing_version);"
            " DELETE FROM routing_change WHERE version >= (SELECT version FROM routing_version);"
        )
        op.execute(f"DROP TRIGGER {trigger}")
        op.execute(f"{sql.removesuffix('END')}{pruning}{notes} END")
