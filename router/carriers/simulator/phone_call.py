"""A simulated call as it stands: its legs, what was said, and every request that was sent about it with its answer."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from queue import SimpleQueue
from typing import Any

from router.carriers.simulator.lines import CallerScript

LOG_BODY = 4000


def new_sid(kind: str) -> str:
    return kind + secrets.token_hex(16)


@dataclass
class Leg:
    """A destination that is being rung. Its state is in Twilio's words."""

    to: str
    kind: str
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
    """Somebody acts: the caller (`leg` is empty) or the company's side. what: answer, busy, no_answer, hang_up, press."""

    what: str
    leg: str = ""
    digits: str = ""


@dataclass
class PhoneCall:
    """An inbound call of the simulated carrier; the carrier's words for its state."""

    caller: str
    to: str
    script: CallerScript
    began_at: datetime
    account_sid: str
    sid: str = field(default_factory=lambda: new_sid("CA"))
    status: str = "ringing"
    answered_at: datetime | None = None
    bridged_at: datetime | None = None
    ended_at: datetime | None = None
    caller_hung_up: bool = False
    legs: list[Leg] = field(default_factory=list)
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
        return {
            "sid": self.sid,
            "caller": self.caller,
            "to": self.to,
            "status": self.status,
            "began_at": self.began_at.isoformat(),
            "seconds": round(((self.ended_at or now) - self.began_at).total_seconds()),
            "talk_seconds": self._talked(now),
            "ended": self.ended_at is not None,
            "caller_hung_up": self.caller_hung_up,
            "legs": [_leg_document(leg) for leg in list(self.legs)],
            "heard": list(self.heard),
            "errors": list(self.errors),
            "log": [_exchange_document(exchange) for exchange in list(self.exchanges)],
        }

    def _talked(self, now: datetime) -> int | None:
        leg = self.answered_leg
        if leg is None or self.bridged_at is None:
            return None
        return round(((leg.ended_at or now) - self.bridged_at).total_seconds())


def _leg_document(leg: Leg) -> dict[str, Any]:
    return {
        "sid": leg.sid,
        "to": leg.to,
        "status": leg.status,
        "bridged": leg.bridged,
        "seconds": leg.seconds,
        "error": leg.error,
    }


def _exchange_document(exchange: Exchange) -> dict[str, Any]:
    document = vars(exchange) | {"at": exchange.at.isoformat(), "body": exchange.body[:LOG_BODY]}
    return {key: value for key, value in document.items() if key != "values"} | {"values": dict(exchange.values)}
