"""Which hosts are one web site to a browser."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.web.network import is_same_site, registrable_domain


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("www.example.com", "example.com"), ("example.com", "example.com"), ("a.b.example.co.uk", "example.co.uk"),
        ("shop.alice.github.io", "alice.github.io"), ("www.xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("co.uk", None), ("com", None), ("localhost", None), ("127.0.0.1", None), ("203.0.113.7", None), ("[::1]", None), ("", None),
    ],
)  # fmt: skip
def test_a_registrable_domain_is_what_somebody_can_register(host: str, domain: str | None) -> None:
    assert registrable_domain(host) == domain


@pytest.mark.parametrize(
    ("host", "other", "same"),
    [
        ("calls.example.com", "www.example.com", True), ("example.com", "example.com", True), ("localhost", "localhost", True),
        ("127.0.0.1", "127.0.0.1", True), ("alice.github.io", "bob.github.io", False), ("a.co.uk", "b.co.uk", False),
        ("notexample.com", "example.com", False), ("10.0.0.1", "127.0.0.1", False), ("localhost", "a.localhost", False),
        ("github.io", "alice.github.io", False),
    ],
)  # fmt: skip
def test_hosts_of_one_registrable_domain_are_one_site(host: str, other: str, same: bool) -> None:
    assert is_same_site(host, other) is same
    assert is_same_site(other, host) is same


@settings(deadline=None)  # the list is read at first use
@given(st.text(max_size=60), st.text(max_size=60))
def test_no_host_breaks_it(host: str, other: str) -> None:
    assert is_same_site(host, host)
    assert is_same_site(host, other) is is_same_site(other, host)
