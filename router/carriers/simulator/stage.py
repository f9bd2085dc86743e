"""Where a call plays: its time (real, faster or virtual), and its requests, signed, repeated and redirected as Twilio does it.

Everything that takes time waits here, so that a caller can hang up in it."""

import base64
import hashlib
import hmac
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx

from router.carriers.simulator.call import Button, CallRecording, Exchange, Faults, Leg, PhoneCall
from router.carriers.simulator.twiml import LARGEST_DOCUMENT, CallError, Element, read_document
from router.lib.tls import trusted_authorities

Message = TypeVar("Message")


class Clock(Protocol):
    stands_still: bool
    """Whether no time passes while requests are answered."""

    def now(self) -> datetime: ...

    def wait(self, until: datetime, inbox: "SimpleQueue[Message]") -> Message | None:
        """The next message, or None once it is `until`."""


class RealClock:
    """Time passes `speed` times as fast as outside."""

    stands_still = False

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed
        self._began = datetime.now(UTC)
        self._zero = time.monotonic()

    def now(self) -> datetime:
        return self._began + timedelta(seconds=(time.monotonic() - self._zero) * self._speed)

    def wait(self, until: datetime, inbox: "SimpleQueue[Message]") -> Message | None:
        left = (until - self.now()).total_seconds() / self._speed
        try:
            return inbox.get(timeout=left) if left > 0 else inbox.get_nowait()
        except Empty:
            return None


class VirtualClock:
    """Nobody waits in real time: whoever waits makes the time pass. `now` can be given to the server as its clock."""

    stands_still = True

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return self._now

    def wait(self, until: datetime, inbox: "SimpleQueue[Message]") -> Message | None:
        try:
            return inbox.get_nowait()
        except Empty:
            with self._lock:
                self._now = max(self._now, until)
            return None


MOST_REDIRECTS = 10
LONGEST_REQUEST = 15.0
"""Seconds of all tries of a request together."""
REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Answer:
    """What came back. `url` is where it came from in the end: relative addresses in the document count from there."""

    url: str
    content_type: str
    body: bytes


@dataclass(frozen=True)
class Overrides:
    """What the fragment of an address says about its requests, `#ct=1000&rt=3500&rc=2&rp=all`: times in seconds, and how often and after
    what a request is repeated."""

    connect: float = 5.0
    read: float = LONGEST_REQUEST
    """Until the first byte, and between two."""
    total: float = LONGEST_REQUEST
    """Of all tries together."""
    count: int = 1
    after: frozenset[str] = frozenset({"ct"})

    def cover(self, problem: str) -> bool:
        return problem in self.after or "all" in self.after


def split_overrides(url: str) -> tuple[str, Overrides]:
    """The address as it is requested and signed, and what its fragment says. A value that is out of its range counts for nothing."""
    address, _, fragment = url.partition("#")
    options = dict(part.partition("=")[::2] for part in fragment.split("&") if part)
    times = {
        field: int(options[name]) / 1000
        for name, field, most in (("ct", "connect", 10_000), ("rt", "read", 15_000), ("tt", "total", 15_000))
        if re.fullmatch(r"[0-9]{3,5}", options.get(name, "")) and 100 <= int(options[name]) <= most
    }
    count = int(options["rc"]) if re.fullmatch(r"[0-5]", options.get("rc", "")) else Overrides.count
    after = frozenset(options["rp"].split(",")) if options.get("rp") else Overrides.after
    return address, Overrides(**times, count=count, after=after)


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
        self._longest = longest
        self._client = httpx.Client(
            trust_env=False, verify=trusted_authorities(), headers={"User-Agent": "TwilioProxy/1.1"}
        )

    def close(self) -> None:
        self._client.close()

    def send(self, kind: str, url: str, values: dict[str, str], method: str = "POST") -> Answer:
        """
        Raises:
            CallError: nothing usable came back, after the retries that the address asks for and within the time of all tries.
        """
        address, overrides = split_overrides(url)
        token = secrets.token_hex(16)
        deadline = time.monotonic() + min(self._longest, overrides.total)
        for attempt in range(overrides.count + 1):
            try:
                return self._attempt(kind, address, values, method, token, overrides, deadline)
            except _Problem as problem:
                is_last = attempt == overrides.count or time.monotonic() >= deadline
                if is_last or not overrides.cover(problem.policy):
                    raise CallError(problem.code, problem.message) from None
        raise AssertionError("the last attempt returns or raises")

    def _attempt(
        self,
        kind: str,
        url: str,
        values: dict[str, str],
        method: str,
        token: str,
        overrides: Overrides,
        deadline: float,
    ) -> Answer:
        """One attempt with its redirects. Of a body at most one byte more than a document may have is kept."""
        for _ in range(MOST_REDIRECTS + 1):
            if method == "GET":
                request = self._client.build_request("GET", httpx.URL(url).copy_merge_params(values))
                signed: dict[str, str] = {}
            else:
                request = self._client.build_request("POST", url, data=values)
                signed = values
            request.headers["X-Twilio-Signature"] = signature(self._token, str(request.url), signed)
            request.headers["I-Twilio-Idempotency-Token"] = token
            exchange = Exchange(kind, self._clock.now(), method, str(request.url), dict(values))
            self._log.append(exchange)
            body = b""
            left = max(deadline - time.monotonic(), 0.001)
            read = min(overrides.read, left)
            request.extensions["timeout"] = httpx.Timeout(read, connect=min(overrides.connect, left)).as_dict()
            try:
                with closing(self._client.send(request, stream=True)) as response:
                    for piece in response.iter_bytes():
                        body += piece
                        if len(body) > LARGEST_DOCUMENT:
                            break
                        if time.monotonic() >= deadline:
                            raise httpx.ReadTimeout("the time of all tries is over")
            except httpx.ConnectError as error:
                raise _noted(exchange, 11200, f"no connection: {error}", "ct") from None
            except httpx.TimeoutException as error:
                policy = "ct" if isinstance(error, httpx.ConnectTimeout) else "rt"
                raise _noted(exchange, 11205, "no answer in time", policy) from None
            except httpx.HTTPError as error:
                raise _noted(exchange, 11200, f"the connection broke: {type(error).__name__}", "rt") from None
            exchange.status, exchange.body = response.status_code, body.decode("utf-8", "replace")
            exchange.content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if exchange.status >= 400:
                raise _noted(exchange, 11200, f"HTTP {exchange.status}", f"{exchange.status // 100}xx")
            if exchange.status not in REDIRECTS or "Location" not in response.headers:
                return Answer(exchange.url, exchange.content_type, body)
            url = urljoin(url, response.headers["Location"]).partition("#")[0]
            method = method if exchange.status in (307, 308) else "GET"
        raise _Problem(11215, "more than ten redirects", "")


class _Problem(Exception):
    def __init__(self, code: int, message: str, policy: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.policy = policy


def _noted(exchange: Exchange, code: int, message: str, policy: str) -> _Problem:
    exchange.error = f"{code}: {message}"
    return _Problem(code, message, policy)


SOUND_TYPES = {
    f"audio/{word}" for word in ["mpeg", "wav", "wave", "x-wav", "aiff", "x-aifc", "x-aiff", "x-gsm", "gsm", "ulaw"]
}
TWIML_TYPES = ("text/xml", "application/xml", "text/html")
MOST_DOCUMENTS = 50
MOST_SENDERS = 8
"""Callbacks of one call that are under way at once."""


class CallerGone(Exception):
    """The caller hung up."""


class Redirected(Exception):
    """The account's owner wants the call to go on at another address."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


@dataclass(frozen=True)
class Document:
    """TwiML and the address it came from."""

    url: str
    verbs: tuple[Element, ...]


@dataclass(order=True)
class Callback:
    """A message about the call that does not steer it."""

    due: datetime
    turn: int
    kind: str = field(compare=False)
    url: str = field(compare=False)
    values: dict[str, str] = field(compare=False)
    method: str = field(compare=False)


class Stage:
    """One call with what it needs to be played. `hangs_up_at` is when the caller will hang up, None: not by himself.

    `keep` writes the call as it is into the carrier's book. `recordings` is the address below which its recordings are.
    """

    def __init__(
        self,
        call: PhoneCall,
        clock: Clock,
        courier: Courier,
        faults: Faults,
        recordings: str = "",
        keep: Callable[[PhoneCall], None] = lambda _: None,
    ) -> None:
        self.call = call
        self.clock = clock
        self.faults = faults
        self.heeds_keys = False
        self._recordings = recordings
        self._keep = keep
        patience = call.script.gives_up_after
        self.hangs_up_at = None if patience is None else call.began_at + timedelta(seconds=patience)
        self._courier = courier
        self._held: list[Callback] = []
        self._order = count()
        self._turns: Counter[str] = Counter()
        self._under_way: list[Future[None]] = []
        self._senders = ThreadPoolExecutor(MOST_SENDERS, "callback")
        self._documents = 0

    def after(self, seconds: float) -> datetime:
        return self.clock.now() + timedelta(seconds=seconds)

    def wait(self, until: datetime) -> Button | None:
        """What somebody on the company's side does, or None once it is `until`; callbacks that are due go out meanwhile.

        A key of the caller is kept in `call.digits`; with `heeds_keys` it ends the wait, too.

        Raises:
            CallerGone: the caller hangs up before.
            Redirected: the call is to go on elsewhere.
        """
        while True:
            end = min(until, self.hangs_up_at or until)
            next_stop = min([end] + [callback.due for callback in self._held if not self.faults.disorder])
            button = self._wait(next_stop)
            if button is not None and button.leg:
                return button
            if button is not None:
                if button.what == "hang_up":
                    raise CallerGone
                if button.what == "redirect":
                    raise Redirected(button.url)
                self.call.digits += button.digits
                if self.heeds_keys and button.digits:
                    return button
            elif next_stop < end:
                self._post_due(next_stop)
            elif end == self.hangs_up_at:
                raise CallerGone
            else:
                return None

    def _wait(self, until: datetime) -> Button | None:
        if self.clock.stands_still and until > self.clock.now():
            wait_for(self._under_way)
        return self.clock.wait(until, self.call.inbox)

    def pause(self, seconds: float) -> None:
        until = self.after(seconds)
        while (button := self.wait(until)) is not None:
            if not button.leg:
                return

    def listen(self, seconds: float) -> bool:
        """Waits for a key of the caller; whether one was pressed in time."""
        known, self.heeds_keys = len(self.call.digits), True
        try:
            self.pause(seconds)
        finally:
            self.heeds_keys = False
        return len(self.call.digits) > known

    def answer(self) -> None:
        """The inbound leg is answered: it costs from now on."""
        if self.call.answered_at is None:
            self.call.answered_at = self.clock.now()
            self.call.status = "in-progress"
            self.keep()

    def keep(self) -> None:
        """Writes the call into the carrier's book."""
        self._keep(self.call)

    def recording_url(self, recording: CallRecording) -> str:
        return f"{self._recordings}/{recording.sid}"

    def fetch(self, kind: str, base: str, url: str, values: dict[str, str], method: str = "POST") -> Document:
        """The document at an address, relative to the one it stands in.

        Raises:
            CallError: nothing that can be played came back.
        """
        self._documents += 1
        if self._documents > MOST_DOCUMENTS:
            raise CallError(11215, "the call goes round in circles")
        address = urljoin(base, url)
        answer = self._courier.send(kind, address, values, method)
        if self.faults.twice:
            # Twilio may send the same request twice: the same document has to come back
            again = self._courier.send(kind, address, values, method)
            if again.body != answer.body:
                self.call.errors.append(f"0: the {kind} request was answered differently the second time")
        if answer.content_type in TWIML_TYPES:
            verbs = read_document(answer.body)
        elif answer.content_type == "text/plain":
            try:
                verbs = read_document(answer.body)
            except CallError:  # no TwiML: the text is read aloud
                verbs = (Element("Say", {}, answer.body.decode("utf-8", "replace")), Element("Hangup"))
        elif answer.content_type.startswith("audio/"):
            verbs = (Element("Play", {}, answer.url), Element("Hangup"))
        elif not answer.body.strip():
            raise CallError(11770, "the answer has no body")
        else:
            raise CallError(12300, f"a document of type {answer.content_type or '(none)'} cannot be played")
        return Document(answer.url, verbs)

    def fetch_sound(self, base: str, url: str) -> None:
        """The file that a <Play> names (https://www.twilio.com/docs/voice/twiml/play).

        Raises:
            CallError: nothing that can be played came back.
        """
        answer = self._courier.send("sound", urljoin(base, url), {}, "GET")
        if answer.content_type not in SOUND_TYPES:
            raise CallError(13420, f"a sound of type {answer.content_type or '(none)'} cannot be played")
        if not answer.body:
            raise CallError(13420, "the sound is empty")

    def callback(
        self,
        kind: str,
        base: str,
        url: str | None,
        values: dict[str, str],
        method: str = "POST",
        seconds: float = 0.0,
    ) -> None:
        """Posts a callback in so many seconds, or keeps it to come later still; as often as the plan says."""
        if not url:
            return
        turn, self._turns[kind] = self._turns[kind], self._turns[kind] + 1
        for late in self.faults.plan(self.call.place, kind, turn) * (2 if self.faults.twice else 1):
            due = self.after(seconds + self.faults.late + late)
            self._held.append(Callback(due, next(self._order), kind, urljoin(base, url), values, method))
        if not self.faults.disorder:
            self._post_due(self.clock.now())

    def flush(self) -> None:
        """Posts what is still held; in disorder the last goes first. Whoever hangs up now is in a hurry: nothing is late any more."""
        is_hurried = self.faults.disorder
        for callback in sorted(self._held, reverse=self.faults.disorder):
            while not is_hurried and callback.due > self.clock.now():
                button = self._wait(callback.due)
                is_hurried = button is not None and button.what == "hang_up" and not button.leg
            self._post(callback)

    def close(self) -> None:
        """Waits until every callback is answered."""
        self._senders.shutdown()
        for sent in self._under_way:
            sent.result()

    def _post_due(self, moment: datetime) -> None:
        for callback in sorted(callback for callback in self._held if callback.due <= moment):
            self._post(callback)

    def _post(self, callback: Callback) -> None:
        self._held.remove(callback)
        if self.faults.parallel:
            self._under_way.append(self._senders.submit(self._send, callback))
        else:
            self._send(callback)

    def _send(self, callback: Callback) -> None:
        try:
            answer = self._courier.send(callback.kind, callback.url, callback.values, callback.method)
        except CallError as error:
            self.call.errors.append(str(error))
            return
        if answer.body.strip() and answer.content_type not in TWIML_TYPES:
            self.call.errors.append(f"12300: a {callback.kind} callback was answered with {answer.content_type}")

    def parent_values(self, **more: str) -> dict[str, str]:
        """The form of a request about the inbound leg."""
        call = self.call
        values = {
            "AccountSid": call.account_sid,
            "ApiVersion": "2010-04-01",
            "CallSid": call.sid,
            "CallStatus": call.status,
            "Called": call.to,
            "Caller": call.caller,
            "Direction": "inbound",
            "From": call.caller,
            "FromCity": "",
            "To": call.to,
            "ToCity": "",
        }
        return values | call.signalling.values() | more

    def leg_values(self, leg: Leg, caller_id: str, **more: str) -> dict[str, str]:
        """The form of a request about a destination that is rung: its own sid, with the inbound leg as parent."""
        values = {
            "AccountSid": self.call.account_sid,
            "ApiVersion": "2010-04-01",
            "CallSid": leg.sid,
            "CallStatus": leg.status,
            "Called": leg.to,
            "Caller": caller_id,
            "Direction": "outbound-dial",
            "From": caller_id,
            "ParentCallSid": self.call.sid,
            "To": leg.to,
        }
        return values | more

    def progress_values(self, sequence: int) -> dict[str, str]:
        return {
            "CallbackSource": "call-progress-events",
            "SequenceNumber": str(sequence),
            "Timestamp": format_datetime(self.clock.now()),
        }


def duration_values(seconds: int) -> dict[str, str]:
    """`CallDuration` is in seconds; `Duration` in minutes begun."""
    return {"CallDuration": str(seconds), "Duration": str(-(-seconds // 60))}
