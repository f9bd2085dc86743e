"""Tables of scenarios and their numbers, the paid time of rented numbers (R4), and what the packages above are told in the same
transaction."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from blinker import Signal
from sqlalchemy import BigInteger, ColumnElement, ForeignKey, Index, String, Text, UniqueConstraint, and_, false, text
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column

from router.db import Base, BigId

DEFAULT_HOLD_SECONDS = 150
"""For how long a visitor keeps a number after the last heartbeat (R6)."""


class Scenario(Base):
    """A set of rules: which numbers, where calls go, what is replaced on the page, and who is told (R1). The columns after `changed_at` are
    filled by the worker."""

    __tablename__ = "scenario"
    __table_args__ = (Index("ix_scenario_project_id_id", "project_id", "id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    title: Mapped[str] = mapped_column(String(120))
    enabled: Mapped[bool] = mapped_column(default=False)
    aim: Mapped[str] = mapped_column(String(10), default="visit")
    exhausted: Mapped[str] = mapped_column(String(10), default="share")
    """What happens when every number is active (R6): share, overflow (its overflow number is shown) or keep (the page's own)."""
    hold_seconds: Mapped[int] = mapped_column(default=DEFAULT_HOLD_SECONDS)
    tagging: Mapped[dict[str, Any]]
    """`{selectors: [css], replace: [number as written on the page], format: mask}`"""
    call_flow_id: Mapped[int | None] = mapped_column(BigId)
    channels: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    """`[{match: {source?, medium?, campaign?}, kind: dynamic|static, number?: e164}]`, patterns, the first that fits counts; when none
    does: dynamic. A static one without a match is shown to nobody."""
    terms: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    """`{only_sources, excluded_sources, only_landing_pages, excluded_landing_pages, only_regions, excluded_regions}`: lists of patterns
    (`source[/medium[/campaign]]`, paths, `DE` or `US-CA`); one that is absent or empty says nothing."""
    to_buy: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    """What *Connect* is to buy: `{numbers: [e164], count, country, area_code, contains}`: these numbers, or as many of such ones."""
    manager: Mapped[str] = mapped_column(String(120), default="", server_default="")
    """The responsible person of its leads (R10): a login or e-mail address of the CRM; empty: the integration's."""
    upkeep_on: Mapped[bool] = mapped_column(default=False, server_default=false())
    upkeep_spending_limit_minor: Mapped[int | None] = mapped_column(BigInteger)
    """At most this much for numbers that upkeep bought, in any 7 days; None: the balance is the limit."""
    upkeep_max_numbers: Mapped[int | None]
    """None: twice `upkeep_began_with`."""
    upkeep_began_with: Mapped[int | None]
    """How many dynamic numbers the pool had when upkeep was switched on."""
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)
    """Raised by `mark_changed` alone."""
    changed_by: Mapped[str] = mapped_column(String(254), default="", server_default="")
    """Who raised `version` last."""
    changed_at: Mapped[datetime | None]
    calls: Mapped[int] = mapped_column(default=0)
    accuracy: Mapped[int | None]
    """Per cent (R8); None before the first lease."""
    first_shown_at: Mapped[datetime | None]
    confidence: Mapped[float | None]
    """The mean confidence of its calls in the days that the accuracy looks at; None: no call."""
    survival: Mapped[list[Any] | None]
    """P(a visitor still calls | idle time) as it was learned (R6): `[[idle seconds, probability], ...]`, rising times, never rising
    probabilities. None: the default."""
    needed: Mapped[int | None]
    """The smallest pool that would do for the busiest hour of the last 7 days (R9); None when nobody visited."""
    leaking: Mapped[int] = mapped_column(default=0, server_default="0")
    """How many of its numbers ring although nobody was shown them."""
    given_times: Mapped[int | None]
    """How often a page was given one of its numbers in the last 7 days and said whether it stands on it."""
    shown_times: Mapped[int | None]
    """Of these: how often it stood on the page."""

    @property
    def wanted_numbers(self) -> int:
        """How many numbers *Connect* is to buy."""
        return len(self.to_buy.get("numbers", [])) + int(self.to_buy.get("count", 0))

    def mark_changed(self, by: str, at: datetime) -> None:
        """Raises `version`, so that nobody who saw the scenario before can overwrite this change unknowingly."""
        self.version += 1
        self.changed_by, self.changed_at = by, at


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


PRESENT = text("retired_at IS NULL")
OPEN = text("state IN ('intent', 'unknown')")
HERE = text("released_at IS NULL")
"""What `insert_new` needs to know about the one tracking number that may be here of each E.164 number."""


class TrackingNumber(Base):
    """A virtual number. In one project, in at most one scenario. A released one stays for its calls; the same
    project that has the number again goes on with the same row (R7), another one has a row of its own."""

    __tablename__ = "tracking_number"
    __table_args__ = (
        Index("ix_tracking_number_project_id_id", "project_id", "id"),
        Index("ix_tracking_number_scenario_id", "scenario_id"),
        Index("ix_tracking_number_e164", "e164"),
        Index("uq_tracking_number_here", "e164", unique=True, sqlite_where=HERE, postgresql_where=HERE),
        Index("ix_tracking_number_paid_until", "paid_until"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    e164: Mapped[str] = mapped_column(String(16))
    scenario_id: Mapped[int | None] = mapped_column(ForeignKey("scenario.id"))
    static_source: Mapped[dict[str, Any] | None]
    """`{source, medium, campaign}` when the number is static; None: dynamic."""
    overflow: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Shown when the scenario's pool is exhausted, and never lent (R6): no visit is known by it."""
    owned_elsewhere: Mapped[bool] = mapped_column(default=True)
    pinned: Mapped[bool] = mapped_column(default=False)
    last_flow_id: Mapped[int | None] = mapped_column(BigId)
    """The flow of the scenario it was last in: a number without a scenario still rings there (R12)."""
    created_at: Mapped[datetime]
    calls: Mapped[int] = mapped_column(default=0)
    last_shown_at: Mapped[datetime | None]
    last_call_at: Mapped[datetime | None]
    last_visit: Mapped[int | None] = mapped_column(BigInteger)
    """The public number of the visit that it was last shown to; this and the three columns before are filled by the worker."""
    carrier_sid: Mapped[str | None] = mapped_column(String(64))
    """The carrier's id of a rented number; None for one that is owned elsewhere."""
    carrier_account: Mapped[str] = mapped_column(String(64), default="", server_default="")
    """The project's own account at which it is; empty: the server's."""
    bought_at: Mapped[datetime | None]
    paid_until: Mapped[datetime | None]
    """End of the paid time of a rented number; in the past: it is in grace. None for one that is owned elsewhere."""
    releasing_at: Mapped[datetime | None]
    """Since when it is being given back to the carrier: in no scenario, no longer renewed."""
    released_at: Mapped[datetime | None]
    """When the carrier had it back: no longer a number of this project."""
    carrier_next_at: Mapped[datetime | None]
    """When the carrier is asked again (to release it); until then somebody may be asking."""
    carrier_error: Mapped[str] = mapped_column(String(300), default="", server_default="")

    @hybrid_property
    def is_dynamic(self) -> bool:
        """Whether the number is lent to visitors when it is in a scenario: neither static nor the overflow number."""
        return self.static_source is None and not self.overflow

    @is_dynamic.inplace.expression
    @classmethod
    def _is_dynamic(cls) -> ColumnElement[bool]:
        return and_(cls.static_source.is_(None), cls.overflow.is_(False))

    @hybrid_property
    def is_lendable(self) -> bool:
        """Whether the number is dynamic and not leaving: what the pool of its scenario, or of its project, is made of."""
        return self.is_dynamic and self.releasing_at is None and self.released_at is None

    @is_lendable.inplace.expression
    @classmethod
    def _is_lendable(cls) -> ColumnElement[bool]:
        return and_(cls.is_dynamic, cls.releasing_at.is_(None), cls.released_at.is_(None))

    @property
    def is_returnable(self) -> bool:
        """Whether the number can be given back to the carrier: rented, not pinned, and not on its way."""
        return not (self.owned_elsewhere or self.pinned or self.releasing_at)


RENTED = and_(
    TrackingNumber.owned_elsewhere.is_(False),
    TrackingNumber.releasing_at.is_(None),
    TrackingNumber.released_at.is_(None),
)
"""The condition of numbers that the server rents and goes on renting."""


class NumberBatch(Base):
    """Numbers that were asked for together: by *Connect*, on the numbers page, by a program or by upkeep."""

    __tablename__ = "number_batch"
    __table_args__ = (Index("ix_number_batch_project_id_id", "project_id", "id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    scenario_id: Mapped[int | None] = mapped_column(BigId)
    """Where the numbers go; None: to the project's free ones."""
    enable: Mapped[bool] = mapped_column(default=False)
    """The scenario is enabled when all is over and it has a number."""
    search: Mapped[dict[str, Any]]
    """`{country, area_code, contains}` by which another candidate is found when one is gone; `{}`: none is."""
    actor: Mapped[str] = mapped_column(String(254))
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    """When no order of it was open any more."""
    error: Mapped[str] = mapped_column(String(300), default="")


class OrderState(StrEnum):
    """How far an order for a number is. In the last three states the money was given back, or moved to the order in its place."""

    INTENT = "intent"
    """The carrier has surely not done it yet."""
    UNKNOWN = "unknown"
    """The carrier was asked, and may have done it."""
    BOUGHT = "bought"
    LOST = "lost"
    """Somebody else has the number."""
    REPLACED = "replaced"
    """Lost, and another number was ordered in its place."""
    REFUSED = "refused"
    """The carrier does not sell it to us."""


OPEN_STATES = (OrderState.INTENT, OrderState.UNKNOWN)
"""The same as `OPEN`, for Python and for queries without the index of open orders."""


class NumberOrder(Base):
    """The intent to buy one number, written and charged before the carrier is asked (R5)."""

    __tablename__ = "number_order"
    __table_args__ = (
        Index("ix_number_order_batch_id", "batch_id"),
        Index("uq_number_order_open", "e164", unique=True, sqlite_where=OPEN, postgresql_where=OPEN),
        Index("ix_number_order_due", "next_at", sqlite_where=OPEN, postgresql_where=OPEN),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("number_batch.id"))
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    e164: Mapped[str] = mapped_column(String(16))
    state: Mapped[str] = mapped_column(String(10))
    price_minor: Mapped[int] = mapped_column(BigInteger)
    charged_from: Mapped[datetime]
    """Start of the paid 7 days."""
    asked_at: Mapped[datetime | None]
    """When the carrier was last asked to sell it."""
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime]
    """When somebody has to go on with it; until then somebody may be at it."""
    error: Mapped[str] = mapped_column(String(300), default="")
    number_id: Mapped[int | None] = mapped_column(BigId)
    carrier_account: Mapped[str] = mapped_column(String(64), default="", server_default="")
    """The project's own account at which it is bought; empty: the server's."""
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class NumberCompliance(Base):
    """What a project sends along when it buys numbers of a country and kind at an account: a regulatory bundle, an address, or both."""

    __tablename__ = "number_compliance"
    __table_args__ = (UniqueConstraint("project_id", "carrier_account", "country", "kind"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    carrier_account: Mapped[str] = mapped_column(String(64))
    """The project's own account that has them; empty: the server's."""
    country: Mapped[str] = mapped_column(String(2))
    kind: Mapped[str] = mapped_column(String(10))
    bundle_sid: Mapped[str] = mapped_column(String(64), default="")
    bundle_name: Mapped[str] = mapped_column(String(120), default="")
    address_sid: Mapped[str] = mapped_column(String(64), default="")
    address_name: Mapped[str] = mapped_column(String(600), default="")
    address_country: Mapped[str] = mapped_column(String(2), default="")
    chosen_by: Mapped[str] = mapped_column(String(254))
    chosen_at: Mapped[datetime]


class Holiday(Base):
    """A day on which the opening hours of a project do not hold."""

    __tablename__ = "holiday"
    __table_args__ = (UniqueConstraint("project_id", "day"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    day: Mapped[str] = mapped_column(String(10))
    """Like 2026-12-25, in the project's time zone."""
    name: Mapped[str] = mapped_column(String(120))


class Sound(Base):
    """A sound that call flows play. What it was before it was replaced, or removed, is a row of its own, until nobody plays it any more."""

    __tablename__ = "sound"
    __table_args__ = (
        Index("uq_sound_present", "project_id", "name", unique=True, sqlite_where=PRESENT, postgresql_where=PRESENT),
        Index("ix_sound_retired_at", "retired_at"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(BigId)
    name: Mapped[str] = mapped_column(String(40))
    """As it stands in flows."""
    file: Mapped[str] = mapped_column(String(80))
    """Its name in the store, which nobody can guess."""
    store: Mapped[str] = mapped_column(String(200))
    """Empty: the file is not there yet."""
    kind: Mapped[str] = mapped_column(String(3))
    """wav or mp3."""
    size: Mapped[int]
    """Bytes."""
    seconds: Mapped[float]
    uploaded_at: Mapped[datetime]
    uploaded_by: Mapped[str] = mapped_column(String(254))
    retired_at: Mapped[datetime | None]
    """Since when new calls do not hear it."""


class ScenarioDraft(Base):
    """What somebody typed into the wizard and has not saved yet. One for each person and scenario; new scenarios may have many."""

    __tablename__ = "scenario_draft"
    __table_args__ = (
        Index("ix_scenario_draft_project_id_person_id", "project_id", "person_id"),
        UniqueConstraint("person_id", "scenario_id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"))
    scenario_id: Mapped[int | None] = mapped_column(BigId)
    """The scenario that is edited; None: a new one."""
    scenario_version: Mapped[int] = mapped_column(default=0)
    """The version that the person saw: a newer one refuses the draft."""
    title: Mapped[str] = mapped_column(String(120), default="")
    sealed: Mapped[str] = mapped_column(Text)
    """What was typed, as JSON, sealed: keys of integrations are among it."""
    reached: Mapped[int] = mapped_column(default=1)
    """The furthest step of six that was opened."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class OldSettingsFile(Base):
    """The file of old settings that somebody sent last, until he applies it (R13)."""

    __tablename__ = "old_settings_file"
    __table_args__ = (UniqueConstraint("project_id", "person_id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"))
    name: Mapped[str] = mapped_column(String(120))
    sealed: Mapped[str] = mapped_column(Text)
    """The file, packed, in base64, sealed."""
    choices: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    """What the sender said about it: how numbers of two readings are read, by column."""
    created_at: Mapped[datetime]


PAID_TIME = timedelta(days=7)
GRACE = timedelta(days=7)
"""So long after its paid time an unpaid number is not lost, whatever it is."""
QUIET = timedelta(days=30)
"""Nobody gives back a number that was called since."""


def rent_reason(e164: str, start: datetime) -> str:
    """The reason of the charge for 7 days from `start`: unique, so that they are never charged twice."""
    return f"rent:{e164}:{start.isoformat()}"


numbers_changed = Signal(
    "Tracking numbers moved into, out of or within a scenario. sender: the Server; session, project_id, number_ids"
)

free_numbers_changed = Signal(
    "A project's free numbers are others: one was added or removed, or its first scenario came or its last one went. session, project_id"
)
