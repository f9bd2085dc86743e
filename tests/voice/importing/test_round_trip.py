"""R13: whatever a log is written like, the same calls are read from it; and no file crashes the reader."""

import codecs
import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from router.scenarios.importing.tables import UnreadableFile
from router.voice.importing.calls import Choices
from router.voice.importing.columns import UnknownColumn
from router.voice.importing.times import Order, is_repeated
from tests.voice.importing.making import NUMBERS, OURS, SECOND, read

GERMAN = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split()  # noqa: SIM905 - a row of words reads easier
RUSSIAN = "января февраля марта апреля мая июня июля августа сентября октября ноября декабря".split()  # noqa: SIM905 - a row of words reads easier
SPANISH = "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre".split()  # noqa: SIM905 - a row of words reads easier
FRENCH = "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.".split()  # noqa: SIM905 - a row of words reads easier
HOUR_12 = "%I:%M:%S %p"

Written = Callable[[datetime], str]


@dataclass(frozen=True)
class Style:
    """How a log writes its moments; `names_zone`: each tells its own zone."""

    write: Written
    order: Order | None = None
    names_zone: bool = False


def named(form: str, months: list[str]) -> Written:
    return lambda at: at.strftime(form.replace("%d", str(at.day)).replace("%B", months[at.month - 1]))


def form(text: str) -> Written:
    return lambda at: at.strftime(text)


STYLES = [
    Style(form("%Y-%m-%d %H:%M:%S")),
    Style(form("%Y-%m-%dT%H:%M:%S")),
    Style(form("%Y/%m/%d %H:%M:%S")),
    Style(form("%Y%m%d%H%M%S")),
    Style(form("%d.%m.%Y %H:%M:%S")),
    Style(form("%d.%m.%y, %H:%M:%S")),
    Style(form(f"%m/%d/%Y {HOUR_12}"), "month-first"),
    Style(form(f"%m/%d/%y, {HOUR_12.replace(' ', chr(0x202F))}"), "month-first"),
    Style(form("%d/%m/%Y %H:%M:%S"), "day-first"),
    Style(form("%d-%m-%Y %H:%M:%S"), "day-first"),
    Style(form("%d/%m/%y %H:%M:%S"), "day-first"),
    Style(form(f"%d-%b-%Y {HOUR_12}")),
    Style(form(f"%b %d, %Y, {HOUR_12}")),
    Style(lambda at: at.strftime(f"%a %b {at.day:2} %H:%M:%S %Y")),
    Style(lambda at: at.strftime(f"%B {at.day}, %Y at {HOUR_12}").lower()),
    Style(named("%d. %B %Y um %H:%M:%S Uhr", GERMAN)),
    Style(named("%d %B %Y г., %H:%M:%S", RUSSIAN)),
    Style(named("%d de %B de %Y, %H:%M:%S", SPANISH)),
    Style(named("%d %B %Y à %H:%M:%S", FRENCH)),
    Style(lambda at: at.isoformat(), names_zone=True),
    Style(lambda at: at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), names_zone=True),
    Style(lambda at: at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"), names_zone=True),
    Style(form("%a, %d %b %Y %H:%M:%S %z"), names_zone=True),
    Style(lambda at: str(int(at.timestamp())), names_zone=True),
    Style(lambda at: str(int(at.timestamp() * 1000)), names_zone=True),
    Style(form("%a %b %d %Y %H:%M:%S GMT%z (Some Time)"), names_zone=True),
]
ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC", "Australia/Sydney"]
HEADS = [
    ("number", "caller", "started_at"),
    ("Номер", "Абонент", "Дата"),
    ("To", "From", "Start Time"),
    ("An", "Von", "Datum"),
]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16"]

moments = st.integers(0, 5 * 365 * 86_400).map(
    lambda second: datetime(2021, 6, 1, tzinfo=UTC) + timedelta(seconds=second)
)
calls = st.lists(
    st.tuples(st.sampled_from([OURS, SECOND]), st.integers(0, 30).map(lambda index: f"+4915112345{600 + index}"), moments),
    min_size=1,
    max_size=12,
    unique=True,
)  # fmt: skip


@settings(deadline=None)
@given(
    calls=calls,
    style=st.sampled_from(STYLES),
    zone=st.sampled_from(ZONES),
    heads=st.sampled_from(HEADS),
    encoding=st.sampled_from(ENCODINGS),
    delimiter=st.sampled_from(",;\t|"),
    plus=st.booleans(),
)
def test_r13_a_log_in_any_style_order_and_zone_reads_back_to_the_same_calls(
    calls: list[tuple[str, str, datetime]],
    style: Style,
    zone: str,
    heads: tuple[str, str, str],
    encoding: str,
    delimiter: str,
    plus: bool,
) -> None:
    here = ZoneInfo(zone)
    if not style.names_zone:
        calls = [one for one in calls if not is_repeated(one[2].astimezone(here).replace(tzinfo=None), here)]
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(heads)
    for number, caller, at in calls:
        written = style.write(at.astimezone(here))
        writer.writerow([number if plus else number[1:], caller if plus else caller[1:], written])
    if not calls:
        return
    choices = Choices(dates=style.order)
    numbers = type(NUMBERS)("DE", zone, NUMBERS.ids)
    log = read(text.getvalue().encode(encoding), choices, numbers)
    assert (log.problems, log.is_open) == ({}, False)
    assert sorted((one.number, one.caller, one.started_at) for one in log.calls) == sorted(calls)
    alone = read(text.getvalue().encode(encoding), Choices(), numbers)
    assert alone.is_open or alone.calls == log.calls  # it asks, or it knows


@settings(deadline=None)
@given(minutes=st.lists(st.integers(0, 59), min_size=1, max_size=6), later=st.lists(st.integers(0, 59), min_size=1, max_size=6),
       upwards=st.booleans())  # fmt: skip
def test_r13_a_sorted_log_tells_the_hours_of_an_autumn_night_apart(
    minutes: list[int], later: list[int], upwards: bool
) -> None:
    """Where the clock runs back between two lines, both hours read back."""
    first, second = sorted(set(minutes)), sorted(set(later))
    if second[0] > first[-1]:
        first, second = second, first
    begin = datetime(2026, 10, 24, 22, tzinfo=UTC)
    at = [
        begin,
        *(begin + timedelta(hours=2, minutes=one) for one in first),
        *(begin + timedelta(hours=3, minutes=one) for one in second),
    ]
    at += [begin + timedelta(hours=5)]
    lines = [
        f"{OURS},+49151123450{index:02},{one.astimezone(ZoneInfo('Europe/Berlin')):%Y-%m-%d %H:%M}"
        for index, one in enumerate(at)
    ]
    same = first[-1] == second[0]
    if same:  # one minute of both hours: only the caller tells
        lines[len(first) + 1] = lines[len(first) + 1].replace(
            lines[len(first) + 1].split(",")[1], lines[len(first)].split(",")[1]
        )
    log = read("number,caller,started_at\n" + "\n".join(lines if upwards else lines[::-1]))
    assert [one.started_at for one in log.calls] == at


CELLS = [
    OURS, OURS[1:], "436641234567", "", "anonymous", "11/03/2026", "13/03/26", "1793732700", "Total", '"', "=1", "4,9E+12", "UTC", "x"
]  # fmt: skip
CHOICES = [
    Choices(),
    Choices(columns={"caller": "2"}),
    Choices(dates="year-first", zone="Asia/Kolkata"),
    Choices(numbers={"": "national"}),
]
tables = st.lists(st.lists(st.sampled_from(CELLS), max_size=5), max_size=6).map(
    lambda rows: ("Number;Phone;Date;Time;Zone\n" + "\n".join(";".join(row) for row in rows)).encode()
)
texts = st.text(max_size=400).map(lambda text: f"number,caller,started_at\n{text}".encode("utf-8", "surrogatepass"))


@settings(deadline=None)
@given(st.binary(max_size=400) | texts | tables, st.sampled_from(CHOICES))
def test_r13_no_file_crashes_the_reader(data: bytes, choices: Choices) -> None:
    for raw in (data, codecs.BOM_UTF16_LE + data):
        try:
            log = read(raw, choices)
        except (UnreadableFile, UnknownColumn) as error:
            said = str(error)
            assert said
        else:
            assert all(log.problems.values())
