"""Traffic to try pools with: stays of visitors and the calls they make, with the truth about who called. Pure; times are seconds.

`described_traffic` makes one from a few words about a site: the usual shape of a day, short and long stays, sources of unequal size."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

HOUR, DAY = 3600.0, 86_400.0

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
"""Visits on a telephone; of the calls during those, the ones that began with a tap; taps without a call."""
CALL_AGAIN = 0.12
LEFT_TOLD = 0.85
"""Browsers that say so when a page is left."""


@dataclass(frozen=True, slots=True)
class Span:
    """A page was open from `start` to `last`; `left`: the end was told."""

    start: float
    last: float
    left: bool = True


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
class Tap:
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
    taps: Sequence[Tap] = field(default=())


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
    return _Maker(visits_per_hour, hours, seed, callers, sources, warm_up_hours).traffic()


class _Maker:
    def __init__(
        self,
        visits_per_hour: float,
        hours: float,
        seed: int,
        callers: tuple[float, float],
        sources: int,
        warm_up_hours: float,
    ) -> None:
        self._random = random.Random(seed)  # noqa: S311 - the same seed has to give the same traffic
        self._rate = visits_per_hour / (sum(DAILY_CURVE) / len(DAILY_CURVE)) / HOUR
        self._begins, self._ends = warm_up_hours * HOUR, (warm_up_hours + hours) * HOUR
        self._keys = list(range(1, sources + 1))
        self._shares = [1 / key for key in self._keys]
        spread = self._random.sample(self._keys, sources)
        step = (callers[1] - callers[0]) / max(1, sources - 1)
        self._callers = {key: callers[0] + step * place for place, key in enumerate(spread)}
        self._seen: list[tuple[str, int]] = []

    def traffic(self) -> Traffic:
        stays: list[Stay] = []
        calls: list[CallMade] = []
        taps: list[Tap] = []
        for number, start in enumerate(self._starts()):
            visitor, source = self._who(number)
            calling = self._random.random() < self._callers[source]
            stays.append(self._stay(visitor, source, start, calling))
            mobile = self._random.random() < MOBILE
            if calling:
                self._call(stays, number, mobile, calls, taps)
            elif mobile and self._random.random() < IDLE_TAPS:
                taps.append(Tap(self._within(stays[-1]), number))
        calls += [again for call in calls if (again := self._again(call))]
        counted = [call for call in calls if self._begins <= call.at < self._ends]
        return Traffic(stays, sorted(counted, key=lambda call: call.at), sorted(taps, key=lambda tap: tap.at))

    def _starts(self) -> list[float]:
        """A Poisson process whose rate follows the day, by thinning."""
        most = self._rate * max(DAILY_CURVE)
        starts, at = [], self._random.expovariate(most)
        while at < self._ends:
            if self._random.random() * max(DAILY_CURVE) < DAILY_CURVE[int(at % DAY / HOUR)]:
                starts.append(at)
            at += self._random.expovariate(most)
        return starts

    def _who(self, number: int) -> tuple[str, int]:
        if self._seen and self._random.random() < RETURNING:
            visitor, source = self._random.choice(self._seen[-5000:])
            if self._random.random() < 0.5:
                return visitor, source
        else:
            visitor = f"visitor-{number}"
        source = self._random.choices(self._keys, self._shares)[0]
        self._seen.append((visitor, source))
        return visitor, source

    def _stay(self, visitor: str, source: int, start: float, calling: bool) -> Stay:
        bounces = not calling and self._random.random() < BOUNCES / (1 - sum(CALLERS) / 2)
        median, spread = (BOUNCE_SECONDS, BOUNCE_SPREAD) if bounces else (STAY_SECONDS, STAY_SPREAD)
        seconds = min(LONGEST_STAY, median * math.exp(self._random.gauss(0, spread)))
        return Stay(visitor, source, (Span(start, start + seconds, self._random.random() < LEFT_TOLD),))

    def _within(self, stay: Stay) -> float:
        span = stay.spans[0]
        return self._random.uniform(span.start + min(3.0, (span.last - span.start) / 2), span.last)

    def _call(self, stays: Sequence[Stay], number: int, mobile: bool, calls: list[CallMade], taps: list[Tap]) -> None:
        when = self._random.choices([name for name, _ in WHEN], [share for _, share in WHEN])[0]
        stay = stays[number]
        if when == "days":
            self._call_days_later(stays, stay.start, calls)
        elif when == "during":
            at = self._within(stay)
            calls.append(CallMade(at, number))
            if mobile and self._random.random() < TAPPED:
                taps.append(Tap(max(stay.start, at - self._random.uniform(2, 10)), number))
        else:
            mean = 6 * 60 if when == "minutes" else 3 * HOUR
            least = 0 if when == "minutes" else HOUR
            calls.append(CallMade(stay.spans[-1].last + least + self._random.expovariate(1 / mean), number))

    def _call_days_later(self, stays: Sequence[Stay], now: float, calls: list[CallMade]) -> None:
        """Told backwards, so that their share is right from the end of the warm-up on: who calls now was there one to three days ago."""
        since = now - self._random.uniform(DAY, min(3 * DAY, max(DAY, now)))
        if since <= 0:
            return
        lowest, highest = 0, len(stays) - 1
        while lowest < highest:
            middle = (lowest + highest) // 2
            lowest, highest = (middle + 1, highest) if stays[middle].start < since else (lowest, middle)
        calls.append(CallMade(now, lowest))

    def _again(self, call: CallMade) -> CallMade | None:
        if self._random.random() >= CALL_AGAIN:
            return None
        return CallMade(call.at + 60 + self._random.expovariate(1 / (2 * HOUR)), call.stay, again=True)
