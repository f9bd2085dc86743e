"""R13: moments as call logs write them. Nothing is guessed: what is not understood whole is refused, with a reason."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.voice.importing.columns import MONTHS, folded
from router.voice.importing.times import ORDERS, BadTime, Order, order_in_head, read_clock, read_time, read_zone

BERLIN = ZoneInfo("Europe/Berlin")
AT_14_05 = "2026-11-03 13:05:00"
AT_19_05 = "2026-11-03 19:05:00"

READ = [
    # unmistakable
    ("2026-11-03 14:05:00", AT_14_05),
    ("2026-11-03 14:05", AT_14_05),
    ("2026-11-03T14:05:00", AT_14_05),
    ("2026-11-03T19:05:00Z", AT_19_05),
    ("2026-11-03T14:05:00+01:00", AT_14_05),
    ("2026-11-03T14:05:00−05:00", AT_19_05),
    ("2026-11-03T14:05:00.000-0500", AT_19_05),
    ("2026-11-03T14:05:00,000+01", AT_14_05),
    ("2026-11-03 19:05:00 UTC", AT_19_05),
    ("2026-11-03 19:05:00 +0000 UTC", AT_19_05),
    ("19:05:00 UTC 2026-11-03", AT_19_05),
    ("2026-11-03 19:05:00 GMT", AT_19_05),
    ("2026-11-03 14:05 CET", AT_14_05),
    ("2026-11-03 14:05 MEZ", AT_14_05),
    ("2026-11-03 14:05 EST", AT_19_05),
    ("2026-11-03 14:05 America/New_York", AT_19_05),
    ("20100609 150223 America/New_York", "2010-06-09 19:02:23"),
    ("20261103 140500", AT_14_05),
    ("20261103T140500", AT_14_05),
    ("20261103140500", AT_14_05),
    ("202611031405", AT_14_05),
    ("2026/11/03 14:05", AT_14_05),
    ("2026/11/3 14:05", AT_14_05),
    ("2026.11.03 14:05", AT_14_05),
    ("2026. 11. 03. 14:05", AT_14_05),
    ("2026年11月3日 14:05", AT_14_05),
    ("1793732700", AT_19_05),
    ("1793732700.0", AT_19_05),
    ("1793732700000", AT_19_05),
    ("1793732700000000", AT_19_05),
    # mail, C, JavaScript, Ruby, Java
    ("Tue, 03 Nov 2026 19:05:00 +0000", AT_19_05),
    ("Tue, 3 Nov 2026 14:05:00 EST", AT_19_05),
    ("Tue Nov  3 14:05:00 2026", AT_14_05),
    ("Tue Nov 03 2026 14:05:00 GMT+0100 (Central European Standard Time)", AT_14_05),
    ("Tue Nov 03 19:05:00 +0000 2026", AT_19_05),
    ("Tue Nov 03 14:05:00 CET 2026", AT_14_05),
    # English
    ("Nov 3, 2026, 2:05 PM", AT_14_05),
    ("Nov 3, 2026, 2:05\u202fPM", AT_14_05),
    ("nov 3, 2026, 2:05\u202fpm", AT_14_05),
    ("Nov. 3, 2026 2:05 p.m.", AT_14_05),
    ("November 3, 2026 at 2:05 PM", AT_14_05),
    ("November 3rd, 2026 14:05", AT_14_05),
    ("Tuesday, November 3, 2026, 2:05:00 PM", AT_14_05),
    ("3-Nov-2026 14:05", AT_14_05),
    ("03-NOV-26 02:05:00 PM", AT_14_05),
    ("3rd November 2026 2:05pm", AT_14_05),
    ("3 Nov 2026 at 14:05", AT_14_05),
    ("2026-Nov-03 14:05", AT_14_05),
    ("Nov 3, 2026, 12:05 AM", "2026-11-02 23:05:00"),
    ("Nov 3, 2026, 12:05 PM", "2026-11-03 11:05:00"),
    ("2:05 PM Nov 3, 2026", AT_14_05),
    # German
    ("3. November 2026, 14:05", AT_14_05),
    ("Dienstag, 3. November 2026 um 14:05 Uhr", AT_14_05),
    ("Di., 3. Nov. 2026, 14:05", AT_14_05),
    ("3. März 2026 14.05 Uhr", "2026-03-03 13:05:00"),
    ("3. Mai 2026 14 Uhr 05", "2026-05-03 12:05:00"),
    # Russian, Ukrainian
    ("3 ноября 2026 г., 14:05", AT_14_05),
    ("3 ноября 2026 г. в 14:05:00", AT_14_05),
    ("вт, 3 нояб. 2026 г., 14:05", AT_14_05),
    ("3 ноя 2026 14:05", AT_14_05),
    ("3 мая 2026 14:05", "2026-05-03 12:05:00"),
    ("3 листопада 2026 р. 14:05", AT_14_05),
    # Spanish
    ("3 de noviembre de 2026, 14:05", AT_14_05),
    ("martes, 3 de noviembre de 2026, 14:05:00", AT_14_05),
    ("3 nov 2026, 2:05 p. m.", AT_14_05),
    ("3 ene 2026 14:05", "2026-01-03 13:05:00"),
    # French
    ("3 novembre 2026 à 14:05", AT_14_05),
    ("mar. 3 nov. 2026, 14:05", AT_14_05),
    ("mardi 3 novembre 2026 14h05", AT_14_05),
    ("1er août 2026 14h05", "2026-08-01 12:05:00"),
    ("3 févr. 2026 14:05", "2026-02-03 13:05:00"),
    # Italian, Portuguese, Dutch, Polish
    ("martedì 3 novembre 2026 alle ore 14:05", AT_14_05),
    ("3 de novembro de 2026 14:05", AT_14_05),
    ("dinsdag 3 november 2026 om 14:05", AT_14_05),
    ("3 listopada 2026 14:05", AT_14_05),
    ("3 października 2026 14:05", "2026-10-03 12:05:00"),
]


@pytest.mark.parametrize(("text", "utc"), READ)
def test_r13_a_time_is_read_in_each_usual_style(text: str, utc: str) -> None:
    written = read_time(text)
    assert written.orders == ()
    assert written.moment(None, BERLIN) == datetime.fromisoformat(utc).replace(tzinfo=UTC)


ORDERED: list[tuple[str, Order, str]] = [
    ("11/03/2026 2:05 PM", "month-first", AT_14_05),
    ("11/03/2026 2:05 PM", "day-first", "2026-03-11 13:05:00"),
    ("3/11/2026, 14:05:00", "day-first", AT_14_05),
    ("11/3/26, 2:05\u202fPM", "month-first", AT_14_05),
    ("3/11/26 14:05", "day-first", AT_14_05),
    ("03-11-2026 14:05", "day-first", AT_14_05),
    ("26-11-03 14:05", "year-first", AT_14_05),
    ("11/03/2026 - 2:05 PM", "month-first", AT_14_05),
    ("14:05 11/03/2026", "month-first", AT_14_05),
    ("11/03/2026 19:05 UTC", "month-first", AT_19_05),
    ("11.03.2026 14:05", "month-first", AT_14_05),
]


@pytest.mark.parametrize(("text", "order", "utc"), ORDERED)
def test_r13_figures_are_read_in_the_order_that_the_file_has(text: str, order: Order, utc: str) -> None:
    written = read_time(text)
    assert order in written.orders
    assert written.moment(order, BERLIN) == datetime.fromisoformat(utc).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["03.11.26 14:05", "03.11.2026 14:05", "3.11.2026, 14:05 Uhr", "03.11.2026, 14:05 (CET)"]
)
def test_r13_with_dots_the_day_is_first_if_nothing_says_otherwise(text: str) -> None:
    assert read_time(text).moment(None, BERLIN).isoformat(" ") == AT_14_05 + "+00:00"


@pytest.mark.parametrize(("text", "orders"), [("31/01/2026", ("day-first",)), ("01/31/2026", ("month-first",))])
def test_r13_a_date_that_is_one_in_one_order_only_says_so(text: str, orders: tuple[Order, ...]) -> None:
    assert read_time(text).orders == orders
    with pytest.raises(BadTime, match="no date in the order"):
        read_time(text).moment(next(one for one in ORDERS if one not in orders), BERLIN)


REFUSED = [
    ("", "Write it like"),
    ("yesterday", "Write it like"),
    ("2:05 PM", "Write it like"),
    ("Nov 3, 2:05 PM", "Write it like"),
    ("03.11. 14:05", "Write it like"),
    ("2026-11-03 14:05 or about", "Write it like"),
    ("2026-11-03 14:05 - 15:10", "Write it like"),
    ("2026-11-03 10:05-10:30", "no such time zone"),
    ("2026-11-03T14:05:00+25:00", "no such time zone"),
    ("32.01.2026", "no such day"),
    ("30/02/2026", "no such day"),
    ("29 Feb 2025 10:00", "no such day"),
    ("2026-13-01", "no such day"),
    ("0000-00-00 00:00:00", "no such day"),
    ("2026-11-03 25:00", "no such time of day"),
    ("2026-11-03 13:05 AM", "no such time of day"),
    ("46329.5868", "spreadsheet's day number"),
    ("46329,5868", "spreadsheet's day number"),
    ("1,7937327E9", "Write it like"),
    ("5112345678", "Write it like"),
    ("+4915112345678", "Write it like"),
    ("12", "Write it like"),
    ("2026-W45-2", "Write it like"),
    ("x" * 5000, "Write it like"),
]


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_r13_what_is_no_time_is_refused_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(BadTime, match=why):
        read_time(text)


def test_r13_an_abbreviation_of_several_zones_is_the_logs_own_or_none() -> None:
    written = read_time("2026-11-03 14:05 IST")
    assert written.moment(None, ZoneInfo("Asia/Kolkata")).hour == 8
    assert written.moment(None, ZoneInfo("Asia/Jerusalem")).hour == 12
    with pytest.raises(BadTime, match="“IST” is no time zone, or several"):
        written.moment(None, BERLIN)


@pytest.mark.parametrize(
    ("text", "clock"),
    [
        ("14:05", time(14, 5)),
        ("14:05:09", time(14, 5, 9)),
        ("2:05\u202fpm", time(14, 5)),
        ("2 PM", time(14)),
        ("14h05", time(14, 5)),
        ("14.05 Uhr", time(14, 5)),
    ],
)
def test_r13_a_time_of_day_is_read_alone(text: str, clock: time) -> None:
    assert read_clock(text) == (clock, None)


@pytest.mark.parametrize("text", ["", "35", "2 min", "03.11.2026", "2026-11-03 14:05", "24:30", "1:75"])
def test_r13_what_is_no_time_of_day_is_none(text: str) -> None:
    assert read_clock(text) is None


@pytest.mark.parametrize(
    ("head", "order"),
    [
        ("Date (DD/MM/YYYY)", "day-first"),
        ("Date (mm/dd/yy hh:mm)", "month-first"),
        ("Datum (TT.MM.JJJJ)", "day-first"),
        ("Дата (ДД.ММ.ГГГГ)", "day-first"),
        ("Fecha (dd/mm/aaaa)", "day-first"),
        ("Start Time (UTC)", None),
        ("Added", None),
    ],
)
def test_r13_a_head_can_say_what_stands_first(head: str, order: Order | None) -> None:
    assert order_in_head(head) == order


ZONES = [
    ("UTC", 0, 0),
    ("(UTC)", 0, 0),
    ("GMT+1", 1, 1),
    ("+05:30", 5.5, 5.5),
    ("UTC+0530", 5.5, 5.5),
    ("UTC−5", -5, -5),
    ("Europe/Berlin", 1, 2),
    ("europe/berlin", 1, 2),
    ("America/New York", -5, -4),
    ("Berlin", 1, 2),
    ("(GMT+01:00) Berlin", 1, 2),
    ("(UTC+01:00) Amsterdam, Berlin, Bern, Rome, Stockholm, Vienna", 1, 2),
    ("(GMT-05:00) Eastern Time (US & Canada)", -5, -4),
    ("Eastern Time (US & Canada)", -5, -4),
    ("W. Europe Standard Time", 1, 2),
    ("PT", -8, -7),
    ("МСК", 3, 3),
    ("AEST", 10, 10),
]


@pytest.mark.parametrize(("text", "winter", "summer"), ZONES)
def test_r13_a_zone_is_read_in_each_usual_style(text: str, winter: float, summer: float) -> None:
    zone = read_zone(text)
    assert zone is not None
    for month, hours in ((1, winter), (7, summer)):
        offset = zone.utcoffset(datetime(2026, month, 1))  # noqa: DTZ001 - the zone's own clock
        assert offset is not None
        assert offset.total_seconds() == hours * 3600


@pytest.mark.parametrize(
    "text", ["", "local", "seconds", "dd/mm/yyyy", "+99:00", "-05:30", "Nowhere/Land", "()", "IST"]
)
def test_r13_what_is_no_zone_is_none(text: str) -> None:
    assert read_zone(text) is None


def test_r13_no_name_stands_for_two_months() -> None:
    assert len(MONTHS) > 150
    for name, month in MONTHS.items():
        assert folded(name) == name
        assert read_time(f"3 {name} 2026 14:05").figures == (2026, month, 3)


@given(st.text(max_size=60) | st.from_regex(r"[0-9 :./,\-+TZAPMapm年月日]{0,40}", fullmatch=True))
def test_r13_any_text_is_a_time_or_is_refused_in_words(text: str) -> None:
    try:
        written = read_time(text)
        moments = [written.moment(order, BERLIN) for order in written.orders or (None,)]
    except BadTime as error:
        said = str(error)
        assert said
    else:
        assert all(moment.tzinfo is UTC for moment in moments)


@given(st.text(max_size=40))
def test_r13_any_text_is_a_zone_a_time_of_day_or_neither(text: str) -> None:
    read_zone(text)
    read_clock(text)
