"""R1: patterns are exact and case-folded, and `*` stands for anything."""

import fnmatch
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.scenarios.matching import fits, read_source_pattern, source_fits

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
    if fits(wide, narrow) and fits(narrow, text):
        assert fits(wide, text)


def quickest(do: Callable[[], object]) -> float:
    """Seconds of processor of the quickest of some turns."""

    def once() -> float:
        began = time.process_time()
        do()
        return time.process_time() - began

    return min(once() for _ in range(7))


def test_a_hostile_pattern_comes_to_an_end() -> None:
    """One that tries all places of all its parts would not live to see it."""
    assert not fits("*a" * 60 + "b", "a" * 20_000)
    assert not fits("*a" * 60 + "b*c", "a" * 20_000 + "c")


def test_many_patterns_of_many_projects_take_hardly_longer_than_one() -> None:
    """The tag's request tries all of a project's patterns; those of many projects are more than a cache of compiled ones holds."""
    many = [f"g*{index}*x*" for index in range(20_000)]
    different, one = (
        quickest(lambda patterns=patterns: [fits(pattern, "google" * 30) for pattern in patterns])  # type: ignore[misc]  # a lambda's default has no type
        for patterns in (many, many[:1] * len(many))
    )
    assert not any(fits(pattern, "google" * 30) for pattern in many)
    assert different < 10 * one, f"{one * 1000:.0f} ms for one, {different * 1000:.0f} ms for 20,000"


def test_a_source_pattern_may_leave_medium_and_campaign_open() -> None:
    assert read_source_pattern("google/cpc/spring/2026") == ("google", "cpc", "spring/2026")
    assert source_fits(read_source_pattern("google"), read_source_pattern("Google/cpc/x"))
    assert not source_fits(read_source_pattern("google/organic"), read_source_pattern("google/cpc/x"))
    assert source_fits(read_source_pattern("google/*"), read_source_pattern("google/cpc"))
    assert not source_fits(read_source_pattern("google/cpc"), read_source_pattern("google"))
