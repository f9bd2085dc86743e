"""Text messages are told: by e-mail to those who get the voicemails of the number's scenario, and to its webhooks as `sms.received`; their
pages and their list for programs."""

from datetime import datetime
from typing import Any

from flask import Blueprint, render_template, request
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.mail import write_mail
from router.accounts.models import Project
from router.accounts.sessions import require_person, require_token
from router.db import insert_new
from router.integrations.models import Delivery, DeliveryState, Integration
from router.integrations.outbox import message_prefix
from router.integrations.webhook import WEBHOOK
from router.lib.formats import format_moment
from router.lib.phones import international
from router.scenarios.models import CallFlow, Scenario
from router.server import Server, current_server
from router.voice.messages import recipients_of
from router.voice.models import BLOCKED, EXTERNAL, TextMessage
from router.voice.text_messages import mail_keys, messages_of
from router.web.access import Audience, current_project, guard
from router.web.api import described, page_of, rows_of
from router.web.errors import iso

RECEIVED = "sms.received"
AT_ONCE = 50


def announce_messages(server: Server, now: datetime) -> int:
    """Writes the e-mails and deliveries about new messages; returns about how many. Each message in a transaction of its own, which also
    says that it is done: so none is told twice, and none is forgotten."""
    with server.database.reading() as session:
        waiting = select(TextMessage.id).where(~TextMessage.is_announced).order_by(TextMessage.id).limit(AT_ONCE)
        ids = session.scalars(waiting).all()
    for message_id in ids:
        with server.database.writing() as session:
            message = session.get(TextMessage, message_id, with_for_update=True)
            if message is None or message.is_announced:
                continue
            project = session.get_one(Project, message.project_id)
            if message.kind != BLOCKED:
                sender = sender_of(message)
                pictures = f"\n\nWith {len(message.media)} attachments, at the carrier." if message.media else ""
                body = (
                    f"From: {sender}\n"
                    f"To: {international(message.number)}\n"
                    f"When: {format_moment(message.received_at, project.timezone, now)} ({project.timezone})\n\n"
                    f"{message.body}{pictures}\n\n"
                    f"All messages: {server.settings.base_url}/calls/messages\n"
                )
                flow = select(CallFlow.document).join(Scenario, Scenario.call_flow_id == CallFlow.id)
                document = session.scalar(flow.where(Scenario.id == message.scenario_id)) or {}
                subject = f"Text message from {sender}"
                for key, recipient in zip(mail_keys(message.sid), recipients_of(document, project), strict=False):
                    write_mail(session, project, key, subject, body, now, recipient=recipient)
            told = {EXTERNAL: "all", BLOCKED: project.tell_blocked}.get(message.kind, project.tell_internal)
            if told != "nobody":
                _write_deliveries(session, message, now)
            message.is_announced = True
    return len(ids)


def sender_of(message: TextMessage) -> str:
    return international(message.sender) if message.sender else message.sender_raw or "a withheld number"


def _write_deliveries(session: Session, message: TextMessage, now: datetime) -> None:
    """One for each address that webhooks of the number's scenario have, whether at the start or at the end of calls."""
    webhooks = select(Integration).where(
        Integration.scenario_id == message.scenario_id,
        Integration.kind == WEBHOOK.kind,
        Integration.removed_at.is_(None),
    )
    enabled = session.scalar(select(Scenario.enabled).where(Scenario.id == message.scenario_id))
    addresses: set[str] = set()
    for integration in session.scalars(webhooks.order_by(Integration.slot.desc(), Integration.id)):
        address = str(integration.config.get("url"))
        if address in addresses:
            continue
        addresses.add(address)
        row = insert_new(session, Delivery, unique=["integration_id", "event", "call_id"]).values(
            message_id=f"{message_prefix(message.sid, RECEIVED)}{integration.id}",
            project_id=message.project_id,
            integration_id=integration.id,
            call_id=-message.id,
            text_message_id=message.id,
            event=RECEIVED,
            receiver=integration.receiver,
            order_key="",
            state=DeliveryState.PENDING if enabled else DeliveryState.SKIPPED,
            reason="" if enabled else "scenario disabled",
            attempts=0,
            created_at=now,
            event_at=message.received_at,
            next_at=now,
            lease_owner="",
            changed=False,
            reference={},
        )
        session.execute(row)


class TextMessageDocument(BaseModel):
    """A text message to a tracking number, as webhooks bring it too. `sender_name`: what the carrier said of a sender without a number."""

    id: int
    sid: str
    kind: str
    received_at: str
    sender: str | None
    sender_name: str | None
    number: str
    scenario: int | None
    body: str
    media: list[str]


def message_document(message: TextMessage) -> dict[str, Any]:
    stored = {name: getattr(message, name) for name in ("id", "sid", "kind", "sender", "number", "body", "media")}
    return stored | {
        "received_at": iso(message.received_at),
        "sender_name": None if message.sender else message.sender_raw or None,
        "scenario": message.scenario_id,
    }


message_pages = guard(Blueprint("messages", __name__, url_prefix="/calls/messages"), Audience.PEOPLE, require_person)
messages_api = guard(
    Blueprint("messages_api", __name__, url_prefix="/api/v1/projects/<int:project_id>/messages"),
    Audience.PROGRAMS,
    require_token,
)


@message_pages.get("")
def table() -> str:
    project, blocked = current_project(), request.args.get("kind") == BLOCKED
    with current_server().database.reading() as session:
        messages, following = rows_of(session, messages_of(project.id, blocked=blocked), TextMessage.id, request.args)
    return render_template(
        "integrations/messages.html", messages=messages, following=following, blocked=blocked, sender_of=sender_of
    )


@messages_api.get("")
@described(answer=TextMessageDocument, is_list=True)
def list_messages(project_id: int) -> dict[str, Any]:
    """Text messages, newest first; those of blocked callers with `kind=blocked` only."""
    listed = messages_of(project_id, blocked=request.args.get("kind") == BLOCKED)
    with current_server().database.reading() as session:
        return page_of(session, listed, TextMessage.id, request.args, message_document)
