"""Opening hours on the days of both clock changes of 2026, in five time zones, and around midnight and holidays.

The moments are written by hand from the time zones' rules: the clocks of Santiago and Cairo change at midnight,
those of Lord Howe by half an hour."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.scenarios.opening_hours import DAYS, OpeningTimes, fits_times

SECOND = timedelta(seconds=1)


def times(opens: str, closes: str, *days: str) -> OpeningTimes:
    return OpeningTimes.model_validate({"days": list(days or DAYS), "opens": opens, "closes": closes})


def moment(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}+00:00")


@pytest.mark.parametrize(
    ("zone", "opens", "closes"),
    [  # from 09:00 until 17:00
        ("Europe/Berlin", "03-28T08:00", "03-28T16:00"),
        ("Europe/Berlin", "03-29T07:00", "03-29T15:00"),
        ("Europe/Berlin", "10-24T07:00", "10-24T15:00"),
        ("Europe/Berlin", "10-25T08:00", "10-25T16:00"),
        ("America/New_York", "03-07T14:00", "03-07T22:00"),
        ("America/New_York", "03-08T13:00", "03-08T21:00"),
        ("America/New_York", "10-31T13:00", "10-31T21:00"),
        ("America/New_York", "11-01T14:00", "11-01T22:00"),
        ("Australia/Lord_Howe", "04-03T22:00", "04-04T06:00"),
        ("Australia/Lord_Howe", "04-04T22:30", "04-05T06:30"),
        ("Australia/Lord_Howe", "10-02T22:30", "10-03T06:30"),
        ("Australia/Lord_Howe", "10-03T22:00", "10-04T06:00"),
        ("America/Santiago", "04-04T12:00", "04-04T20:00"),
        ("America/Santiago", "04-05T13:00", "04-05T21:00"),
        ("America/Santiago", "09-05T13:00", "09-05T21:00"),
        ("America/Santiago", "09-06T12:00", "09-06T20:00"),
        ("Africa/Cairo", "04-23T07:00", "04-23T15:00"),
        ("Africa/Cairo", "04-24T06:00", "04-24T14:00"),
        ("Africa/Cairo", "10-29T06:00", "10-29T14:00"),
        ("Africa/Cairo", "10-30T07:00", "10-30T15:00"),
    ],
)
def test_a_working_day_begins_and_ends_by_the_clock_on_the_wall(zone: str, opens: str, closes: str) -> None:
    hours, where = [times("09:00", "17:00")], ZoneInfo(zone)
    assert not fits_times(hours, moment(opens) - SECOND, where)
    assert fits_times(hours, moment(opens), where)
    assert fits_times(hours, moment(closes) - SECOND, where)
    assert not fits_times(hours, moment(closes), where)


@pytest.mark.parametrize(
    ("zone", "opens", "closes", "span", "minutes"),
    [  # how long one day's times last in which the clock changes
        ("Europe/Berlin", "01:30", "03:30", ("03-28T23:30", "03-29T03:00"), 60),
        ("Europe/Berlin", "01:30", "03:30", ("10-24T23:00", "10-25T04:00"), 180),
        ("Europe/Berlin", "02:15", "02:45", ("03-28T23:30", "03-29T03:00"), 0),
        ("Europe/Berlin", "02:15", "02:45", ("10-24T23:00", "10-25T04:00"), 60),
        ("America/New_York", "01:00", "04:00", ("03-08T05:00", "03-08T10:00"), 120),
        ("America/New_York", "01:00", "04:00", ("11-01T04:00", "11-01T11:00"), 240),
        ("Australia/Lord_Howe", "01:00", "03:00", ("04-04T12:00", "04-04T18:00"), 150),
        ("Australia/Lord_Howe", "01:00", "03:00", ("10-03T12:00", "10-03T18:00"), 90),
        ("America/Santiago", "22:00", "02:00", ("09-06T01:00", "09-06T07:00"), 180),
        ("America/Santiago", "22:00", "02:00", ("04-05T00:00", "04-05T08:00"), 300),
        ("Africa/Cairo", "22:00", "02:00", ("04-23T18:00", "04-24T02:00"), 180),
        ("Africa/Cairo", "22:00", "02:00", ("10-29T17:00", "10-30T03:00"), 300),
    ],
)
def test_times_across_a_clock_change_lose_or_repeat_what_the_clock_does(
    zone: str, opens: str, closes: str, span: tuple[str, str], minutes: int
) -> None:
    begin, end = map(moment, span)
    count = int((end - begin) / timedelta(minutes=1))
    each_minute = [begin + timedelta(minutes=minute) for minute in range(count)]
    assert sum(fits_times([times(opens, closes)], at, ZoneInfo(zone)) for at in each_minute) == minutes


BERLIN = ZoneInfo("Europe/Berlin")


def berlin(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=BERLIN)


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    friday = [times("22:00", "06:00", "fri")]
    assert fits_times(friday, berlin("06-05T22:00"), BERLIN)
    assert fits_times(friday, berlin("06-06T05:59"), BERLIN)
    assert not fits_times(friday, berlin("06-06T06:00"), BERLIN)
    assert not fits_times(friday, berlin("06-05T05:00"), BERLIN)
    assert not fits_times(friday, berlin("06-06T23:00"), BERLIN)


def test_on_a_holiday_nothing_begins_and_nothing_goes_on() -> None:
    night, christmas = [times("22:00", "06:00")], {date(2026, 12, 25)}
    assert fits_times(night, berlin("12-24T23:00"), BERLIN, christmas)
    assert not fits_times(night, berlin("12-25T02:00"), BERLIN, christmas)
    assert not fits_times(night, berlin("12-25T23:00"), BERLIN, christmas)
    assert not fits_times(night, berlin("12-26T02:00"), BERLIN, christmas)
    assert fits_times(night, berlin("12-26T23:00"), BERLIN, christmas)


def test_a_whole_day_has_no_gap() -> None:
    whole = [times("00:00", "24:00", "mon", "tue")]
    assert not fits_times(whole, berlin("05-31T23:59"), BERLIN)
    assert fits_times(whole, berlin("06-01T00:00"), BERLIN)
    assert fits_times(whole, berlin("06-01T23:59"), BERLIN)
    assert fits_times(whole, berlin("06-02T23:59"), BERLIN)
    assert not fits_times(whole, berlin("06-03T00:00"), BERLIN)


clocks = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
zones = st.sampled_from(
    ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo"]
)


@given(clocks, clocks, zones, st.integers(0, 365 * 1440))
def test_times_and_the_times_between_them_share_the_day(opens: str, closes: str, zone: str, minute: int) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    if opens != closes:
        where = ZoneInfo(zone)
        assert fits_times([times(opens, closes)], at, where) != fits_times([times(closes, opens)], at, where)
