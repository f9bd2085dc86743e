"""The one client for addresses that users typed: only public ones, resolved once, never redirected, limited in time and size.

A client that keeps connections checks each address when it connects, and asks nobody else by that connection."""

import json
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from router.config import Networks
from router.lib.texts import plain_json, plain_text
from router.lib.tls import trusted_authorities

TOTAL_SECONDS = 20.0
CONNECT_SECONDS = 5.0
ANSWER_LIMIT = 64 * 1024
PORTS = (443, 8443)
KEPT_SECONDS = 1.0
"""How long a connection is kept without a request: less than servers keep it, so that none ends just as it is used again."""
USER_AGENT = "router (call tracking)"
NOT_PUBLIC = tuple(
    ip_network(text)
    for text in (
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2002::/16",
        "2001::/32",
        "192.88.99.0/24",
        "::/96",
        "fec0::/10",
        "5f00::/16",
    )
)

Address = IPv4Address | IPv6Address
Resolver = Callable[..., Any]
Sink = Callable[[bytes], object]
"""Takes the pieces of a body in turn."""


class OutgoingError(Exception):
    """No answer came; the message is for people."""


class AddressBlocked(OutgoingError):
    """This server may not reach the address; nothing was sent."""


class ConnectionFailed(OutgoingError):
    """Nobody was reached, so nothing was sent."""


class NoAnswer(OutgoingError):
    """Something was sent and no answer came: the receiver may have acted on it or not."""


@dataclass(frozen=True)
class Answer:
    """What came back. The body is unpacked; it ends at the client's limit (64 kB unless told), when time was up, or where it cannot be
    unpacked; `complete` tells."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    complete: bool

    @property
    def text(self) -> str:
        return plain_text(self.body.decode("utf-8", "replace"))

    def json(self) -> Any:
        """The document, its texts as `text` has them.

        Raises:
            ValueError: the body is no JSON, or did not come whole.
        """
        if not self.complete:
            raise ValueError("the answer is not whole")
        try:
            return plain_json(json.loads(self.body))
        except RecursionError:
            raise ValueError("the answer is nested too deeply") from None


@dataclass
class Outgoing:
    """Sends requests that may reach public addresses by https, and anything inside `allow_private`."""

    allow_private: Networks = ()
    total_seconds: float = field(default=TOTAL_SECONDS, kw_only=True)
    resolver: Resolver = field(default=socket.getaddrinfo, kw_only=True)
    tls: ssl.SSLContext = field(default_factory=trusted_authorities, kw_only=True)
    answer_limit: int = field(default=ANSWER_LIMIT, kw_only=True)
    clock: Callable[[], float] = field(default=time.monotonic, kw_only=True)
    keep_alive: int = field(default=0, kw_only=True)
    """How many connections are kept for the next request to the same receiver; `close` ends them."""
    _kept: "_Connections" = field(init=False, repr=False)
    _thread: threading.local = field(default_factory=threading.local, init=False, repr=False)
    """`attempt`: the request that this thread is at; `has_sent`: see there."""

    def __post_init__(self) -> None:
        self._kept = _Connections(self.keep_alive)

    def close(self) -> None:
        """Ends the connections that are kept."""
        self._kept.close()

    def begin(self) -> None:
        """Something new begins in this thread, of which nothing was sent yet."""
        self._thread.has_sent = False

    @property
    def has_sent(self) -> bool:
        """Whether a byte of a request has left since `begin`, in this thread."""
        return bool(getattr(self._thread, "has_sent", False))

    def deadline(self) -> float:
        """The moment (of `clock`, in seconds) at which requests that begin now have to be over."""
        return self.clock() + self.total_seconds

    def post_json(self, url: str, body: Any, headers: Mapping[str, str], deadline: float | None = None) -> Answer:
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        return self.post(url, content, {"Content-Type": "application/json", **headers}, deadline)

    def post(self, url: str, content: bytes, headers: Mapping[str, str], deadline: float | None = None) -> Answer:
        """As `request`."""
        return self.request("POST", url, content, headers, deadline)

    def request(
        self,
        method: str,
        url: str,
        content: bytes,
        headers: Mapping[str, str],
        deadline: float | None = None,
        sink: Sink | None = None,
    ) -> Answer:
        """
        Args:
            sink: gets the body of an answer 200, which then is not in the Answer; whatever it raises ends the request.

        Raises:
            AddressBlocked, ConnectionFailed: nothing was sent.
            NoAnswer: something was, and no answer came in time.
        """
        check_literal(url, self.allow_private)
        common = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
        if not self.keep_alive:
            common["Connection"] = "close"
        request = httpx.Request(method, url, content=content, headers={**common, **headers})
        scheme, clock = request.url.scheme, self.clock
        attempt = self._thread.attempt = _Attempt(deadline if deadline is not None else self.deadline(), clock, scheme)
        try:
            address = _address_of(request)
            connection = self._kept.take(address.origin) or httpcore.HTTPConnection(
                address.origin,
                ssl_context=self.tls,
                keepalive_expiry=KEPT_SECONDS,
                network_backend=_GuardedBackend(self._thread, self.allow_private, self.resolver),
            )
            try:
                answer = _exchange(connection, address, request, self.answer_limit, sink)
            except BaseException:
                connection.close()
                raise
            self._kept.give(address.origin, connection)
            return answer
        except OutgoingError:
            raise
        except httpcore.TimeoutException:
            if attempt.sent:
                raise NoAnswer("No answer came in time.") from None
            raise ConnectionFailed("No connection was made in time.") from None
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            if attempt.sent:
                raise NoAnswer("The connection ended without an answer.") from None
            raise ConnectionFailed(f"No connection: {str(error)[:200]}.") from None
        finally:
            self._thread.has_sent = self.has_sent or attempt.sent


def check_literal(url: str, allow_private: Networks) -> None:
    """What can be told of an address without asking the network: scheme, port, user info, and the host if it is an address.

    Raises:
        AddressBlocked: it can never be reached from here.
    """
    try:
        _ = urlsplit(url).port  # what one reader of addresses refuses, the other does not get to see
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError, ValueError):
        raise AddressBlocked("This is not an address like https://example.com/path.") from None
    host: Address | None = None
    try:
        host = ip_address(parsed.host.strip("[]").split("%")[0])
    except ValueError:
        with suppress(OSError, UnicodeError):  # as systems read it: decimal, hexadecimal, shortened
            host = IPv4Address(socket.inet_aton(parsed.host))
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise AddressBlocked("The address has to begin with https://.")
    if parsed.userinfo:
        raise AddressBlocked("The address must not contain a user name or a password.")
    if host is not None:
        _check(host, port, parsed.scheme, allow_private)
    elif not allow_private:
        _check_public_way(port, parsed.scheme)


@dataclass
class _Attempt:
    """One request under way: when it has to be over, and whether a byte of it has left."""

    deadline: float
    clock: Callable[[], float]
    scheme: str
    sent: bool = False

    def seconds(self, wanted: float | None, late: type[httpcore.TimeoutException]) -> float:
        left = self.deadline - self.clock()
        if left <= 0:
            raise late("time is up")
        return left if wanted is None else min(wanted, left)


@dataclass
class _GuardedBackend(httpcore.SyncBackend):
    """Looks a name up once, refuses it when any of its addresses is not allowed, and connects to what was checked."""

    thread: threading.local
    """Its `attempt` is the request that connects."""
    allow_private: Networks
    resolver: Resolver

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        attempt: _Attempt = self.thread.attempt
        try:
            entries = self.resolver(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise ConnectionFailed(f"The name {host} cannot be found.") from None
        addresses = list(dict.fromkeys(entry[4][0] for entry in entries))
        for address in addresses:
            _check(ip_address(address.split("%")[0]), port, attempt.scheme, self.allow_private)
        failure: Exception = httpcore.ConnectError("no address")
        for address in addresses:
            seconds = attempt.seconds(CONNECT_SECONDS, httpcore.ConnectTimeout)
            try:
                stream = super().connect_tcp(address, port, seconds, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _LimitedStream(stream, self.thread)
        raise failure

    def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.NetworkStream:
        raise AddressBlocked("Only addresses of the internet can be reached.")


@dataclass
class _LimitedStream(httpcore.NetworkStream):
    """A connection on which every operation ends with the deadline of the request that uses it, however often it moves a byte."""

    stream: httpcore.NetworkStream
    thread: threading.local = field(repr=False)

    @property
    def attempt(self) -> _Attempt:
        attempt: _Attempt = self.thread.attempt
        return attempt

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.stream.read(max_bytes, self.attempt.seconds(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        seconds = self.attempt.seconds(timeout, httpcore.WriteTimeout)
        self.attempt.sent = True
        self.stream.write(buffer, seconds)

    def close(self) -> None:
        self.stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        seconds = self.attempt.seconds(CONNECT_SECONDS, httpcore.ConnectTimeout)
        return _LimitedStream(self.stream.start_tls(ssl_context, server_hostname, seconds), self.thread)

    def get_extra_info(self, info: str) -> Any:
        return self.stream.get_extra_info(info)


class _Connections:
    """Connections for the next request to the same scheme, host and port, at most so many. By place: httpcore's own pool looks at each of
    its connections for every request, whomever it is for."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._idle: dict[tuple[bytes, bytes, int], list[httpcore.HTTPConnection]] = {}
        self._amount = 0

    def take(self, origin: httpcore.Origin) -> httpcore.HTTPConnection | None:
        """The one that was used last, unless the other side has ended it, or it is too old."""
        while True:
            with self._lock:
                idle = self._idle.get(_place_of(origin))
                if not idle:
                    return None
                connection = idle.pop()
                self._amount -= 1
            if not connection.has_expired():
                return connection
            connection.close()

    def give(self, origin: httpcore.Origin, connection: httpcore.HTTPConnection) -> None:
        """Keeps it if it can be used again and there is room, else ends it."""
        if connection.is_idle() and self._amount < self._most:
            with self._lock:
                self._idle.setdefault(_place_of(origin), []).append(connection)
                self._amount += 1
            return
        connection.close()
        if self._amount >= self._most:
            self._end(lambda kept: kept.has_expired())

    def close(self) -> None:
        self._end(lambda kept: True)

    def _end(self, is_over: Callable[[httpcore.HTTPConnection], bool]) -> None:
        with self._lock:
            ended = [kept for idle in self._idle.values() for kept in idle if is_over(kept)]
            left = {place: [kept for kept in idle if kept not in ended] for place, idle in self._idle.items()}
            self._idle = {place: idle for place, idle in left.items() if idle}
            self._amount -= len(ended)
        for kept in ended:
            kept.close()


def _place_of(origin: httpcore.Origin) -> tuple[bytes, bytes, int]:
    return origin.scheme, origin.host, origin.port


def _address_of(request: httpx.Request) -> httpcore.URL:
    return httpcore.URL(
        scheme=request.url.raw_scheme,
        host=request.url.raw_host,
        port=request.url.port,
        target=request.url.raw_path,
    )


def _exchange(
    connection: httpcore.HTTPConnection, address: httpcore.URL, request: httpx.Request, limit: int, sink: Sink | None
) -> Answer:
    with connection.stream(request.method, address, headers=request.headers.raw, content=request.content) as response:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        body, amount, is_complete = bytearray(), 0, True
        take: Sink = body.extend
        if sink is not None:
            take, limit = (sink, limit) if response.status == 200 else (take, ANSWER_LIMIT)
        try:
            for chunk in _unpacked(response.iter_stream(), headers.get("content-encoding", "")):
                take(chunk[: limit - amount])
                amount += len(chunk)
                if amount > limit:
                    is_complete = False
                    break
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, zlib.error):
            is_complete = False
        return Answer(response.status, headers, bytes(body), is_complete)


PIECE = 64 * 1024
"""Bytes that are unpacked at once: a packed kilobyte may hold a megabyte."""


def _unpacked(stream: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The pieces of a body whose Content-Encoding is this. We ask for none; some servers pack every answer all the same.

    Raises:
        zlib.error: it is packed in another way, or wrongly.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        yield from stream
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise zlib.error(f"unknown encoding {encoding}")
    unpacker = None
    for packed in stream:
        while packed:
            if unpacker is None:
                # deflate stands for zlib's format; some servers leave its head away, which begins with 8 in the lower half byte
                is_bare = encoding == "deflate" and packed[0] & 0x0F != 8
                unpacker = zlib.decompressobj(-zlib.MAX_WBITS if is_bare else zlib.MAX_WBITS | 32)
            piece = unpacker.decompress(packed, PIECE)
            yield piece
            while len(piece) == PIECE:
                piece = unpacker.decompress(unpacker.unconsumed_tail, PIECE)
                yield piece
            packed = b""
            if unpacker.eof:
                packed, unpacker = unpacker.unused_data, None
                if packed and not packed.startswith(b"\x1f\x8b"):  # no further file, but filling
                    return
    if unpacker is not None:
        raise zlib.error("it ends in the middle")


def _check(address: Address, port: int, scheme: str, allow_private: Networks) -> None:
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if any(address in network for network in allow_private):
        return
    special = any(address in network for network in NOT_PUBLIC)
    if special or not address.is_global or address.is_multicast or address.is_reserved:
        raise AddressBlocked(f"{address} is not a public address; the operator can allow it with ROUTER_ALLOW_PRIVATE.")
    _check_public_way(port, scheme)


def _check_public_way(port: int, scheme: str) -> None:
    if scheme != "https":
        raise AddressBlocked("The address has to begin with https://.")
    if port not in PORTS:
        raise AddressBlocked(f"Port {port} is not allowed, only 443 and 8443.")
