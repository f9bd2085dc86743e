"""The simulated exchange: calls to a server under test or to the demo, in this thread, in others, or over HTTP on the loopback."""

import hmac
import json
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from router.carriers.simulator.call import (
    AFTER_HANG_UP,
    Button,
    CallerScript,
    Chance,
    Exchange,
    Faults,
    Line,
    PhoneCall,
    Signalling,
)
from router.carriers.simulator.call_book import CallBook
from router.carriers.simulator.player import Addresses, Player
from router.carriers.simulator.stage import LONGEST_REQUEST, Clock, Courier, RealClock, Stage
from router.carriers.simulator.twiml import CallError

ACCOUNT = "AC" + "5" * 32
MOST_CALLS_AT_ONCE = 32
KEPT_CALLS = 50
PATIENT_LINE = Line.answers()
UNSAID = Signalling()
NO_REST = "https://api.simulator.invalid"


class Simulator:
    """The carrier of one server at `base_url`, signing with `token`.

    `rented` tells the addresses that a number was given when it was bought; a call to any other number (None) is played with ours.
    `signer` tells SID and token of another account that has a number (None: the carrier's only one), with which its calls are signed.
    `lines` says what each destination does, under `*` what all others do. Calls are kept in `book`; `rest_url` is the account's
    REST side. `call()` plays a call to its end and returns it; `start()` plays it beside us, `press()` acts in it, `find()` shows it.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        clock: Clock | None = None,
        lines: Mapping[str, Line] | None = None,
        owned: Iterable[str] = (),
        faults: Faults | None = None,
        longest_request: float = LONGEST_REQUEST,
        rented: Callable[[str], Addresses | None] = lambda _: None,
        signer: Callable[[str], tuple[str, str] | None] = lambda _: None,
        account: str = ACCOUNT,
        book: CallBook | None = None,
        rest_url: str = NO_REST,
    ) -> None:
        self.clock = clock or RealClock()
        self.lines = {"*": PATIENT_LINE} | dict(lines or {})
        self.faults = faults or Faults()
        self.addresses = Addresses(*(f"{base_url}/voice/{name}" for name in ("inbound", "fallback", "status", "sms")))
        self.rest_url = rest_url
        self._own = account, token
        self._signer = signer
        self._book = book
        self._owned = set(owned)
        self._longest_request = longest_request
        self._rented = rented
        self._calls: dict[str, PhoneCall] = {}
        self._placed = 0
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(MOST_CALLS_AT_ONCE, "call")

    def call(
        self,
        caller: str,
        to: str,
        script: CallerScript | None = None,
        sid: str = "",
        signalling: Signalling = UNSAID,
    ) -> PhoneCall:
        """Plays a call to its end. `caller` is what the carrier says, e.g. `anonymous`; a `sid` makes it the same call again."""
        call = self._new_call(caller, to, script, sid, signalling)
        self._play(call)
        return call

    def start(
        self, caller: str, to: str, script: CallerScript | None = None, signalling: Signalling = UNSAID
    ) -> tuple[PhoneCall, "Future[None]"]:
        """Plays a call in a thread of its own."""
        call = self._new_call(caller, to, script, "", signalling)
        return call, self._threads.submit(self._play, call)

    def text(self, sender: str, to: str, body: str, sid: str = "") -> Exchange:
        """Sends a text message to a number, as one request with the retries that its address asks for; a `sid` makes it the same message
        again.

        Raises:
            CallError: nothing usable came back, or the number takes no messages.
        """
        addresses = self._rented(to) or self.addresses
        if not addresses.sms:
            raise CallError(11200, "the number has no address for messages")
        sid = sid or f"SM{secrets.token_hex(16)}"
        account, token = self._signer(to) or self._own
        values = {"MessageSid": sid, "SmsSid": sid, "SmsMessageSid": sid, "AccountSid": account}
        values |= {"From": sender, "To": to, "Body": body, "NumMedia": "0", "NumSegments": "1", "SmsStatus": "received"}
        log: list[Exchange] = []
        courier = Courier(token, self.clock, log, self._longest_request)
        try:
            courier.send("sms", addresses.sms, values, addresses.sms_method)
        finally:
            courier.close()
        return log[-1]

    def press(self, call: PhoneCall, button: Button) -> None:
        call.inbox.put(button)

    def redirect(self, sid: str, url: str) -> bool:
        """The call goes on at this address, whatever it does now; False when nobody is on the line."""
        call = self.find(sid)
        if call is None or call.status != "in-progress" or call.ended_at is not None:
            return False
        self.press(call, Button("redirect", url=url))
        return True

    def find(self, sid: str) -> PhoneCall | None:
        return self._calls.get(sid)

    def latest(self) -> list[PhoneCall]:
        with self._lock:
            return list(reversed(self._calls.values()))

    def close(self) -> None:
        """Hangs up every call that is still played, and waits for its end and its last callback."""
        for call in self.latest():
            self.press(call, Button("hang_up"))
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _new_call(
        self, caller: str, to: str, script: CallerScript | None, sid: str, signalling: Signalling
    ) -> PhoneCall:
        script = script or CallerScript()
        account, _ = self._signer(to) or self._own
        call = PhoneCall(caller, to, script, self.clock.now(), account, digits=script.digits, signalling=signalling)
        call.sid = sid or call.sid
        with self._lock:
            call.place, self._placed = self._placed, self._placed + 1
            self._calls[call.sid] = call
            for old in list(self._calls)[:-KEPT_CALLS]:
                del self._calls[old]
        self._keep(call)
        return call

    def _keep(self, call: PhoneCall) -> None:
        if self._book is not None:
            is_own = call.account_sid == self._own[0]
            (self._book if is_own else CallBook(self._book.path, call.account_sid)).keep(call)

    def _play(self, call: PhoneCall) -> None:
        _, token = self._signer(call.to) or self._own
        courier = Courier(token, self.clock, call.exchanges, self._longest_request)
        recordings = f"{self.rest_url}/2010-04-01/Accounts/{call.account_sid}/Recordings"
        stage = Stage(call, self.clock, courier, self.faults, recordings, self._keep)
        try:
            addresses = self._rented(call.to) or self.addresses
            Player(stage, addresses, self.lines, self._owned).run()
            stage.close()
        finally:
            courier.close()
            call.ended_at = call.ended_at or self.clock.now()


LARGEST_BODY = 256 * 1024
MOST_IGNORED = 1024 * 1024
"""Bytes of a body too large that are read all the same: a connection closed before that would take its answer away."""

LONGEST_NUMBER = 80
LONGEST_HEADER = 1024
SIGNALLED = tuple(field.name for field in fields(Signalling))
BUTTONS = ("answer", "busy", "no_answer", "hang_up", "press")

Reply = tuple[int, str, bytes]
Mount = Callable[[str, str, Mapping[str, str], bytes], Reply]
"""Answers requests below a path: method, whole path with its query, headers (`Content-Type`, in this spelling), body."""


class Handler(BaseHTTPRequestHandler):
    server: "ControlServer"
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        length = self.headers.get("Content-Length") or "0"
        if length.isdigit() and int(length) <= LARGEST_BODY:
            headers = {name.title(): value for name, value in self.headers.items()}
            status, kind, body = self.server.reply(self.command, self.path, headers, self.rfile.read(int(length)))
        else:
            self.close_connection = True
            self.rfile.read(min(int(length), MOST_IGNORED) if length.isdigit() else 0)
            status, kind, body = 413, "text/plain", b"The body is too large."
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body if status != 204 else b"")

    do_POST = do_DELETE = do_GET

    def log_message(self, format: str, *values: Any) -> None:
        """Calls are shown on the telephone's page, not in a log."""


class ControlServer(ThreadingHTTPServer):
    """Serves `simulator` to whoever knows `key` (as a bearer token), and `mounts` to everybody, by the start of the path.

    `POST /calls {from, to, forwarded_from?, stir_verstat?, diversion?}` · `GET /calls` · `GET /calls/<sid>` ·
    `POST /calls/<sid>/press {what, leg?, digits?}` ·
    `POST /messages {from, to, body}` ·
    `POST /faults {parallel?, seed?, lost?, doubled?, late?, latest?, after_hang_up?, status_first?}` for the calls that follow
    """

    daemon_threads = True

    def __init__(
        self, simulator: Simulator, key: str, port: int = 0, mounts: Mapping[str, Mount] | None = None
    ) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.simulator = simulator
        self._key = key
        self._mounts = dict(mounts or {})
        self.address = f"http://127.0.0.1:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()
        self.simulator.close()

    def reply(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        for start, mount in self._mounts.items():
            if path.startswith(start):
                return mount(method, path, headers, body)
        bearer = headers.get("Authorization", "")
        if not hmac.compare_digest(bearer.encode(), f"Bearer {self._key}".encode()):
            return _json(401, {"detail": "The key of the simulated exchange is missing."})
        parts = path.strip("/").split("/")
        if parts == ["calls"] and method == "POST":
            values = _read(body)
            caller, to = values.get("from", ""), values.get("to", "")
            if not isinstance(caller, str) or not isinstance(to, str) or not to or len(caller + to) > LONGEST_NUMBER:
                return _json(422, {"detail": "A call needs `to`, the number it dials, and `from`, who calls."})
            said = {name: values.get(name, "") for name in SIGNALLED}
            if not all(isinstance(value, str) and len(value) <= LONGEST_HEADER for value in said.values()):
                return _json(422, {"detail": f"{', '.join(SIGNALLED)} are texts of the network."})
            call, _ = self.simulator.start(caller, to, signalling=Signalling(**said))
            return _json(201, self._document(call))
        if parts == ["messages"] and method == "POST":
            return self._text(_read(body))
        if parts == ["calls"]:
            documents = [self._document(call) for call in self.simulator.latest()]
            for document in documents:
                del document["log"]
            return _json(200, {"items": documents})
        if parts == ["faults"] and method == "POST":
            try:
                self.simulator.faults = read_faults(_read(body))
            except ValueError as error:
                return _json(422, {"detail": str(error)})
            return 204, "", b""
        running = self.simulator.find(parts[1]) if len(parts) > 1 and parts[0] == "calls" else None
        if running is None:
            return _json(404, {"detail": "There is no such call."})
        if method != "POST" or parts[2:] != ["press"]:
            return _json(200, self._document(running))
        values = _read(body)
        what, leg, digits = values.get("what"), str(values.get("leg") or ""), str(values.get("digits") or "")
        if what not in BUTTONS:
            return _json(422, {"detail": f"There is no such button; there are {', '.join(BUTTONS)}."})
        self.simulator.press(running, Button(what, leg[:64], digits[:32]))
        return _json(202, self._document(running))

    def _text(self, values: Mapping[str, Any]) -> Reply:
        sent = [values.get(name, "") for name in ("from", "to", "body")]
        if not all(isinstance(value, str) for value in sent) or not sent[1] or len(sent[0] + sent[1]) > LONGEST_NUMBER:
            return _json(422, {"detail": "A message needs `to`, `from`, who writes, and `body`."})
        try:
            exchange = self.simulator.text(sent[0], sent[1], sent[2][:1600])
        except CallError as error:
            return _json(502, {"detail": str(error)})
        return _json(201, {"sid": exchange.values["MessageSid"], "status": exchange.status})

    def _document(self, call: PhoneCall) -> dict[str, Any]:
        return call.document(self.simulator.clock.now())


def read_faults(values: Mapping[str, Any]) -> Faults:
    """How the carrier shall behave. `lost`, `doubled` and `late` are chances, `latest` is in seconds, `after_hang_up` one of AFTER_HANG_UP.

    Raises:
        ValueError: a value is none of these.
    """
    numbers: dict[str, float] = {}
    for name, most in (("lost", 1), ("doubled", 1), ("late", 1), ("latest", 3600), ("seed", 2**32)):
        value = values.get(name, 0)
        if not isinstance(value, int | float) or not 0 <= value <= most:
            raise ValueError(f"`{name}` is a number from 0 to {most}.")
        numbers[name] = float(value)
    after = values.get("after_hang_up", "no-answer")
    if after not in AFTER_HANG_UP:
        raise ValueError(f"`after_hang_up` is one of {', '.join(AFTER_HANG_UP)}.")
    return Faults(
        parallel=bool(values.get("parallel")),
        plan=Chance(int(numbers.pop("seed")), **numbers),
        after_hang_up=replace(AFTER_HANG_UP[after], status_first=bool(values.get("status_first"))),
    )


def _read(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _json(status: int, document: Any) -> Reply:
    return status, "application/json", json.dumps(document).encode()
