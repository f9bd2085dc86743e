"""A simulated call: what its caller and the called lines do, how the carrier behaves in it, and its legs, recordings and requests."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from queue import SimpleQueue
from random import Random
from typing import Any, Literal

Answer = Literal["answers", "busy", "rings", "fails"]


@dataclass(frozen=True)
class Line:
    """What a destination does when it is rung. Seconds count from the moment it is rung.

    `talks` is how long it stays on the line before it hangs up, None: until the caller does. `digits` is what it presses when it
    is asked while a whisper is played; `hears_out=False` hangs up during the whisper. An `interactive` line waits for a person's buttons.
    `machine`: no person answers.
    """

    answer: Answer
    after: float = 5.0
    talks: float | None = 60.0
    digits: str = ""
    hears_out: bool = True
    interactive: bool = False
    machine: bool = False

    @classmethod
    def answers(cls, after: float = 5.0, talks: float | None = 60.0, digits: str = "") -> "Line":
        return cls("answers", after, talks, digits)

    @classmethod
    def voicemail(cls, after: float = 20.0, seconds: float = 30.0) -> "Line":
        """A machine answers: from outside it looks like a person who does, unless the carrier is asked to tell them apart."""
        return cls("answers", after, seconds, machine=True)

    @classmethod
    def is_busy(cls, after: float = 2.0) -> "Line":
        return cls("busy", after)

    @classmethod
    def rings_out(cls) -> "Line":
        return cls("rings")

    @classmethod
    def fails(cls, after: float = 1.0) -> "Line":
        return cls("fails", after)

    @classmethod
    def by_hand(cls) -> "Line":
        """Whoever answers wants the call: he presses the 1 for which he is asked."""
        return cls("rings", talks=None, digits="1", interactive=True)


@dataclass(frozen=True)
class CallerScript:
    """What the caller does: `gives_up_after` seconds unless somebody was connected by then; hangs up after `talks` seconds of talking.

    `digits` are pressed when a menu asks; `message` is how many seconds are spoken on a voicemail, and `after_message` what follows: the
    caller hangs up (`hangup`), presses a key, or stays silent (an empty text).
    """

    gives_up_after: float | None = None
    talks: float | None = None
    digits: str = ""
    message: float = 10.0
    after_message: str = "hangup"


@dataclass(frozen=True)
class Signalling:
    """What the network says of a call beside its two numbers. `diversion` is the SIP header, newest entry first (RFC 5806)."""

    forwarded_from: str = ""
    stir_verstat: str = ""
    diversion: str = ""

    def values(self) -> dict[str, str]:
        """Twilio's parameters; it leaves out what it does not know."""
        values = {
            "ForwardedFrom": self.forwarded_from,
            "StirVerstat": self.stir_verstat,
            "SipHeader_Diversion": self.diversion,
        }
        return {name: value for name, value in values.items() if value}


Plan = Callable[[int, str, int], tuple[float, ...]]
"""The seconds after which a callback is sent, once for each: `(0.0,)` at once, `()` never, `(0.0, 4.0)` twice.

Asked with the place of the call at its exchange, the kind of the callback (leg, status, recording), and its place among the callbacks of
that kind in its call; both places count from 0."""


def punctual(call: int, kind: str, turn: int) -> tuple[float, ...]:
    """The plan of a tidy carrier: every callback is sent at once, and once."""
    return (0.0,)


@dataclass(frozen=True)
class Chance:
    """A plan by lot: the chances (0 to 1) that a callback is lost, doubled, or late by up to `latest` seconds.

    The two copies of a doubled one are late or not, each by itself. The same seed draws the same lots.
    """

    seed: int
    lost: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    latest: float = 20.0

    def __call__(self, call: int, kind: str, turn: int) -> tuple[float, ...]:
        lots = Random(f"{self.seed}/{call}/{kind}/{turn}")  # noqa: S311 - an experiment, not a secret
        if lots.random() < self.lost:
            return ()
        copies = 2 if lots.random() < self.doubled else 1
        return tuple(lots.uniform(0, self.latest) if lots.random() < self.late else 0.0 for _ in range(copies))


@dataclass(frozen=True)
class AfterHangUp:
    """What follows when a caller hangs up while a destination rings. Twilio's documentation does not say; accounts differ.

    The action is asked with `DialCallStatus=canceled`, or not at all. The status callback comes after it or, with `status_first`, before.
    `status` is the call's state in both.
    """

    status: str = "no-answer"
    asks_action: bool = True
    status_first: bool = False


AFTER_HANG_UP = {
    "no-answer": AfterHangUp(),
    "completed": AfterHangUp("completed"),
    "unasked": AfterHangUp(asks_action=False),
}


@dataclass(frozen=True)
class Faults:
    """How the carrier behaves.

    Callbacks come `late` by so many seconds, `twice`, in `disorder` (all at the end, last first), or as `plan` says. In `parallel` they are
    sent beside each other and beside the request for the next document. With `twice` every document is asked for twice as well.
    """

    late: float = 0.0
    twice: bool = False
    disorder: bool = False
    parallel: bool = False
    plan: Plan = punctual
    after_hang_up: AfterHangUp = AFTER_HANG_UP["no-answer"]
    ring_buffer: float = 5.0
    """Twilio rings about five seconds longer than it was told."""
    recording_takes: float = 0.0
    """Seconds from the end of a recording until its file can be fetched, and its callback comes."""


LOG_BODY = 4000


def new_sid(kind: str) -> str:
    return kind + secrets.token_hex(16)


@dataclass
class Leg:
    """A destination that is being rung. Its state is in Twilio's words."""

    to: str
    kind: str
    caller_id: str = ""
    sid: str = field(default_factory=lambda: new_sid("CA"))
    status: str = "queued"
    began_at: datetime | None = None
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    bridged: bool = False
    sequence: int = 0
    error: str = ""

    @property
    def over(self) -> bool:
        return self.ended_at is not None

    @property
    def seconds(self) -> int:
        if self.answered_at is None or self.ended_at is None:
            return 0
        return round((self.ended_at - self.answered_at).total_seconds())


@dataclass
class CallRecording:
    """A recording of the inbound call. `seconds` is None while it runs; its file is there from `ready_at` on."""

    source: str
    channels: int
    began_at: datetime
    sid: str = field(default_factory=lambda: new_sid("RE"))
    seconds: int | None = None
    ready_at: datetime | None = None


@dataclass
class Exchange:
    """One request of the carrier, one try, and what came back."""

    kind: str
    at: datetime
    method: str
    url: str
    values: dict[str, str]
    status: int | None = None
    content_type: str = ""
    body: str = ""
    error: str = ""


@dataclass(frozen=True)
class Button:
    """Somebody acts: the caller (`leg` is empty) or the company's side. what: answer, busy, no_answer, hang_up, press; redirect: the
    account's owner, who wants the call to go on at the address `url`."""

    what: str
    leg: str = ""
    digits: str = ""
    url: str = ""


@dataclass
class PhoneCall:
    """An inbound call of the simulated carrier; the carrier's words for its state."""

    caller: str
    to: str
    script: CallerScript
    began_at: datetime
    account_sid: str
    place: int = 0
    """How many calls the exchange had before."""
    signalling: Signalling = Signalling()
    sid: str = field(default_factory=lambda: new_sid("CA"))
    status: str = "ringing"
    answered_at: datetime | None = None
    bridged_at: datetime | None = None
    ended_at: datetime | None = None
    caller_hung_up: bool = False
    legs: list[Leg] = field(default_factory=list)
    recordings: list[CallRecording] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    """What the caller heard: sentences, sounds, `beep`."""
    errors: list[str] = field(default_factory=list)
    """What Twilio would report in its console, `13214: ...`."""
    digits: str = ""
    """Keys of the caller that nobody has read yet."""
    inbox: "SimpleQueue[Button]" = field(default_factory=SimpleQueue)

    @property
    def seconds(self) -> int:
        """The parent's duration: from its answer to its end."""
        if self.answered_at is None or self.ended_at is None:
            return 0
        return round((self.ended_at - self.answered_at).total_seconds())

    @property
    def answered_leg(self) -> Leg | None:
        return next((leg for leg in self.legs if leg.bridged), None)

    def sent(self, kind: str) -> list[Exchange]:
        """Every request of a kind: inbound, action, whisper, leg, status, recording, fallback, redirect, gather, record."""
        return [exchange for exchange in self.exchanges if exchange.kind == kind]

    def document(self, now: datetime) -> dict[str, Any]:
        """The live state, as JSON."""
        talk_seconds, leg = None, self.answered_leg
        if leg is not None and self.bridged_at is not None:
            talk_seconds = round(((leg.ended_at or now) - self.bridged_at).total_seconds())
        return {
            "sid": self.sid,
            "caller": self.caller,
            "to": self.to,
            "status": self.status,
            "began_at": self.began_at.isoformat(),
            "seconds": round(((self.ended_at or now) - self.began_at).total_seconds()),
            "talk_seconds": talk_seconds,
            "ended": self.ended_at is not None,
            "caller_hung_up": self.caller_hung_up,
            "legs": [
                {
                    "sid": leg.sid,
                    "to": leg.to,
                    "status": leg.status,
                    "bridged": leg.bridged,
                    "seconds": leg.seconds,
                    "error": leg.error,
                }
                for leg in list(self.legs)
            ],
            "heard": list(self.heard),
            "errors": list(self.errors),
            "log": [
                vars(exchange)
                | {
                    "at": exchange.at.isoformat(),
                    "body": exchange.body[:LOG_BODY],
                    "values": dict(exchange.values),
                }
                for exchange in list(self.exchanges)
            ],
        }
