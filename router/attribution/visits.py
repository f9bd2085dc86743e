"""Visits: page views less than a gap apart, until new marketing evidence begins another; and their signs of life, kept as spans."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Executable, bindparam, insert, select, update
from sqlalchemy.orm import Session

from router.attribution.models import Visit, VisitSpan
from router.attribution.prefixes import ALL_ALIKE, Groups
from router.attribution.sources import Evidence
from router.database import insert_new, next_visit_number, table_of, visit_number
from router.scenarios.patterns import SourceParts
from router.statements import Statement

OPEN_GAP = timedelta(seconds=75)
"""A page whose last sign of life is not older is open: signs come every 45 s, once a minute from a background tab."""

VISIT = table_of(Visit)


@dataclass(frozen=True, slots=True)
class KnownVisit:
    """What the hot path needs of a visit that exists."""

    id: int
    number: int
    visitor: str
    started_at: datetime
    span_started_at: datetime
    last_sign_at: datetime
    source_key: int
    click_ids: Mapping[str, str]
    ga: Mapping[str, str]
    source: str
    medium: str
    campaign: str
    page: str
    """Its first one."""
    region: str

    @property
    def came_from(self) -> SourceParts:
        return SourceParts(self.source, self.medium, self.campaign)

    def is_active(self, hold: timedelta, now: datetime) -> bool:
        """Its last sign of life is no older than the hold."""
        return now - self.last_sign_at <= hold


@dataclass(frozen=True, slots=True)
class PageView:
    """One page view as the tag reports it, checked."""

    page: str
    referrer: str
    evidence: Evidence
    ga: Mapping[str, str]
    address: str
    region: str = ""
    groups: Groups = field(default_factory=lambda: ALL_ALIKE)


def continues(visit: KnownVisit, evidence: Evidence, gap: timedelta, now: datetime) -> bool:
    """Whether a page view belongs to this visit: soon enough, and no new evidence. The evidence it began with, seen again (a reload),
    is not new; another click id of the same source is."""
    if now - visit.last_sign_at >= gap:
        return False
    if not evidence.found:
        return True
    same_clicks = all(visit.click_ids.get(name) == value for name, value in evidence.click_ids.items())
    return evidence.source.key == visit.source_key and same_clicks


COLUMNS = [VISIT.c[name] for name in KnownVisit.__slots__]

_BY_ID = Statement(
    lambda _: select(*COLUMNS).where(VISIT.c.id == bindparam("visit"), VISIT.c.project_id == bindparam("project"))
)

_LAST_OF_VISITOR = Statement(
    lambda _: (
        select(*COLUMNS)
        .where(VISIT.c.project_id == bindparam("project"), VISIT.c.visitor == bindparam("visitor"))
        .order_by(VISIT.c.started_at.desc(), VISIT.c.id.desc())
        .limit(1)
    )
)


def find_visit(session: Session, project_id: int, visit_id: int) -> KnownVisit | None:
    row = _BY_ID.first(session, {"visit": visit_id, "project": project_id})
    return KnownVisit(*row) if row else None


def last_visit_of(session: Session, project_id: int, visitor: str) -> KnownVisit | None:
    row = _LAST_OF_VISITOR.first(session, {"project": project_id, "visitor": visitor})
    return KnownVisit(*row) if row else None


def begin_visit(session: Session, project_id: int, visitor: str, view: PageView, now: datetime) -> KnownVisit:
    """Writes a new visit with the next visit number."""
    source = view.evidence.source
    values: dict[str, Any] = {
        "project_id": project_id,
        "visitor": visitor,
        "started_at": now,
        "span_started_at": now,
        "last_sign_at": now,
        "left": False,
        "source_at": None,
        "page": view.page,
        "referrer": view.referrer,
        "source_key": source.key,
        "click_ids": dict(view.evidence.click_ids),
        "ga": dict(view.ga),
        "address": view.address,
        "region": view.region,
        **source.as_dict(),
        **next_visit_number(session, project_id),
    }
    [(visit_id, number)] = _INSERT_VISIT.all(session, values)
    values |= {"id": visit_id, "number": number}
    return KnownVisit(**{name: values[name] for name in KnownVisit.__slots__})


@Statement
def _INSERT_VISIT(dialect: str) -> Executable:
    given: dict[str, Any] = {one.name: bindparam(one.name) for one in VISIT.c if one is not VISIT.c.id}
    return insert(VISIT).values(given | {"number": visit_number(dialect)}).returning(VISIT.c.id, VISIT.c.number)


def record_sign(session: Session, visit: KnownVisit, now: datetime, ga: Mapping[str, str] | None = None) -> None:
    """A sign of life: it prolongs the newest span, or begins another when the page was silent for longer than an open one is."""
    if now < visit.last_sign_at:
        return  # another page of the visit was faster: the later sign stands
    values: dict[str, Any] = {"sign_at": now, "visit": visit.id}
    if now - visit.last_sign_at <= OPEN_GAP:
        _PROLONG.run(session, values)
    else:
        session.execute(
            insert_new(session, VisitSpan, unique=["visit_id", "started_at"]).values(
                visit_id=visit.id, started_at=visit.span_started_at, last_at=visit.last_sign_at
            )
        )
        session.execute(_NEW_SPAN, values | {"seen": visit.last_sign_at})
    whole_ga = {**(ga or {}), **visit.ga}
    if whole_ga != visit.ga:
        session.execute(_FILL_GA, {"visit": visit.id, "found_ga": whole_ga})


_HERE = VISIT.c.id == bindparam("visit")
_PROLONG = Statement(
    lambda _: (
        update(VISIT)
        .where(_HERE, VISIT.c.last_sign_at < bindparam("sign_at"))
        .values(last_sign_at=bindparam("sign_at"))
    )
)
_NEW_SPAN = (
    update(VISIT)
    .where(_HERE, VISIT.c.last_sign_at == bindparam("seen"))
    .values(last_sign_at=bindparam("sign_at"), span_started_at=bindparam("sign_at"))
)
_FILL_GA = update(VISIT).where(_HERE).values(ga=bindparam("found_ga", type_=VISIT.c.ga.type))
