"""What a carrier is to the floors above: who proves its requests, and what they say, as plain values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from flask import Request

from router.phones import Caller

LegState = Literal["initiated", "ringing", "answered", "completed", "busy", "no_answer", "failed", "canceled"]
DialState = Literal["completed", "answered", "busy", "no_answer", "failed", "canceled"]
CallState = Literal["queued", "ringing", "in_progress", "completed", "busy", "no_answer", "failed", "canceled"]

CallerId = Literal["accepted", "doubtful", "refused"]
"""Whether the carrier lets a destination see the caller's number: it does, it may fail the leg because of it, it does not."""

Form = Mapping[str, str]

SID = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._\-]{0,63}")


class BadCarrierRequest(Exception):
    """A request that a carrier signed cannot be understood: it names no call, or a state that nobody knows."""


@dataclass(frozen=True)
class InboundCall:
    """A caller dials one of our numbers. `number_e164` is None when `to` is no phone number."""

    sid: str
    account_sid: str
    caller: Caller
    number_e164: str | None
    to: str
    other_readings: tuple[str, ...] = ()
    """What else `to` may mean, E.164, the likeliest first: other spellings of the line, a national form in its country."""
    readings_anywhere: tuple[str, ...] = ()
    """What a national form means in every country; good only where exactly one of them is ours."""
    caller_id: CallerId = "accepted"


@dataclass(frozen=True)
class LegEvent:
    """Something happened to a destination that was rung. `call_sid` is the parent's, `leg_sid` the leg's own."""

    call_sid: str
    leg_sid: str
    to: str
    status: LegState
    sequence: int | None
    seconds: int | None
    at: datetime | None


@dataclass(frozen=True)
class DialResult:
    """How forwarding ended. `bridged` is None when the carrier did not say; an unknown state counts as failed."""

    call_sid: str
    leg_sid: str | None
    status: DialState
    bridged: bool | None
    seconds: int | None
    recording_url: str | None


@dataclass(frozen=True)
class CallStatus:
    """The state of the inbound call itself; `seconds` includes ringing when the call was answered at once."""

    call_sid: str
    status: CallState
    sequence: int | None
    seconds: int | None
    at: datetime | None


@dataclass(frozen=True)
class Recording:
    """A recording of the inbound call. Only `completed` ones can be listened to."""

    call_sid: str
    recording_sid: str
    url: str | None
    status: str
    seconds: int | None


class Carrier(Protocol):
    """Who rents numbers and delivers calls.

    Every reader takes the form of a verified request, as `form_of` gives it; everything but the call's sid may be missing or
    nonsense. They raise BadCarrierRequest and nothing else.
    """

    name: str

    def verify(self, request: Request) -> bool:
        """Whether the carrier itself sent this request; never raises."""

    def form_of(self, request: Request) -> Form:
        """What a verified request says: names and values that its signature covers, wherever they stand in it."""

    def read_inbound(self, form: Form) -> InboundCall: ...

    def read_leg_event(self, form: Form) -> LegEvent: ...

    def read_dial_result(self, form: Form) -> DialResult: ...

    def read_status(self, form: Form) -> CallStatus: ...

    def read_recording(self, form: Form) -> Recording: ...
