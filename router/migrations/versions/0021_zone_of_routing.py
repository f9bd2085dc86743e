"""Answers go by opening hours, so a project's time zone is among what they depend on."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE CONSTRAINT TRIGGER raise_routing_version_zone AFTER UPDATE OF timezone ON project"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION raise_routing_version()"
        )
        return
    name = "routing_version_project_update"
    trigger = op.get_bind().execute(sa.text(f"SELECT sql FROM sqlite_master WHERE name = '{name}'"))  # noqa: S608 - a name of the schema
    before = trigger.scalar_one()
    op.execute(f"DROP TRIGGER {name}")
    op.execute(before.replace("UPDATE OF ", "UPDATE OF timezone, ", 1))
