"""Tables of scenarios."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from router.database import Base, BigId


class Scenario(Base):
    """A set of rules: which numbers, where calls go, what is replaced on the page, and who is told (R1)."""

    __tablename__ = "scenario"
    __table_args__ = (Index("ix_scenario_project_id_id", "project_id", "id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    title: Mapped[str] = mapped_column(String(120))
    enabled: Mapped[bool] = mapped_column(default=False)
    aim: Mapped[str] = mapped_column(String(10), default="visit")
    exhausted: Mapped[str] = mapped_column(String(10), default="share")
    hold_seconds: Mapped[int] = mapped_column(default=150)
    tagging: Mapped[dict[str, Any]]
    """`{selectors: [css], replace: [number as written on the page], format: mask}`"""
    call_flow_id: Mapped[int | None] = mapped_column(BigId)
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)
    calls: Mapped[int] = mapped_column(default=0)
    """Filled by the worker."""
    accuracy: Mapped[int | None]
    """Per cent (R8), filled by the worker; None before the first lease."""
    first_shown_at: Mapped[datetime | None]
    """Filled by the worker."""


class CallFlow(Base):
    """An immutable version of a scenario's call flow; a call in progress keeps the one it began with."""

    __tablename__ = "call_flow"
    __table_args__ = (UniqueConstraint("scenario_id", "number"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    scenario_id: Mapped[int] = mapped_column(ForeignKey("scenario.id"))
    number: Mapped[int]
    document: Mapped[dict[str, Any]]
    """`{destinations: [{to, ring_seconds}]}`"""
    created_at: Mapped[datetime]


class TrackingNumber(Base):
    """A virtual number. In one project, in at most one scenario."""

    __tablename__ = "tracking_number"
    __table_args__ = (
        Index("ix_tracking_number_project_id_id", "project_id", "id"),
        Index("ix_tracking_number_scenario_id", "scenario_id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    e164: Mapped[str] = mapped_column(String(16), unique=True)
    scenario_id: Mapped[int | None] = mapped_column(ForeignKey("scenario.id"))
    static_source: Mapped[dict[str, Any] | None]
    """`{source, medium, campaign}` when the number is static; None: dynamic."""
    owned_elsewhere: Mapped[bool] = mapped_column(default=True)
    pinned: Mapped[bool] = mapped_column(default=False)
    last_flow_id: Mapped[int | None] = mapped_column(BigId)
    """The flow of the scenario it was last in: a number without a scenario still rings there (R12)."""
    created_at: Mapped[datetime]
    calls: Mapped[int] = mapped_column(default=0)
    """Filled by the worker."""
    last_shown_at: Mapped[datetime | None]
    """Filled by the worker."""
