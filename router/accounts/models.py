"""Tables of accounts; what the server remembers about itself, first of all under which key its secrets are sealed; and what the packages
above are asked in the same transaction."""

from datetime import datetime
from typing import Any

from blinker import Signal
from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
    bindparam,
    false,
    inspect,
    select,
    true,
    update,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from router.config import SettingsError
from router.db import Base, BigId, dialect_insert, partial_index, table_of
from router.server import Server


class Project(Base):
    """One company's web site with its numbers, scenarios, people and balance."""

    __tablename__ = "project"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    key: Mapped[str] = mapped_column(String(32), unique=True)
    name: Mapped[str] = mapped_column(String(120))
    site: Mapped[list[str]]
    """Hosts whose pages may use the tag: `example.com` (its www too), `*.example.com`, `localhost:8000`."""
    country: Mapped[str] = mapped_column(String(2), default="")
    timezone: Mapped[str] = mapped_column(String(64))
    currency: Mapped[str] = mapped_column(String(3))
    email: Mapped[str] = mapped_column(String(254))
    fallback_destination: Mapped[str] = mapped_column(String(200))
    visit_gap_seconds: Mapped[int] = mapped_column(default=1800)
    source_days: Mapped[int] = mapped_column(default=30, server_default="30")
    """For how many days a visit that comes back directly keeps its last known marketing source; 0: not at all."""
    repeat_credit: Mapped[str] = mapped_column(String(20), default="first_call", server_default="first_call")
    """Which source a repeat call is credited to (R7): first_call, last_non_direct, or own_visit."""
    consent: Mapped[str] = mapped_column(String(10), default="full", server_default="full")
    """What the tag may do before a visitor has chosen: none (no number), limited (a number without cookie and click ids), or full."""
    gpc_refuses: Mapped[bool] = mapped_column(default=False, server_default=false())
    """A browser that sends Global Privacy Control counts as a visitor who refused."""
    tag_address: Mapped[str] = mapped_column(String(200), default="", server_default="")
    """Where the site itself serves the tag: `https://calls.example.com` or `https://www.example.com/calls`; empty: from this server."""
    staff_addresses: Mapped[list[str]] = mapped_column(default=list, server_default="[]")
    """Addresses and networks (`203.0.113.7`, `2001:db8::/48`) whose visitors keep the page's number and are in no figures."""
    own_numbers: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    """`[{number: E.164, remark}]`: the company's own telephones, whose calls are internal (R10)."""
    destination_numbers: Mapped[list[str]] = mapped_column(default=list, server_default="[]")
    """Numbers that its scenarios forward calls to, which are own telephones without being typed; kept by `scenarios/flows.py` alone."""
    tell_internal: Mapped[str] = mapped_column(String(10), default="nobody", server_default="nobody")
    """Who is told about internal calls: nobody, webhooks, or all."""
    ignore_automation: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Browsers that a program drives count as crawlers: they keep the page's number and are in no figures."""
    ga_stream: Mapped[str] = mapped_column(String(24), default="", server_default="")
    """The measurement id of Google Analytics whose session the tag asks for; empty: there is none, or several."""
    unwanted_referrals: Mapped[list[str]] = mapped_column(default=list, server_default="[]")
    """Hosts (`pay.example.com` and its www, `*.example.com`) that are no marketing source, beside those that everybody has."""
    recording_days: Mapped[int] = mapped_column(default=90, server_default="90")
    """After how many days recordings of calls are deleted (R14); 0: never by themselves."""
    message_days: Mapped[int] = mapped_column(default=365, server_default="365")
    """After how many days text messages are deleted (R14); 0: never by themselves."""
    block_withheld: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Callers who hide their number are not put through."""
    block_failed_verification: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Nor are those whose number is not theirs by STIR/SHAKEN."""
    block_robocalls: Mapped[bool] = mapped_column(default=True, server_default=true())
    """The worker puts callers on the list who call again and again and say nothing."""
    blocked_answer: Mapped[str] = mapped_column(String(20), default="busy", server_default="busy")
    """What a blocked caller hears: busy, not_in_service, or a sentence."""
    blocked_sentence: Mapped[str] = mapped_column(String(300), default="", server_default="")
    calls_per_caller: Mapped[int] = mapped_column(default=5, server_default="5")
    """So many calls one caller may hold at a time; 0: any."""
    calls_per_number: Mapped[int] = mapped_column(default=200, server_default="200")
    """So many calls a number takes at a time; 0: any."""
    tell_blocked: Mapped[str] = mapped_column(String(10), default="nobody", server_default="nobody")
    """Who is told about blocked calls: nobody, webhooks, or all."""
    list_version: Mapped[int] = mapped_column(default=0, server_default="0")
    """Counts up with each change of what the routing snapshot reads from other tables of the project, such as its block list."""
    created_at: Mapped[datetime]
    suspended_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)
    balance_minor: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """The sum of its ledger, kept by `ledger.py` alone; never below zero (R4)."""
    number_price_minor: Mapped[int | None] = mapped_column(BigInteger)
    """What one number costs for 7 days here; None: ROUTER_NUMBER_PRICE."""
    low_balance_since: Mapped[datetime | None]
    """Since when the balance lasts less than 7 days and its e-mail is written; None: it lasts longer."""


class Person(Base):
    """Somebody who signs in. The operator sees all projects."""

    __tablename__ = "person"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    """Case-folded."""
    name: Mapped[str] = mapped_column(String(120))
    password_hash: Mapped[str] = mapped_column(String(200))
    is_operator: Mapped[bool] = mapped_column(default=False)
    session_stamp: Mapped[str] = mapped_column(String(32))
    """Changes with the password: older sessions end."""
    created_at: Mapped[datetime]


class Membership(Base):
    """What a person may do in a project: owner, admin or viewer."""

    __tablename__ = "membership"
    __table_args__ = (UniqueConstraint("project_id", "person_id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"), index=True)
    role: Mapped[str] = mapped_column(String(10))


class ApiToken(Base):
    """A program's key, stored hashed. Without a project it is an operator's."""

    __tablename__ = "api_token"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    project_id: Mapped[int | None] = mapped_column(ForeignKey("project.id"), index=True)
    role: Mapped[str] = mapped_column(String(10))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    hint: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class SignInAttempt(Base):
    """A failed sign-in; enough of them make the next one wait."""

    __tablename__ = "sign_in_attempt"
    __table_args__ = (
        Index("ix_sign_in_attempt_email_at", "email", "at"),
        Index("ix_sign_in_attempt_address_at", "address", "at"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    email: Mapped[str] = mapped_column(String(254))
    address: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]


class AuditEntry(Base):
    """One change that somebody made."""

    __tablename__ = "audit_entry"
    __table_args__ = (Index("ix_audit_entry_project_id_id", "project_id", "id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int | None] = mapped_column(ForeignKey("project.id"))
    actor: Mapped[str] = mapped_column(String(254))
    at: Mapped[datetime]
    action: Mapped[str] = mapped_column(String(60))
    subject: Mapped[str] = mapped_column(String(200))
    detail: Mapped[dict[str, Any]]


class LedgerEntry(Base):
    """One change of a project's balance. Rows are only ever added; their sum is the balance (R4)."""

    __tablename__ = "ledger_entry"
    __table_args__ = (
        UniqueConstraint("project_id", "reason"),
        Index("ix_ledger_entry_project_id_id", "project_id", "id"),
        Index("ix_ledger_entry_project_id_at", "project_id", "at"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    at: Mapped[datetime]
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    """Charges are negative."""
    balance_minor: Mapped[int] = mapped_column(BigInteger)
    """What the balance was after it."""
    reason: Mapped[str] = mapped_column(String(120))
    """Unique in the project, so that nothing counts twice: `rent:+14155552671:2026-11-23T12:00:00+00:00`."""
    note: Mapped[str] = mapped_column(String(300), default="")
    actor: Mapped[str] = mapped_column(String(254))
    number: Mapped[str] = mapped_column(String(16), default="")
    """The tracking number that it was for; empty when for none."""
    scenario_id: Mapped[int | None] = mapped_column(BigId)
    """The scenario that the number was in."""


class Mail(Base):
    """An e-mail to a project's address, written in the transaction of its cause and sent by the worker."""

    __tablename__ = "mail"
    __table_args__ = (
        Index("ix_mail_project_id_id", "project_id", "id"),
        partial_index("ix_mail_waiting", "next_at", where="sent_at IS NULL"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    key: Mapped[str] = mapped_column(String(200), unique=True)
    """What it is about, so that nobody is told twice."""
    recipient: Mapped[str] = mapped_column(String(254))
    subject: Mapped[str] = mapped_column(String(200))
    body: Mapped[str] = mapped_column(Text)
    attachment: Mapped[dict[str, Any] | None]
    """`{store, file, size, name, content_type}` of a file that comes along if it is there still (router/lib/file_store.py); `refused`: the
    mail server took no e-mail with it."""
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    next_at: Mapped[datetime | None]
    """When it is tried next, and until when somebody is trying it; None: never again (or there is no SMTP server)."""
    attempts: Mapped[int] = mapped_column(default=0)
    error: Mapped[str] = mapped_column(String(300), default="")


class ServerFact(Base):
    """What the server must remember about itself: the key's fingerprint, the set-up link's digest, the worker's last sign of life."""

    __tablename__ = "server_fact"

    name: Mapped[str] = mapped_column(String(60), primary_key=True)
    value: Mapped[str] = mapped_column(Text)
    changed_at: Mapped[datetime]


KEY_FACT = "key_fingerprint"
ANOTHER_KEY = (
    "ROUTER_SECRET_KEY: is not the key with which this database was used so far (docs/settings.md, “The secret key”)"
)


def remember_fact(session: Session, name: str, value: str, now: datetime) -> None:
    row = dialect_insert(session, ServerFact).values(name=name, value=value, changed_at=now)
    session.execute(row.on_conflict_do_update(index_elements=["name"], set_={"value": value, "changed_at": now}))


def read_fact(session: Session, name: str) -> str | None:
    known: str | None = session.scalar(_FACT, {"name": name})
    return known


_FACT = select(table_of(ServerFact).c.value).where(table_of(ServerFact).c.name == bindparam("name"))


def demand_key(server: Server) -> None:
    """For commands, which write no fingerprint: that is done by what seals. A database without tables fits every key.

    Raises:
        SettingsError: the database was used with another key.
    """
    if not inspect(server.database.engine).has_table(ServerFact.__tablename__):
        return
    with server.database.reading() as session:
        known = read_fact(session, KEY_FACT)
    if known is not None and known not in server.keys.fingerprints:
        raise SettingsError(ANOTHER_KEY)


fallback_chosen = Signal(
    "A project is about to get this fallback destination; a receiver that raises a Problem refuses it. No sender; session, destination"
)


def raise_list_version(session: Session, project_id: int) -> None:
    """The routing snapshots of all processes read the project's lists again; until the end of the transaction nobody else changes them."""
    session.execute(
        update(Project)
        .where(Project.id == project_id)
        .values(list_version=Project.list_version + 1)
        .execution_options(synchronize_session=False)
    )
