"""The stream of Google Analytics that a project's tag asks for its session."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    op.add_column("project", sa.Column("ga_stream", sa.String(length=24), server_default="", nullable=False))
    connection = op.get_bind()
    present = sa.text("SELECT project_id, config FROM integration WHERE kind = 'ga4' AND removed_at IS NULL")
    streams: dict[int, set[str]] = {}
    for project_id, config in connection.execute(present):
        known = json.loads(config) if isinstance(config, str) else config
        streams.setdefault(project_id, set()).add(str(known.get("measurement_id") or "")[:24])
    named = sa.text("UPDATE project SET ga_stream = :stream WHERE id = :project")
    for project_id, found in streams.items():
        if len(found) == 1:
            connection.execute(named, {"stream": found.pop(), "project": project_id})
