"""Who held a number around a call: each visit's leases, open pages, holds, taps and leaving, in bars and in words for the call's page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from router.attribution.models import Lease, Tap, Visit, VisitSpan
from router.lib.formats import date_of
from router.reports.calls import format_source
from router.voice.models import Call

MOST_BEFORE, MOST_AFTER = 8, 3
"""Leases that are shown."""
BEFORE, AFTER = timedelta(hours=24), timedelta(hours=2)
"""How long before and after the call a lease may have begun; nothing later is drawn."""
MOST_SPANS = 400
LEAST_SIDE = timedelta(minutes=5)
"""What is shown at least before and after the call."""
LONGEST_BEFORE = timedelta(hours=6)
MOST_TOLD = 3
"""Open pages and taps that are named."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A visit that was leased the number: from when to when, and what its page did."""

    visit: Visit
    lent_at: datetime
    over_at: datetime | None
    """When the visit could not get the number back any more; None: not before the end of the picture."""
    shared: bool
    spans: Sequence[VisitSpan]
    taps: Sequence[datetime]
    returned_at: datetime | None = None
    """When the visit's page said, after the call, that it does not show the number."""

    @property
    def source(self) -> str:
        parts = {name: getattr(self.visit, name) for name in ("channel", "source", "medium", "campaign")}
        return format_source(parts) or ""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a holder's row in the picture: `kind` is lent, hold, open, left or tap; left and tap are points."""

    kind: str
    x: float
    width: float
    title: str


@dataclass(frozen=True, slots=True)
class History:
    """The visits that were lent the number of a call around its time, in order; `since` and `until` limit the picture."""

    at: datetime
    since: datetime
    until: datetime
    hold: timedelta
    zone: str
    holders: list[Holder] = field(default_factory=list)

    def place(self, moment: datetime) -> float:
        """Per cent of the picture's width."""
        return round(100 * min(1.0, max(0.0, (moment - self.since) / (self.until - self.since))), 2)

    def clock(self, moment: datetime, form: str = "%H:%M:%S") -> str:
        """`16:12:59`; of another day than the call's `22 Nov 16:12:59`."""
        here = moment.astimezone(ZoneInfo(self.zone))
        day = "" if here.date() == date_of(self.at, self.zone) else f"{here.day} {here:%b} "
        return f"{day}{here:{form}}"

    def pieces(self, holder: Holder) -> Iterator[Piece]:
        def bar(kind: str, start: datetime, end: datetime, title: str) -> Piece:
            x = self.place(start)
            return Piece(kind, x, round(max(0.0, self.place(end) - x), 2), title)

        yield bar("lent", holder.lent_at, holder.over_at or self.until, "the number was lent to it")
        starts = [span.started_at for span in holder.spans[1:]] + [self.until]
        for span, following in zip(holder.spans, starts, strict=True):
            held_until = span.last_at + self.hold
            if held_until >= self.since:
                title = f"silent, its number still held until {self.clock(held_until)}"
                yield bar("hold", span.last_at, min(following, held_until), title)
        for span in holder.spans:
            if self.since <= span.last_at and span.started_at <= self.until:
                yield bar("open", span.started_at, span.last_at, self._open(span))
                if span.left:
                    yield Piece("left", self.place(span.last_at), 0, f"left {self.clock(span.last_at)}")
        for at in holder.taps:
            if self.since <= at <= self.until:
                yield Piece("tap", self.place(at), 0, f"tapped the number {self.clock(at)}")

    def describe(self, holder: Holder) -> str:
        """`shared; open 14:02:10 to 14:06:40, left; tapped 14:06:12; lent to somebody else 14:30:00`"""
        parts = ["shared with another visitor"] if holder.shared else []
        for span in [span for span in holder.spans if span.last_at >= holder.lent_at][-MOST_TOLD:]:
            times = self._open(span) if span.last_at > span.started_at else f"seen {self.clock(span.started_at)}"
            parts.append(f"{times}{', left' if span.left else ''}")
        parts += [f"tapped {self.clock(at)}" for at in holder.taps[-MOST_TOLD:]]
        if holder.returned_at:
            parts.append(f"not on its page, as it said {self.clock(holder.returned_at)}")
        elif holder.over_at:
            parts.append(f"given to somebody else {self.clock(holder.over_at)}")
        return "; ".join(parts)

    def _open(self, span: VisitSpan) -> str:
        return f"open {self.clock(span.started_at)} to {self.clock(span.last_at)}"


def read_history(session: Session, call: Call, hold: timedelta, zone: str) -> History:
    """At most four statements."""
    at = call.started_at
    # in their order; without leases whose page never showed the number, unless they were candidates of the call
    of_number = select(Lease, Visit).join(Visit, Visit.id == Lease.visit_id).where(Lease.number_id == call.number_id)
    of_number = of_number.where(or_(Lease.returned_at.is_(None), and_(Lease.started_at <= at, Lease.returned_at > at)))
    before = of_number.where(Lease.started_at <= at, Lease.started_at > at - BEFORE)
    after = of_number.where(Lease.started_at > at, Lease.started_at < at + AFTER)
    first = session.execute(before.order_by(Lease.started_at.desc(), Lease.turn.desc()).limit(MOST_BEFORE)).all()
    then = session.execute(after.order_by(Lease.started_at, Lease.turn).limit(MOST_AFTER)).all()
    leases: list[tuple[Lease, Visit]] = [(row.Lease, row.Visit) for row in (*reversed(first), *then)]
    visits = {visit.id: visit for _, visit in leases}
    spans: dict[int, list[VisitSpan]] = {visit_id: [] for visit_id in visits}
    taps: dict[int, list[datetime]] = {visit_id: [] for visit_id in visits}
    if visits:  # the last ones that can be shown, in order of time
        earlier = select(VisitSpan).where(VisitSpan.visit_id.in_(visits), VisitSpan.started_at < at + AFTER)
        for span in reversed(session.scalars(earlier.order_by(VisitSpan.started_at.desc()).limit(MOST_SPANS)).all()):
            spans[span.visit_id].append(span)
        for visit in visits.values():
            spans[visit.id].append(newest_span(visit))
        tapped = select(Tap.visit_id, Tap.at).where(Tap.number_id == call.number_id, Tap.visit_id.in_(visits))
        tapped = tapped.where(Tap.at < at + AFTER).order_by(Tap.at.desc()).limit(MOST_SPANS)
        for tap in reversed(session.execute(tapped).all()):
            taps[tap.visit_id].append(tap.at)
    holders = []
    for place, (lease, visit) in enumerate(leases):
        later = (
            other.started_at
            for other, its_visit in leases[place + 1 :]
            if its_visit.visitor != visit.visitor and other.returned_at is None
        )
        holder = Holder(
            visit=visit,
            lent_at=lease.started_at,
            over_at=lease.returned_at or over_at(lease.started_at, spans[visit.id], next(later, None), hold),
            shared=lease.shared,
            spans=spans[visit.id],
            taps=taps[visit.id],
            returned_at=lease.returned_at,
        )
        holders.append(holder)
    # all that is shown, but not so long that minutes could not be seen
    since = max(min([at - LEAST_SIDE, *(holder.lent_at for holder in holders)]), at - LONGEST_BEFORE)
    ends = [span.last_at + hold for holder in holders for span in holder.spans if span.started_at >= since]
    until = min(max([at + LEAST_SIDE, *ends]), at + max(LEAST_SIDE, (at - since) / 3))
    return History(at, since, until, hold, zone, holders)


def over_at(
    lent_at: datetime, spans: Sequence[VisitSpan], lent_again: datetime | None, hold: timedelta
) -> datetime | None:
    """When a lease was over (R6): when another visitor was leased the number, or at the end of the hold of a visit that was active then."""
    if lent_again is None:
        return None
    active = [end for start, end in active_times(spans, hold) if start <= lent_again <= end]
    return max([lent_again, *active])


def active_times(spans: Sequence[VisitSpan], hold: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """From when to when a visit was active: its spans with their holds, joined where they meet."""
    start, end = None, None
    for span in spans:
        if start is None or end is None or span.started_at > end:
            if start and end:
                yield start, end
            start = span.started_at
            end = span.last_at + hold
        end = max(end, span.last_at + hold)
    if start and end:
        yield start, end


def newest_span(visit: Visit) -> VisitSpan:
    """A visit's newest span, which is kept with the visit and always there."""
    return VisitSpan(started_at=visit.span_started_at, last_at=visit.last_sign_at, left=visit.left)
