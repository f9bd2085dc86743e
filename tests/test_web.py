"""What all answers have in common: who asks, and bodies that are hostile."""

import contextlib
from io import BytesIO
from ipaddress import ip_network

import pytest
from flask import Request
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder

from router.web import Problem, client_address, client_group, read_json, within

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
        ("127.0.0.1", "198.51.100.1, junk", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("::ffff:127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("::ffff:203.0.113.9", None, "203.0.113.9"),
        ("", None, ""),
    ],
)
def test_only_trusted_proxies_say_who_asks(peer: str, forwarded: str | None, found: str) -> None:
    assert client_address(request(peer, forwarded), PROXIES) == found


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
