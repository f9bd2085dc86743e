"""R1: patterns are exact and case-folded, and `*` stands for anything."""

import fnmatch
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.scenarios.patterns import covers, fits, read_source_pattern, source_covers, source_fits

letters = st.text("aAbB/*", max_size=8)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("google", "Google", True),
        ("linkedin", "not-linkedin", False),
        ("/spring/*", "/spring/", True),
        ("/spring/*", "/spring", False),
        ("*/thanks", "/order/thanks", True),
        ("a*ab*c", "abc", False),
        ("[a-z]?", "b", False),
        ("*", "", True),
        ("", "a", False),
    ],
)
def test_r1_a_pattern_is_exact_but_for_its_stars(pattern: str, text: str, expected: bool) -> None:
    assert fits(pattern, text) is expected


@given(letters, st.text("aAbB/", max_size=8))
def test_r1_a_star_always_stands_for_any_text(pattern: str, text: str) -> None:
    assert fits(pattern, text) == fnmatch.fnmatchcase(text.casefold(), pattern.casefold())


@given(letters, letters, st.text("ab/", max_size=6))
def test_a_pattern_never_claims_to_cover_what_it_does_not_fit(wide: str, narrow: str, text: str) -> None:
    if covers(wide, narrow) and fits(narrow, text):
        assert fits(wide, text)


def test_a_hostile_pattern_takes_no_time() -> None:
    began = time.monotonic()
    assert not fits("*a" * 60 + "b", "a" * 20_000)
    assert time.monotonic() - began < 1


def test_many_patterns_of_many_projects_take_no_time() -> None:
    """The tag's request tries all of a project's patterns; those of many projects are more than a cache of compiled ones holds."""
    began = time.monotonic()
    assert not any(fits(f"g*{index}*x*", "google" * 30) for index in range(20_000))
    assert time.monotonic() - began < 1


def test_a_source_pattern_may_leave_medium_and_campaign_open() -> None:
    assert read_source_pattern("google/cpc/spring/2026") == ("google", "cpc", "spring/2026")
    assert source_fits(read_source_pattern("google"), read_source_pattern("Google/cpc/x"))
    assert not source_fits(read_source_pattern("google/organic"), read_source_pattern("google/cpc/x"))
    assert source_covers(read_source_pattern("google/*"), read_source_pattern("google/cpc"))
    assert not source_covers(read_source_pattern("google/cpc"), read_source_pattern("google"))
