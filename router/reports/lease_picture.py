"""The lease history of a number as bars and in words."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from router.formats import say_day
from router.reports.lease_history import History, Holder
from router.reports.words import say_source

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
        say_day(history.at, zone),
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
