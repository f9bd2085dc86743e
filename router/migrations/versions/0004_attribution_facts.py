"""Facts that attribution decides by: taps, leaving, kept sources, exhausted pools; accuracy by day, crawlers by day."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"

NO = sa.false()


def big_id() -> sa.BigInteger:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def json() -> sa.JSON:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def moment(name: str, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def counter(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Integer(), nullable=False)


def upgrade() -> None:
    op.add_column("project", sa.Column("source_days", sa.Integer(), server_default="30", nullable=False))
    op.add_column(
        "project", sa.Column("repeat_credit", sa.String(length=20), server_default="first_call", nullable=False)
    )
    op.add_column("scenario", sa.Column("confidence", sa.Double(), nullable=True))
    op.add_column("scenario", sa.Column("survival", json(), nullable=True))
    op.add_column("scenario", sa.Column("leaking", sa.Integer(), server_default="0", nullable=False))
    op.add_column("tracking_number", sa.Column("overflow", sa.Boolean(), server_default=NO, nullable=False))
    op.add_column("visit", sa.Column("left", sa.Boolean(), server_default=NO, nullable=False))
    op.add_column("visit", moment("source_at"))
    op.add_column("visit_span", sa.Column("left", sa.Boolean(), server_default=NO, nullable=False))
    op.add_column("lease", sa.Column("mixed", sa.Boolean(), server_default=NO, nullable=False))
    _what_is_counted()
    op.add_column("call", sa.Column("shares", json(), nullable=True))
    _tables()
    _plans()


def _what_is_counted() -> None:
    op.add_column("visit", sa.Column("counted", sa.SmallInteger(), server_default="0", nullable=False))
    op.create_index("ix_visit_project_id_started_at", "visit", ["project_id", "started_at"])
    _partial_index("ix_visit_uncounted", "visit", "counted <> 1")
    op.add_column("call", sa.Column("counted", sa.Boolean(), server_default=NO, nullable=False))
    _partial_index("ix_call_uncounted", "call", "NOT counted")
    op.create_table(
        "accuracy_due",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("project_id", big_id(), nullable=False),
        moment("at", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accuracy_due")),
    )


def _partial_index(name: str, table: str, condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, ["id"], sqlite_where=where, postgresql_where=where)


def _tables() -> None:
    op.create_table(
        "tap",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("visit_id", big_id(), nullable=False),
        sa.Column("number_id", big_id(), nullable=False),
        moment("at", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tap")),
        sa.UniqueConstraint("visit_id", "number_id", "at", name=op.f("uq_tap_visit_id_number_id_at")),
    )
    op.create_index("ix_tap_number_id_at", "tap", ["number_id", "at"])
    op.create_table(
        "unserved",
        sa.Column("visit_id", big_id(), autoincrement=False, nullable=False),
        sa.Column("scenario_id", big_id(), autoincrement=False, nullable=False),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        moment("at", nullable=False),
        sa.PrimaryKeyConstraint("visit_id", "scenario_id", name=op.f("pk_unserved")),
    )
    op.create_index("ix_unserved_scenario_id_at", "unserved", ["scenario_id", "at"])
    op.create_table(
        "accuracy_day",
        sa.Column("scenario_id", big_id(), autoincrement=False, nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        *(counter(name) for name in ("visits", "shared", "mixed", "overflowed", "kept", "calls", "sure_calls")),
        sa.Column("confidence_sum", sa.Double(), nullable=False),
        sa.Column("counted_by", sa.String(length=80), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("scenario_id", "day", name=op.f("pk_accuracy_day")),
    )
    op.create_table(
        "crawler_day",
        sa.Column("project_id", big_id(), autoincrement=False, nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        counter("views"),
        sa.PrimaryKeyConstraint("project_id", "day", "kind", name=op.f("pk_crawler_day")),
    )


def _plans() -> None:
    op.create_table(
        "pool_plan",
        sa.Column("scenario_id", big_id(), autoincrement=False, nullable=False),
        moment("asked_at", nullable=False),
        sa.Column("inputs", json(), nullable=False),
        sa.Column("facts", json(), nullable=True),
        sa.Column("points", json(), nullable=False),
        moment("worked_at"),
        moment("made_at"),
        sa.Column("error", sa.String(length=300), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["scenario_id"], ["scenario.id"], name=op.f("fk_pool_plan_scenario_id")),
        sa.PrimaryKeyConstraint("scenario_id", name=op.f("pk_pool_plan")),
    )
    op.create_index(op.f("ix_pool_plan_made_at"), "pool_plan", ["made_at"])
