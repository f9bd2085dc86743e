"""A project that has rented numbers for a month: entries of every kind, e-mails of every state, the carrier's price."""

import json
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.ledger import BOUGHT, RENEWED, Post, post
from router.accounts.mail import NO_SERVER, write_mail
from router.accounts.models import Mail, Project, remember_fact
from router.scenarios.models import TrackingNumber

PRICE = 150
WEEK, HOUR = timedelta(days=7), timedelta(hours=1)


def make_money(session: Session, project_id: int, now: datetime) -> dict[str, Any]:
    project = session.get_one(Project, project_id)
    project.number_price_minor = PRICE
    post(
        session,
        project_id,
        Post(4000, "form:5f0e", "olivia@example.net", "Bank transfer of 20 October"),
        now - 5 * WEEK,
    )
    numbers = session.scalars(
        select(TrackingNumber).where(TrackingNumber.project_id == project_id).order_by(TrackingNumber.id).limit(4)
    ).all()
    for weeks in (4, 3, 2, 1):
        for index, number in enumerate(numbers):
            start = now - weeks * WEEK + timedelta(days=index)
            number.owned_elsewhere, number.paid_until = False, start + WEEK
            _rent(session, number, start)
    gone = f"rent:+14155550188:{(now - 3 * HOUR).isoformat()}"
    post(session, project_id, Post(-PRICE, gone, "alice@example.com", BOUGHT, number="+14155550188"), now - 3 * HOUR)
    refund = Post(PRICE, f"refund:{gone}", "server", "Somebody else has bought it meanwhile.", "+14155550188")
    post(session, project_id, refund, now - 2 * HOUR)
    post(session, project_id, Post(-100, "form:5f0f", "olivia@example.net", "Typed wrongly in October"), now)
    make_emails(session, project, now)
    price = {"amount": "1.15", "currency": "USD", "period": "month"}
    remember_fact(session, f"carrier_price:{project.country}", json.dumps({"price": price, "reason": ""}), now)
    return {"mail_id": session.scalars(select(Mail.id).order_by(Mail.id).limit(1)).one()}


def _rent(session: Session, number: TrackingNumber, start: datetime) -> None:
    reason = f"rent:{number.e164}:{start.isoformat()}"
    entry = Post(-PRICE, reason, "server", RENEWED, number.e164, number.scenario_id)
    post(session, number.project_id, entry, start)


def make_emails(session: Session, project: Project, now: datetime) -> None:
    subject, body = (
        f"The balance of {project.name} lasts less than 7 days",
        "It lasts until Fri 27 Nov, 13:00.\n\nTop it up.",
    )
    states: list[dict[str, Any]] = [
        {"attempts": 9, "error": "The mail server refused the recipient (550 No such mailbox).", "next_at": None},
        {"error": NO_SERVER, "next_at": None},
        {"attempts": 2, "error": "The mail server did not answer in time.", "next_at": now + timedelta(minutes=15)},
        {"attempts": 1, "sent_at": now, "next_at": None},
        {},
    ]
    for index, state in enumerate(states):
        write_mail(session, project, f"low:{index}", subject, body, now - (len(states) - index) * 3 * HOUR)
        mail = session.scalars(select(Mail).order_by(Mail.id.desc()).limit(1)).one()
        for name, value in state.items():
            setattr(mail, name, value)
