"""Tables of attribution. The rows that the hot path inserts have no foreign keys: checking one locks the shared parent row."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, SmallInteger, String, Text, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from router.db import LONG_AGO, Base, BigId


def free_pool_id(project_id: Any) -> Any:
    """The pool of a project's free numbers, while it has no scenario (R13), where the id of a scenario stands otherwise.

    It is the project's id, negated: so it was written from the first release on, both releases of an upgrade read it, and a column of its
    own would be one more in every index and statement of the hot path. Only these three functions know it, of a number as of a column.
    """
    return -project_id


def project_of_free_pool(pool_id: Any) -> Any:
    return -pool_id


def is_free_pool(pool_id: Any) -> Any:
    """Whether a pool is one of free numbers; of a column, the condition."""
    return pool_id < 0


class VisitCounter(Base):
    """The last visit number of each project, on SQLite; PostgreSQL has a sequence for each project instead."""

    __tablename__ = "visit_counter"

    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), primary_key=True, autoincrement=False)
    last: Mapped[int] = mapped_column(BigInteger)


NOT_COUNTED, COUNTED, CHANGED = 0, 1, 2
"""Whether a visit is in the figures of its day (R8); changed: heartbeats came after it was counted, so it has to be looked at again."""
UNCOUNTED_VISITS = text("counted <> 1")


class Visit(Base):
    """One stay of a visitor on the site."""

    __tablename__ = "visit"
    __table_args__ = (
        UniqueConstraint("project_id", "number"),
        Index("ix_visit_project_id_started_at", "project_id", "started_at"),
        Index("ix_visit_uncounted", "id", sqlite_where=UNCOUNTED_VISITS, postgresql_where=UNCOUNTED_VISITS),
        Index("ix_visit_project_id_visitor_started_at", "project_id", "visitor", "started_at"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(BigId)
    number: Mapped[int] = mapped_column(BigInteger)
    visitor: Mapped[str] = mapped_column(String(32))
    started_at: Mapped[datetime]
    span_started_at: Mapped[datetime]
    """Start of the newest span of heartbeats; older spans are in `visit_span`."""
    last_sign_at: Mapped[datetime]
    left: Mapped[bool] = mapped_column(default=False, server_default=false())
    """The last heartbeat said that the page was being left."""
    page: Mapped[str] = mapped_column(Text)
    referrer: Mapped[str] = mapped_column(Text)
    channel: Mapped[str] = mapped_column(String(20))
    source: Mapped[str] = mapped_column(String(200))
    medium: Mapped[str] = mapped_column(String(200))
    campaign: Mapped[str] = mapped_column(String(200))
    term: Mapped[str] = mapped_column(String(200))
    content: Mapped[str] = mapped_column(String(200))
    source_key: Mapped[int] = mapped_column(BigInteger)
    """Equal for equal marketing sources: source, medium and campaign, case-folded."""
    source_at: Mapped[datetime | None]
    """When there was evidence of this source: before the visit, when it came back directly and keeps it. None: at its start."""
    click_ids: Mapped[dict[str, Any]]
    ga: Mapped[dict[str, Any]]
    address: Mapped[str] = mapped_column(String(45))
    """Shortened to /24 or /48 (R14)."""
    region: Mapped[str] = mapped_column(String(10), default="", server_default="")
    """`US-CA`, or only the country; empty when unknown."""
    counted: Mapped[int] = mapped_column(SmallInteger, default=NOT_COUNTED, server_default="0")
    limited: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Without consent: its browser keeps no cookie, and no click ids are known."""
    params: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    """The site's own fields, `{name: text}`."""


class VisitSpan(Base):
    """An earlier span of heartbeats of a visit: from start to last its page was open."""

    __tablename__ = "visit_span"

    visit_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    started_at: Mapped[datetime] = mapped_column(primary_key=True)
    last_at: Mapped[datetime]
    left: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Its last heartbeat said that the page was being left."""


class Tap(Base):
    """A visitor tapped a number on a page: he is about to call it."""

    __tablename__ = "tap"
    __table_args__ = (
        UniqueConstraint("visit_id", "number_id", "at"),
        Index("ix_tap_number_id_at", "number_id", "at"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    visit_id: Mapped[int] = mapped_column(BigId)
    number_id: Mapped[int] = mapped_column(BigId)
    at: Mapped[datetime]


class Unserved(Base):
    """A visit that asked a scenario for a dynamic number when every one was active, and was leased none (R6)."""

    __tablename__ = "unserved"
    __table_args__ = (Index("ix_unserved_scenario_id_at", "scenario_id", "at"),)

    visit_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    scenario_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    outcome: Mapped[str] = mapped_column(String(10))
    """overflow or keep: what its page showed instead"""
    at: Mapped[datetime]


class Lease(Base):
    """A tracking number leased to a visit, from `started_at` until the number is leased to another visitor's visit."""

    __tablename__ = "lease"
    __table_args__ = (
        UniqueConstraint("number_id", "turn"),
        Index("ix_lease_number_id_started_at", "number_id", "started_at"),
        Index("ix_lease_visit_id", "visit_id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    scenario_id: Mapped[int] = mapped_column(BigId)
    number_id: Mapped[int] = mapped_column(BigId)
    visit_id: Mapped[int] = mapped_column(BigId)
    turn: Mapped[int] = mapped_column(BigInteger)
    """The pool number's lease counter when this lease was taken."""
    shared: Mapped[bool] = mapped_column(default=False)
    """Held by visits of several visitors at once."""
    mixed: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Shared with a visit of another marketing source."""
    started_at: Mapped[datetime]
    shown_at: Mapped[datetime | None]
    """When its page said that the number stands on it."""
    returned_at: Mapped[datetime | None]
    """When its page said that the number stands nowhere on it: from then on the visit does not hold it."""
    unplaced_at: Mapped[datetime | None]
    """When a page was left on which it stood nowhere so far; another page of the visit may show it. None in all three: nothing was said."""


class PoolNumber(Base):
    """The part of a dynamic number that each lease changes: a narrow row of its own, so that the hot path rewrites little (R6)."""

    __tablename__ = "pool_number"
    __table_args__ = (
        Index("ix_pool_number_last_sign", "scenario_id", "last_sign_at"),
        Index("ix_pool_number_source_last_sign", "scenario_id", "source_key", "last_sign_at"),
        Index("ix_pool_number_lease_start", "scenario_id", "lease_started_at"),
        Index("ix_pool_number_source_lease_start", "scenario_id", "source_key", "lease_started_at"),
    )

    number_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    scenario_id: Mapped[int] = mapped_column(BigId)
    e164: Mapped[str] = mapped_column(String(16))
    turn: Mapped[int] = mapped_column(BigInteger, default=0)
    """How often it was leased: the lease counter that a take checks."""
    group_turn: Mapped[int] = mapped_column(BigInteger, default=0)
    """The turn of the first of the leases that hold the number together: more than one only while it is shared."""
    visitor: Mapped[str] = mapped_column(String(32), default="")
    source_key: Mapped[int] = mapped_column(BigInteger, default=0)
    lease_started_at: Mapped[datetime] = mapped_column(default=LONG_AGO)
    last_sign_at: Mapped[datetime] = mapped_column(default=LONG_AGO)


class AccuracyDay(Base):
    """What a day tells about a scenario's accuracy (R8): its visits by what became of their numbers, and its calls. The worker keeps it."""

    __tablename__ = "accuracy_day"

    scenario_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    day: Mapped[str] = mapped_column(String(10), primary_key=True)
    """`2026-11-23`, in the project's time zone: the day on which the visits began."""
    visits: Mapped[int] = mapped_column(default=0)
    """That asked for a dynamic number, and whose hold is over."""
    shared: Mapped[int] = mapped_column(default=0)
    """Of these: whose number was not theirs alone."""
    mixed: Mapped[int] = mapped_column(default=0)
    """Of the shared ones: with another marketing source."""
    overflowed: Mapped[int] = mapped_column(default=0)
    kept: Mapped[int] = mapped_column(default=0)
    calls: Mapped[int] = mapped_column(default=0)
    sure_calls: Mapped[int] = mapped_column(default=0)
    """The calls that have a confidence."""
    confidence_sum: Mapped[float] = mapped_column(default=0.0)
    counted_by: Mapped[str] = mapped_column(String(80), default="", server_default="")
    """The time zone and the hold in seconds that it was counted by: after another choice the day is counted again."""


class AccuracyDue(Base):
    """Something that may change a day's figures happened at about this time; the worker counts the day again. Only added and taken away, so
    that nobody waits for a row."""

    __tablename__ = "accuracy_due"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(BigId)
    at: Mapped[datetime]


class CrawlerDay(Base):
    """Page views without a visit in a project on a day: of crawlers, by what gave them away (`user_agent` or `behaviour`), and of
    `staff`."""

    __tablename__ = "crawler_day"

    project_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    day: Mapped[str] = mapped_column(String(10), primary_key=True)
    kind: Mapped[str] = mapped_column(String(12), primary_key=True)
    views: Mapped[int] = mapped_column(default=0)


class RefusedOrigin(Base):
    """A host whose pages asked for numbers and may not: shown to the admin with *Allow*. At most 20 for each project."""

    __tablename__ = "refused_origin"
    __table_args__ = (UniqueConstraint("project_id", "origin"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    origin: Mapped[str] = mapped_column(String(300))
    last_at: Mapped[datetime]


class UpkeepRun(Base):
    """One day's decision about a scenario's pool (R9); the unique row claims the day."""

    __tablename__ = "upkeep_run"
    __table_args__ = (
        UniqueConstraint("job", "scenario_id", "day"),
        Index("ix_upkeep_run_project_id_id", "project_id", "id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job: Mapped[str] = mapped_column(String(20), default="upkeep")
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    scenario_id: Mapped[int] = mapped_column(ForeignKey("scenario.id"))
    day: Mapped[str] = mapped_column(String(10))
    """`2026-11-23`, in the project's time zone."""
    at: Mapped[datetime]
    accuracy: Mapped[int | None]
    numbers: Mapped[int]
    needed: Mapped[int | None]
    """The smallest pool that would do; None when nobody visited."""
    action: Mapped[str] = mapped_column(String(10))
    """buy, release or nothing"""
    wanted: Mapped[int] = mapped_column(default=0)
    """How many numbers the rule asked for."""
    count: Mapped[int] = mapped_column(default=0)
    """How many were ordered or given back."""
    why: Mapped[str] = mapped_column(Text)
    batch_id: Mapped[int | None] = mapped_column(BigId)


class PoolPlan(Base):
    """The last plan that was asked for about a scenario's pool; the worker makes it in steps, and goes on where a worker died."""

    __tablename__ = "pool_plan"

    scenario_id: Mapped[int] = mapped_column(ForeignKey("scenario.id"), primary_key=True, autoincrement=False)
    asked_at: Mapped[datetime]
    inputs: Mapped[dict[str, Any]]
    """The described traffic, `{visits_per_hour, callers, sources, hours, seed}`; empty: the scenario's own visits and calls."""
    facts: Mapped[dict[str, Any] | None]
    """What the plan is about, `{numbers, sizes, aim, visits, calls, ...}`; None before a worker looked at it."""
    points: Mapped[list[Any]]
    """`[{numbers, aim, right_source, right_visit, ...}]`: the trials that are done."""
    worked_at: Mapped[datetime | None]
    """When a worker was at it last: another one goes on with it when that is long ago."""
    made_at: Mapped[datetime | None] = mapped_column(index=True)
    error: Mapped[str] = mapped_column(String(300), default="", server_default="")
    """Why there is no plan, for people."""
