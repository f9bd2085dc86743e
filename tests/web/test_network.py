"""The hosts of a web site, from whatever somebody pasted; and rate limits."""

from datetime import timedelta

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from router.web.network import BadHost, FixedWindow, RateLimit, parse_host, parse_hosts


@pytest.mark.parametrize(
    ("typed", "host"),
    [
        ("example.com", "example.com"),
        ("https://Shop.Example.com/sale?x=1#top", "shop.example.com"),
        ("http://localhost:8000/", "localhost:8000"),
        ("https://example.com:443", "example.com"),
        ("http://example.com:80/", "example.com"),
        ("https://example.com:8443", "example.com:8443"),
        ("*.example.com", "*.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.Bücher.example.", "*.xn--bcher-kva.example"),
        ("127.0.0.1:5000", "127.0.0.1:5000"),
        ("http://[::1]:8000/", "[::1]:8000"),
    ],
)
def test_a_host_is_taken_out_of_what_was_typed(typed: str, host: str) -> None:
    assert parse_host(typed) == host


@pytest.mark.parametrize(
    "typed",
    ["*", "*.", "http://", "ftp://example.com", "user@example.com", "exa mple.com", "example.com:99999", "a*b.com", "-x-",
     "javascript:alert(1)", "https://[::1", "<script>", "☃☃☃..com", "x" * 300 + ".com"],
)  # fmt: skip
def test_what_is_no_host_is_refused(typed: str) -> None:
    with pytest.raises(BadHost, match="is not a host"):
        parse_host(typed)


def test_a_list_comes_by_commas_spaces_or_as_a_list_and_has_each_host_once() -> None:
    wanted = ["example.com", "*.example.org"]
    assert parse_hosts("https://example.com/, *.example.org\nexample.com") == wanted
    assert parse_hosts(["example.com", " *.example.org ", ""]) == wanted


@pytest.mark.parametrize("typed", ["", " , ", []])
def test_no_host_at_all_is_refused(typed: str | list[str]) -> None:
    with pytest.raises(BadHost, match="Name the host"):
        parse_hosts(typed)


def test_more_than_fifty_hosts_are_refused() -> None:
    with pytest.raises(BadHost, match="at most 50"):
        parse_hosts([f"shop{number}.example.com" for number in range(51)])


@given(st.text(max_size=80))
def test_nothing_typed_breaks_the_reader(typed: str) -> None:
    try:
        host = parse_host(typed)
    except BadHost:
        return
    assert host.isascii()
    assert parse_host(host) == host


def test_a_clients_window_begins_with_its_first_request_and_concerns_nobody_else(
    clock: time_machine.Traveller,
) -> None:
    limit = RateLimit("2/minute")
    assert [limit.allows("a") for _ in range(3)] == [True, True, False]
    clock.shift(timedelta(seconds=59))
    assert [limit.allows(client) for client in "aabbb"] == [False, False, True, True, False]
    clock.shift(timedelta(seconds=1))
    assert [limit.allows(client) for client in "aab"] == [True, True, False]


def test_several_rates_hold_together_and_off_allows_everything(clock: time_machine.Traveller) -> None:
    limit, none = RateLimit("2/minute; 3/hour"), RateLimit("off")
    assert [limit.allows("a") for _ in range(3)] == [True, True, False]
    clock.shift(timedelta(minutes=1))
    assert [limit.allows("a") for _ in range(2)] == [True, False]
    assert all(none.allows("a") for _ in range(1000))


def test_clients_whose_window_is_over_are_forgotten(clock: time_machine.Traveller) -> None:
    window = FixedWindow(1, 60)
    for client in range(1000):
        window.admits(str(client))
        clock.shift(timedelta(seconds=1))
    assert len(window) <= 120
