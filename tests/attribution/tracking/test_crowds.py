"""Crawlers by behaviour: a crowd of people keeps its numbers, whoever crawls gets few."""

from collections import Counter
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.attribution.tracking.crawlers import Crowds
from tests.factories import NOON

HERE = "203.0.113.9"


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def admitted(crowds: Crowds, times: list[float], address: str = HERE, *, bare: bool = False) -> int:
    return sum(crowds.admits("k-shop", address, at(seconds), bare=bare) for seconds in times)


def test_an_address_that_only_begins_visits_begins_few_of_them() -> None:
    crowds = Crowds("60/minute")
    assert admitted(crowds, [i / 10 for i in range(600)]) == 60
    assert [admitted(crowds, [60 * n + i / 10 for i in range(600)]) for n in (1, 2, 3)] == [6, 6, 6]
    assert admitted(crowds, [300 + i / 2 for i in range(120)]) == 60, "a minute of silence, and it is judged anew"


def test_those_whom_a_proxy_hides_are_not_judged_as_one() -> None:
    crowds = Crowds("60/minute")
    assert admitted(crowds, [i / 10 for i in range(600)], "unknown via 127.0.0.1") == 600


def test_people_behind_one_address_keep_their_numbers_however_many_they_are() -> None:
    crowds = Crowds("60/minute")
    for second in range(600):
        assert admitted(crowds, [second + i / 20 for i in range(20)]) == 20 or second < 46
        if second >= 45:  # one in ten still has the page open when its first sign of life is due
            crowds.shows_life("k-shop", HERE, at(second))
            crowds.shows_life("k-shop", HERE, at(second))


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 30)), min_size=1, max_size=60))
def test_an_address_where_every_tenth_visit_shows_life_is_never_refused(steps: list[tuple[float, int]]) -> None:
    crowds, now, begun = Crowds("60/minute"), 0.0, 0
    for pause, visits in steps:
        now += pause
        for _ in range(visits):
            assert crowds.admits("k-shop", HERE, at(now))
            begun += 1
            if begun % 10 == 0:
                crowds.shows_life("k-shop", HERE, at(now))


@given(st.lists(st.integers(0, 300_000), max_size=300).map(sorted))
def test_without_signs_of_life_no_window_begins_more_than_the_rate(milliseconds: list[int]) -> None:
    crowds = Crowds("5/minute")
    begun: Counter[int] = Counter()
    for moment in milliseconds:
        begun[moment // 60_000] += admitted(crowds, [moment / 1000])
    assert all(count <= 5 for count in begun.values())


def test_people_who_come_after_a_crawler_acquit_the_address() -> None:
    crowds = Crowds("60/minute")
    admitted(crowds, [0] * 500)
    assert admitted(crowds, [61] * 20) == 6
    crowds.shows_life("k-shop", HERE, at(100))
    assert not crowds.admits("k-shop", HERE, at(101)), "one sign is too few for 60 visits that showed none"
    crowds.shows_life("k-shop", HERE, at(121))
    assert admitted(crowds, [122] * 20) == 20


def test_requests_without_the_headers_of_a_browser_count_as_several_and_alone_prove_nothing() -> None:
    assert admitted(Crowds("60/minute"), [0] * 12, bare=True) == 12
    assert admitted(Crowds("60/minute"), [0] * 50, bare=True) == 12


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "192.168.0.7", "172.17.0.1", "::1", "fd00::1"])
def test_a_proxy_that_names_no_clients_is_never_judged(address: str) -> None:
    assert admitted(Crowds("5/minute"), [0] * 50, address) == 50


def test_sites_and_networks_are_judged_each_for_itself() -> None:
    crowds = Crowds("5/minute")
    assert admitted(crowds, [0] * 9, "2001:db8:1:2::1") == 5
    assert not crowds.admits("k-shop", "2001:db8:1:2::ffff", at(1))
    assert crowds.admits("k-shop", "2001:db8:1:3::1", at(1))
    assert crowds.admits("k-other", "2001:db8:1:2::1", at(1))
    assert admitted(Crowds("off"), [0] * 500) == 500
