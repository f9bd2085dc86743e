"""Tables of voice, and what the packages above are told of forgotten callers. The rows that the hot path inserts have no foreign keys:
checking one locks the shared parent row."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from blinker import Signal
from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from router.db import Base, BigId, partial_index

UNCOUNTED_CALLS = text("NOT counted")

EXTERNAL, INTERNAL, BLOCKED = "external", "internal", "blocked"
NOT_EXTERNAL = text("kind <> 'external'")


class Status(StrEnum):
    """What became of a call."""

    IN_PROGRESS = "in_progress"
    ANSWERED = "answered"
    MISSED = "missed"
    BUSY = "busy"
    FAILED = "failed"
    ABANDONED = "abandoned"
    VOICEMAIL = "voicemail"
    UNKNOWN = "unknown"


LOST = (Status.MISSED, Status.BUSY, Status.FAILED, Status.ABANDONED, Status.VOICEMAIL)
"""Nobody of the company talked to the caller."""


class LegStatus(StrEnum):
    """What became of one destination that was rung; the carrier's words."""

    INITIATED = "initiated"
    RINGING = "ringing"
    ANSWERED = "answered"
    COMPLETED = "completed"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    FAILED = "failed"
    CANCELED = "canceled"


class Call(Base):
    """One inbound call, keyed by the carrier's id of the parent leg."""

    __tablename__ = "call"
    __table_args__ = (
        Index("ix_call_number_id_caller_started_at", "number_id", "caller", "started_at"),
        Index("ix_call_project_id_id", "project_id", "id"),
        Index("ix_call_project_id_started_at", "project_id", "started_at"),
        Index("ix_call_scenario_id_id", "scenario_id", "id"),
        Index("ix_call_visit_id", "visit_id"),
        partial_index("ix_call_forgotten_id", "forgotten_id", where="forgotten_id IS NOT NULL"),
        Index(
            "ix_call_open",
            "last_event_at",
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index(
            "ix_call_fan_out_due",
            "id",
            sqlite_where=text("fan_out_due <> ''"),
            postgresql_where=text("fan_out_due <> ''"),
        ),
        Index("ix_call_uncounted", "id", sqlite_where=UNCOUNTED_CALLS, postgresql_where=UNCOUNTED_CALLS),
        Index(
            "ix_call_internal",
            *("number_id", "scenario_id", "started_at"),
            sqlite_where=NOT_EXTERNAL,
            postgresql_where=NOT_EXTERNAL,
        ),
        Index(
            "ix_call_project_internal",
            *("project_id", "started_at", "id"),
            sqlite_where=NOT_EXTERNAL,
            postgresql_where=NOT_EXTERNAL,
        ),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    sid: Mapped[str] = mapped_column(String(64), unique=True)
    project_id: Mapped[int] = mapped_column(BigId)
    kind: Mapped[str] = mapped_column(String(10), default=EXTERNAL, server_default=EXTERNAL)
    """external; internal: from one of the company's own telephones as they were known when it came (R10); or blocked: its caller was
    not put through. An internal or blocked call counts in no figures, and is no earlier call of its caller."""
    number_id: Mapped[int] = mapped_column(BigId)
    number: Mapped[str] = mapped_column(String(16))
    scenario_id: Mapped[int | None] = mapped_column(BigId)
    scenario_enabled: Mapped[bool]
    flow: Mapped[dict[str, Any]]
    """The document of the call flow that the call began with; for an internal call with the `announcement` that its caller hears first."""
    caller: Mapped[str | None] = mapped_column(String(16))
    """E.164; None when withheld, or forgotten."""
    caller_raw: Mapped[str] = mapped_column(String(100))
    forgotten_id: Mapped[int | None] = mapped_column(BigId)
    """The forgetting that erased the caller's number (R14): for earlier and repeat calls it stands where the number stood."""
    started_at: Mapped[datetime]
    last_event_at: Mapped[datetime]
    status: Mapped[str] = mapped_column(String(12))
    """A Status."""
    first_call: Mapped[bool]
    """The first call of this caller to this number; a withheld caller's never is."""
    destination: Mapped[str] = mapped_column(String(200), default="")
    """The destination that answered, else the last destination rung."""
    answered_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    ring_seconds: Mapped[int | None]
    talk_seconds: Mapped[int | None]
    recording_sid: Mapped[str] = mapped_column(String(64), default="")
    """This and the next two are a release's before, which wants them: recordings have rows of their own."""
    recording_url: Mapped[str] = mapped_column(Text, default="")
    recording_seconds: Mapped[int | None]
    visit_id: Mapped[int | None] = mapped_column(BigId)
    rule: Mapped[str] = mapped_column(String(10))
    """repeat, static, lease or none (R7); imported: another service said so (R13)"""
    confidence: Mapped[float | None]
    source_confidence: Mapped[float | None]
    candidates: Mapped[list[Any]]
    """`[{visit: number, visit_id, probability, state, ...}]`, most probable first"""
    shares: Mapped[list[Any] | None]
    """What its candidates come to by source, for reports: `[[source_key, probability, a visit_id], ...]`. None: not known by source."""
    decision: Mapped[dict[str, Any]]
    """What the rules saw, step by step, for the receipt."""
    source: Mapped[dict[str, Any] | None]
    """`{channel, source, medium, campaign, term, content}`; None when nothing is known"""
    source_key: Mapped[int | None] = mapped_column(BigInteger)
    inbound_price_micros: Mapped[int | None] = mapped_column(BigInteger)
    """What the carrier takes for the inbound leg, in millionths of `price_currency`; None: it has not said yet."""
    outbound_price_micros: Mapped[int | None] = mapped_column(BigInteger)
    """The same for all destinations that were rung."""
    price_currency: Mapped[str | None] = mapped_column(String(3))
    fan_out_due: Mapped[str] = mapped_column(String(60), default="")
    """Call events whose receivers failed, comma separated: `started`, `ended`. The worker repeats them. `held`: the end is
    announced later."""
    counted: Mapped[bool] = mapped_column(default=False, server_default=false())
    """The figures of its day (R8) were counted with this confidence."""


class CallLeg(Base):
    """One destination that was rung for a call."""

    __tablename__ = "call_leg"
    __table_args__ = (UniqueConstraint("call_sid", "sid"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    call_sid: Mapped[str] = mapped_column(String(64))
    sid: Mapped[str] = mapped_column(String(64))
    destination: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(12))
    """A LegStatus; never goes back."""
    ringing_at: Mapped[datetime | None]
    answered_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    seconds: Mapped[int | None]


class CallEvent(Base):
    """One callback of the carrier as it came, or a correction of ours; a repeated callback leaves no second row."""

    __tablename__ = "call_event"
    __table_args__ = (UniqueConstraint("call_sid", "key"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    call_sid: Mapped[str] = mapped_column(String(64))
    key: Mapped[str] = mapped_column(String(160))
    kind: Mapped[str] = mapped_column(String(12))
    """inbound (of a first request that the carrier repeated), dial, gather, leg, whisper, machine, status, recording; closed: nothing more
    was heard; corrected: its source was decided again"""
    at: Mapped[datetime]
    facts: Mapped[dict[str, Any]]


class RecordingState(StrEnum):
    """What has become of a recording."""

    WAITING = "waiting"
    """It is to be fetched from the carrier."""
    KEPT = "kept"
    FAILED = "failed"
    """It could not be fetched; the carrier may have it still."""
    REMOVING = "removing"
    """It is shown to nobody any more, and about to be deleted here and at the carrier."""
    REMOVED = "removed"


class CallRecording(Base):
    """A recording of a call, whose file is fetched from the carrier and kept in a store (router/lib/file_store.py)."""

    __tablename__ = "call_recording"
    __table_args__ = (
        Index("ix_call_recording_call_sid", "call_sid"),
        partial_index("ix_call_recording_due", "next_at", where="next_at IS NOT NULL"),
        partial_index("ix_call_recording_present", "project_id", "told_at", where="state <> 'removed'"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(BigId)
    call_sid: Mapped[str] = mapped_column(String(64))
    sid: Mapped[str] = mapped_column(String(64), unique=True)
    """The carrier's id of it."""
    is_message: Mapped[bool]
    """The caller left it after a tone; else it is of a talk."""
    step: Mapped[str] = mapped_column(String(20), default="")
    """Of the flow, that recorded it; empty where the carrier did not say."""
    flow_id: Mapped[int | None] = mapped_column(BigId)
    channels: Mapped[int]
    """2: the caller's side in the first, the company's in the second."""
    seconds: Mapped[int | None]
    told_at: Mapped[datetime]
    """When the carrier told that it is finished."""
    state: Mapped[str] = mapped_column(String(10))
    """A RecordingState."""
    reason: Mapped[str] = mapped_column(String(300), default="")
    """Why the last try failed, or why it was removed."""
    file: Mapped[str] = mapped_column(String(80))
    """Its name in the store, which nobody can guess; it has one before it is fetched, so that whatever comes of that can be removed."""
    store: Mapped[str] = mapped_column(String(200), default="")
    content_type: Mapped[str] = mapped_column(String(20), default="")
    size: Mapped[int | None] = mapped_column(BigInteger)
    """Bytes."""
    kept_at: Mapped[datetime | None]
    is_at_carrier: Mapped[bool]
    """The carrier has it, as far as is known."""
    attempts: Mapped[int] = mapped_column(default=0)
    """At what is next to be done with it."""
    next_at: Mapped[datetime | None]
    """When something is to be done with it, or until when somebody is at it; None: nothing."""


class Redirect(Base):
    """A caller whom a machine has answered, and who is to be led on to what follows in the flow."""

    __tablename__ = "redirect"
    __table_args__ = (partial_index("ix_redirect_due", "next_at", where="next_at IS NOT NULL"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(BigId)
    call_sid: Mapped[str] = mapped_column(String(64))
    leg_sid: Mapped[str] = mapped_column(String(64), unique=True)
    """Of the line that the machine has answered."""
    path: Mapped[str] = mapped_column(Text)
    """Of our address where the call goes on."""
    told_at: Mapped[datetime]
    next_at: Mapped[datetime | None]
    """When something is to be done, or until when somebody is at it; None: it is done, or too late."""


class CallLogFile(Base):
    """The call log of another service that a person sent last, until the person applies it (R13)."""

    __tablename__ = "call_log_file"
    __table_args__ = (UniqueConstraint("project_id", "person_id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"))
    name: Mapped[str] = mapped_column(String(120))
    sealed: Mapped[str] = mapped_column(Text)
    """The file, packed, in base64, sealed."""
    choices: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    """What the sender said about it: `{columns, numbers, dates, zone}`."""
    created_at: Mapped[datetime]


class RoutingVersion(Base):
    """One row: which installation this database is, and the version of all that an answer to a call depends on. Triggers of the database
    raise it (migration 0011), and renew its token (0014)."""

    __tablename__ = "routing_version"

    id: Mapped[int] = mapped_column(primary_key=True)
    installation: Mapped[str] = mapped_column(String(36))
    """A UUID, made with the database: a copy of the database keeps it."""
    version: Mapped[int] = mapped_column(BigInteger)
    token: Mapped[str] = mapped_column(String(36), server_default="")
    """Random, new with each version."""


class RoutingChange(Base):
    """What a version of the routing changed; the triggers write it, and remove what is older than some hundreds of versions (migration
    0016)."""

    __tablename__ = "routing_change"
    __table_args__ = ({"sqlite_with_rowid": False},)

    version: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    kind: Mapped[str] = mapped_column(String(40), primary_key=True)
    """The table."""
    key: Mapped[str] = mapped_column(String(40), primary_key=True)
    """The E.164 number of a tracking number, the id of anything else."""
    token: Mapped[str] = mapped_column(String(36))
    """Of the version."""


class UnknownCall(Base):
    """A call that the carrier spoke of before its first request was applied: that stands in another machine's journal, or is lost."""

    __tablename__ = "unknown_call"

    sid: Mapped[str] = mapped_column(String(64), primary_key=True)
    call: Mapped[dict[str, Any]]
    """What the carrier said of it, as the journal keeps an inbound call."""
    known_at: Mapped[datetime]
    adopted_at: Mapped[datetime | None]
    """When it was written as a call all the same, with a start that was worked out from its events."""
    forgotten_id: Mapped[int | None] = mapped_column(BigId)
    """As of a call."""


class ForgottenCaller(Base):
    """A caller whose number was erased in a project (R14). His calls until then name this row where they named him."""

    __tablename__ = "forgotten_caller"
    __table_args__ = (Index("ix_forgotten_caller_at", "at"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    line_hash: Mapped[str] = mapped_column(String(64))
    """Of the project and the caller's line, under a key that follows from ROUTER_SECRET_KEY; in hex."""
    at: Mapped[datetime]
    """His calls that began until then are forgotten, whenever they become known; later ones are calls as any."""
    actor: Mapped[str] = mapped_column(String(254))


class TextMessage(Base):
    """A text message (SMS) to a tracking number, each once however often the carrier brings it."""

    __tablename__ = "text_message"
    __table_args__ = (
        Index("ix_text_message_project_id_id", "project_id", "id"),
        Index("ix_text_message_received_at", "received_at"),
        partial_index("ix_text_message_unannounced", "id", where="NOT is_announced"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    sid: Mapped[str] = mapped_column(String(64), unique=True)
    project_id: Mapped[int] = mapped_column(BigId)
    kind: Mapped[str] = mapped_column(String(10))
    """external, internal or blocked, as a call from the same line would have been."""
    number_id: Mapped[int] = mapped_column(BigId)
    number: Mapped[str] = mapped_column(String(16))
    scenario_id: Mapped[int | None] = mapped_column(BigId)
    sender: Mapped[str | None] = mapped_column(String(16))
    """E.164; None: a name or a short number, which `sender_raw` has."""
    sender_raw: Mapped[str] = mapped_column(String(100))
    body: Mapped[str] = mapped_column(Text)
    media: Mapped[list[str]]
    """Addresses of pictures at the carrier."""
    received_at: Mapped[datetime]
    is_announced: Mapped[bool] = mapped_column(default=False, server_default=false())
    """The e-mail and the messages to webhooks are written."""


class BlockedCaller(Base):
    """An entry of a project's block list. One that was guessed and taken back stays, so that it is not guessed again."""

    __tablename__ = "blocked_caller"
    __table_args__ = (UniqueConstraint("project_id", "pattern"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    pattern: Mapped[str] = mapped_column(String(100))
    """A number in E.164, a pattern with stars, or a SIP address, as `blocking.rules.parse_pattern` gives it."""
    reason: Mapped[str] = mapped_column(String(200), default="", server_default="")
    """Why, in words: what a person remarked, or what the worker saw."""
    is_guess: Mapped[bool] = mapped_column(default=False, server_default=false())
    """The worker made it."""
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(254))
    taken_back_at: Mapped[datetime | None]
    """Since when a guess does not count any more; its caller is put through."""


class JournalPosition(Base):
    """How far a machine's journal has been applied."""

    __tablename__ = "journal_position"

    machine: Mapped[str] = mapped_column(String(36), primary_key=True)
    """A UUID, made with the journal's folder."""
    host: Mapped[str] = mapped_column(String(100))
    position: Mapped[str] = mapped_column(String(40))
    """Behind the last record that was applied: `segment:offset`."""
    segment_id: Mapped[str] = mapped_column(String(16), server_default="")
    """Of that segment: another one may have its number when a journal was emptied."""
    seen_at: Mapped[datetime]
    """When its applier was last heard of, by the database's clock."""
    is_waiting: Mapped[bool]
    """Records that were not applied stood in it then."""
    is_stopped: Mapped[bool]
    """Its applier had ended with nothing left to do."""
    clock_offset: Mapped[float | None]
    """By how many seconds its clock is ahead of the database's; None: a release before did not say."""


class SetAsideRecord(Base):
    """A line of a journal that could not be applied because of itself. It waits for somebody who looks at it."""

    __tablename__ = "set_aside_record"
    __table_args__ = (UniqueConstraint("machine", "position"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    machine: Mapped[str] = mapped_column(String(36))
    position: Mapped[str] = mapped_column(String(40))
    """`segment:offset@segment's id`"""
    call_sid: Mapped[str | None] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(Text)
    record: Mapped[str] = mapped_column(Text)
    """As it stood in the journal; empty for a line that was damaged."""
    at: Mapped[datetime]


caller_forgotten = Signal(
    "A caller's number is being erased; a receiver erases it in its own tables, and returns in how many messages."
    " sender: the Server; session, project_id, redactor, call_ids, forgotten_id"
)
