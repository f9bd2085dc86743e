"""Text messages to tracking numbers: each is written once, shown, told, and deleted after the project's time (R14)."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, Select, delete, select
from sqlalchemy.orm import Session

from router.accounts.models import Mail, Project
from router.db import insert_new
from router.server import Server
from router.voice.claims import check_claim
from router.voice.forgotten import FORGOTTEN
from router.voice.messages import MOST_RECIPIENTS
from router.voice.models import BLOCKED, TextMessage
from router.voice.records import Record, read_call, read_route_of
from router.voice.routing import find_route_of_call

log = structlog.get_logger(__name__)


def apply_texts(session: Session, records: Sequence[Record]) -> None:
    """Writes messages; one that is there stays as it is. What a forgotten caller wrote is left out, and what came to no number of ours.

    Raises:
        ForeignRequest: another project's account has signed one.
    """
    for record in records:
        if record.get(FORGOTTEN) is not None:
            continue
        call = read_call(record["call"])
        route = read_route_of(record) or find_route_of_call(session, call)
        if route is None:
            log.warning("text_to_unknown_number", message=call.sid)
            continue
        check_claim(record, route.project_id)
        row = insert_new(session, TextMessage, unique=["sid"]).values(
            sid=call.sid,
            project_id=route.project_id,
            kind=record["call_kind"],
            number_id=route.number_id,
            number=route.number,
            scenario_id=route.scenario_id,
            sender=call.caller.e164,
            sender_raw=call.caller.raw,
            body=record["text"]["body"],
            media=record["text"]["media"],
            received_at=datetime.fromisoformat(record["at"]),
            is_announced=False,
        )
        session.execute(row)


AT_ONCE = 500


def mail_keys(sid: str) -> list[str]:
    """Of the e-mails about a message, one for each of its recipients."""
    return [f"sms:{sid}", *(f"sms:{sid}:{place}" for place in range(1, MOST_RECIPIENTS))]


def messages_of(project_id: int, *, blocked: bool = False) -> Select[TextMessage]:
    """A project's messages; those of blocked callers are listed apart."""
    listed = select(TextMessage).where(TextMessage.project_id == project_id)
    return listed.where(TextMessage.kind == BLOCKED if blocked else TextMessage.kind != BLOCKED)


def delete_messages(session: Session, project_id: int, *conditions: ColumnElement[bool]) -> list[int]:
    """Deletes messages of a project, and the e-mails about them; returns their ids."""
    gone = delete(TextMessage).where(TextMessage.project_id == project_id, *conditions)
    rows = session.execute(gone.returning(TextMessage.id, TextMessage.sid)).all()
    for first in range(0, len(rows), AT_ONCE):
        keys = [f"{project_id}:{key}" for row in rows[first : first + AT_ONCE] for key in mail_keys(row.sid)]
        session.execute(delete(Mail).where(Mail.key.in_(keys)))
    return [row.id for row in rows]


def delete_old_messages(server: Server, now: datetime) -> int:
    """Deletes messages that are older than their project keeps them; returns how many."""
    with server.database.reading() as session:
        days = {row.id: row.message_days for row in session.execute(select(Project.id, Project.message_days))}
    deleted = 0
    for project_id, kept in days.items():
        if not kept:
            continue
        with server.database.writing() as session:
            old = TextMessage.received_at < now - timedelta(days=kept)
            deleted += len(delete_messages(session, project_id, old))
    return deleted
