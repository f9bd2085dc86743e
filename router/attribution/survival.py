"""P(a visitor still calls | he has been silent for so long) (R6): the default, and how a scenario learns its own from its calls. Pure.

Of the visitors who are silent now and will call, those still to come are the ones whose silence will be longer. So P is the share of
calls after a silence that came after a longer one, 1 at no silence; what no visitor does concerns all numbers alike."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

IDLE_SCALE = 300.0
"""Seconds after which P is half by default."""

CALLS_NEEDED = 1000
PRIOR_CALLS = 200
"""Smoothing: as if so many calls that follow the default had been seen as well."""

GRID = (0.0, *(30.0 * 2**power for power in range(17)))
"""Seconds: from half a minute to 23 days, each time twice as long."""
DIGITS = 7

Curve = Sequence[Sequence[float]]
"""`[[seconds, P], ...]` at the moments of the grid: rising, and never rising."""


def default_chance(seconds: float) -> float:
    return 1 / (1 + seconds / IDLE_SCALE)


def learn(silences: Iterable[float]) -> list[list[float]]:
    """The curve of calls that came after these silences, in seconds; calls from an open page (0) say nothing about it.

    Each point is the share of longer silences among them and the default's calls, so it never rises and nowhere reaches 0.
    """
    after = sorted(silence for silence in silences if silence > 0)
    whole = len(after) + PRIOR_CALLS
    return [
        [at, round((len(after) - bisect_right(after, at) + PRIOR_CALLS * default_chance(at)) / whole, DIGITS)]
        for at in GRID
    ]


def chance_after(seconds: float, curve: Curve | None) -> float:
    """P at an idle time: straight between the points of the curve, and beyond its end falling on as 1 / time; without one the default."""
    if not curve:
        return default_chance(seconds)
    above = bisect_left(curve, seconds, key=lambda point: point[0])
    if above == 0:
        return curve[0][1]
    before, chance_before = curve[above - 1]
    if above == len(curve):
        return chance_before * before / seconds
    after, chance = curve[above]
    return chance_before + (chance - chance_before) * (seconds - before) / (after - before)
