"""E-mails to a project's address: written in the transaction of their cause, sent by the worker at least once (R4).

What the e-mails about a balance say (R4)."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from router.accounts.audit import Actor, record
from router.accounts.models import Mail, Project
from router.config import Settings
from router.db import insert_new
from router.lib.formats import format_moment, format_money
from router.lib.smtp import MailError, MailServer, send_message
from router.server import Server
from router.web.errors import Problem

LEASE = timedelta(minutes=5)
"""How long one that was claimed is left alone: longer than any attempt, every wait of which is limited."""
PAUSES = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 180, 360, 720, 1440))
"""After each failed attempt; the one after the last pause is the last."""
MOST_AT_ONCE = 20
KEY_LENGTH, SUBJECT_LENGTH = 200, 200
NO_SERVER = "No mail server is set."

log = structlog.get_logger(__name__)


def write_mail(session: Session, project: Project, key: str, subject: str, body: str, now: datetime) -> bool:
    """Writes an e-mail to the project's address; False when there is one with this key in the project already."""
    full_key = f"{project.id}:{key}"
    if len(full_key) > KEY_LENGTH:
        raise ValueError(f"the key of an e-mail is too long: {key!r}")
    row = insert_new(session, Mail, unique=["key"]).values(
        project_id=project.id,
        key=full_key,
        recipient=project.email,
        subject=" ".join(subject.replace("\0", "").split())[:SUBJECT_LENGTH],
        body=body.replace("\0", ""),
        created_at=now,
        next_at=now,
        attempts=0,
        error="",
    )
    return session.execute(row.returning(Mail.id)).first() is not None


@dataclass(frozen=True, slots=True)
class Claim:
    """An e-mail that this process sends; `attempt` is the fence."""

    id: int
    attempt: int


def send_mails(server: Server, now: datetime) -> int:
    """Hands over what is due at `now`, one after the other; returns how many were taken.

    When the mail server cannot be reached the others wait for the next turn. Without a mail server they are logged.
    """
    with server.database.reading() as session:
        due = session.execute(
            select(Mail.id, Mail.next_at)
            .where(Mail.sent_at.is_(None), Mail.next_at <= now)
            .order_by(Mail.next_at)
            .limit(MOST_AT_ONCE)
        ).all()
    sent = 0
    for mail_id, seen in due:
        claim = _claim(server, mail_id, seen, now)
        if claim is None:
            continue
        try:
            sent += _attempt(server, claim)
        except MailError as error:
            _fail(server, claim, error, server.now())
            if not error.permanent:
                break
    return sent


def _claim(server: Server, mail_id: int, seen: datetime | None, now: datetime) -> Claim | None:
    """None when somebody else was faster. `attempts` rises here, so that one that kills its worker comes to an end as well."""
    with server.database.writing() as session:
        row = session.execute(
            update(Mail)
            .where(Mail.id == mail_id, Mail.sent_at.is_(None), Mail.next_at == seen)
            .values(next_at=max(now, server.now()) + LEASE, attempts=Mail.attempts + 1)
            .returning(Mail.attempts)
            .execution_options(synchronize_session=False)
        ).first()
    return Claim(mail_id, row.attempts) if row else None


def _attempt(server: Server, claim: Claim) -> bool:
    """True when it was sent; False when there is no mail server, and never will be for this one.

    Raises:
        MailError: it was not.
    """
    with server.database.reading() as session:
        mail = session.get_one(Mail, claim.id)
        project = session.get_one(Project, mail.project_id)
    if claim.attempt > len(PAUSES) + 1:
        raise MailError("It was tried too often without an end.", permanent=True)
    mail_server = server.settings.mail_server
    if mail_server is None:
        log.info("mail_not_sent", project=project.id, recipient=mail.recipient, subject=mail.subject, body=mail.body)
        _finish(server, claim, next_at=None, attempts=0, error=NO_SERVER)
        return False
    _hand_over(mail_server, server.settings, mail, project)
    _finish(server, claim, next_at=None, sent_at=server.now(), error="")
    log.info("mail_sent", project=project.id, id=mail.id, attempt=claim.attempt)
    return True


def _hand_over(mail_server: MailServer, settings: Settings, mail: Mail, project: Project) -> None:
    try:
        sender, recipient = address_of(settings.mail_sender), address_of(mail.recipient)
        message = compose(mail, sender, recipient, _footer(settings, project))
    except (ValueError, IndexError, LookupError) as error:  # what email.message raises for an address that is none
        raise MailError(f"There is no writing to {mail.recipient}: {error}.", permanent=True) from None
    send_message(mail_server, message, sender.addr_spec, recipient.addr_spec)


def _fail(server: Server, claim: Claim, error: MailError, now: datetime) -> None:
    last = error.permanent or claim.attempt > len(PAUSES)
    next_at = None if last else now + PAUSES[claim.attempt - 1]
    _finish(server, claim, next_at=next_at, error=str(error))
    log.warning("mail_failed", id=claim.id, attempt=claim.attempt, dead=last, why=str(error))


def _finish(server: Server, claim: Claim, **values: object) -> None:
    """Nothing changes when somebody else sends it by now."""
    with server.database.writing() as session:
        session.execute(
            update(Mail)
            .where(Mail.id == claim.id, Mail.attempts == claim.attempt, Mail.sent_at.is_(None))
            .values(**values)
            .execution_options(synchronize_session=False)
        )


def send_again(
    session: Session, settings: Settings, project: Project, actor: Actor, mail_id: int, now: datetime
) -> None:
    """Has one sent that was given up, or that there was no mail server for.

    Raises:
        Problem: 404, it is not this project's; 409, there is no mail server, or nothing to be done.
    """
    mail = session.get(Mail, mail_id, with_for_update=True)
    if mail is None or mail.project_id != project.id:
        raise Problem(404, "There is no such e-mail.")
    if settings.mail_server is None:
        raise Problem(409, "No mail server is set, so nothing can be sent.")
    if mail.sent_at is not None or mail.next_at is not None:
        raise Problem(409, "This e-mail is sent, or on its way.")
    mail.next_at, mail.attempts = now, 0
    record(session, actor, now, "e-mail sent again", mail.subject, project.id)


def compose(mail: Mail, sender: Address, recipient: Address, footer: str) -> EmailMessage:
    """The message; a repeat has the same Message-ID and date, so that the recipient's side can tell.

    Raises:
        ValueError: an address cannot stand in a header.
    """
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, recipient, mail.subject
    message["Date"] = format_datetime(mail.created_at)
    message["Message-ID"] = f"<{hashlib.sha256(mail.key.encode()).hexdigest()[:40]}@{sender.domain.strip('[]')}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"{mail.body.rstrip()}\n\n-- \n{footer}\n")
    return message


def address_of(text: str) -> Address:
    """`name@host` as an address whose odd signs are quoted."""
    username, _, domain = text.rpartition("@")
    return Address(username=username, domain=domain)


def _footer(settings: Settings, project: Project) -> str:
    return f"Written for {project.name} by the call tracking server at {settings.base_url}."


@dataclass(frozen=True, slots=True)
class Letter:
    """Subject and text of an e-mail."""

    subject: str
    body: str


def used_up(project: Project) -> Letter:
    """The balance has reached zero."""
    return Letter(
        f"The balance of {project.name} is used up",
        f"The balance of {project.name} is {format_money(0, project.currency)} now.\n\n"
        "Calls are still put through. Numbers whose paid time ends cannot be renewed until the balance is topped up;"
        " they keep ringing for 7 more days, after that those that nobody calls any more are given back.\n\n"
        "Ask the operator of this server to top it up. The page Balance shows every entry.",
    )


def runs_low(project: Project, lasts_until: datetime, weekly_minor: int, now: datetime) -> Letter:
    """The balance will last less than 7 days."""
    money = format_money(project.balance_minor, project.currency)
    when = format_moment(lasts_until, project.timezone, now)
    return Letter(
        f"The balance of {project.name} lasts less than 7 days",
        f"The balance of {project.name} is {money}. Its numbers cost {format_money(weekly_minor, project.currency)} for 7 days,"
        f" so it lasts until {when} ({project.timezone}).\n\n"
        "A number that cannot be renewed keeps ringing for 7 more days; after that those that nobody calls any more are"
        " given back.\n\nAsk the operator of this server to top it up in time. The page Balance shows every entry.",
    )
