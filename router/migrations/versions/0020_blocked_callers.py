"""Blocked callers: the block list, and what a project says of callers that are not put through. A release before puts everybody through."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
COLUMNS: tuple[tuple[str, Any, Any], ...] = (
    ("block_withheld", sa.Boolean(), sa.false()),
    ("block_failed_verification", sa.Boolean(), sa.false()),
    ("block_robocalls", sa.Boolean(), sa.true()),
    ("blocked_answer", sa.String(length=20), "busy"),
    ("blocked_sentence", sa.String(length=300), ""),
    ("calls_per_caller", sa.Integer(), "5"),
    ("calls_per_number", sa.Integer(), "200"),
    ("tell_blocked", sa.String(length=10), "nobody"),
    ("list_version", sa.Integer(), "0"),
)
READ_BY_ANSWERS = tuple(name for name, *_ in COLUMNS if name not in ("block_robocalls", "tell_blocked"))
"""Beside those that migration 0011 names."""


def upgrade() -> None:
    for name, kind, default in COLUMNS:
        op.add_column("project", sa.Column(name, kind, server_default=default, nullable=False))
    op.create_table(
        "blocked_caller",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("pattern", sa.String(length=100), nullable=False),
        sa.Column("reason", sa.String(length=200), server_default="", nullable=False),
        sa.Column("is_guess", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=254), nullable=False),
        sa.Column("taken_back_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_blocked_caller_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blocked_caller")),
        sa.UniqueConstraint("project_id", "pattern", name=op.f("uq_blocked_caller_project_id_pattern")),
    )
    columns = ", ".join(READ_BY_ANSWERS)
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"CREATE CONSTRAINT TRIGGER raise_routing_version_lists AFTER UPDATE OF {columns} ON project"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION raise_routing_version()"
        )
        return
    name = "routing_version_project_update"
    trigger = op.get_bind().execute(sa.text(f"SELECT sql FROM sqlite_master WHERE name = '{name}'"))  # noqa: S608 - a name of the schema
    before = trigger.scalar_one()
    op.execute(f"DROP TRIGGER {name}")
    op.execute(before.replace("UPDATE OF ", f"UPDATE OF {columns}, ", 1))
