"""Sends the carrier's requests as Twilio does: signed, with its time limits, retries, redirects and cookies."""

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx

from router.carriers.simulator.clock import Clock
from router.carriers.simulator.phone_call import Exchange
from router.carriers.simulator.twiml import LARGEST_DOCUMENT, CallError

MOST_REDIRECTS = 10
LONGEST_REQUEST = 15.0
REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Answer:
    """What came back. `url` is where it came from in the end: relative addresses in the document count from there."""

    url: str
    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True)
class Retries:
    """How often and after what a request is repeated: `#rc=2&rp=all` at the end of its address."""

    count: int = 1
    after: frozenset[str] = frozenset({"ct"})

    def cover(self, problem: str) -> bool:
        return problem in self.after or "all" in self.after


def split_retries(url: str) -> tuple[str, Retries]:
    """The address as it is requested and signed, and what its fragment says about retries."""
    address, _, fragment = url.partition("#")
    said = dict(part.partition("=")[::2] for part in fragment.split("&") if part)
    count = int(said["rc"]) if re.fullmatch(r"[0-5]", said.get("rc", "")) else Retries.count
    after = frozenset(said["rp"].split(",")) if said.get("rp") else Retries.after
    return address, Retries(count, after)


def signature(token: str, url: str, values: dict[str, str]) -> str:
    """X-Twilio-Signature: the address (without its port over https) and the sorted form, under the account's token."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.port:
        url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition(":")[0]))
    text = url + "".join(name + values[name] for name in sorted(values))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


class Courier:
    """Sends the requests about one call; cookies are kept as long as it lives."""

    def __init__(self, token: str, clock: Clock, log: list[Exchange], longest: float = LONGEST_REQUEST) -> None:
        self._token = token
        self._clock = clock
        self._log = log
        timeout = httpx.Timeout(longest, connect=min(longest, 5.0))
        self._client = httpx.Client(timeout=timeout, trust_env=False, headers={"User-Agent": "TwilioProxy/1.1"})

    def close(self) -> None:
        self._client.close()

    def send(self, kind: str, url: str, values: dict[str, str], method: str = "POST") -> Answer:
        """
        Raises:
            CallError: nothing usable came back, after the retries that the address asks for.
        """
        address, retries = split_retries(url)
        token = secrets.token_hex(16)
        for attempt in range(retries.count + 1):
            try:
                return self._follow(kind, address, values, method, token)
            except _Problem as problem:
                if attempt == retries.count or not retries.cover(problem.policy):
                    raise CallError(problem.code, problem.message) from None
        raise AssertionError("the last attempt returns or raises")

    def _follow(self, kind: str, url: str, values: dict[str, str], method: str, token: str) -> Answer:
        for _ in range(MOST_REDIRECTS + 1):
            answer, location = self._once(kind, url, values, method, token)
            if location is None:
                return answer
            url = urljoin(url, location).partition("#")[0]
            method = method if answer.status in (307, 308) else "GET"
        raise _Problem(11215, "more than ten redirects", "")

    def _once(self, kind: str, url: str, values: dict[str, str], method: str, token: str) -> tuple[Answer, str | None]:
        request = self._request(url, values, method, token)
        exchange = Exchange(kind, self._clock.now(), method, str(request.url), dict(values))
        self._log.append(exchange)
        try:
            answer, location = self._read(request)
        except httpx.ConnectError as error:
            raise _noted(exchange, 11200, f"no connection: {error}", "ct") from None
        except httpx.TimeoutException as error:
            policy = "ct" if isinstance(error, httpx.ConnectTimeout) else "rt"
            raise _noted(exchange, 11205, "no answer in time", policy) from None
        except httpx.HTTPError as error:
            raise _noted(exchange, 11200, f"the connection broke: {type(error).__name__}", "rt") from None
        exchange.status, exchange.content_type = answer.status, answer.content_type
        exchange.body = answer.body.decode("utf-8", "replace")
        if answer.status >= 400:
            raise _noted(exchange, 11200, f"HTTP {answer.status}", f"{answer.status // 100}xx")
        return answer, location

    def _request(self, url: str, values: dict[str, str], method: str, token: str) -> httpx.Request:
        if method == "GET":
            request = self._client.build_request("GET", httpx.URL(url).copy_merge_params(values))
            signed: dict[str, str] = {}
        else:
            request = self._client.build_request("POST", url, data=values)
            signed = values
        request.headers["X-Twilio-Signature"] = signature(self._token, str(request.url), signed)
        request.headers["I-Twilio-Idempotency-Token"] = token
        return request

    def _read(self, request: httpx.Request) -> tuple[Answer, str | None]:
        """The answer, of which at most one byte more than a document may have is read."""
        response = self._client.send(request, stream=True)
        try:
            body = b""
            for piece in response.iter_bytes():
                body += piece
                if len(body) > LARGEST_DOCUMENT:
                    break
        finally:
            response.close()
        content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        location = response.headers.get("Location") if response.status_code in REDIRECTS else None
        return Answer(str(request.url), response.status_code, content_type, body), location


class _Problem(Exception):
    def __init__(self, code: int, message: str, policy: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.policy = policy


def _noted(exchange: Exchange, code: int, message: str, policy: str) -> _Problem:
    exchange.error = f"{code}: {message}"
    return _Problem(code, message, policy)
