"""Who held a number around a call: each visit's leases, open pages, holds, taps and leaving, as a call's page draws them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from router.attribution.models import Lease, Tap, Visit, VisitSpan
from router.voice.models import Call

MOST_BEFORE, MOST_AFTER = 8, 3
"""Leases that are shown."""
BEFORE, AFTER = timedelta(hours=24), timedelta(hours=2)
"""How long before and after the call a lease may have begun; nothing later is drawn."""
MOST_SPANS = 400
LEAST_SIDE = timedelta(minutes=5)
"""What is shown at least before and after the call."""
LONGEST_BEFORE = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Span:
    """From a first to a last sign of life its page was open; `left`: the last one said that it was being left."""

    start: datetime
    last: datetime
    left: bool = False


@dataclass(frozen=True, slots=True)
class Holder:
    """A visit that was lent the number: when, until when it was its own, and what its page did."""

    visit: Visit
    lent_at: datetime
    over_at: datetime | None
    """When it could not get the number back any more; None: it still could at the end of what is shown."""
    shared: bool
    spans: Sequence[Span]
    taps: Sequence[datetime]
    returned_at: datetime | None = None
    """When it was known that the number stands nowhere on its page, after the call."""


@dataclass(frozen=True, slots=True)
class History:
    """The visits that were lent the number of a call around its time, in order; `since` and `until` limit the picture."""

    at: datetime
    since: datetime
    until: datetime
    hold: timedelta
    holders: list[Holder] = field(default_factory=list)

    def place(self, moment: datetime) -> float:
        """Per cent of the picture's width."""
        return round(100 * min(1.0, max(0.0, (moment - self.since) / (self.until - self.since))), 2)


def read_history(session: Session, call: Call, hold: timedelta) -> History:
    """At most four statements."""
    leases = _leases(session, call)
    ids = {lease.visit_id for lease, _ in leases}
    spans = _spans(session, call, [visit for _, visit in leases]) if ids else {}
    taps = _taps(session, call, ids) if ids else {}
    holders = [
        Holder(
            visit,
            lease.started_at,
            lease.returned_at
            or over_at(lease.started_at, spans[visit.id], _next(leases[place + 1 :], visit.visitor), hold),
            lease.shared,
            spans[visit.id],
            taps.get(visit.id, []),
            lease.returned_at,
        )
        for place, (lease, visit) in enumerate(leases)
    ]
    since, until = _limits(call.started_at, holders, hold)
    return History(call.started_at, since, until, hold, holders)


def over_at(lent_at: datetime, spans: Sequence[Span], lent_again: datetime | None, hold: timedelta) -> datetime | None:
    """When a lease was over (R6): when another visitor was lent the number, or, when the visit was active then and shared it, at the end of
    its hold."""
    if lent_again is None:
        return None
    active = [end for start, end in active_times(spans, hold) if start <= lent_again <= end]
    return max([lent_again, *active])


def active_times(spans: Sequence[Span], hold: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """From when to when a visit was active: its spans with their holds, joined where they meet."""
    start, end = None, None
    for span in spans:
        if start is None or end is None or span.start > end:
            if start and end:
                yield start, end
            start = span.start
            end = span.last + hold
        end = max(end, span.last + hold)
    if start and end:
        yield start, end


def _next(later: Iterable[tuple[Lease, Visit]], visitor: str) -> datetime | None:
    others = (lease for lease, visit in later if visit.visitor != visitor and lease.returned_at is None)
    return next((lease.started_at for lease in others), None)


def _leases(session: Session, call: Call) -> list[tuple[Lease, Visit]]:
    """In the order in which they were lent; without those whose page never showed the number, unless they were candidates of the call."""
    at = call.started_at
    of_number = select(Lease, Visit).join(Visit, Visit.id == Lease.visit_id).where(Lease.number_id == call.number_id)
    of_number = of_number.where(or_(Lease.returned_at.is_(None), and_(Lease.started_at <= at, Lease.returned_at > at)))
    before = of_number.where(Lease.started_at <= at, Lease.started_at > at - BEFORE)
    after = of_number.where(Lease.started_at > at, Lease.started_at < at + AFTER)
    first = session.execute(before.order_by(Lease.started_at.desc(), Lease.turn.desc()).limit(MOST_BEFORE)).all()
    then = session.execute(after.order_by(Lease.started_at, Lease.turn).limit(MOST_AFTER)).all()
    return [(lease, visit) for lease, visit in (*reversed(first), *then)]


def _spans(session: Session, call: Call, visits: Sequence[Visit]) -> dict[int, list[Span]]:
    """The last ones of what can be shown, in order of time; a visit's newest is kept with it, and always there."""
    found: dict[int, list[Span]] = {visit.id: [] for visit in visits}
    earlier = select(VisitSpan).where(VisitSpan.visit_id.in_(found), VisitSpan.started_at < call.started_at + AFTER)
    last = session.scalars(earlier.order_by(VisitSpan.started_at.desc()).limit(MOST_SPANS)).all()
    for span in reversed(last):
        found[span.visit_id].append(Span(span.started_at, span.last_at, span.left))
    for visit in {visit.id: visit for visit in visits}.values():
        found[visit.id].append(Span(visit.span_started_at, visit.last_sign_at, visit.left))
    return found


def _taps(session: Session, call: Call, visit_ids: Iterable[int]) -> dict[int, list[datetime]]:
    """The last ones of what can be shown, in order of time."""
    found: dict[int, list[datetime]] = {}
    taps = select(Tap.visit_id, Tap.at).where(Tap.number_id == call.number_id, Tap.visit_id.in_(visit_ids))
    shown = taps.where(Tap.at < call.started_at + AFTER).order_by(Tap.at.desc()).limit(MOST_SPANS)
    for visit_id, at in reversed(session.execute(shown).all()):
        found.setdefault(visit_id, []).append(at)
    return found


def _limits(at: datetime, holders: Sequence[Holder], hold: timedelta) -> tuple[datetime, datetime]:
    """All that is shown, but not so long that minutes could not be seen."""
    begins = [at - LEAST_SIDE, *(one.lent_at for one in holders)]
    since = max(min(begins), at - LONGEST_BEFORE)
    ends = [span.last + hold for one in holders for span in one.spans if span.start >= since]
    most = max(LEAST_SIDE, (at - since) / 3)
    return since, min(max([at + LEAST_SIDE, *ends]), at + most)
