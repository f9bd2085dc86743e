"""Recordings with their files, the project's time for them, and files that come along with e-mails. What calls know of recordings so far
becomes recordings that are to be fetched. A release before reads and writes none of this."""

import secrets

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
DUE, PRESENT = sa.text("next_at IS NOT NULL"), sa.text("state <> 'removed'")
AT_ONCE = 1000


def upgrade() -> None:
    recording = op.create_table(
        "call_recording",
        sa.Column("id", ID, nullable=False),
        sa.Column("project_id", ID, nullable=False),
        sa.Column("call_sid", sa.String(length=64), nullable=False),
        sa.Column("sid", sa.String(length=64), nullable=False),
        sa.Column("is_message", sa.Boolean(), nullable=False),
        sa.Column("step", sa.String(length=20), nullable=False),
        sa.Column("flow_id", ID, nullable=True),
        sa.Column("channels", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Integer(), nullable=True),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=300), nullable=False),
        sa.Column("file", sa.String(length=80), nullable=False),
        sa.Column("store", sa.String(length=200), nullable=False),
        sa.Column("content_type", sa.String(length=20), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("kept_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_at_carrier", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_call_recording")),
        sa.UniqueConstraint("sid", name=op.f("uq_call_recording_sid")),
    )
    op.create_index("ix_call_recording_call_sid", "call_recording", ["call_sid"])
    op.create_index("ix_call_recording_due", "call_recording", ["next_at"], sqlite_where=DUE, postgresql_where=DUE)
    op.create_index(
        "ix_call_recording_present",
        "call_recording",
        ["project_id", "told_at"],
        sqlite_where=PRESENT,
        postgresql_where=PRESENT,
    )
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("project", sa.Column("recording_days", sa.Integer(), server_default="90", nullable=False))
    op.add_column("mail", sa.Column("attachment", json, nullable=True))
    _take_over(recording)


def _take_over(recording: sa.Table) -> None:
    """A project that has recordings keeps them until somebody says for how long."""
    call = sa.table(
        "call",
        *map(sa.column, ("id", "sid", "project_id", "forgotten_id", "recording_sid", "recording_seconds")),
        *(sa.column(name, sa.DateTime(timezone=True)) for name in ("started_at", "ended_at")),
    )
    connection, last = op.get_bind(), 0
    known = sa.select(call).where(call.c.recording_sid != "").order_by(call.c.id).limit(AT_ONCE)
    while rows := connection.execute(known.where(call.c.id > last)).all():
        last = rows[-1].id
        values = [
            {
                "project_id": row.project_id,
                "call_sid": row.sid,
                "sid": row.recording_sid,
                "is_message": False,
                "step": "",
                "channels": 1,
                "seconds": row.recording_seconds,
                "told_at": row.ended_at or row.started_at,
                "state": "removing" if row.forgotten_id else "waiting",
                "reason": "",
                "file": secrets.token_hex(20),
                "store": "",
                "content_type": "",
                "is_at_carrier": True,
                "attempts": 0,
                "next_at": row.ended_at or row.started_at,
            }
            for row in rows
        ]
        project = sa.table("project", sa.column("id"), sa.column("recording_days"))
        owners = project.c.id.in_({row.project_id for row in rows})
        connection.execute(sa.update(project).where(owners).values(recording_days=0))
        connection.execute(sa.insert(recording), list({value["sid"]: value for value in values}.values()))
