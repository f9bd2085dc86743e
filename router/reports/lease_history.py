"""Who held a number around a call: each visit's leases, open pages, holds, taps and leaving, as a call's page draws them.

The lease history of a number as bars and in words."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from router.attribution.models import Lease, Tap, Visit, VisitSpan
from router.lib.formats import format_day
from router.reports.overview import say_source
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


MOST_SAID = 3
"""Open pages and taps that are told one by one."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a row: `kind` is lent, hold, open, left or tap; the last two are points."""

    kind: str
    x: float
    width: float
    said: str


@dataclass(frozen=True, slots=True)
class PictureRow:
    holder: Holder
    source: str
    pieces: list[Piece]
    words: str
    after_call: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """`call`: where the call stands, in per cent, as all places."""

    rows: list[PictureRow]
    call: float
    since: str
    until: str
    clock: str
    day: str


def picture_of(history: History, zone: str) -> Picture | None:
    """None: nobody was lent the number in the hours around the call."""
    if not history.holders:
        return None
    clock = _Clock(zone, history.at)
    return Picture(
        [_row(history, holder, clock) for holder in history.holders],
        history.place(history.at),
        clock.minute(history.since),
        clock.minute(history.until),
        clock(history.at),
        format_day(history.at, zone),
    )


@dataclass(frozen=True, slots=True)
class _Clock:
    zone: str
    called_at: datetime

    def __call__(self, moment: datetime) -> str:
        """`16:12:59`; of another day than the call's `22 Nov 16:12:59`."""
        return self._said(moment, "%H:%M:%S")

    def minute(self, moment: datetime) -> str:
        return self._said(moment, "%H:%M")

    def _said(self, moment: datetime, form: str) -> str:
        here, called = (one.astimezone(ZoneInfo(self.zone)) for one in (moment, self.called_at))
        day = "" if here.date() == called.date() else f"{here.day} {here:%b} "
        return f"{day}{here:{form}}"


def _row(history: History, holder: Holder, clock: _Clock) -> PictureRow:
    visit = holder.visit
    parts = {name: getattr(visit, name) for name in ("channel", "source", "medium", "campaign")}
    return PictureRow(
        holder,
        say_source(parts) or "",
        list(_pieces(history, holder, clock)),
        _words(holder, clock),
        holder.lent_at > history.at,
    )


def _pieces(history: History, holder: Holder, clock: _Clock) -> Iterator[Piece]:
    yield _bar(history, "lent", holder.lent_at, holder.over_at or history.until, "the number was lent to it")
    starts = [span.start for span in holder.spans[1:]] + [history.until]
    for span, following in zip(holder.spans, starts, strict=True):
        if span.last + history.hold >= history.since:
            said = f"silent, its number still held until {clock(span.last + history.hold)}"
            yield _bar(history, "hold", span.last, min(following, span.last + history.hold), said)
    for span in holder.spans:
        if history.since <= span.last and span.start <= history.until:
            yield _bar(history, "open", span.start, span.last, f"open {clock(span.start)} to {clock(span.last)}")
            if span.left:
                yield Piece("left", history.place(span.last), 0, f"left {clock(span.last)}")
    for at in holder.taps:
        if history.since <= at <= history.until:
            yield Piece("tap", history.place(at), 0, f"tapped the number {clock(at)}")


def _bar(history: History, kind: str, start: datetime, end: datetime, said: str) -> Piece:
    x = history.place(start)
    return Piece(kind, x, round(max(0.0, history.place(end) - x), 2), said)


def _words(holder: Holder, clock: _Clock) -> str:
    """`shared; open 14:02:10 to 14:06:40, left; tapped 14:06:12; lent to somebody else 14:30:00`"""
    said = ["shared with another visitor"] if holder.shared else []
    spans = [span for span in holder.spans if span.last >= holder.lent_at][-MOST_SAID:]
    said += [
        f"open {clock(span.start)} to {clock(span.last)}{', left' if span.left else ''}"
        if span.last > span.start
        else f"seen {clock(span.start)}{', left' if span.left else ''}"
        for span in spans
    ]
    said += [f"tapped {clock(at)}" for at in holder.taps[-MOST_SAID:]]
    if holder.returned_at:
        said.append(f"not on its page, as it said {clock(holder.returned_at)}")
    elif holder.over_at:
        said.append(f"given to somebody else {clock(holder.over_at)}")
    return "; ".join(said)
