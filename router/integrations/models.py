"""Tables of integrations."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from router.db import Base, BigId, partial_index


class Integration(Base):
    """Who is told about a scenario's calls, in one slot: webhook_start, webhook_end, ga4 or crm."""

    __tablename__ = "integration"
    __table_args__ = (UniqueConstraint("scenario_id", "slot"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), index=True)
    scenario_id: Mapped[int] = mapped_column(ForeignKey("scenario.id"))
    slot: Mapped[str] = mapped_column(String(20))
    kind: Mapped[str] = mapped_column(String(20))
    """webhook, ga4, odoo"""
    receiver: Mapped[str] = mapped_column("destination", String(80))
    """Whom a failure concerns: deliveries of one receiver wait for each other, never for another's."""
    account: Mapped[str | None] = mapped_column(String(80))
    """Of a CRM: whose data it is, the same however its address is written and whichever project uses it (`odoo:<database.uuid>`). Leads
    and the order of a caller's calls go by it. None: not known, then the receiver stands for it."""
    config: Mapped[dict[str, Any]]
    sealed: Mapped[str] = mapped_column(Text, default="")
    """The secret (webhook secret, API secret, key), encrypted at rest."""
    sealed_before: Mapped[str] = mapped_column(Text, default="", server_default="")
    """The secret before it, which signs as well until `earlier_until`."""
    earlier_until: Mapped[datetime | None]
    events: Mapped[str] = mapped_column(String(120), default="", server_default="")
    """Which events it gets in place of its slot's own, `,call.started,call.ended,`; empty: the slot's own."""
    created_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]


class DeliveryState(StrEnum):
    PENDING = "pending"
    """Waits for an attempt, the first or a later one."""
    LEASED = "leased"
    """A worker is sending it."""
    DONE = "done"
    DEAD = "dead"
    """Refused for good, or failed at its last attempt."""
    SKIPPED = "skipped"
    """The settings ask for no delivery of this call."""
    EXPIRED = "expired"
    """Too late: the receiver would not count it any more."""
    UNCONFIRMED = "unconfirmed"
    """Sent without an answer to a receiver that cannot tell a repeat: it may have arrived, and is not sent again by itself."""


StateName = String(20).with_variant(String(10), "sqlite")
"""SQLite's columns keep the type that they were made with; it holds no text to its length."""
OPEN_STATES = (DeliveryState.PENDING, DeliveryState.LEASED)


class Delivery(Base):
    """One message to one integration about one call event (R11)."""

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("integration_id", "event", "call_id"),
        Index("ix_delivery_due", "integration_id", "state", "next_at", "id"),
        partial_index("ix_delivery_leased", "next_at", where="state = 'leased'"),
        partial_index("ix_delivery_order_key", "order_key", "id", where="order_key <> ''"),
        partial_index(
            "ix_delivery_retry", "integration_id", "next_at", "id", where="state = 'pending' AND attempts > 0"
        ),
        Index("ix_delivery_project_id_id", "project_id", "id"),
        Index("ix_delivery_project_id_state_id", "project_id", "state", "id"),
        Index("ix_delivery_call_id", "call_id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    message_id: Mapped[str] = mapped_column(String(40), unique=True)
    """The receiver's idempotency key; the same over all attempts and replays."""
    project_id: Mapped[int] = mapped_column(BigId)
    integration_id: Mapped[int] = mapped_column(BigId)
    call_id: Mapped[int] = mapped_column(BigId)
    """Of a text message minus its id, which is no call's."""
    text_message_id: Mapped[int | None] = mapped_column(BigId)
    event: Mapped[str] = mapped_column(String(20))
    """call.started, call.ended, call.updated, sms.received"""
    receiver: Mapped[str] = mapped_column("destination", String(80))
    """Whom it was written for, or last sent to."""
    order_key: Mapped[str] = mapped_column(String(100))
    """Deliveries with the same key go one after the other (a CRM and its caller); empty: in any order."""
    state: Mapped[str] = mapped_column(StateName)
    """A DeliveryState."""
    reason: Mapped[str] = mapped_column(String(200), default="")
    """Why it was skipped, expired, is dead or has to be tried again, for people."""
    attempts: Mapped[int] = mapped_column(default=0)
    """Counted when an attempt begins, so that a delivery which kills its worker ends as dead too."""
    created_at: Mapped[datetime]
    event_at: Mapped[datetime]
    next_at: Mapped[datetime]
    """Pending: when it may be tried. Leased: when the lease ends."""
    not_after: Mapped[datetime | None]
    lease_owner: Mapped[str] = mapped_column(String(80), default="")
    """Fresh for every lease: a worker with an older lease may write nothing."""
    changed: Mapped[bool] = mapped_column(default=False)
    """The call changed while this was being sent: it goes once more."""
    done_at: Mapped[datetime | None]
    reference: Mapped[dict[str, Any]]
    """What the receiver gave back, step by step (`{lead_id: 7}`): a repeat resumes there."""
    sending_at: Mapped[datetime | None]
    """Of a receiver that cannot tell a repeat: set before the request, and taken off with the end of the attempt."""
    uncertain_at: Mapped[datetime | None]
    """When the last attempt ended of which nobody knows whether the receiver acted on it."""


class DeliveryAttempt(Base):
    """One try to deliver, for the page and for 3 a.m."""

    __tablename__ = "delivery_attempt"
    __table_args__ = (Index("ix_delivery_attempt_delivery_id", "delivery_id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    delivery_id: Mapped[int] = mapped_column(ForeignKey("delivery.id"))
    at: Mapped[datetime]
    milliseconds: Mapped[int]
    status: Mapped[int | None]
    """HTTP status of the answer, when there was one"""
    outcome: Mapped[str] = mapped_column(StateName)
    """done, retry, dead, skipped, expired, unconfirmed"""
    message: Mapped[str] = mapped_column(Text)
    """What went wrong, in a sentence; secrets removed, at most 2 kB."""
    answer: Mapped[str] = mapped_column(Text, default="", server_default="")
    """The beginning of the answer's body; secrets removed, at most 2 kB."""


class IntegrationProblem(Base):
    """Something that an integration names and its receiver does not have, since its last look-up: told once by e-mail."""

    __tablename__ = "integration_problem"
    __table_args__ = (UniqueConstraint("integration_id", "what", "name"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), index=True)
    integration_id: Mapped[int] = mapped_column(ForeignKey("integration.id"))
    what: Mapped[str] = mapped_column(String(80))
    """manager, or the field of a lead"""
    name: Mapped[str] = mapped_column(String(200))
    """As the settings name it."""
    why: Mapped[str] = mapped_column(Text)
    """What is wrong and what happens instead, a sentence for people without its full stop."""
    since: Mapped[datetime]


class ReceiverHealth(Base):
    """How a receiver fares, for all workers together: after failures in a row its deliveries wait."""

    __tablename__ = "destination_health"

    receiver: Mapped[str] = mapped_column("destination", String(80), primary_key=True)
    failures: Mapped[int] = mapped_column(default=0)
    failing_since: Mapped[datetime | None]
    open_until: Mapped[datetime | None]
    """Nothing is tried before; while it is tried whether the receiver works again, until when that attempt is waited for."""
    last_error: Mapped[str] = mapped_column(Text, default="")
    switched_off_at: Mapped[datetime | None]
    """Nothing is sent until somebody switches it on again, or changes the integration; what is for it waits."""


class MissedCallNotice(Base):
    """A missed call that somebody wants to know of, and whether he does."""

    __tablename__ = "missed_call_notice"
    __table_args__ = (
        UniqueConstraint("integration_id", "call_id"),
        partial_index("ix_missed_call_notice_untold", "integration_id", where="told_at IS NULL"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    integration_id: Mapped[int] = mapped_column(BigId)
    call_id: Mapped[int] = mapped_column(BigId)
    created_at: Mapped[datetime]
    told_at: Mapped[datetime | None]
    notice_call_id: Mapped[int | None] = mapped_column(BigId)
    """The last call of those that the same message told of. None: it is not told yet, or there was nothing to tell any more."""


class ReceiverNotice(Base):
    """What a project was told by e-mail about a receiver: once for each cause, not for each message."""

    __tablename__ = "receiver_notice"

    receiver: Mapped[str] = mapped_column(String(80), primary_key=True)
    cause: Mapped[str] = mapped_column(String(20), primary_key=True)
    """refused, dead, warning or off: a Cause of receivers.py."""
    told_at: Mapped[datetime]


class Lead(Base):
    """The lead in a CRM that stands for a caller (R10): later calls are added to it."""

    __tablename__ = "lead"
    __table_args__ = (UniqueConstraint("destination", "caller"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), index=True)
    """Whose call made it; others that use the same account share it."""
    account: Mapped[str] = mapped_column("destination", String(80))
    """Of the integration, or its receiver."""
    caller: Mapped[str] = mapped_column(String(16))
    external_key: Mapped[str] = mapped_column(String(100))
    external_id: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]


class CrmAccount(Base):
    """What *Check connection* last found at a receiver that is a CRM."""

    __tablename__ = "crm_account"
    __table_args__ = (UniqueConstraint("project_id", "receiver"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    receiver: Mapped[str] = mapped_column(String(80))
    identity: Mapped[str] = mapped_column(String(200), default="")
    """The CRM's own name of the account; empty: its key may not read it."""
    title: Mapped[str] = mapped_column(Text)
    choices: Mapped[dict[str, Any]]
    """The members of `Choices`, each a list of choices."""
    problems: Mapped[dict[str, Any]]
    """`{said: [sentence]}`: what a lead would lack."""
    checked_at: Mapped[datetime]
