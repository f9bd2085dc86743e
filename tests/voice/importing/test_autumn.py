"""R13: the hour that a clock shows twice keeps two calls, and the hour that it leaves out is read."""

import pytest

from router.voice.importing.calls import Choices
from tests.voice.importing.making import CALLER, OURS, read

OTHER = "+4915112345679"


def utc(lines: list[tuple[str, str]], choices: Choices | None = None) -> list[tuple[str, str]]:
    """Lines of caller and time by the clock in Berlin; the calls by caller and time in UTC."""
    text = "number,caller,started_at\n" + "".join(f"{OURS},{who},{at}\n" for who, at in lines)
    log = read(text, choices)
    assert log.bad == 0
    return [(one.caller, f"{one.started_at:%d %H:%M}") for one in log.calls]


NIGHT = "2026-10-25"
UPWARDS = [
    (CALLER, f"{NIGHT} 01:50:00"),
    (CALLER, f"{NIGHT} 02:10:00"),
    (OTHER, f"{NIGHT} 02:50:00"),
    (CALLER, f"{NIGHT} 02:05:00"),
    (OTHER, f"{NIGHT} 02:50:00"),
    (CALLER, f"{NIGHT} 03:20:00"),
]
IN_UTC = [
    (CALLER, "24 23:50"),
    (CALLER, "25 00:10"),
    (OTHER, "25 00:50"),
    (CALLER, "25 01:05"),
    (OTHER, "25 01:50"),
    (CALLER, "25 02:20"),
]


def test_r13_where_the_clock_runs_back_the_second_hour_begins() -> None:
    assert utc(UPWARDS) == IN_UTC


def test_r13_a_log_that_is_sorted_downwards_says_the_same() -> None:
    assert utc(UPWARDS[::-1]) == IN_UTC


@pytest.mark.parametrize("time", [f"{NIGHT} 02:30", "25.10.2026 02:30:00", "Oct 25 2026 2:30 AM"])
def test_r13_a_caller_at_the_same_minute_twice_called_twice_an_hour_apart(time: str) -> None:
    assert utc([(CALLER, time), (CALLER, time)]) == [(CALLER, "25 00:30"), (CALLER, "25 01:30")]


def test_r13_a_third_line_of_that_minute_says_one_of_them_again() -> None:
    assert len(utc([(CALLER, f"{NIGHT} 02:30")] * 3)) == 2


def test_r13_what_follows_the_second_call_of_a_minute_is_in_the_second_hour() -> None:
    lines = [(CALLER, f"{NIGHT} 02:30"), (CALLER, f"{NIGHT} 02:30"), (OTHER, f"{NIGHT} 02:35")]
    assert utc(lines)[-1] == (OTHER, "25 01:35")


def test_r13_in_a_log_that_is_not_sorted_it_is_the_first_hour() -> None:
    days = [(OTHER, f"2026-09-{day:02} 10:00") for day in (5, 2, 9, 1, 7, 3)]
    lines = [*days, (CALLER, f"{NIGHT} 02:50"), (OTHER, f"{NIGHT} 02:10"), (CALLER, f"{NIGHT} 02:50")]
    assert utc(lines)[-3:] == [(OTHER, "25 00:10"), (CALLER, "25 00:50"), (CALLER, "25 01:50")]


def test_r13_a_file_put_together_of_two_logs_is_sorted_in_parts() -> None:
    """The clock does not run back where the second log begins."""
    one = [(CALLER, f"2026-10-{day:02} 12:00") for day in range(20, 25)]
    two = [(OTHER, f"2026-10-{day:02} 12:00") for day in range(20, 25)]
    lines = [
        *one, (CALLER, f"{NIGHT} 02:50"), (CALLER, f"{NIGHT} 12:00"),
        *two, (OTHER, f"{NIGHT} 02:10"), (CALLER, f"{NIGHT} 02:50"), (OTHER, f"{NIGHT} 12:00"),
    ]  # fmt: skip
    assert [at for _, at in utc(lines) if at < "25 11"][-2:] == ["25 00:10", "25 00:50"]


def test_r13_a_time_that_names_its_zone_needs_no_order() -> None:
    lines = [(CALLER, f"{NIGHT} 02:30 CET"), (CALLER, f"{NIGHT} 02:30 CEST"), (OTHER, f"{NIGHT}T02:30:00+01:00")]
    assert utc(lines) == [(CALLER, "25 00:30"), (OTHER, "25 01:30"), (CALLER, "25 01:30")] or utc(lines) == [
        (CALLER, "25 00:30"),
        (CALLER, "25 01:30"),
        (OTHER, "25 01:30"),
    ]


def test_r13_the_hour_that_spring_leaves_out_is_read_and_not_refused() -> None:
    assert utc([(CALLER, "2026-03-29 02:30"), (OTHER, "2026-03-29 03:30")]) == [
        (CALLER, "29 01:30"),
        (OTHER, "29 01:30"),
    ]


def test_r13_it_is_the_hour_of_the_zone_that_the_log_names() -> None:
    lines = [(CALLER, "2026-11-01 01:30"), (CALLER, "2026-11-01 01:30")]
    assert utc(lines) == [(CALLER, "01 00:30")]
    assert utc(lines, Choices(zone="America/New_York")) == [(CALLER, "01 05:30"), (CALLER, "01 06:30")]
