"""E-mails to a project's address, or another that it names: written in the transaction of their cause, sent by the worker at least once
(R4); and the texts of the e-mails about a balance."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any

import structlog
from sqlalchemy.orm import Session

from router.accounts.audit import Change
from router.accounts.models import Mail, Project
from router.db import insert_new
from router.jobs import Claim, Jobs
from router.lib.file_store import StoreError, store_named
from router.lib.formats import format_moment, format_money
from router.lib.smtp import MailError, send_message
from router.server import Server
from router.web.errors import Problem

LEASE = timedelta(minutes=5)
"""Longer than any attempt, every wait of which is limited."""
PAUSES = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 15, 60, 180, 360, 720, 1440))
"""After each failed attempt; the attempt after the last pause is the last one."""
MOST_AT_ONCE = 20
KEY_LENGTH, SUBJECT_LENGTH = 200, 200
NO_SERVER = "No mail server is set."

MAILS = Jobs(Mail, Mail.sent_at.is_(None), LEASE, due_at=Mail.next_at)
"""`attempts` rises when an e-mail is claimed, so that one which kills its worker comes to an end as well."""

log = structlog.get_logger(__name__)


def write_mail(
    session: Session,
    project: Project,
    key: str,
    subject: str,
    body: str,
    now: datetime,
    *,
    recipient: str = "",
    attachment: Mapping[str, Any] | None = None,
) -> bool:
    """Writes an e-mail to the project's address, or to the one that is given; False when there is one with this key in the project
    already. `attachment` as in `Mail`."""
    full_key = f"{project.id}:{key}"
    if len(full_key) > KEY_LENGTH:
        raise ValueError(f"the key of an e-mail is too long: {key!r}")
    row = insert_new(session, Mail, unique=["key"]).values(
        project_id=project.id,
        key=full_key,
        recipient=recipient or project.email,
        subject=" ".join(subject.replace("\0", "").split())[:SUBJECT_LENGTH],
        body=body.replace("\0", ""),
        attachment=attachment,
        created_at=now,
        next_at=now,
        attempts=0,
        error="",
    )
    return session.execute(row.returning(Mail.id)).first() is not None


def send_mails(server: Server, now: datetime) -> int:
    """Hands over the e-mails that are due at `now`, one after the other; returns how many were sent.

    When the mail server cannot be reached the others wait for the next turn. Without a mail server they are logged.
    """
    with server.database.reading() as session:
        due = MAILS.due_ids(session, now, MOST_AT_ONCE)
    sent = 0
    for mail_id in due:
        with server.database.writing() as session:
            claim = MAILS.claim(session, mail_id, max(now, server.now()), attempts=Mail.attempts + 1)
        if claim is None:
            continue
        attempt = claim.job.attempts
        try:
            sent += _send(server, claim)
        except MailError as error:
            if error.permanent and claim.job.attachment and not claim.job.attachment.get("refused"):
                # a server that wants no such file may take the e-mail
                _finish(server, claim, attachment=claim.job.attachment | {"refused": True}, next_at=server.now())
                log.warning("mail_refused_with_its_file", id=claim.id, why=str(error))
                continue
            dead = error.permanent or attempt > len(PAUSES)
            _finish(server, claim, next_at=None if dead else server.now() + PAUSES[attempt - 1], error=str(error))
            log.warning("mail_failed", id=claim.id, attempt=attempt, dead=dead, why=str(error))
            if not error.permanent:
                break
    return sent


def _send(server: Server, claim: Claim[Mail]) -> bool:
    """True when it was sent; False when there is no mail server, and never will be for this e-mail.

    Raises:
        MailError: it was not.
    """
    mail, settings = claim.job, server.settings
    with server.database.reading() as session:
        project = session.get_one(Project, mail.project_id)
    if mail.attempts > len(PAUSES) + 1:
        raise MailError("It was tried too often without an end.", permanent=True)
    if settings.mail_server is None:
        log.info("mail_not_sent", project=project.id, recipient=mail.recipient, subject=mail.subject, body=mail.body)
        _finish(server, claim, next_at=None, attempts=0, error=NO_SERVER)
        return False
    try:
        sender, recipient = address_of(settings.mail_sender), address_of(mail.recipient)
        footer = f"Written for {project.name} by the call tracking server at {settings.base_url}."
        message = compose(mail, sender, recipient, footer, attached_file(server, mail))
    except (ValueError, IndexError, LookupError) as error:  # what email.message raises for an address that is none
        raise MailError(f"There is no writing to {mail.recipient}: {error}.", permanent=True) from None
    send_message(settings.mail_server, message, sender.addr_spec, recipient.addr_spec)
    _finish(server, claim, next_at=None, sent_at=server.now(), error="")
    log.info("mail_sent", project=project.id, id=mail.id, attempt=mail.attempts)
    return True


def _finish(server: Server, claim: Claim[Mail], **values: object) -> None:
    """Writes how an attempt ended, unless somebody else sends the e-mail by now."""
    with server.database.writing() as session:
        mail = MAILS.held(session, claim)
        if mail is not None:
            for name, value in values.items():
                setattr(mail, name, value)


def send_again(change: Change, mail_id: int) -> None:
    """Sends an e-mail that was given up, or that there was no mail server for.

    Raises:
        Problem: 404, it is not this project's; 409, there is no mail server, or nothing to be done.
    """
    mail = change.session.get(Mail, mail_id, with_for_update=True)
    if mail is None or mail.project_id != change.project.id:
        raise Problem(404, "There is no such e-mail.")
    if change.server.settings.mail_server is None:
        raise Problem(409, "No mail server is set, so nothing can be sent.")
    if mail.sent_at is not None or mail.next_at is not None:
        raise Problem(409, "This e-mail is sent, or on its way.")
    mail.next_at, mail.attempts = change.now, 0
    change.record("e-mail sent again", mail.subject)


def attached_file(server: Server, mail: Mail) -> bytes | None:
    """What comes along with an e-mail. None: nothing does, or the file is gone or unreadable, or the mail server does not take it;
    nobody waits for it."""
    if mail.attachment is None or mail.attachment.get("refused"):
        return None
    kept = mail.attachment
    try:
        return b"".join(store_named(server.settings, kept["store"]).read(kept["file"], 0, kept["size"]))
    except (StoreError, OSError) as error:
        log.warning("mail_without_file", id=mail.id, why=str(error))
        return None


def compose(
    mail: Mail, sender: Address, recipient: Address, footer: str, attached: bytes | None = None
) -> EmailMessage:
    """The message; a repeat has the same Message-ID and date, so that the recipient's side can tell.

    Raises:
        ValueError: an address cannot stand in a header.
    """
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, recipient, mail.subject
    message["Date"] = format_datetime(mail.created_at)
    message["Message-ID"] = f"<{hashlib.sha256(mail.key.encode()).hexdigest()[:40]}@{sender.domain.strip('[]')}>"
    message["Auto-Submitted"] = "auto-generated"
    missing = "" if attached or not mail.attachment else "\n\nThe file could not be attached: see above."
    message.set_content(f"{mail.body.rstrip()}{missing}\n\n-- \n{footer}\n")
    if attached and mail.attachment:
        kind, _, subtype = mail.attachment["content_type"].partition("/")
        message.add_attachment(attached, maintype=kind, subtype=subtype, filename=mail.attachment["name"])
    return message


def address_of(text: str) -> Address:
    """`name@host` as an address whose odd signs are quoted."""
    username, _, domain = text.rpartition("@")
    return Address(username=username, domain=domain)


@dataclass(frozen=True, slots=True)
class Letter:
    subject: str
    body: str


def used_up(project: Project) -> Letter:
    return Letter(
        f"The balance of {project.name} is used up",
        f"The balance of {project.name} is {format_money(0, project.currency)} now.\n\n"
        "Calls are still put through. Numbers whose paid time ends cannot be renewed until the balance is topped up;"
        " they keep ringing for 7 more days, after that those that nobody calls any more are given back.\n\n"
        "Ask the operator of this server to top it up. The page Balance shows every entry.",
    )


def runs_low(project: Project, lasts_until: datetime, weekly_minor: int, now: datetime) -> Letter:
    money = format_money(project.balance_minor, project.currency)
    when = format_moment(lasts_until, project.timezone, now)
    return Letter(
        f"The balance of {project.name} lasts less than 7 days",
        f"The balance of {project.name} is {money}. Its numbers cost {format_money(weekly_minor, project.currency)} for 7 days,"
        f" so it lasts until {when} ({project.timezone}).\n\n"
        "A number that cannot be renewed keeps ringing for 7 more days; after that those that nobody calls any more are"
        " given back.\n\nAsk the operator of this server to top it up in time. The page Balance shows every entry.",
    )
