"""What all answers have in common: who asks, and bodies that are hostile."""

import contextlib
from io import BytesIO
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from flask import Request
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder

from router.attribution.tracking.schema import shortened
from router.web.errors import Problem, client_address, client_group, is_unknown, read_json, within
from tests.properties import examples

PROXIES = (ip_network("127.0.0.0/8"), ip_network("::1/128"), ip_network("10.0.0.0/8"))


def request(peer: str = "127.0.0.1", forwarded: str | None = None, body: bytes = b"", chunked: bool = False) -> Request:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    builder = EnvironBuilder(method="POST", headers=headers, input_stream=BytesIO(body), content_length=len(body))
    environ = builder.get_environ() | {"REMOTE_ADDR": peer}
    if chunked:
        environ |= {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    return Request(environ)


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("203.0.113.9", None, "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "1.2.3.4, 198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "198.51.100.1, 10.0.0.7", "198.51.100.1"),
        ("127.0.0.1", "127.0.0.1, 198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("::ffff:127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("::ffff:203.0.113.9", None, "203.0.113.9"),
        ("fe80::1%eth0", "127.0.0.1", "fe80::1"),
        ("203.0.113.9", "junk", "203.0.113.9"),
        ("", None, "unknown"),
        ("", "127.0.0.1", "unknown"),
        ("unix:", "127.0.0.1", "unknown"),
    ],
)
def test_only_trusted_proxies_say_who_asks(peer: str, forwarded: str | None, found: str) -> None:
    assert client_address(request(peer, forwarded), PROXIES) == found


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ("203.0.113.9", "203.0.113.9"),
        (" \t203.0.113.9 ", "203.0.113.9"),
        ("203.0.113.9:51234", "203.0.113.9"),
        ("203.0.113.9:_hidden", "203.0.113.9"),
        ('"203.0.113.9:51234"', "203.0.113.9"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ('"[2001:db8::1]:443"', "2001:db8::1"),
        ('"[2001:db8::1]"', "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("[::ffff:203.0.113.9]:51234", "203.0.113.9"),
        ("::ffff:cb00:7109", "203.0.113.9"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:80", "fe80::1"),
        ("64:ff9b::7f00:1", "64:ff9b::7f00:1"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1:51234", "127.0.0.1"),
        ("[::1]:51234", "::1"),
        ("10.0.0.9, 127.0.0.1:80", "10.0.0.9"),
        ("203.0.113.9:1, 10.0.0.9:2", "203.0.113.9"),
        ("unknown, 203.0.113.9", "203.0.113.9"),
        ('"127.0.0.1, 203.0.113.9', "203.0.113.9"),
        ("127.0.0.1,, 203.0.113.9", "203.0.113.9"),
    ],
)
def test_a_hop_is_read_as_proxies_write_it(named: str, found: str) -> None:
    assert client_address(request("127.0.0.1", named), PROXIES) == found


@pytest.mark.parametrize(
    "named",
    [
        "", " ", ",", "127.0.0.1,", "127.0.0.1, ", "unknown", "Unknown", "_hidden", "_hidden:80", "unix:", "unix:/run/x.sock",
        "-", "null", "localhost", "localhost:8000", "www.example.com", "for=127.0.0.1", "127.0.0.1 127.0.0.1", "127.1", "1",
        "127.0.0.1:", "127.0.0.1:80:80", "127.0.0.1:999999", "127.0.0.1:x", "0127.0.0.1", "127.0.0.1/8", "2130706433",
        "0x7f.0.0.1", "[127.0.0.1]:80", "::1%lo", "[::1%25lo]", "127.0.0.1%lo", "::ffff:127.0.0.1%eth0", "[::1", "::1]",
        "[::1]80", "[]", "[]:80", '"', '""', '"127.0.0.1', "127.0.0.1\"", "'127.0.0.1'", "\xa0127.0.0.1", "127.0.0.1\0",
        "\u0661\u0662\u0667.0.0.1", "0.0.0.0", "::", "256.0.0.1", ":::1", "1:2:3:4:5:6:7:8:9", "x" * 8000,
    ],
)  # fmt: skip
def test_a_hop_that_cannot_be_read_is_unknown_and_never_the_proxy(named: str) -> None:
    for forwarded in (named, f"127.0.0.1, {named}", f"203.0.113.9,{named}"):
        client = client_address(request("127.0.0.1", forwarded), PROXIES)
        assert client == "unknown via 127.0.0.1"
        assert is_unknown(client)
        assert not within(client, (ip_network("0.0.0.0/0"), ip_network("::/0")))
        assert shortened(client) == ""
    assert client_address(request("127.0.0.1", f"127.0.0.1, {named}, 10.0.0.7:80"), PROXIES) == "unknown via 10.0.0.7"


def test_those_whom_one_proxy_leaves_unknown_count_as_one() -> None:
    def group(peer: str, forwarded: str) -> str:
        return client_group(client_address(request(peer, forwarded), PROXIES))

    assert group("127.0.0.1", "_a") == group("127.0.0.1", "unknown:80") != group("10.0.0.7", "_a")
    assert group("127.0.0.1", "_a") not in ("127.0.0.1", "")


def far_addresses() -> st.SearchStrategy[IPv4Address | IPv6Address]:
    """Clients of the internet: in none of our networks."""

    def is_far(address: IPv4Address | IPv6Address) -> bool:
        plain = getattr(address, "ipv4_mapped", None) or address
        return not within(str(plain), PROXIES) and not plain.is_unspecified

    return st.ip_addresses().filter(is_far)


def spellings(address: IPv4Address | IPv6Address) -> list[str]:
    """How a proxy may write whom it talks with."""
    if address.version == 4:
        return [str(address), f"{address}:51234", f'"{address}:51234"', f"::ffff:{address}", f"[::ffff:{address}]:9"]
    return [str(address), address.exploded, f"[{address}]", f"[{address}]:51234", f'"[{address}]:51234"']


LIES = st.lists(
    st.sampled_from(["127.0.0.1", "::1", "10.0.0.7:80", '"[::1]:443"', '"', "unknown", "_x", "", " ", "[", "%lo", "\t"])
    | st.ip_addresses().map(str)
    | st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=12),
    max_size=5,
).map(",".join)


@settings(max_examples=examples(200))
@given(
    st.data(),
    far_addresses(),
    LIES,
    st.sampled_from([",", ", ", " ,\t"]),
    st.lists(st.sampled_from(["10.0.0.7", "10.1.2.3:80", "[::1]:9"]), max_size=2),
)
def test_whatever_a_client_writes_it_is_never_seen_inside(
    data: st.DataObject, client: IPv4Address | IPv6Address, lies: str, comma: str, inner: list[str]
) -> None:
    """The proxies add whom they talked with, in whatever spelling, to what the client sent; a second line of the header is joined by a
    comma too."""
    added = [data.draw(st.sampled_from(spellings(client))), *inner]
    named = getattr(client, "ipv4_mapped", None) or client
    assert client_address(request("127.0.0.1", comma.join([lies, *added])), PROXIES) == str(named)
    assert client_address(request("127.0.0.1", comma.join(added)), PROXIES) == str(named)


@settings(max_examples=examples(200))
@given(far_addresses(), LIES)
def test_what_a_client_without_a_proxy_writes_counts_for_nothing(client: IPv4Address | IPv6Address, lies: str) -> None:
    named = getattr(client, "ipv4_mapped", None) or client
    assert client_address(request(str(client), lies), PROXIES) == str(named)


@settings(max_examples=examples(200))
@given(LIES)
def test_a_proxy_that_names_nobody_makes_nobody_local(lies: str) -> None:
    """What it adds says nothing: then what stands before it says nothing either."""
    for nothing in ("unknown", "", "unix:", "_gazonk"):
        assert client_address(request("127.0.0.1", f"{lies}, {nothing}"), PROXIES) == "unknown via 127.0.0.1"


def test_two_ipv4_clients_of_one_socket_for_both_are_two() -> None:
    one, other = (client_group(client_address(request(f"::ffff:203.0.113.{i}"), PROXIES)) for i in (1, 2))
    assert one != other


def test_ipv6_clients_count_by_their_network() -> None:
    assert client_group("2001:db8:1:2::1") == client_group("2001:db8:1:2:ffff::9") != client_group("2001:db8:1:3::1")


@given(st.text(), st.text())
def test_no_address_breaks_anything(peer: str, forwarded: str) -> None:
    client_group(peer)
    assert within(peer, PROXIES) in (True, False)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"\xff", 400),
        (b"\xef\xbb\xbf{}", 400),
        (b'{"a": NaN}', 400),
        (b"[" * 60_000, 400),
        (b"9" * 10_000, 400),
        (b'"' + b"a" * 70_000 + b'"', 413),
    ],
)
def test_a_body_that_is_no_small_json_object_is_refused(body: bytes, status: int, chunked: bool) -> None:
    with pytest.raises(Problem) as refused:
        read_json(request(body=body, chunked=chunked))
    assert refused.value.status == status


def test_what_no_database_stores_is_taken_out() -> None:
    assert read_json(request(body=b'{"a\\u0000": ["x\\u0000y", "\\ud83d", "\\ud83d\\ude00"]}')) == {
        "a": ["xy", "", "😀"]
    }


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_a_problem(body: bytes) -> None:
    with contextlib.suppress(Problem):
        assert isinstance(read_json(request(body=body)), dict)
