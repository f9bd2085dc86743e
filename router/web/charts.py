"""Charts as pure geometry: what stands where, in per cent of the plot's width and height. templates/macros/charts.html draws them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import floor, log, log10

from router.lib.formats import CURRENCIES, format_money, format_percent

Say = Callable[[float], str]
MOST_TICKS = 7
MOST_DOTS = 31
"""A line of more points is drawn without a dot at each."""
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Axis:
    """A vertical scale. `title`: what it measures, shown above it; without `high` it ends above the greatest value."""

    say: Say = format_percent
    low: float = 0.0
    high: float | None = None
    title: str = ""
    say_tick: Say | None = None
    """Shorter words for the scale itself."""


PERCENT = Axis(high=1.0)
"""Of shares from 0 to 1."""


def money_axis(currency: str, title: str = "") -> Axis:
    """Of amounts in minor units; the scale itself shows major units without the currency, which belongs into the title."""
    whole = 10 ** CURRENCIES.get(currency, 2)
    return Axis(
        say=lambda minor: format_money(round(minor), currency),
        title=title,
        say_tick=lambda minor: f"{minor / whole:,g}",
    )


@dataclass(frozen=True, slots=True)
class Across:
    """The horizontal scale: where the points of every line stand, rising. `ticks`: those that are written, instead of a few of them."""

    values: Sequence[float]
    say: Say
    ticks: Sequence[float] | None = None
    say_tick: Say | None = None
    title: str = ""
    logarithmic: bool = False
    """For values above 0 that span many orders."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line: a value for each place across, None where there is none. `second`: it is measured at the right."""

    name: str
    values: Sequence[float | None]
    second: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    text: str
    spare: bool = False
    """Left out on a telephone."""


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float
    text: str
    """`Mon 3 Nov: accuracy 87 %`"""


class Line:
    """One line as it is drawn; `kind`, from 1, is its colour and its dashes."""

    def __init__(self, name: str, kind: int, runs: Sequence[Sequence[Point]], marked_x: float | None) -> None:
        self.name, self.kind = name, kind
        points = [point for run in runs for point in run]
        self.strokes = [" ".join(f"{point.x},{point.y}" for point in run) for run in runs if len(run) > 1]
        """`x,y x,y …`; more than one where values are missing in between."""
        self.dots = points if len(points) <= MOST_DOTS else [run[0] for run in runs if len(run) == 1]
        self.marked = next((point for point in points if point.x == marked_x), None)


class LineChart:
    """One to four lines over one horizontal scale.

    Args:
        about: what it shows, in a sentence: the text alternative, with the table.
        up: the scale at the left; `second`: the one at the right.
        mark: a place across and its words (`today: 12 numbers`); the lines' points there stand out.
    """

    def __init__(
        self,
        title: str,
        about: str,
        across: Across,
        series: Sequence[Series],
        up: Axis = PERCENT,
        second: Axis | None = None,
        mark: tuple[float, str] | None = None,
    ) -> None:
        measure: Callable[[float], float] = log if across.logarithmic else float
        left, right = (measure(across.values[0]), measure(across.values[-1])) if across.values else (0.0, 1.0)

        def place(value: float) -> float:
            """Per cent of the width."""
            return round(100 * (measure(value) - left) / (right - left), 2) if right > left else 50.0

        places, labels = [place(value) for value in across.values], [across.say(value) for value in across.values]
        up_scale = _scale(up, (line for line in series if not (line.second and second)))
        second_scale = _scale(second, (line for line in series if line.second)) if second else []
        self.title, self.about = title, about
        self.lines, columns = list[Line](), []
        for kind, line in enumerate(series, start=1):
            axis, scale = (second, second_scale) if second and line.second else (up, up_scale)
            texts = ["" if value is None else axis.say(value) for value in line.values]
            runs: list[list[Point]] = [[]]  # of values that follow each other
            for x, label, value, text in zip(places, labels, line.values, texts, strict=True):
                if value is None:
                    runs.append([])
                else:
                    runs[-1].append(Point(x, _height(value, scale), f"{label}: {line.name} {text}"))
            self.lines.append(Line(line.name, kind, runs, place(mark[0]) if mark else None))
            columns.append(texts)
        self.across, self.up = _across_ticks(across, place), _up_ticks(up, up_scale)
        self.second = _up_ticks(second, second_scale) if second else []
        self.titles = (up.title, second.title if second else "", across.title)
        """Of the scales at the left, at the right and below."""
        self.mark = Tick(place(mark[0]), mark[1]) if mark else None
        self.head = [across.title or "At", *(line.name for line in series)]
        self.rows = [list(row) for row in zip(labels, *columns, strict=True)]
        """Of the table with the same values; an empty text where there is none."""


def _scale(axis: Axis, series: Iterable[Series]) -> list[float]:
    """The ticks from the lowest to the highest: the plot ends with the last."""
    values = [value for line in series for value in line.values if value is not None]
    ticks = nice_ticks(axis.low, max(axis.high or 0.0, axis.low, *values))
    return ticks if len(ticks) > 1 else [axis.low, axis.low + 1]


def nice_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round values, at most so many steps, from `low` to `high` or just above."""
    if high <= low:
        return [low]
    least = (high - low) / (most - 1)
    size = 10 ** floor(log10(least))
    step = next(size * factor for factor in STEPS if size * factor >= least * (1 - 1e-9))
    ticks = [low]
    while ticks[-1] < high - step * 1e-9:
        ticks.append(low + step * len(ticks))
    return [round(tick, 10) for tick in ticks]


def _height(value: float, scale: Sequence[float]) -> float:
    return round(100 - 100 * (value - scale[0]) / (scale[-1] - scale[0]), 2)


def _across_ticks(across: Across, place: Callable[[float], float]) -> list[Tick]:
    """The last tick is always there; on a telephone every other of many goes, counted from the last."""
    values = across.values
    every = -(-len(values) // MOST_TICKS) or 1
    chosen = list(values[::-1][::every])[::-1] if across.ticks is None else across.ticks
    inside = [at for at in chosen if values and values[0] <= at <= values[-1]]
    say = across.say_tick or across.say
    many = len(inside) > (MOST_TICKS + 1) // 2
    return [Tick(place(at), say(at), spare=many and (len(inside) - index) % 2 == 0) for index, at in enumerate(inside)]


def _up_ticks(axis: Axis, scale: Sequence[float]) -> list[Tick]:
    say = axis.say_tick or axis.say
    return [Tick(_height(value, scale), say(value)) for value in scale]


@dataclass(frozen=True, slots=True)
class RangeBar:
    """A value, and the range in which the true value is expected, in per cent of the width."""

    width: float
    low: float
    high: float


def range_bars(rows: Sequence[tuple[float, float, float]]) -> list[RangeBar]:
    """Each row is a value with the ends of its range, measured from 0 by the greatest of all."""
    greatest = max((value for row in rows for value in row), default=0.0) or 1.0
    return [RangeBar(*(round(100 * max(0.0, value) / greatest, 2) for value in row)) for row in rows]
