"""Signs of life of a visit, kept as spans: the newest in the visit's row, older ones in `visit_span` (R7). What they say of any past moment
does not depend on the order in which they were written."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, case, delete, insert, select, update
from sqlalchemy.orm import Session

from router.attribution.models import CHANGED, COUNTED, VisitSpan
from router.attribution.visits import LEFT_GRACE, OPEN_GAP, VISIT, KnownVisit, locked_visit
from router.database import table_of
from router.statements import Statement


@dataclass(frozen=True, slots=True)
class Span:
    """From its first sign of life to its last one a page was open, and for a while after it."""

    started_at: datetime
    last_at: datetime
    left: bool
    """The last sign said that the page was being left."""

    def reaches(self, at: datetime) -> bool:
        """The page still counts as open at this moment, so that a sign of life belongs to this span."""
        return at - self.last_at <= (LEFT_GRACE if self.left else OPEN_GAP)

    def with_sign(self, at: datetime, left: bool) -> "list[Span]":
        """This span after a sign since its start: prolonged, or followed by another. Of two signs at one moment, *left* stands."""
        if (at, left) <= (self.last_at, self.left):
            return [self]
        return [replace(self, last_at=at, left=left)] if self.reaches(at) else [self, Span(at, at, left)]

    def joined(self, after: "Span") -> "list[Span]":
        return [replace(after, started_at=self.started_at)] if self.reaches(after.started_at) else [self, after]


def record_sign(
    session: Session, visit: KnownVisit, now: datetime, ga: Mapping[str, str] | None = None, *, left: bool = False
) -> None:
    """A sign of life prolongs the newest span, or begins another when the page does not count as open any more.

    One that is written late finds its place among the spans; only *left* has none when the page was open again and it is later than its
    grace. What is missing in `ga` is filled in, except in a limited visit.
    """
    now = max(now, visit.started_at)
    if not _write_newest(session, visit, now, left):
        visit = locked_visit(session, visit)
        if not _write_newest(session, visit, now, left):
            _write_earlier(session, visit, now, left)
    whole_ga = {**(ga or {}), **visit.ga}
    if whole_ga != visit.ga and not visit.limited:
        session.execute(_FILL_GA, {"visit": visit.id, "found_ga": whole_ga})


def _write_newest(session: Session, visit: KnownVisit, now: datetime, left: bool) -> bool:
    """False: the sign is older than the newest span, or somebody else has written one since the visit was read."""
    newest = _newest(visit)
    if now < newest.started_at:
        return False
    *ended, last = newest.with_sign(now, left)
    if last != newest and not _move(session, visit, last):
        return False
    for span in ended:
        session.execute(insert(_SPAN), {"visit_id": visit.id, **asdict(span)})
    return True


def _write_earlier(session: Session, visit: KnownVisit, now: datetime, left: bool) -> None:
    """A sign between the spans: it may prolong the one before it, join the one after it, or both."""
    before, after = _around(session, visit, now)
    if before is None:
        return
    following = after or _newest(visit)
    *first, last = before.with_sign(now, left)
    spans = [*first, *last.joined(following)]
    if spans == [before, following]:
        return
    for old in filter(None, (before, after)):
        session.execute(_DELETE, {"visit": visit.id, "span_start": old.started_at})
    kept = spans if after else spans[:-1]
    for span in kept:
        session.execute(insert(_SPAN), {"visit_id": visit.id, **asdict(span)})
    if not after:
        _move(session, visit, spans[-1])


def _around(session: Session, visit: KnownVisit, at: datetime) -> tuple[Span | None, Span | None]:
    """The newest span that had begun by a moment, and the first one that began later, of those before the visit's newest."""
    begun = _EARLIER.where(_SPAN.c.started_at <= at).order_by(_SPAN.c.started_at.desc())
    later = _EARLIER.where(_SPAN.c.started_at > at).order_by(_SPAN.c.started_at)
    found = [session.execute(one.limit(1), {"visit": visit.id}).one_or_none() for one in (begun, later)]
    before, after = (Span(*row) if row else None for row in found)
    return before, after


def _newest(visit: KnownVisit) -> Span:
    return Span(visit.span_started_at, visit.last_sign_at, visit.left)


def _move(session: Session, visit: KnownVisit, newest: Span) -> bool:
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
    lambda _: (
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
)
_EARLIER = select(_SPAN.c.started_at, _SPAN.c.last_at, _SPAN.c.left).where(_SPAN.c.visit_id == bindparam("visit"))
_DELETE = delete(_SPAN).where(_SPAN.c.visit_id == bindparam("visit"), _SPAN.c.started_at == bindparam("span_start"))
_FILL_GA = (
    update(VISIT).where(_HERE, VISIT.c.limited.is_(False)).values(ga=bindparam("found_ga", type_=VISIT.c.ga.type))
)
