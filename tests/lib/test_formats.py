"""How times, durations, counts, money and countries are said."""

from datetime import UTC, datetime

import phonenumbers
import pytest

from router.lib.formats import (
    CURRENCIES,
    country_name,
    format_count,
    format_day,
    format_duration,
    format_exact_moment,
    format_moment,
    format_money,
    named_countries,
)

NOW = datetime(2026, 11, 5, 14, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        (datetime(2026, 11, 5, 13, 32, tzinfo=UTC), "today 14:32"),
        (datetime(2026, 11, 4, 23, 30, tzinfo=UTC), "today 00:30"),
        (datetime(2026, 11, 4, 22, 30, tzinfo=UTC), "yesterday 23:30"),
        (datetime(2026, 11, 3, 8, 5, tzinfo=UTC), "Tue 3 Nov, 09:05"),
        (datetime(2025, 11, 3, 8, 5, tzinfo=UTC), "Mon 3 Nov 2025, 09:05"),
        (datetime(2026, 11, 6, 8, 5, tzinfo=UTC), "Fri 6 Nov, 09:05"),
    ],
)
def test_a_moment_is_said_in_the_projects_time_zone(moment: datetime, said: str) -> None:
    assert format_moment(moment, "Europe/Berlin", NOW) == said


def test_the_exact_moment_names_its_zone() -> None:
    moment = datetime(2026, 11, 3, 8, 5, 17, tzinfo=UTC)
    assert format_exact_moment(moment, "Europe/Berlin") == "Tuesday 3 November 2026, 09:05:17 CET"
    assert format_day(moment, "Pacific/Auckland") == "3 Nov 2026"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (45, "45 s"),
        (59.6, "1 min"),
        (60, "1 min"),
        (72, "1 min 12 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (7500, "2 h 5 min"),
        (86400, "1 day"),
        (277200, "3 days 5 h"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float, said: str) -> None:
    assert format_duration(seconds) == said


def test_counts_have_their_unit() -> None:
    assert [format_count(amount, "call") for amount in (0, 1, 1204)] == ["0 calls", "1 call", "1,204 calls"]
    assert format_count(2, "person", "people") == "2 people"


@pytest.mark.parametrize(
    ("minor", "currency", "said"),
    [(123450, "EUR", "1,234.50 EUR"), (-3, "JPY", "-3 JPY"), (5, "USD", "0.05 USD"), (1500, "KWD", "1.500 KWD")],
)
def test_money_has_its_currency_and_its_digits(minor: int, currency: str, said: str) -> None:
    assert format_money(minor, currency) == said
    assert currency in CURRENCIES


def test_countries_have_names_and_stand_in_their_order() -> None:
    named = named_countries()
    assert ("US", "United States") in named
    assert {code for code, _ in named} == phonenumbers.SUPPORTED_REGIONS
    assert [name for _, name in named] == sorted(name for _, name in named)
    assert named_countries(["US", "DE"])[0] == ("DE", "Germany")


def test_a_code_that_nobody_named_stays() -> None:
    assert country_name("XX") == "XX"


def test_countries_are_called_what_people_call_them() -> None:
    names = [country_name(code) for code in ("GB", "KR", "CD", "CZ", "AC")]
    assert names == ["United Kingdom", "South Korea", "Congo - Kinshasa", "Czechia", "Ascension Island"]
