"""What is typed in about a project's tag."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.accounts.projects import is_of_site, is_staff, parse_staff, parse_tag_address, parse_unwanted_referrals


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("", ""), ("  ", ""), (" https://Calls.Example.com/ ", "https://calls.example.com"),
        ("https://www.example.com/calls/", "https://www.example.com/calls"), ("https://example.com:8443/a/b-c_d", "https://example.com:8443/a/b-c_d"),
        ("https://bücher.example", "https://xn--bcher-kva.example"), ("http://localhost:8000", "http://localhost:8000"),
        ("http://127.0.0.1:5000/calls", "http://127.0.0.1:5000/calls"), ("https://example.com:443", "https://example.com"),
    ],
)  # fmt: skip
def test_an_address_for_the_tag_is_read(typed: str, address: str) -> None:
    assert parse_tag_address(typed) == address
    assert parse_tag_address(address) == address


@pytest.mark.parametrize(
    "typed",
    [
        "http://calls.example.com", "http://10.1.2.3", "ftp://calls.example.com", "calls.example.com", "https://", "https://a b.com",
        "https://example.com?x=1", "https://example.com/#top", "https://me@example.com", "https://*.example.com", "javascript:alert(1)",
        "https://example.com/a/../b", "https://example.com/a//b", "https://example.com/<b>", "https://example.com:99999",
        "https://example.com/" + "x" * 200, "//example.com", "https://example.com/a;b",
    ],
)  # fmt: skip
def test_what_no_page_could_load_the_tag_from_is_refused(typed: str) -> None:
    with pytest.raises(ValueError):
        parse_tag_address(typed)


def test_http_is_for_this_machine_and_for_the_private_networks_that_the_operator_allows() -> None:
    assert parse_tag_address("http://10.1.2.3/calls", (ip_network("10.0.0.0/8"),)) == "http://10.1.2.3/calls"
    with pytest.raises(ValueError, match="https"):
        parse_tag_address("http://192.168.1.1", (ip_network("10.0.0.0/8"),))


@pytest.mark.parametrize(
    ("address", "site", "own"),
    [
        ("https://calls.example.com", ["www.example.com"], True), ("https://calls.example.com", ["*.example.com"], True),
        ("https://www.example.com/calls", ["example.org", "example.com"], True), ("http://127.0.0.1:5000", ["127.0.0.1:8000"], True),
        ("https://calls.example.net", ["example.com"], False), ("https://calls.co.uk", ["shop.co.uk"], False),
        ("http://localhost", ["127.0.0.1"], False), ("https://[::1]:8443", ["[::1]:8000"], True),
    ],
)  # fmt: skip
def test_an_address_is_the_sites_own_by_its_registrable_domain(address: str, site: list[str], own: bool) -> None:
    assert is_of_site(address, site) is own


def test_staff_come_in_their_short_form_each_once() -> None:
    typed = "203.0.113.7, 203.0.113.7/32\n198.51.100.9/24; 2001:DB8:0::/48 2001:db8::1"
    wanted = ["203.0.113.7", "198.51.100.0/24", "2001:db8::/48", "2001:db8::1"]
    assert parse_staff(typed) == wanted
    assert parse_staff(wanted) == wanted
    assert parse_staff(" , ") == []


@pytest.mark.parametrize(
    "typed", ["office", "203.0.113.300", "0.0.0.0/0", "10.0.0.0/7", "::/0", "2001::/31", "1.2.3.4/x", "<b>"]
)
def test_what_is_no_address_or_half_a_country_is_refused(typed: str) -> None:
    with pytest.raises(ValueError):
        parse_staff(typed)


def test_more_than_a_hundred_are_refused() -> None:
    many = [f"203.0.113.{number}" for number in range(101)]
    assert len(parse_staff(many[:100])) == 100
    with pytest.raises(ValueError, match="at most 100"):
        parse_staff(many)


@given(st.lists(st.ip_addresses(), max_size=3), st.ip_addresses())
def test_staff_are_exactly_who_is_listed(listed: list[object], visitor: object) -> None:
    staff = tuple(parse_staff([str(one) for one in listed]))
    assert is_staff(staff, str(visitor)) is (ip_address(str(visitor)) in listed)
    assert not is_staff(staff, "no address")


def test_hosts_that_are_no_source_come_in_their_short_form_each_once() -> None:
    typed = "https://Pay.Example.com/checkout?a=b, *.Example.org\npay.example.com:8443; bücher.example"
    wanted = ["pay.example.com", "*.example.org", "xn--bcher-kva.example"]
    assert parse_unwanted_referrals(typed) == wanted
    assert parse_unwanted_referrals(wanted) == wanted
    assert parse_unwanted_referrals(" ,\n") == []
    with pytest.raises(ValueError, match="at most 50"):
        parse_unwanted_referrals([f"host{number}.example" for number in range(51)])


@pytest.mark.parametrize(
    "typed", ["*", "*.com", "*.co.uk", "*.*", "https://", "a@b.example", "mailto:x", "<b>", "*.localhost"]
)
def test_what_is_no_host_or_all_sites_of_an_ending_is_refused(typed: str) -> None:
    with pytest.raises(ValueError):
        parse_unwanted_referrals(typed)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_nothing_typed_breaks_the_readers(typed: str) -> None:
    for reader in (parse_tag_address, parse_staff, parse_unwanted_referrals):
        try:
            reader(typed)
        except ValueError:
            continue
