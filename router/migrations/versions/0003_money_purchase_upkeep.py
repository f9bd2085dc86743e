"""Money, purchase and renewal of numbers, drafts, channels, terms, upkeep."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

OPEN = sa.text("state IN ('intent', 'unknown')")
HERE = sa.text("released_at IS NULL")
UNSENT = sa.text("sent_at IS NULL")


def json() -> sa.JSON:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def big_id() -> sa.BigInteger:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def moment(name: str, nullable: bool = True) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    _accounts()
    _scenarios()
    _static_channels()
    _tracking_numbers()
    _orders()
    _attribution()


def _accounts() -> None:
    op.add_column("project", sa.Column("balance_minor", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("project", sa.Column("number_price_minor", sa.BigInteger(), nullable=True))
    op.add_column("project", moment("low_balance_since"))
    op.create_table(
        "ledger_entry",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("project_id", big_id(), nullable=False),
        moment("at", nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("balance_minor", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=120), nullable=False),
        sa.Column("note", sa.String(length=300), nullable=False),
        sa.Column("actor", sa.String(length=254), nullable=False),
        sa.Column("number", sa.String(length=16), nullable=False),
        sa.Column("scenario_id", big_id(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_ledger_entry_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entry")),
        sa.UniqueConstraint("project_id", "reason", name=op.f("uq_ledger_entry_project_id_reason")),
    )
    op.create_index("ix_ledger_entry_project_id_id", "ledger_entry", ["project_id", "id"])
    op.create_index("ix_ledger_entry_project_id_at", "ledger_entry", ["project_id", "at"])
    op.create_table(
        "mail",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("project_id", big_id(), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("recipient", sa.String(length=254), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        moment("created_at", nullable=False),
        moment("sent_at"),
        moment("next_at"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(length=300), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_mail_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mail")),
        sa.UniqueConstraint("key", name=op.f("uq_mail_key")),
    )
    op.create_index("ix_mail_project_id_id", "mail", ["project_id", "id"])
    op.create_index("ix_mail_waiting", "mail", ["next_at"], sqlite_where=UNSENT, postgresql_where=UNSENT)


def _scenarios() -> None:
    op.add_column("scenario", sa.Column("channels", json(), server_default="[]", nullable=False))
    op.add_column("scenario", sa.Column("terms", json(), server_default="{}", nullable=False))
    op.add_column("scenario", sa.Column("to_buy", json(), server_default="{}", nullable=False))
    op.add_column("scenario", sa.Column("manager", sa.String(length=120), server_default="", nullable=False))
    op.add_column("scenario", sa.Column("upkeep_on", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("scenario", sa.Column("upkeep_spending_limit_minor", sa.BigInteger(), nullable=True))
    op.add_column("scenario", sa.Column("upkeep_max_numbers", sa.Integer(), nullable=True))
    op.add_column("scenario", sa.Column("upkeep_began_with", sa.Integer(), nullable=True))
    op.add_column("scenario", sa.Column("needed", sa.Integer(), nullable=True))
    op.create_table(
        "scenario_draft",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("project_id", big_id(), nullable=False),
        sa.Column("person_id", big_id(), nullable=False),
        sa.Column("scenario_id", big_id(), nullable=True),
        sa.Column("scenario_version", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(length=120), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("reached", sa.Integer(), nullable=False),
        moment("created_at", nullable=False),
        moment("updated_at", nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_scenario_draft_person_id")),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_scenario_draft_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scenario_draft")),
        sa.UniqueConstraint("person_id", "scenario_id", name=op.f("uq_scenario_draft_person_id_scenario_id")),
    )
    op.create_index("ix_scenario_draft_project_id_person_id", "scenario_draft", ["project_id", "person_id"])
    op.create_table(
        "old_settings_file",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("project_id", big_id(), nullable=False),
        sa.Column("person_id", big_id(), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        moment("created_at", nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.id"], name=op.f("fk_old_settings_file_person_id")),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_old_settings_file_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_old_settings_file")),
        sa.UniqueConstraint("project_id", "person_id", name=op.f("uq_old_settings_file_project_id_person_id")),
    )


def _static_channels() -> None:
    """What a static number stood for becomes a channel of its scenario."""
    scenario = sa.table("scenario", sa.column("id", big_id()), sa.column("channels", json()))
    names = (sa.column("scenario_id", big_id()), sa.column("e164", sa.String()), sa.column("static_source", json()))
    number = sa.table("tracking_number", sa.column("id", big_id()), *names)
    static = sa.select(number).where(number.c.static_source.is_not(None), number.c.scenario_id.is_not(None))
    channels: dict[int, list[object]] = {}
    for row in op.get_bind().execute(static.order_by(number.c.id)):
        if row.static_source:
            match = {part: value for part, value in row.static_source.items() if value}
            channel = {"match": match, "kind": "static", "number": row.e164}
            channels.setdefault(row.scenario_id, []).append(channel)
    for scenario_id, own in channels.items():
        op.execute(scenario.update().where(scenario.c.id == scenario_id).values(channels=own))


def _tracking_numbers() -> None:
    """The number alone is no longer unique: a released one stays beside the one that is bought anew. No table refers to this one,
    so SQLite may write it anew."""
    with op.batch_alter_table("tracking_number") as table:
        table.drop_constraint("uq_tracking_number_e164", type_="unique")
        table.add_column(sa.Column("last_visit", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("carrier_sid", sa.String(length=64), nullable=True))
        for name in ("last_call_at", "bought_at", "paid_until", "releasing_at", "released_at", "carrier_next_at"):
            table.add_column(moment(name))
        table.add_column(sa.Column("carrier_error", sa.String(length=300), server_default="", nullable=False))
    op.create_index("ix_tracking_number_e164", "tracking_number", ["e164"])
    op.create_index(
        "uq_tracking_number_here", "tracking_number", ["e164"], unique=True, sqlite_where=HERE, postgresql_where=HERE
    )
    op.create_index("ix_tracking_number_paid_until", "tracking_number", ["paid_until"])


def _orders() -> None:
    op.create_table(
        "number_batch",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("project_id", big_id(), nullable=False),
        sa.Column("scenario_id", big_id(), nullable=True),
        sa.Column("enable", sa.Boolean(), nullable=False),
        sa.Column("search", json(), nullable=False),
        sa.Column("actor", sa.String(length=254), nullable=False),
        moment("created_at", nullable=False),
        moment("finished_at"),
        sa.Column("error", sa.String(length=300), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_number_batch_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_number_batch")),
    )
    op.create_index("ix_number_batch_project_id_id", "number_batch", ["project_id", "id"])
    op.create_table(
        "number_order",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("batch_id", big_id(), nullable=False),
        sa.Column("project_id", big_id(), nullable=False),
        sa.Column("e164", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("price_minor", sa.BigInteger(), nullable=False),
        moment("charged_from", nullable=False),
        moment("asked_at"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        moment("next_at", nullable=False),
        sa.Column("error", sa.String(length=300), nullable=False),
        sa.Column("number_id", big_id(), nullable=True),
        moment("created_at", nullable=False),
        moment("ended_at"),
        sa.ForeignKeyConstraint(["batch_id"], ["number_batch.id"], name=op.f("fk_number_order_batch_id")),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_number_order_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_number_order")),
    )
    op.create_index("ix_number_order_batch_id", "number_order", ["batch_id"])
    op.create_index(
        "uq_number_order_open", "number_order", ["e164"], unique=True, sqlite_where=OPEN, postgresql_where=OPEN
    )
    op.create_index("ix_number_order_due", "number_order", ["next_at"], sqlite_where=OPEN, postgresql_where=OPEN)


def _attribution() -> None:
    op.add_column("visit", sa.Column("region", sa.String(length=10), server_default="", nullable=False))
    op.create_table(
        "upkeep_run",
        sa.Column("id", big_id(), nullable=False),
        sa.Column("job", sa.String(length=20), nullable=False),
        sa.Column("project_id", big_id(), nullable=False),
        sa.Column("scenario_id", big_id(), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        moment("at", nullable=False),
        sa.Column("accuracy", sa.Integer(), nullable=True),
        sa.Column("numbers", sa.Integer(), nullable=False),
        sa.Column("needed", sa.Integer(), nullable=True),
        sa.Column("action", sa.String(length=10), nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("batch_id", big_id(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_upkeep_run_project_id")),
        sa.ForeignKeyConstraint(["scenario_id"], ["scenario.id"], name=op.f("fk_upkeep_run_scenario_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_upkeep_run")),
        sa.UniqueConstraint("job", "scenario_id", "day", name=op.f("uq_upkeep_run_job_scenario_id_day")),
    )
    op.create_index("ix_upkeep_run_project_id_id", "upkeep_run", ["project_id", "id"])
