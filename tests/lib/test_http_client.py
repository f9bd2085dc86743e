"""Security: requests to addresses that users typed reach public addresses only, are never redirected, and end in time."""

import gzip
import random
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from router.lib.http_client import (
    ANSWER_LIMIT,
    PIECE,
    AddressBlocked,
    Answer,
    ConnectionFailed,
    NoAnswer,
    Outgoing,
    check_literal,
)
from tests.integrations.receiver import receiver
from tests.waiting import standing_still, ticking

LOOPBACK = (ip_network("127.0.0.0/8"),)
PUBLIC = "93.184.215.14"


def resolves_to(*addresses: str) -> Callable[..., Any]:
    """A name server's answer; each address with its family as the system would give it."""

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return resolve


def open_client(**more: Any) -> Outgoing:
    return Outgoing(LOOPBACK, **{"total_seconds": 20.0, **more})


@contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Accepts one connection and does as told with it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            try:
                talk(connection)
            except OSError:
                return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        listener.close()
        thread.join()


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://example.com:22/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://127.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/",
        "https://10.0.0.1/",
        "https://[fd00::1]/",
        "https://[fe80::1%25eth0]/",
        "https://224.0.0.1/",
        "https://0.0.0.0/",
        "https://user:password@example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "//example.com/",
        "",
        "https://",
        "https://exa mple.com/",
    ],
)
def test_an_address_that_is_not_public_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(AddressBlocked):
        Outgoing(resolver=resolves_to("127.0.0.1")).post(url, b"", {})


def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    with pytest.raises(AddressBlocked):
        Outgoing(resolver=resolves_to(PUBLIC, "10.0.0.7")).post("https://mixed.example/", b"", {})


def test_validation_refuses_what_can_be_told_without_the_network() -> None:
    check_literal("https://example.com:8443/hook", ())
    check_literal("http://127.0.0.1:9000/hook", LOOPBACK)
    for url in ("http://example.com/", "https://example.com:99/", "https://10.1.2.3/"):
        with pytest.raises(AddressBlocked):
            check_literal(url, ())
    with pytest.raises(AddressBlocked):
        check_literal("http://10.1.2.3/", LOOPBACK)


def test_the_name_is_looked_up_once_and_its_checked_address_is_used() -> None:
    looked_up: list[str] = []

    def rebinding(host: str, port: int, **_: Any) -> list[Any]:
        looked_up.append(host)
        answer = "127.0.0.1" if len(looked_up) == 1 else "10.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, port))]

    with receiver() as inbox:
        port = inbox.url.rsplit(":", 1)[1]
        answer = open_client(resolver=rebinding).post(f"http://shop.example:{port}/hook", b"hello", {})
        assert (answer.status, answer.text, looked_up) == (200, "ok", ["shop.example"])
        assert inbox.requests[0].headers["host"] == f"shop.example:{port}"
        assert inbox.requests[0].body == b"hello"


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    with receiver(lambda request: (302, {"Location": "http://127.0.0.1:1/inside"}, b"")) as inbox:
        assert open_client().post(inbox.url, b"", {}).status == 302
        assert len(inbox.requests) == 1


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with receiver() as inbox:
        assert open_client().post(inbox.url, b"", {}).status == 200


def test_a_refused_connection_says_that_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConnectionFailed):
        open_client().post(f"http://127.0.0.1:{port}/", b"", {})


def test_an_unknown_name_says_that_nothing_was_sent() -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(ConnectionFailed):
        open_client(resolver=unknown).post("https://nowhere.example/", b"", {})


def test_a_receiver_that_never_answers_leaves_it_open_whether_it_got_the_message() -> None:
    released = threading.Event()
    with raw_server(lambda connection: (connection.recv(65536), released.wait(60), None)[-1]) as url:
        with pytest.raises(NoAnswer, match="in time"):
            open_client(total_seconds=0.3, clock=standing_still).post(url, b"x", {})
        released.set()


def test_a_receiver_that_drips_bytes_holds_nobody_beyond_the_limit() -> None:
    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(100):
            connection.sendall(b"a")
            time.sleep(0.05)

    with raw_server(drip) as url, pytest.raises(NoAnswer, match="in time"):
        open_client(total_seconds=8, clock=ticking()).post(url, b"x", {})


def test_a_body_that_drips_is_cut_off_and_the_status_counts() -> None:
    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(100):
            connection.sendall(b"a")
            time.sleep(0.05)

    with raw_server(drip) as url:
        answer = open_client(total_seconds=8, clock=ticking()).post(url, b"x", {})
    assert (answer.status, answer.complete) == (200, False)


def test_an_endless_answer_is_read_up_to_64_kb() -> None:
    with receiver(lambda request: (200, {}, b"x" * 500_000)) as inbox:
        answer = open_client().post(inbox.url, b"", {})
    assert (len(answer.body), answer.complete) == (ANSWER_LIMIT, False)


def test_a_receiver_that_hangs_up_leaves_it_open_whether_it_got_the_message() -> None:
    with raw_server(lambda connection: (connection.recv(65536), None)[-1]) as url, pytest.raises(NoAnswer):
        open_client().post(url, b"x", {})


def test_no_byte_leaves_when_time_was_up_before() -> None:
    with receiver() as inbox:
        with pytest.raises(ConnectionFailed):
            open_client().post(inbox.url, b"", {}, deadline=time.monotonic() - 1)
        assert inbox.requests == []


def test_tls_names_and_checks_the_host_while_it_connects_to_the_checked_address(tmp_path: Path) -> None:
    server_side, client_side = certificate("shop.example", tmp_path)
    names: list[str | None] = []
    server_side.sni_callback = lambda connection, name, context: names.append(name)

    def talk(connection: socket.socket) -> None:
        with server_side.wrap_socket(connection, server_side=True) as secure:
            secure.recv(65536)
            secure.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    client = open_client(resolver=resolves_to("127.0.0.1"), tls=client_side)
    with raw_server(talk) as url:
        port = url.rsplit(":", 1)[1].strip("/")
        assert client.post(f"https://shop.example:{port}/", b"", {}).status == 204
    assert names == ["shop.example"]
    with raw_server(talk) as url, pytest.raises(ConnectionFailed):
        client.post(f"https://other.example:{url.rsplit(':', 1)[1]}", b"", {})


def certificate(host: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "host.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(pem)
    client_side = ssl.create_default_context(cafile=str(pem))
    return server_side, client_side


def answering(status: str, body: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    return talk


def test_a_large_body_goes_to_a_sink_up_to_the_limit_and_nowhere_else() -> None:
    pieces: list[bytes] = []
    for size, is_whole in ((1_000_000, True), (1_000_001, False)):
        pieces.clear()
        with raw_server(answering("200 OK", b"x" * size)) as url:
            answer = open_client(answer_limit=1_000_000).request("GET", url, b"", {}, sink=pieces.append)
        assert (sum(map(len, pieces)), answer.body, answer.complete) == (1_000_000, b"", is_whole)
    pieces.clear()
    with raw_server(answering("404 Not Found", b"There is none.")) as url:
        answer = open_client().request("GET", url, b"", {}, sink=pieces.append)
    assert (answer.status, answer.body, pieces) == (404, b"There is none.", [])


def test_a_sink_that_takes_no_more_ends_the_request() -> None:
    def full(piece: bytes) -> None:
        raise OSError("no space")

    with raw_server(answering("200 OK", b"x" * 100_000)) as url, pytest.raises(OSError, match="no space"):
        open_client().request("GET", url, b"", {}, sink=full)


def packed_answer(encoding: str, body: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        head = f"HTTP/1.1 503 Unavailable\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    return talk


def bare_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


def packed(body: bytes) -> bytes:
    """The same in every process: without the time."""
    return gzip.compress(body, mtime=0)


@pytest.mark.parametrize(
    ("encoding", "body", "text", "is_whole"),
    [
        ("gzip", packed(b"Not now."), "Not now.", True),
        ("X-GZip", packed(b"Not") + packed(b" now."), "Not now.", True),
        ("gzip", packed(b"Not now.") + bytes(20), "Not now.", True),
        ("deflate", zlib.compress(b"Not now."), "Not now.", True),
        ("deflate", bare_deflate(b"Not now."), "Not now.", True),
        ("identity", b"Not now.", "Not now.", True),
        ("gzip", b"", "", True),
        ("gzip", packed(b"Not now.")[:-9], "Not now.", False),
        ("gzip", b"Not packed.", "", False),
        ("br", b"\x0b\x03\x80Not now.\x03", "", False),
        ("gzip, gzip", packed(packed(b"Not now.")), "", False),
    ],
)
def test_a_packed_answer_is_read(encoding: str, body: bytes, text: str, is_whole: bool) -> None:
    with raw_server(packed_answer(encoding, body)) as url:
        answer = open_client().post(url, b"", {})
    assert (answer.text, answer.complete) == (text, is_whole)


def test_a_packed_answer_comes_out_up_to_the_limit() -> None:
    bomb = gzip.compress(bytes(200_000_000), 9)
    with raw_server(packed_answer("gzip", bomb)) as url:
        answer = open_client().post(url, b"", {})
    assert (len(answer.body), answer.complete) == (ANSWER_LIMIT, False)


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 1_000_003])
def test_a_large_packed_answer_comes_out_whole(size: int) -> None:
    body = random.Random(size).randbytes(size // 2) + b"a" * (size - size // 2)
    with raw_server(packed_answer("gzip", gzip.compress(body))) as url:
        answer = open_client(answer_limit=2_000_000).post(url, b"", {})
    assert (answer.body == body, answer.complete) == (True, True)


def test_what_an_answer_says_has_nothing_that_no_database_keeps() -> None:
    answer = Answer(500, {}, b'{"a\\u0000": ["b\\ud83d", {"c": "d\\u0007\\ne"}, 1.5, null]}', True)
    assert answer.json() == {"a": ["b", {"c": "d\ne"}, 1.5, None]}
    assert Answer(500, {}, b"a\0b\x1b[31m\xff \xc2\x85c\td\n", True).text == "ab[31m\ufffd c\td\n"
    for body, is_whole in ((b"{", True), (b"[" * 100_000, True), (b"{}", False), (b"\xff", True)):
        with pytest.raises(ValueError):
            Answer(200, {}, body, is_whole).json()
