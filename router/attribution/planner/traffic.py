"""Traffic to try pools with: stays of visitors and the calls they make, with the truth about who called; times are seconds.

`described_traffic` makes it from a few words about a site: the usual shape of a day, short and long stays, sources of unequal size.
`read_history` takes a scenario's own visits and calls, in a fixed number of statements. Nobody told who called there: the visit that the
attribution named is taken for the caller's where it was more likely than not; else one of the candidates is drawn by their
probabilities, so that the doubt stays in. A call that nobody we know may have made is left out.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.attribution.models import Tap, Visit, VisitSpan
from router.attribution.pool.numbers import first_asked
from router.scenarios.models import Scenario
from router.server import Server

HOUR, DAY = 3600.0, 86_400.0
ALIVE = 45.0

DAILY_CURVE = (2, 1, 1, 1, 1, 2, 4, 7, 10, 12, 13, 13, 12, 12, 12, 11, 11, 10, 9, 9, 8, 7, 5, 3)
"""Visits of each hour of the day beside each other; the mean is what *visits per hour* means."""

SOURCES = 12
BOUNCES = 0.55
BOUNCE_SECONDS, BOUNCE_SPREAD = 8.0, 1.0
STAY_SECONDS, STAY_SPREAD = 150.0, 0.9
"""Lognormal: median and sigma. 55 % look at one page and go."""
LONGEST_STAY = 3 * HOUR

RETURNING = 0.2
"""The share of visits by somebody who was there before, half of whom come directly."""
CALLERS = (0.04, 0.08)
"""The share of visits that call: between these, by source."""
WHEN = (("during", 0.62), ("minutes", 0.23), ("hours", 0.10), ("days", 0.05))
MOBILE, TAPPED, IDLE_TAPS = 0.6, 0.8, 0.01
"""Shares: of visits on a telephone, of their calls that began with a tap, and of taps without a call."""
CALL_AGAIN = 0.12
LEFT_TOLD = 0.85
"""Browsers that say so when a page is left."""


@dataclass(frozen=True, slots=True)
class Span:
    """A page was open from `start` to `last`; `left`: the end was told."""

    start: float
    last: float
    left: bool = True

    def last_sign(self, now: float) -> float:
        """The last heartbeat before a moment."""
        if now >= self.last:
            return self.last
        return self.start + (now - self.start) // ALIVE * ALIVE


@dataclass(frozen=True, slots=True)
class Stay:
    """A visit: whose, from which marketing source, and when its pages were open."""

    visitor: str
    source_key: int
    spans: tuple[Span, ...]

    @property
    def start(self) -> float:
        return self.spans[0].start


@dataclass(frozen=True, slots=True)
class TrafficTap:
    at: float
    stay: int


@dataclass(frozen=True, slots=True)
class CallMade:
    """A call by the visitor of a stay, to the number that he was shown last during it; `again`: not his first one."""

    at: float
    stay: int
    again: bool = False


@dataclass(frozen=True)
class Traffic:
    """Stays by start, calls and taps by time; a call names its stay by position."""

    stays: Sequence[Stay]
    calls: Sequence[CallMade]
    taps: Sequence[TrafficTap] = field(default=())


def described_traffic(
    visits_per_hour: float,
    hours: float,
    seed: int,
    *,
    callers: tuple[float, float] = CALLERS,
    sources: int = SOURCES,
    warm_up_hours: float = 0.0,
) -> Traffic:
    """Traffic of so many hours after a warm-up, whose visits are there but whose calls are not. The same seed gives the same traffic.

    Args:
        callers: the least and the greatest share of visits that call, by source.
        sources: how many marketing sources there are; the n-th is 1/n as large as the first (Zipf).
    """
    random = Random(seed)  # noqa: S311 - the same seed has to give the same traffic
    begins, ends = warm_up_hours * HOUR, (warm_up_hours + hours) * HOUR
    keys = list(range(1, sources + 1))
    weights = [1 / key for key in keys]
    step = (callers[1] - callers[0]) / max(1, sources - 1)
    share_of_callers = {key: callers[0] + step * place for place, key in enumerate(random.sample(keys, sources))}
    seen: list[tuple[str, int]] = []
    stays: list[Stay] = []
    calls: list[CallMade] = []
    taps: list[TrafficTap] = []
    for number, start in enumerate(_starts(random, visits_per_hour, ends)):
        visitor, source = f"visitor-{number}", None
        if seen and random.random() < RETURNING:
            visitor, last_source = random.choice(seen[-5000:])
            if random.random() < 0.5:
                source = last_source
        if source is None:
            source = random.choices(keys, weights)[0]
            seen.append((visitor, source))
        calling = random.random() < share_of_callers[source]
        bounces = not calling and random.random() < BOUNCES / (1 - sum(CALLERS) / 2)
        median, deviation = (BOUNCE_SECONDS, BOUNCE_SPREAD) if bounces else (STAY_SECONDS, STAY_SPREAD)
        seconds = min(LONGEST_STAY, median * math.exp(random.gauss(0, deviation)))
        stay = Stay(visitor, source, (Span(start, start + seconds, random.random() < LEFT_TOLD),))
        stays.append(stay)
        mobile = random.random() < MOBILE
        if not calling:
            if mobile and random.random() < IDLE_TAPS:
                taps.append(TrafficTap(_within(random, stay), number))
            continue
        when = random.choices([name for name, _ in WHEN], [share for _, share in WHEN])[0]
        if when == "days":
            # told backwards, so that their share is right from the end of the warm-up on: who calls now came one to three days ago
            since = stay.start - random.uniform(DAY, min(3 * DAY, max(DAY, stay.start)))
            if since > 0:
                place = bisect_left(stays, since, hi=number, key=lambda earlier: earlier.start)
                calls.append(CallMade(stay.start, place))
        elif when == "during":
            at = _within(random, stay)
            calls.append(CallMade(at, number))
            if mobile and random.random() < TAPPED:
                taps.append(TrafficTap(max(stay.start, at - random.uniform(2, 10)), number))
        else:
            least, mean = (0.0, 6 * 60.0) if when == "minutes" else (HOUR, 3 * HOUR)
            calls.append(CallMade(stay.spans[-1].last + least + random.expovariate(1 / mean), number))
    for call in list(calls):
        if random.random() < CALL_AGAIN:
            at = call.at + 60 + random.expovariate(1 / (2 * HOUR))
            calls.append(CallMade(at, call.stay, again=True))
    counted = [call for call in calls if begins <= call.at < ends]
    return Traffic(stays, sorted(counted, key=lambda call: call.at), sorted(taps, key=lambda tap: tap.at))


def _starts(random: Random, visits_per_hour: float, ends: float) -> list[float]:
    """A Poisson process whose rate follows the day, by thinning."""
    most = visits_per_hour / (sum(DAILY_CURVE) / len(DAILY_CURVE)) / HOUR * max(DAILY_CURVE)
    starts, at = [], random.expovariate(most)
    while at < ends:
        if random.random() * max(DAILY_CURVE) < DAILY_CURVE[int(at % DAY / HOUR)]:
            starts.append(at)
        at += random.expovariate(most)
    return starts


def _within(random: Random, stay: Stay) -> float:
    span = stay.spans[0]
    return random.uniform(span.start + min(3.0, (span.last - span.start) / 2), span.last)


DAYS = timedelta(days=30)
LIKELY = 0.5
"""The caller is taken to be the named visit if that was at least as probable."""


@dataclass(frozen=True, slots=True)
class PastCall:
    """A call that the lease rule decided; `candidates`: visit ids with their probabilities."""

    at: datetime
    visit_id: int | None
    confidence: float
    candidates: Sequence[tuple[int, float]]


PastCalls = Callable[[Session, Scenario, datetime, datetime], Sequence[PastCall]]
"""(session, scenario, since, until) -> the calls of that time, oldest first."""


@dataclass(frozen=True)
class History:
    """What is known of the last 30 days."""

    traffic: Traffic
    first_at: datetime | None
    """When the first visit of it asked for a number."""
    cut: bool
    """There were more visits: these are the newest."""
    drawn: int
    """How many calls had their caller drawn."""
    left_out: int
    """How many calls were made by no visit of it."""


def read_history(session: Session, server: Server, scenario: Scenario, now: datetime, most_visits: int) -> History:
    """Four statements, however many visits and calls there were."""
    since = now - DAYS
    first = first_asked(scenario, since, now).subquery("first_asked")
    asked = select(first).order_by(first.c.at.desc(), first.c.visit_id.desc()).limit(most_visits).cte("asked")
    rows = session.execute(
        select(
            asked.c.visit_id,
            asked.c.at,
            *(Visit.visitor, Visit.source_key, Visit.span_started_at, Visit.last_sign_at, Visit.left),
        )
        .join(Visit, Visit.id == asked.c.visit_id)
        .order_by(asked.c.at, asked.c.visit_id)
    ).all()
    earlier: dict[int, list[Any]] = {}
    for span in session.execute(
        select(VisitSpan.visit_id, VisitSpan.started_at, VisitSpan.last_at, VisitSpan.left)
        .join(asked, asked.c.visit_id == VisitSpan.visit_id)
        .where(VisitSpan.last_at >= asked.c.at)
        .order_by(VisitSpan.visit_id, VisitSpan.started_at)
    ):
        earlier.setdefault(span.visit_id, []).append(span)
    stays = []
    for row in rows:
        spans = [(span.started_at, span.last_at, span.left) for span in earlier.get(row.visit_id, [])]
        spans.append((row.span_started_at, max(row.last_sign_at, row.at), row.left))
        # from when the visit asked for a number
        cut = (Span(_seconds(max(begin, row.at), since), _seconds(last, since), left) for begin, last, left in spans)
        stays.append(Stay(row.visitor, row.source_key, tuple(cut)))
    places = {row.visit_id: place for place, row in enumerate(rows)}
    first_at = rows[0].at if rows else None
    made = server.past_calls(session, scenario, first_at, now) if server.past_calls and first_at else []
    draw = Random(scenario.id)  # noqa: S311 - not a secret
    callers = [(call, places.get(caller_of(call, draw) or 0)) for call in made]
    calls = [CallMade(_seconds(call.at, since), place) for call, place in callers if place is not None]
    taps = session.execute(
        select(Tap.visit_id, Tap.at)
        .join(asked, asked.c.visit_id == Tap.visit_id)
        .where(Tap.at >= asked.c.at)
        .order_by(Tap.at, Tap.id)
    )
    return History(
        traffic=Traffic(stays, calls, [TrafficTap(_seconds(tap.at, since), places[tap.visit_id]) for tap in taps]),
        first_at=first_at,
        cut=len(rows) == most_visits,
        drawn=sum(call.confidence < LIKELY for call in made),
        left_out=len(made) - len(calls),
    )


def caller_of(call: PastCall, random: Random) -> int | None:
    """The visit that is taken for the caller's; None: nobody's that we know."""
    if call.confidence >= LIKELY:
        return call.visit_id
    drawn = random.random()
    for visit_id, probability in call.candidates:
        drawn -= probability
        if drawn < 0:
            return visit_id
    return None


def _seconds(moment: datetime, since: datetime) -> float:
    return (moment - since).total_seconds()
