"""Moments and time zones as call logs write them, in many styles and languages. What is not understood whole is not read; nothing is
guessed.

A log without zones tells the hour that a clock shows twice in autumn by the order of its lines alone. It is sorted by time, upwards or
downwards; where the clock runs back between two lines of that hour, the first hour ends. A caller who stands at the same minute of that
hour twice called twice, an hour apart. Where nothing tells, it is the first hour."""

import re
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Literal, get_args
from zoneinfo import ZoneInfo, available_timezones

from babel.core import get_global

from router.voice.importing.columns import FILLERS, MONTHS, WEEKDAYS, folded

_HOURS: dict[float, str] = {
    0: "utc gmt ut z wet zulu",
    1: "cet mez met west bst",
    2: "cest mesz mest eet sast",
    3: "eest msk мск trt",
    8: "awst hkt sgt",
    9: "jst kst",
    9.5: "acst",
    10: "aest",
    10.5: "acdt",
    11: "aedt",
    12: "nzst",
    13: "nzdt",
    -2.5: "ndt",
    -3: "adt brt art",
    -3.5: "nst",
    -4: "edt ast",
    -5: "est cdt",
    -6: "cst mdt",
    -7: "mst pdt",
    -8: "pst akdt",
    -9: "akst",
    -10: "hst",
}
ABBREVIATIONS = {
    name: timezone(timedelta(hours=hours), name.upper()) for hours, names in _HOURS.items() for name in names.split()
}
"""The abbreviations of RFC 5322, and others that only one part of the world uses. `IST` is three zones: it is read only where the log's
own zone has it."""

_LABELS = {
    "et eastern easterntime easterntimeuscanada useastern": "America/New_York",
    "ct central centraltime centraltimeuscanada uscentral": "America/Chicago",
    "mt mountain mountaintime mountaintimeuscanada usmountain": "America/Denver",
    "pt pacific pacifictime pacifictimeuscanada uspacific": "America/Los_Angeles",
    "arizona": "America/Phoenix",
    "alaska": "America/Anchorage",
    "hawaii": "Pacific/Honolulu",
    "atlantictimecanada": "America/Halifax",
    "newfoundland": "America/St_Johns",
    "centraleuropeantime mitteleuropaischezeit": "Europe/Warsaw",
    "kyiv": "Europe/Kyiv",
    "москва московскоевремя": "Europe/Moscow",
    "newdelhi mumbai": "Asia/Kolkata",
}

OFFSET = re.compile(r"(?:utc|gmt|ut)?\s*([+-])(\d{1,2})(?::?([0-5]\d))?(?::?00)?(?!\d)")
HALF_HOURS_BEHIND = [-timedelta(hours=hours, minutes=30) for hours in (2, 3, 4, 9)]
_AREA = re.compile(r"[a-z]+(?:/[a-z0-9_+\-]+)+")


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    """IANA's names by their folded form, and the cities of them that are in one zone only: `berlin` is Europe/Berlin."""
    known = {folded(name): name for name in available_timezones()}
    cities: dict[str, list[str]] = {}
    for name in known.values():
        if name.count("/") == 1 and not name.startswith(("Etc/", "US/", "Canada/", "Brazil/", "Mexico/", "Chile/")):
            cities.setdefault(folded(name.split("/")[1].replace("_", " ")), []).append(name)
    return {city: names[0] for city, names in cities.items() if len(names) == 1} | known


@lru_cache(maxsize=1)
def _labels() -> dict[str, str]:
    """Zones by what services call them, letters and digits only: Windows' names (`W. Europe Standard Time`), and others."""
    windows = get_global("windows_zone_mapping").items()
    known = {label: zone for labels, zone in _LABELS.items() for label in labels.split()}
    return {_label(name): zone for name, zone in windows if name.endswith("Standard Time")} | known


def _label(text: str) -> str:
    return re.sub(r"[\W_]+", "", folded(text))


@lru_cache(maxsize=1)
def _abbreviations() -> frozenset[str]:
    """Those that stand for one time zone or several: some zone of the world has them in winter or in summer."""
    seasons = (datetime(2026, 1, 1), datetime(2026, 7, 1))  # noqa: DTZ001 - each zone's own clock
    names = {ZoneInfo(zone).tzname(season) for zone in available_timezones() for season in seasons}
    return frozenset(
        (*ABBREVIATIONS, *(folded(name) for name in names if name and name.isalpha() and 2 <= len(name) <= 5))
    )


def offset_of(sign: str, hours: str, minutes: str | None) -> tzinfo | None:
    """None: there is no such zone in the world; `10:05-10:30` is a span of time."""
    span = timedelta(hours=int(hours), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    if not timedelta(hours=-12) <= span <= timedelta(hours=14) or int(minutes or 0) % 15:
        return None
    if sign == "-" and int(minutes or 0) and span not in HALF_HOURS_BEHIND:
        return None
    return timezone(span)


@lru_cache(maxsize=2048)
def read_zone(text: str) -> tzinfo | None:
    """The zone that a column, a head or a person names; None when it is none that we know.

    `(GMT+01:00) Berlin` is Europe/Berlin: the city knows of summer time. `GMT+1` alone is one hour ahead of UTC, always.
    """
    text = folded(text).strip(" ()[].,;:")
    if not text:
        return None
    names = _names()
    if known := names.get(text.replace(" ", "_"), names.get(text)):
        return ZoneInfo(known)
    if text in ABBREVIATIONS:
        return ABBREVIATIONS[text]
    if label := _labels().get(_label(text)):
        return ZoneInfo(label)
    if match := OFFSET.match(text):
        offset, rest = offset_of(*match.groups()), text[match.end() :].strip(" ()[].,;:-")
        if not rest or offset is None:
            return offset
        for part in (rest, *re.split(r"\s*[,;/]\s*", rest)):
            if zone := read_zone(part):
                return zone
        return None
    area = _AREA.search(text)
    return ZoneInfo(names[area.group()]) if area and area.group() in names else None


Order = Literal["day-first", "month-first", "year-first"]
ORDERS: tuple[Order, ...] = get_args(Order)
LONGEST_TIME = 100
LATEST_SECOND = 4_102_444_800
"""The year 2100 by the Unix clock: larger figures are something else."""
YEARS = range(1000, 9000)
EXAMPLE = "Write it like 2026-11-23 14:05:00 or 2026-11-23T14:05:00Z."


class BadTime(ValueError):
    """Not a moment that can be read; the message is for the person who sent the file."""


@dataclass(frozen=True, slots=True)
class WrittenTime:
    """A moment as it is written: which of its figures are day and month, and in which zone, may have to come from elsewhere.

    `zone` is None where the text names none, and an abbreviation in small letters where the log's own zone has to be asked first.
    """

    figures: tuple[int, int, int]
    """Year, month and day where they are known (`orders` is empty), else as they stand."""
    clock: time | None
    zone: tzinfo | str | None = None
    orders: tuple[Order, ...] = ()
    """In which orders the figures are a day of the calendar."""
    sign: str = "-"
    """What stands between the figures."""

    @property
    def is_dotted(self) -> bool:
        """`03.11.2026`: those who write dots put the day first, unless another line of the file says otherwise."""
        return self.sign == "."

    def shown(self) -> str:
        """The day as it is written, without its time: `11/03/2026`."""
        if not self.orders:
            return f"{date(*self.figures):%Y-%m-%d}"
        return self.sign.join(f"{figure:02}" for figure in self.figures)

    def day(self, order: Order | None) -> date:
        """
        Raises:
            BadTime: the figures are no day in this order.
        """
        if not self.orders:
            return date(*self.figures)
        if order is None and self.is_dotted and "day-first" in self.orders:
            order = "day-first"
        if order is None and (len(self.orders) == 1 or self.figures[0] == self.figures[1]):
            order = self.orders[0]
        if order not in self.orders:
            raise BadTime("These figures are no date in the order of day and month that this file has.")
        return _day_of(self.figures, order)

    def local(self, order: Order | None) -> datetime:
        """The moment by the clock on the wall, without a zone; midnight where there is no time of day."""
        return datetime.combine(self.day(order), self.clock or time())

    def moment(self, order: Order | None, zone: tzinfo, fold: int = 0) -> datetime:
        """In UTC.

        Args:
            zone: of the log; it counts where the text itself names none.
            fold: 1 for the second of the two hours that a clock shows twice in autumn.
        """
        local = self.local(order)
        if isinstance(self.zone, str):  # of the log's own zone when it is called so at that moment, else of the world's
            both = [local.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]
            named = next((moment for moment in both if (moment.tzname() or "").casefold() == self.zone), None)
            if named is None and self.zone not in ABBREVIATIONS:
                raise BadTime(f"“{self.zone.upper()}” is no time zone, or several. Write the offset, like +01:00.")
            return (named or local.replace(tzinfo=ABBREVIATIONS[self.zone])).astimezone(UTC)
        return local.replace(tzinfo=self.zone or zone, fold=fold).astimezone(UTC)


def read_time(text: str) -> WrittenTime:
    """
    Raises:
        BadTime: it is no moment, or not wholly understood.
    """
    text = folded(text[: LONGEST_TIME + 1])
    if not text or len(text) > LONGEST_TIME:
        raise BadTime(EXAMPLE)
    if text.replace(".", "", 1).replace(",", "", 1).isdecimal():
        return _read_figures(text)
    if match := _COMPACT.match(text):
        year, month, day, hour, minute, second = match.groups()
        written = _fixed(int(year), int(month), int(day))
        return _with_clock(written, f"{hour}:{minute}:{second or '00'}{text[match.end() :]}")
    if match := _NUMERIC.search(text):
        first, sign, second, third = match.groups()
        rest = _without(text, match)
        if len(first) == 4 and len(third) <= 2:
            return _with_clock(_fixed(int(first), int(second), int(third)), rest)
        if len(first) <= 2 and len(third) in (2, 4):
            figures = (int(first), int(second), int(third))
            orders = [order for order in ORDERS if order != "year-first" or len(third) == 2]
            possible = tuple(order for order in orders if _is_day(figures, order))
            if not possible:
                raise BadTime("There is no such day.")
            return _with_clock(WrittenTime(figures, None, orders=possible, sign=sign), rest)
    for pattern, places in _NAMED:
        if match := pattern.search(text):
            year, month, day = (match.group(place + 1).strip("'") for place in places)
            return _with_clock(_fixed(int(year), MONTHS[month], int(day)), _without(text, match))
    if match := _CTIME.search(text):
        month, day, clock, year = match.groups()
        return _with_clock(_fixed(int(year), MONTHS[month], int(day)), _without(text, match, f" {clock} "))
    if match := _CHINESE.search(text):
        return _with_clock(_fixed(*map(int, match.groups())), _without(text, match))
    raise BadTime(EXAMPLE)


def _without(text: str, match: re.Match[str], instead: str = " ") -> str:
    return f"{text[: match.start()]}{instead}{text[match.end() :]}"


def read_clock(text: str) -> tuple[time, tzinfo | str | None] | None:
    """The time of day and the zone of a column without days; None: something else."""
    try:
        written = _with_clock(WrittenTime((2000, 1, 1), None), folded(text[:LONGEST_TIME]))
    except BadTime:
        return None
    return (written.clock, written.zone) if written.clock is not None else None


@dataclass
class OrderEvidence:
    """What the dates of a file, taken together, say about the order of day and month."""

    only: dict[Order, tuple[int, WrittenTime]] = field(default_factory=dict)
    """For each order the line of a date that is a day of the calendar in no other order, and the date."""
    open: tuple[int, WrittenTime] | None = None
    """A date that is a day of the calendar in several orders."""
    has_dots: bool = False
    firsts: set[int] = field(default_factory=set)
    lasts: set[int] = field(default_factory=set)

    def see(self, line: int, written: WrittenTime) -> None:
        if not written.orders:
            return
        self.has_dots = self.has_dots or written.is_dotted
        if written.figures[2] < 100 and len(self.firsts) < 400:  # a year of two figures
            self.firsts.add(written.figures[0])
            self.lasts.add(written.figures[2])
        likely = [order for order in written.orders if order != "year-first"]
        if len(likely) == 1:
            self.only.setdefault(likely[0], (line, written))
        elif not likely:
            self.only.setdefault("year-first", (line, written))
        elif not written.is_dotted and self.open is None and written.figures[0] != written.figures[1]:
            self.open = line, written

    @property
    def is_year_doubtful(self) -> bool:
        """A log has more days than years: with years of two figures, the last figures differ most where the year is first."""
        return len(self.lasts) > len(self.firsts) and len(self.lasts) > 2


def order_in_head(head: str) -> Order | None:
    """`Date (DD/MM/YYYY)` and `Datum (TT.MM.JJJJ)` say it themselves."""
    if match := re.search(
        r"\b(d{1,2}|m{1,2}|y{2,4}|t{1,2}|j{2,4}|д{1,2}|м{1,2}|г{2,4}|a{2,4})[./\- ]+([dmtдм])\1?", head.casefold()
    ):
        first, second = match.group(1)[0], match.group(2)
        if first in "dtд" and second in "mм":
            return "day-first"
        if first in "mм" and second in "dtд":
            return "month-first"
    return None


def _day_of(figures: tuple[int, int, int], order: Order) -> date:
    first, second, third = figures
    day, month, year = {
        "day-first": (first, second, third),
        "month-first": (second, first, third),
        "year-first": (third, second, first),
    }[order]
    return date(year + 2000 if year < 100 else year, month, day)


def _is_day(figures: tuple[int, int, int], order: Order) -> bool:
    try:
        _day_of(figures, order)
    except ValueError:
        return False
    return figures[2] < 100 or order == "year-first" or figures[2] in YEARS


def _fixed(year: int, month: int, day: int) -> WrittenTime:
    figures = (year + 2000 if year < 100 else year, month, day)
    if figures[0] not in YEARS or not _is_day((day, month, figures[0]), "day-first"):
        raise BadTime("There is no such day.")
    return WrittenTime(figures, None)


def _read_figures(text: str) -> WrittenTime:
    """Digits alone: seconds or milliseconds of the Unix clock, or `20261103140500`."""
    whole, _, part = text.replace(",", ".").partition(".")
    if not part.strip("0") or len(whole) == 10:
        if len(whole) in (9, 10):
            return _unix(float(f"{whole}.{part or 0}"))
        if len(whole) in (13, 16):
            return _unix(int(whole) / 10 ** (len(whole) - 10))
        if len(whole) in (8, 12, 14) and not part:
            written = _fixed(int(whole[:4]), int(whole[4:6]), int(whole[6:8]))
            clock = whole[8:]
            return _with_clock(written, f"{clock[:2]}:{clock[2:4]}:{clock[4:] or '00'}") if clock else written
    if len(whole) == 5:
        raise BadTime("This is a spreadsheet's day number. Format the column as a date and export it again.")
    raise BadTime(EXAMPLE)


def _unix(seconds: float) -> WrittenTime:
    if seconds > LATEST_SECOND:
        raise BadTime(EXAMPLE)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return WrittenTime((moment.year, moment.month, moment.day), moment.time(), UTC)


_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})[t ](\d{2}):?(\d{2}):?(\d{2})?(?![\d:])")
_NUMERIC = re.compile(r"(?<![\d.,:/+-])(\d{1,4}) ?([./-]) ?(\d{1,2}) ?\2 ?(\d{4}|\d{1,2})(?:\.(?= |$))?(?!\d)")
_MONTH = "|".join(sorted(map(re.escape, MONTHS), key=len, reverse=True))
_ORDINAL = r"(?:st|nd|rd|th|er|\.|º|ª)?"
_OF = r"(?:\s*[-/.,]\s*|\s+(?:de\s+|del\s+|of\s+)?)"
_YEAR = r"(\d{4}|'?\d{2})(?![\d:])"
_NAMED = (
    (re.compile(rf"(?<![\d:])(\d{{1,2}}){_ORDINAL}{_OF}?({_MONTH})\.?{_OF}{_YEAR}"), (2, 1, 0)),
    (re.compile(rf"(?<![\w])({_MONTH})\.?{_OF}(\d{{1,2}}){_ORDINAL}(?:\s*[-/.,]\s*|\s+){_YEAR}"), (2, 0, 1)),
    (re.compile(rf"(?<!\d)(\d{{4}}){_OF}({_MONTH})\.?{_OF}(\d{{1,2}})(?!\d)"), (0, 1, 2)),
)
_CTIME = re.compile(rf"(?<![\w])({_MONTH})\.?\s+(\d{{1,2}})\s+(\d{{1,2}}:.*?)\s+(\d{{4}})(?!\d)")
_CHINESE = re.compile(r"(\d{4})\s*年\s*(\d{1,2})\s*月\s*(\d{1,2})\s*日")

_HALF = r"\s*([ap])\.?\s?m\b\.?"
_CLOCK = re.compile(
    r"(?<![\d:+\-])(\d{1,2})(?:\s?uhr\s?|[:.hч])(\d{2})(?:(?:[:.]|m(?:in)?)(\d{2})(?:[.,](\d{1,9}))?s?)?"
    rf"(?![\d:])(?:{_HALF})?"
)
_HOUR = re.compile(rf"(?<![\d:+\-])(\d{{1,2}})(?:{_HALF}|\s?(?:uhr|h)\b)")
_ZONE_NAME = re.compile(r"[a-z]+/[a-z0-9_+\-/]+")


def _with_clock(written: WrittenTime, rest: str) -> WrittenTime:
    """Takes the time of day and the zone out of what stands beside the day; nothing may be left that is not understood."""
    rest = re.sub(r"(?:^|\s)t(?=\d)", " ", rest)
    clock = None
    if match := _CLOCK.search(rest):
        hour, minute, second, part, half = match.groups()
        clock = _clock(int(hour), int(minute), int(second or 0), part, half)
    elif match := _HOUR.search(rest):
        clock = _clock(int(match.group(1)), 0, 0, None, match.group(2))
    if match:
        rest = f"{rest[: match.start()]} {rest[match.end() :]}"
    zone: tzinfo | str | None = None
    if offset := OFFSET.search(rest):
        zone = offset_of(*offset.groups())
        if zone is None:
            raise BadTime("There is no such time zone.")
        rest = f"{rest[: offset.start()]} {rest[offset.end() :]}"
    elif (name := _ZONE_NAME.search(rest)) and (zone := read_zone(name.group())):
        rest = f"{rest[: name.start()]} {rest[name.end() :]}"
    left = [word for word in re.split(r"[\s,;()\[\]·|]+", rest) if word.strip(".'-")]
    names = [word for word in (part.strip(".'") for part in left) if word not in WEEKDAYS and word not in FILLERS]
    if zone is None and len(names) == 1 and clock is not None and names[0] in _abbreviations():
        zone, names = names[0], []
    elif zone is not None and ("(" in rest or (len(names) == 1 and names[0] in ABBREVIATIONS)):
        names = []  # `GMT+0100 (Central European Standard Time)`, `+0000 UTC`
    if names:
        raise BadTime(EXAMPLE)
    return replace(written, clock=clock, zone=zone)


def _clock(hour: int, minute: int, second: int, part: str | None, half: str | None) -> time:
    if half and (hour > 12 and half == "a"):
        raise BadTime("There is no such time of day.")
    if half and hour <= 12:
        hour = hour % 12 + (12 if half == "p" else 0)
    try:
        return time(hour, minute, second, int((part or "0")[:6].ljust(6, "0")))
    except ValueError:
        raise BadTime("There is no such time of day.") from None


def is_repeated(local: datetime, zone: tzinfo) -> bool:
    """Whether a clock in this zone showed that moment twice."""
    first, second = (local.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    return first is not None and second is not None and first > second


def folds_of(lines: Iterable[tuple[Hashable, datetime, tzinfo | None]]) -> dict[int, tuple[int, bool]]:
    """Of each line in a repeated hour, by its place, the fold (1 is the second hour), and whether no other line of that hour has the same
    caller, number and time: then another file may have told it otherwise.

    Args:
        lines: in the order of the file: who called what, when by the clock on the wall, and in which zone; None: the line names its own.
    """
    up = down = 0
    last: datetime | None = None
    nights: dict[date, list[tuple[int, Hashable, datetime]]] = {}
    for index, (who, local, zone) in enumerate(lines):
        up += last is not None and local > last
        down += last is not None and local < last
        last = local
        if zone is not None and is_repeated(local, zone):
            nights.setdefault(local.date(), []).append((index, who, local))
    is_sorted = min(up, down) * 10 <= max(up, down) or min(up, down) <= 1
    folds: dict[int, tuple[int, bool]] = {}
    for night in nights.values():
        # stretches of lines that follow each other in the file: one that was put together of several logs is sorted in parts only
        stretches: list[list[tuple[int, Hashable, datetime]]] = []
        for line in night:
            if stretches and (not is_sorted or line[0] == stretches[-1][-1][0] + 1):
                stretches[-1].append(line)
            else:
                stretches.append([line])
        placed: dict[tuple[Hashable, datetime], dict[int, int]] = {}
        for stretch in stretches:
            is_second = False
            before: datetime | None = None
            seen: set[tuple[Hashable, datetime]] = set()
            for index, who, local in stretch if up >= down else stretch[::-1]:
                is_again = (who, local) in seen
                if is_sorted and ((before is not None and local < before) or is_again):
                    is_second = True
                placed.setdefault((who, local), {})[index] = 1 if is_second or is_again else 0
                seen.add((who, local))
                before = local
        for alike in placed.values():
            is_alone = len(set(alike.values())) == 1
            folds |= {index: (fold, is_alone) for index, fold in alike.items()}
    return folds
