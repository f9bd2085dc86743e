"""Visits: page views less than a gap apart, until new marketing evidence begins another.

The times for which a visit's pages were open are kept as spans of heartbeats: the newest in the visit's row, older ones in `visit_span`
(R7). What they say of any past moment does not depend on the order in which they were written.

Without consent (R14) a visit is limited: its number and its source stay, and it knows no click ids, nothing of analytics, and no
identifiers in its addresses. Consent given later fills in what belongs to the visit's own source; consent withdrawn erases it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import Executable, bindparam, case, delete, insert, select, update
from sqlalchemy.orm import Session

from router.attribution.models import CHANGED, COUNTED, NOT_COUNTED, Visit, VisitSpan
from router.attribution.tracking.parameters import without_identifiers
from router.attribution.tracking.schema import LONGEST_ADDRESS, MOST_FIELDS, Heartbeat, PageView
from router.attribution.tracking.sources import DIRECT, Evidence, Source
from router.db import next_visit_number, table_of, visit_number
from router.scenarios.matching import SourceParts
from router.statements import Statement

OPEN_GAP = timedelta(seconds=75)
"""A page whose last heartbeat is not older is open: heartbeats come every 45 s, once a minute from a background tab."""

LEFT_GRACE = timedelta(seconds=10)
"""A page that was left is open for so long still: the visitor's next page may be loading."""

VISIT = table_of(Visit)


@dataclass(frozen=True, slots=True)
class KnownVisit:
    """What the hot path needs of a visit."""

    id: int
    project_id: int
    number: int
    visitor: str
    started_at: datetime
    span_started_at: datetime
    last_sign_at: datetime
    left: bool
    source_key: int
    click_ids: Mapping[str, str]
    ga: Mapping[str, str]
    channel: str
    source: str
    medium: str
    campaign: str
    term: str
    content: str
    source_at: datetime | None
    """When there was evidence of its source; None: at its start."""
    page: str
    """Its first one."""
    referrer: str
    address: str
    region: str
    limited: bool
    params: Mapping[str, str]

    @property
    def keeps_source(self) -> bool:
        """It came directly, and its source is that of a visit before it."""
        return self.source_at is not None and self.source_at < self.started_at

    @property
    def came_from(self) -> SourceParts:
        return SourceParts(self.source, self.medium, self.campaign)

    def is_active(self, hold: timedelta, now: datetime) -> bool:
        """Its last heartbeat is no older than the hold."""
        return now - self.last_sign_at <= hold


def last_known_source(evidence: Evidence, before: KnownVisit | None, days: int, now: datetime) -> Evidence:
    """Where a new visit comes from (R7, last non-direct): what its page view tells; if that is nothing, or overrides nothing, the last
    known source, with its click ids, of the visitor's visit before it, as long as the evidence of it is younger than so many days."""
    replaces = evidence.found and evidence.overrides
    if replaces or before is None or before.channel == DIRECT.channel:
        return evidence
    known_at = before.source_at or before.started_at
    if not days or now - known_at >= timedelta(days=days):
        return evidence
    known = Source(before.channel, before.source, before.medium, before.campaign, before.term, before.content)
    return replace(evidence, source=known, click_ids=before.click_ids, known_at=known_at)


def continues(visit: KnownVisit, evidence: Evidence, gap: timedelta, now: datetime) -> bool:
    """Whether a page view belongs to this visit: soon enough, and no new evidence. The evidence it began with, seen again (a reload),
    is not new; another click id of the same source is, and so is evidence of a source that the visit only kept. A way back, as from a
    mailbox or a bank, is no evidence here. A limited visit knows no click ids to compare."""
    if now - visit.last_sign_at >= gap:
        return False
    if not evidence.found or not evidence.begins_visit:
        return True
    if visit.keeps_source:
        return False
    same_clicks = visit.limited or all(visit.click_ids.get(name) == value for name, value in evidence.click_ids.items())
    return evidence.source.key == visit.source_key and same_clicks


COLUMNS = [VISIT.c[name] for name in KnownVisit.__slots__]

_BY_ID = Statement(
    select(*COLUMNS).where(VISIT.c.id == bindparam("visit"), VISIT.c.project_id == bindparam("project")),
    KnownVisit,
)

_LAST_OF_VISITOR = Statement(
    select(*COLUMNS)
    .where(VISIT.c.project_id == bindparam("project"), VISIT.c.visitor == bindparam("visitor"))
    .order_by(VISIT.c.started_at.desc(), VISIT.c.id.desc())
    .limit(1),
    KnownVisit,
)
_LOCKED = select(*COLUMNS).where(VISIT.c.id == bindparam("visit")).with_for_update()


def find_visit(session: Session, project_id: int, visit_id: int) -> KnownVisit | None:
    visit: KnownVisit | None = _BY_ID.first(session, {"visit": visit_id, "project": project_id})
    return visit


def locked_visit(session: Session, visit: KnownVisit) -> KnownVisit:
    """The visit as it is now; nobody else changes it until the end of the transaction."""
    return KnownVisit(**session.execute(_LOCKED, {"visit": visit.id}).one()._mapping)


def last_visit_of(session: Session, project_id: int, visitor: str) -> KnownVisit | None:
    visit: KnownVisit | None = _LAST_OF_VISITOR.first(session, {"project": project_id, "visitor": visitor})
    return visit


def new_visit(project_id: int, visitor: str, view: PageView, evidence: Evidence, now: datetime) -> KnownVisit:
    """The visit that begins with a page view, not yet written. A limited one keeps nothing that names a person (R14)."""
    stored = without_identifiers if view.limited else str
    return KnownVisit(
        id=0,
        project_id=project_id,
        number=0,
        visitor=visitor,
        started_at=now,
        span_started_at=now,
        last_sign_at=now,
        left=False,
        source_key=evidence.source.key,
        click_ids={} if view.limited else evidence.click_ids,
        ga={} if view.limited else view.ga,
        **evidence.source.as_dict(),
        source_at=evidence.known_at,
        page=stored(view.page)[:LONGEST_ADDRESS],
        referrer=stored(view.referrer)[:LONGEST_ADDRESS],
        address=view.address,
        region=view.region,
        limited=bool(view.limited),
        params=view.params,
    )


def insert_visit(session: Session, visit: KnownVisit) -> KnownVisit:
    """Writes a new visit with the next visit number of its project."""
    values = {name: getattr(visit, name) for name in KnownVisit.__slots__}
    values |= {"counted": NOT_COUNTED, **next_visit_number(session, visit.project_id)}
    [inserted] = _INSERT_VISIT.all(session, values)
    return replace(visit, id=inserted.id, number=inserted.number)


@Statement
def _INSERT_VISIT(dialect: str) -> Executable:
    values: dict[str, Any] = {column.name: bindparam(column.name) for column in VISIT.c if column is not VISIT.c.id}
    return insert(VISIT).values(values | {"number": visit_number(dialect)}).returning(VISIT.c.id, VISIT.c.number)


@dataclass(frozen=True, slots=True)
class Presence:
    """A span of heartbeats: a page was open from the first to the last one, and for a while after it."""

    started_at: datetime
    last_at: datetime
    left: bool
    """The last heartbeat said that the page was being left."""

    def reaches(self, at: datetime) -> bool:
        """The page still counts as open at this moment, so that a heartbeat belongs to this span."""
        return at - self.last_at <= (LEFT_GRACE if self.left else OPEN_GAP)

    def with_heartbeat(self, at: datetime, left: bool) -> "list[Presence]":
        """This span after a heartbeat since its start: prolonged, or followed by another. Of two at one moment, *left* stands."""
        if (at, left) <= (self.last_at, self.left):
            return [self]
        return [replace(self, last_at=at, left=left)] if self.reaches(at) else [self, Presence(at, at, left)]

    def joined(self, after: "Presence") -> "list[Presence]":
        return [replace(after, started_at=self.started_at)] if self.reaches(after.started_at) else [self, after]


def record_presence(
    session: Session, visit: KnownVisit, now: datetime, ga: Mapping[str, str] | None = None, *, left: bool = False
) -> None:
    """A heartbeat prolongs the newest span, or begins another when the page does not count as open any more.

    A heartbeat that is written late finds its place among the spans, unless it says *left* of a page that was open again after its grace.
    `ga` is renewed, except in a limited visit: Google's session is another one after half an hour without a page view. A heartbeat that is
    written late only fills in what is missing.
    """
    now = max(now, visit.started_at)
    is_newest = now >= visit.last_sign_at
    if not _write_newest(session, visit, now, left):
        visit = locked_visit(session, visit)
        if not _write_newest(session, visit, now, left):
            _write_earlier(session, visit, now, left)
    whole_ga = {**visit.ga, **(ga or {})} if is_newest else {**(ga or {}), **visit.ga}
    if whole_ga != visit.ga and not visit.limited:
        session.execute(_FILL_GA, {"visit": visit.id, "found_ga": whole_ga})


def _write_newest(session: Session, visit: KnownVisit, now: datetime, left: bool) -> bool:
    """False: the heartbeat is older than the newest span, or another one was written since the visit was read."""
    newest = _newest(visit)
    if now < newest.started_at:
        return False
    *ended, last = newest.with_heartbeat(now, left)
    if last != newest and not _move(session, visit, last):
        return False
    for span in ended:
        session.execute(insert(_SPAN), {"visit_id": visit.id, **asdict(span)})
    return True


def _write_earlier(session: Session, visit: KnownVisit, now: datetime, left: bool) -> None:
    """A heartbeat between the spans may prolong the span before it, join the one after it, or both."""
    begun = _EARLIER.where(_SPAN.c.started_at <= now).order_by(_SPAN.c.started_at.desc())
    later = _EARLIER.where(_SPAN.c.started_at > now).order_by(_SPAN.c.started_at)
    rows = [session.execute(spans.limit(1), {"visit": visit.id}).one_or_none() for spans in (begun, later)]
    before, after = (Presence(row.started_at, row.last_at, row.left) if row else None for row in rows)
    if before is None:
        return
    following = after or _newest(visit)
    *first, last = before.with_heartbeat(now, left)
    spans = [*first, *last.joined(following)]
    if spans == [before, following]:
        return
    for old in filter(None, (before, after)):
        session.execute(_DELETE, {"visit": visit.id, "span_start": old.started_at})
    for span in spans if after else spans[:-1]:
        session.execute(insert(_SPAN), {"visit_id": visit.id, **asdict(span)})
    if not after:
        _move(session, visit, spans[-1])


def _newest(visit: KnownVisit) -> Presence:
    return Presence(visit.span_started_at, visit.last_sign_at, visit.left)


def _move(session: Session, visit: KnownVisit, newest: Presence) -> bool:
    """Writes the newest span if the visit still is as it was read."""
    values: dict[str, Any] = {
        "visit": visit.id,
        "seen_start": visit.span_started_at,
        "seen_sign_at": visit.last_sign_at,
        "seen_left": visit.left,
        "span_start": newest.started_at,
        "sign_at": newest.last_at,
        "is_left": newest.left,
    }
    return _MOVE.first(session, values) is not None


_SPAN = table_of(VisitSpan)
_HERE = VISIT.c.id == bindparam("visit")
_MOVE = Statement(
    update(VISIT)
    .where(
        _HERE,
        VISIT.c.span_started_at == bindparam("seen_start"),
        VISIT.c.last_sign_at == bindparam("seen_sign_at"),
        VISIT.c.left == bindparam("seen_left"),
    )
    .values(
        span_started_at=bindparam("span_start"),
        last_sign_at=bindparam("sign_at"),
        left=bindparam("is_left"),
        counted=case((VISIT.c.counted == COUNTED, CHANGED), else_=VISIT.c.counted),
    )
    .returning(VISIT.c.id)
)
_EARLIER = select(_SPAN.c.started_at, _SPAN.c.last_at, _SPAN.c.left).where(_SPAN.c.visit_id == bindparam("visit"))
_DELETE = delete(_SPAN).where(_SPAN.c.visit_id == bindparam("visit"), _SPAN.c.started_at == bindparam("span_start"))
_FILL_GA = (
    update(VISIT).where(_HERE, VISIT.c.limited.is_(False)).values(ga=bindparam("found_ga", type_=VISIT.c.ga.type))
)


def record_heartbeat(
    session: Session, visit: KnownVisit, heartbeat: Heartbeat, evidence: Evidence | None, now: datetime
) -> None:
    """A heartbeat, or a page view that continues the visit, with what the page told by it. It comes after the numbers, whose rows
    everybody locks before the visit's.

    Args:
        evidence: of the source, where the page tells its address.
    """
    visit = follow_consent(session, visit, heartbeat.limited, evidence)
    visit = keep_params(session, visit, heartbeat.params)
    record_presence(session, visit, now, heartbeat.ga)


def follow_consent(
    session: Session, visit: KnownVisit, limited: bool | None, evidence: Evidence | None = None
) -> KnownVisit:
    """The visit as its page wants it to be from now on; written only when that is news, and only to the visit as it was read.

    Args:
        limited: whether consent is lacking; None: the page says nothing.
    """
    known: dict[str, Any] = {}
    if limited and not visit.limited:
        addresses = {"page": without_identifiers(visit.page), "referrer": without_identifiers(visit.referrer)}
        known = {"limited": True, "click_ids": {}, "ga": {}, **addresses}
    elif limited is False:
        known = {"limited": False}
        # click ids of a page that tells the visit's own source, where none are known: never those of another click
        same_source = evidence is not None and evidence.source.key == visit.source_key
        if evidence is not None and same_source and not visit.click_ids and not visit.keeps_source:
            known["click_ids"] = dict(evidence.click_ids)
    if all(getattr(visit, name) == value for name, value in known.items()):
        return visit
    session.execute(update(VISIT).where(VISIT.c.id == visit.id, VISIT.c.limited == visit.limited).values(known))
    return replace(visit, **known)


def merged(before: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """The later text of a name stands; a visit has no more fields than one page may tell."""
    room = MOST_FIELDS - len(before)
    added = dict(islice(((name, text) for name, text in new.items() if name not in before), max(room, 0)))
    return {**before, **{name: text for name, text in new.items() if name in before}, **added}


def keep_params(session: Session, visit: KnownVisit, params: Mapping[str, str]) -> KnownVisit:
    """Adds these fields of the site to the visit's; fields that its other pages told meanwhile stay."""
    if merged(visit.params, params) == visit.params:
        return visit
    now = locked_visit(session, visit)
    session.execute(update(VISIT).where(VISIT.c.id == visit.id).values(params=merged(now.params, params)))
    return now
