"""Missed calls on their way to people: noted in the transaction in which the call ends, told by the worker a moment later."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from router.accounts.mail import write_mail
from router.accounts.models import Project
from router.db import insert_new
from router.integrations.missed import MAIL_SLOT, MISSED, recipients_of
from router.integrations.missed.rules import WINDOW, Missed, Told, due_notices, is_quiet
from router.integrations.missed.words import letter
from router.integrations.models import Delivery, DeliveryState, Integration, MissedCallNotice
from router.integrations.outbox import message_prefix
from router.integrations.vendors import receivers_of
from router.lib.formats import format_moment
from router.lib.phones import international
from router.server import Server
from router.voice.calls import call_ended
from router.voice.models import EXTERNAL, LOST, Call

TOO_OLD = timedelta(days=1)
"""Nobody is helped by a message about a call of the day before yesterday that became known today."""
KEPT = timedelta(days=3)
OFTEN = timedelta(days=30)
"""How far back a caller's calls are counted."""
MOST_LISTED = 50


def note_missed(sender: Any, *, session: Session, event: str, call: Call, now: datetime) -> None:
    """Once for each integration that wants to know of the call, however often its end is announced."""
    if call.status not in LOST or call.kind != EXTERNAL or call.scenario_id is None or not call.scenario_enabled:
        return
    if call.started_at < now - TOO_OLD or call.forgotten_id is not None:
        return
    slots = {slot.name for slot, _ in receivers_of(MISSED)}
    wanting = select(Integration.id, Integration.slot, Integration.config).where(
        Integration.scenario_id == call.scenario_id, Integration.slot.in_(slots), Integration.removed_at.is_(None)
    )
    for row in session.execute(wanting.order_by(Integration.id)).all():
        if row.slot == MAIL_SLOT.name and not row.config.get("by_mail"):
            continue
        fresh = insert_new(session, MissedCallNotice, unique=["integration_id", "call_id"])
        session.execute(fresh.values(integration_id=row.id, call_id=call.id, created_at=now))


def connect_missed() -> None:
    """Connects it to the calls of every server in the process; again changes nothing."""
    call_ended.connect(note_missed, weak=False)


def tell_missed(server: Server, now: datetime) -> int:
    """Tells what is due; returns how many messages. What one integration tells is written in one transaction, which also says that it is
    told: so nothing is told twice, and nothing is forgotten."""
    with server.database.reading() as session:
        untold = select(MissedCallNotice.integration_id).where(MissedCallNotice.told_at.is_(None)).distinct()
        ids = session.scalars(untold).all()
    written = 0
    for integration_id in ids:
        with server.database.writing() as session:
            written += _tell(server, session, integration_id, now)
    return written


def _tell(server: Server, session: Session, integration_id: int, now: datetime) -> int:
    integration = session.get_one(Integration, integration_id, with_for_update=True)
    project = session.get_one(Project, integration.project_id)
    of_it = MissedCallNotice.integration_id == integration_id
    rows = session.execute(
        select(MissedCallNotice, Call)
        .outerjoin(Call, Call.id == MissedCallNotice.call_id)
        .where(of_it, MissedCallNotice.told_at.is_(None))
        .order_by(MissedCallNotice.id)
        .limit(500)
    ).all()
    calls: dict[int, Call] = {}
    for notice, call in rows:
        is_gone = call is None or call.forgotten_id is not None or call.status not in LOST
        if is_gone or integration.removed_at is not None:
            notice.told_at = now  # there is nothing to tell any more
        else:
            calls[call.id] = call
    if not calls or is_quiet(integration.config, project.timezone, now):
        return 0
    before = (
        select(MissedCallNotice.notice_call_id, MissedCallNotice.told_at, Call.caller)
        .join(Call, Call.id == MissedCallNotice.call_id)
        .where(of_it, MissedCallNotice.told_at > now - WINDOW, MissedCallNotice.notice_call_id.is_not(None))
    )
    told = [Told(row.notice_call_id, row.caller, row.told_at) for row in session.execute(before)]
    waiting = [Missed(call.id, call.caller, call.started_at) for call in calls.values()]
    notices = due_notices(waiting, told, now)
    for group in notices:
        about = [calls[one.call_id] for one in group]
        ids = [call.id for call in about]
        _write(server, session, integration, project, about, now)
        values = {"told_at": now, "notice_call_id": about[-1].id}
        session.execute(update(MissedCallNotice).where(of_it, MissedCallNotice.call_id.in_(ids)).values(values))
    session.execute(delete(MissedCallNotice).where(of_it, MissedCallNotice.told_at < now - KEPT))
    return len(notices)


def _write(
    server: Server, session: Session, integration: Integration, project: Project, about: Sequence[Call], now: datetime
) -> None:
    """One message about these calls, of which the last one is told whole."""
    last, zone = about[-1], project.timezone
    callers = {call.caller for call in about}
    notice = {
        "count": len(about),
        "callers": len(callers),
        "when": format_moment(last.started_at, zone, now),
        "since": format_moment(about[0].started_at, zone, now) if len(about) > 1 else "",
        "calls": _how_often(session, last) if last.caller and len(callers) == 1 else 0,
        "link": f"{server.settings.base_url}/calls/in/{project.id}/{last.id}",
    }
    if integration.slot == MAIL_SLOT.name:
        others = [
            f"{format_moment(call.started_at, zone, now)}  {international(call.caller) if call.caller else 'withheld'}"
            for call in reversed(about[-MOST_LISTED:])
        ]
        written = letter(_facts(last), notice, others if len(about) > 1 else None)
        for place, recipient in enumerate(recipients_of(integration.config)):
            key = f"missed:{integration.id}:{last.id}:{place}"
            write_mail(session, project, key, written.subject, written.body, now, recipient=recipient)
        return
    row = insert_new(session, Delivery, unique=["integration_id", "event", "call_id"]).values(
        message_id=f"{message_prefix(last.sid, MISSED)}{integration.id}",
        project_id=project.id,
        integration_id=integration.id,
        call_id=last.id,
        event=MISSED,
        receiver=integration.receiver,
        order_key="",
        state=DeliveryState.PENDING,
        reason="",
        attempts=0,
        created_at=now,
        event_at=last.ended_at or now,
        next_at=now,
        not_after=now + TOO_OLD,
        lease_owner="",
        changed=False,
        reference={"notice": notice},  # no number: a caller may be forgotten before it is sent
    )
    session.execute(row)


def _how_often(session: Session, call: Call) -> int:
    """How many calls of this caller the project had until this one."""
    earlier = select(func.count()).where(
        Call.project_id == call.project_id,
        Call.started_at > call.started_at - OFTEN,
        Call.started_at <= call.started_at,
        Call.caller == call.caller,
        Call.kind == EXTERNAL,
    )
    return session.scalar(earlier) or 1


def _facts(call: Call) -> dict[str, Any]:
    """The members of a call's document that the words need."""
    return {
        "caller": call.caller,
        "number": call.number,
        "status": call.status,
        "ring_seconds": call.ring_seconds,
        "source": call.source,
        "attribution": {"source_confidence": call.source_confidence},
    }
