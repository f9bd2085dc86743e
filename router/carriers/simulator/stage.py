"""Where a call plays: its time, its requests, its callbacks. Everything that takes time waits here, so that a caller can hang up in it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from urllib.parse import urljoin

from router.carriers.simulator.clock import Clock
from router.carriers.simulator.courier import Answer, Courier
from router.carriers.simulator.lines import Ways
from router.carriers.simulator.phone_call import Button, Leg, PhoneCall
from router.carriers.simulator.twiml import CallError, Element, read_document

TWIML_TYPES = ("text/xml", "application/xml", "text/html")
MOST_DOCUMENTS = 50


class CallerGone(Exception):
    """The caller hung up."""


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
    """One call with what it needs to be played. `hangs_up_at` is when the caller will hang up, None: not by himself."""

    def __init__(self, call: PhoneCall, clock: Clock, courier: Courier, ways: Ways) -> None:
        self.call = call
        self.clock = clock
        self.ways = ways
        patience = call.script.gives_up_after
        self.hangs_up_at = None if patience is None else call.began_at + timedelta(seconds=patience)
        self._courier = courier
        self._held: list[Callback] = []
        self._documents = 0

    def after(self, seconds: float) -> datetime:
        return self.clock.now() + timedelta(seconds=seconds)

    def wait(self, until: datetime) -> Button | None:
        """What somebody on the company's side does, or None once it is `until`; callbacks that are due go out meanwhile.

        Raises:
            CallerGone: the caller hangs up before.
        """
        while True:
            end = min(until, self.hangs_up_at or until)
            next_stop = min([end] + [callback.due for callback in self._held if not self.ways.disorder])
            button = self.clock.wait(next_stop, self.call.inbox)
            if button is not None:
                if self._is_company(button):
                    return button
            elif next_stop < end:
                self._post_due(next_stop)
            elif end == self.hangs_up_at:
                raise CallerGone
            else:
                return None

    def _is_company(self, button: Button) -> bool:
        if button.leg:
            return True
        if button.what == "hang_up":
            raise CallerGone
        self.call.digits += button.digits
        return False

    def pause(self, seconds: float) -> None:
        until = self.after(seconds)
        while self.wait(until) is not None:
            pass

    def answer(self) -> None:
        """The inbound leg is answered: it costs from now on."""
        if self.call.answered_at is None:
            self.call.answered_at = self.clock.now()
            self.call.status = "in-progress"

    def fetch(self, kind: str, base: str, url: str, values: dict[str, str], method: str = "POST") -> Document:
        """The document at an address, relative to the one it stands in.

        Raises:
            CallError: no TwiML came back.
        """
        self._documents += 1
        if self._documents > MOST_DOCUMENTS:
            raise CallError(11215, "the call goes round in circles")
        address = urljoin(base, url)
        answer = self._courier.send(kind, address, values, method)
        if self.ways.twice:
            self._repeat(kind, address, values, method, answer)
        return Document(answer.url, _verbs(answer))

    def _repeat(self, kind: str, url: str, values: dict[str, str], method: str, first: Answer) -> None:
        """Twilio may send the same request twice: the same document has to come back."""
        if self._courier.send(kind, url, values, method).body != first.body:
            self.call.errors.append(f"0: the {kind} request was answered differently the second time")

    def callback(self, kind: str, base: str, url: str | None, values: dict[str, str], method: str = "POST") -> None:
        """Posts a callback now, or keeps it to come late."""
        if not url:
            return
        due = self.clock.now() + timedelta(seconds=self.ways.late)
        self._held.append(Callback(due, len(self._held), kind, urljoin(base, url), values, method))
        if not self.ways.disorder and not self.ways.late:
            self._post_due(due)

    def flush(self) -> None:
        """Posts what is still held; in disorder the last goes first."""
        for callback in sorted(self._held, reverse=self.ways.disorder):
            if not self.ways.disorder and callback.due > self.clock.now():
                self.pause((callback.due - self.clock.now()).total_seconds())
            if callback in self._held:
                self._post(callback)

    def _post_due(self, moment: datetime) -> None:
        for callback in sorted(callback for callback in self._held if callback.due <= moment):
            self._post(callback)

    def _post(self, callback: Callback) -> None:
        self._held.remove(callback)
        for _ in range(2 if self.ways.twice else 1):
            try:
                answer = self._courier.send(callback.kind, callback.url, callback.values, callback.method)
            except CallError as error:
                self.call.errors.append(str(error))
                continue
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
        return values | more

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


def _verbs(answer: Answer) -> tuple[Element, ...]:
    if answer.content_type in TWIML_TYPES:
        return read_document(answer.body)
    if answer.content_type == "text/plain":
        return _plain(answer)
    if answer.content_type.startswith("audio/"):
        return (Element("Play", {}, answer.url), Element("Hangup"))
    if not answer.body.strip():
        raise CallError(11770, "the answer has no body")
    raise CallError(12300, f"a document of type {answer.content_type or '(none)'} cannot be played")


def _plain(answer: Answer) -> tuple[Element, ...]:
    """Plain text is read aloud, unless it is TwiML after all."""
    try:
        return read_document(answer.body)
    except CallError:
        return (Element("Say", {}, answer.body.decode("utf-8", "replace")), Element("Hangup"))
