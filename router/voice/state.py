"""What became of a call: its state is derived from all its events, so that repeated, late and disordered callbacks give the same state."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from router.voice.models import LegStatus, Status

LEG_RANK: dict[str, int] = {LegStatus.INITIATED: 1, LegStatus.RINGING: 2, LegStatus.ANSWERED: 3}
TERMINAL_RANK = 4
CALL_TERMINAL = (LegStatus.COMPLETED, LegStatus.BUSY, LegStatus.NO_ANSWER, LegStatus.FAILED, LegStatus.CANCELED)
"""What a carrier says of a leg, or of the whole call, that has ended."""
UNANSWERED: dict[str, Status] = {
    LegStatus.NO_ANSWER: Status.MISSED,
    LegStatus.BUSY: Status.BUSY,
    LegStatus.FAILED: Status.FAILED,
}
"""The status of a call whose last forwarding ended so."""


@dataclass(frozen=True, slots=True)
class Event:
    """One callback of the carrier, or our own `closed`. `facts` depends on the kind: leg, dial, status, recording, closed."""

    kind: str
    at: datetime
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Leg:
    """A destination that was rung. Its status never goes back."""

    sid: str
    destination: str
    status: str
    ringing_at: datetime | None = None
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    seconds: int | None = None

    @property
    def rank(self) -> int:
        return LEG_RANK.get(self.status, TERMINAL_RANK)

    @property
    def was_answered(self) -> bool:
        return self.answered_at is not None or self.status in (LegStatus.ANSWERED, LegStatus.COMPLETED)


@dataclass(frozen=True, slots=True)
class CallState:
    """`status` is in_progress until `ended_at` is known. Seconds are whole; talk time is the bridged leg's."""

    status: Status
    destination: str
    answered_at: datetime | None
    ended_at: datetime | None
    ring_seconds: int | None
    talk_seconds: int | None
    legs: tuple[Leg, ...]

    def call_values(self) -> dict[str, Any]:
        """The columns of the call."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "legs"}


def derive_state(
    started_at: datetime, destinations: Sequence[str], events: Iterable[Event], *, spoken: bool = False
) -> CallState:
    """The state of a call from the events so far.

    Args:
        destinations: what the call's flow rings in turn.
        spoken: the caller heard a sentence first, so that the carrier counts the call as answered from then on. Otherwise the carrier
            answers a call when a destination does, and the call's duration is a talk.
    """
    events = sorted(events, key=lambda event: (event.at, event.kind, str(sorted(event.facts.items(), key=str))))
    legs: dict[str, Leg] = {}
    for event in events:
        if event.kind == "leg":
            sid = event.facts["leg_sid"]
            legs[sid] = _with_event(legs.get(sid) or Leg(sid, event.facts.get("to") or "", LegStatus.INITIATED), event)
    dials = {event.facts["step"]: event for event in events if event.kind == "dial"}
    bridged_leg = _bridged_leg(legs, dials.values())
    bridged_dials = [dial for dial in dials.values() if _is_bridged(dial)]
    told = _told_talk(events, legs, dials) if destinations and not spoken else None
    is_bridged = bridged_leg is not None or bool(bridged_dials) or told is not None

    # the first of what ends a call: the end of the parent leg, of the bridged leg, or of the last forwarding
    ends = [event.at for event in events if event.kind == "status" and event.facts["status"] in CALL_TERMINAL]
    ends += [
        dial.at for step, dial in dials.items() if step >= len(destinations) or _is_bridged(dial) or _caller_gone(dial)
    ]
    if bridged_leg and bridged_leg.ended_at:
        ends.append(bridged_leg.ended_at)
    ended_at = max(started_at, min(ends)) if ends else None
    closed = [event.at for event in events if event.kind == "closed"]
    if ended_at is None and closed:
        ended_at, status = max(started_at, *closed), Status.UNKNOWN
    else:
        status = _status(dials, is_bridged, ended_at, len(destinations))

    answered_at = bridged_leg.answered_at if bridged_leg else None
    if told is not None and ended_at is not None:
        answered_at = max(started_at, ended_at - timedelta(seconds=told))
    rung_until = answered_at or (None if is_bridged else ended_at)  # unknown for an answer whose time is unknown
    talk_seconds = 0 if ended_at else None
    if is_bridged:
        seconds = [bridged_leg.seconds if bridged_leg else None, *(dial.facts.get("seconds") for dial in bridged_dials)]
        seconds.append(told)
        talk_seconds = next((known for known in seconds if known is not None), None)
    return CallState(
        status=status,
        destination=_destination(destinations, legs, dials, bridged_leg),
        answered_at=answered_at,
        ended_at=ended_at,
        ring_seconds=max(0, round((rung_until - started_at).total_seconds())) if rung_until else None,
        talk_seconds=talk_seconds,
        legs=tuple(legs.values()),
    )


def _with_event(leg: Leg, event: Event) -> Leg:
    status = event.facts["status"]
    rank = LEG_RANK.get(status, TERMINAL_RANK)
    if rank > leg.rank or status == LegStatus.COMPLETED:  # of two ends the one with a conversation
        leg = replace(leg, status=status)
    if status == LegStatus.RINGING and leg.ringing_at is None:
        leg = replace(leg, ringing_at=event.at)
    if status == LegStatus.ANSWERED and leg.answered_at is None:
        leg = replace(leg, answered_at=event.at)
    if rank == TERMINAL_RANK and leg.ended_at is None:
        leg = replace(leg, ended_at=event.at, seconds=event.facts.get("seconds"))
    return leg


def is_bridged(bridged: bool | None, status: str) -> bool:
    """Whether the caller talked to a destination, from what the carrier says when forwarding has ended; not every carrier says it."""
    return bridged if bridged is not None else status in (LegStatus.COMPLETED, LegStatus.ANSWERED)


def _is_bridged(dial: Event) -> bool:
    return is_bridged(dial.facts.get("bridged"), dial.facts["status"])


def _bridged_leg(legs: Mapping[str, Leg], dials: Iterable[Event]) -> Leg | None:
    """The leg that the caller talked to. A carrier's explicit "not bridged" about a leg outweighs that it answered; a leg that has ended
    goes before a leg of which nothing more was heard, for no other is rung beside a leg that is talked to."""
    refused = {dial.facts.get("leg_sid") for dial in dials if not _is_bridged(dial)}
    answered = [leg for leg in legs.values() if leg.was_answered and leg.sid not in refused]
    return next((leg for leg in answered if leg.ended_at), answered[0] if answered else None)


def _told_talk(events: Iterable[Event], legs: Mapping[str, Leg], dials: Mapping[int, Event]) -> int | None:
    """Seconds of a talk of which the end of the whole call tells alone: the callbacks of its legs and its forwarding are lost, or late."""
    if dials or any(leg.rank == TERMINAL_RANK or leg.was_answered for leg in legs.values()):
        return None
    ends = [event.facts for event in events if event.kind == "status" and event.facts["status"] == LegStatus.COMPLETED]
    return next((facts["seconds"] for facts in ends if facts.get("seconds")), None)


def _destination(
    destinations: Sequence[str], legs: Mapping[str, Leg], dials: Mapping[int, Event], bridged_leg: Leg | None
) -> str:
    """The destination that answered, else the last that was rung: by its leg, or by the step at which the carrier asked where the callbacks
    of the leg are lost."""
    if bridged_leg is not None and bridged_leg.destination:
        return bridged_leg.destination
    answered = [step for step, dial in dials.items() if _is_bridged(dial) and 0 < step <= len(destinations)]
    if answered:
        return destinations[answered[0] - 1]
    # at a step the destination before it has ended, and its own is rung unless the caller has gone
    steps = [step - _caller_gone(dial) for step, dial in dials.items()]
    places = [0, *(min(step, len(destinations) - 1) for step in steps)]
    named = [leg.destination for leg in legs.values() if leg.destination]
    places += [destinations.index(name) for name in named if name in destinations]
    if not destinations:
        return named[-1] if named else ""
    if named and named[-1] not in destinations:
        return named[-1]
    return destinations[max(0, *places)]


def _caller_gone(dial: Event) -> bool:
    """The caller hung up while a destination rang: a forwarding ends as canceled for no other reason, whatever is said of the call."""
    is_canceled = dial.facts["status"] == LegStatus.CANCELED and not _is_bridged(dial)
    return is_canceled or dial.facts.get("call_status") in CALL_TERMINAL


def _status(dials: Mapping[int, Event], is_bridged: bool, ended_at: datetime | None, steps: int) -> Status:
    if ended_at is None:
        return Status.IN_PROGRESS
    if is_bridged:
        return Status.ANSWERED
    if not steps:  # there was nobody to ring
        return Status.FAILED
    if not any(step >= steps and not _caller_gone(dial) for step, dial in dials.items()):
        return Status.ABANDONED
    statuses = {UNANSWERED.get(dial.facts["status"], Status.MISSED) for dial in dials.values()}
    return next(status for status in (Status.MISSED, Status.BUSY, Status.FAILED) if status in statuses)
