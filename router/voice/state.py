"""What became of a call: a pure fold over its events, so that repeated, late and disordered callbacks all tell the same story."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

LEG_RANK = {"initiated": 1, "ringing": 2, "answered": 3}
TERMINAL_RANK = 4
CALL_TERMINAL = ("completed", "busy", "no_answer", "failed", "canceled")
UNANSWERED = {"no_answer": "missed", "canceled": "missed", "busy": "busy", "failed": "failed"}


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
        return self.answered_at is not None or self.status in ("answered", "completed")


@dataclass(frozen=True, slots=True)
class Story:
    """`status` is in_progress until `ended_at` is known. Seconds are whole; talk time is the bridged leg's."""

    status: str
    destination: str
    answered_at: datetime | None
    ended_at: datetime | None
    ring_seconds: int | None
    talk_seconds: int | None
    recording_sid: str
    recording_url: str
    recording_seconds: int | None
    legs: tuple[Leg, ...]

    def call_values(self) -> dict[str, Any]:
        """The columns of a call that tell it."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "legs"}


def tell(started_at: datetime, destinations: Sequence[str], events: Iterable[Event]) -> Story:
    """The story so far of a call that began then, with these destinations in turn."""
    ordered = sorted(events, key=lambda event: (event.at, event.kind, str(sorted(event.facts.items(), key=str))))
    legs = _legs(ordered)
    dials = {event.facts["step"]: event for event in ordered if event.kind == "dial"}
    bridged_leg = _bridged_leg(legs, dials.values())
    bridged = bridged_leg is not None or any(_is_bridged(dial) for dial in dials.values())
    endings = _endings(ordered, dials, bridged_leg, bridged, len(destinations))
    ended_at = max(started_at, min(endings)) if endings else None
    answered_at = bridged_leg.answered_at if bridged_leg else None
    closed_only = ended_at is None and any(event.kind == "closed" for event in ordered)
    if closed_only:
        ended_at = max(started_at, *(event.at for event in ordered if event.kind == "closed"))
    status = "unknown" if closed_only else _status(ordered, dials, bridged, ended_at, len(destinations))
    return Story(
        status=status,
        destination=_destination(legs, bridged_leg, destinations),
        answered_at=answered_at,
        ended_at=ended_at,
        ring_seconds=_ring_seconds(started_at, answered_at, ended_at, bridged),
        talk_seconds=_talk_seconds(bridged_leg, dials.values()) if bridged else (0 if ended_at else None),
        legs=tuple(legs.values()),
        **_recording(ordered),
    )


def _legs(events: Iterable[Event]) -> dict[str, Leg]:
    legs: dict[str, Leg] = {}
    for event in events:
        if event.kind == "leg":
            sid = event.facts["leg_sid"]
            before = legs.get(sid) or Leg(sid, event.facts.get("to") or "", "initiated")
            legs[sid] = _with_event(before, event)
    return legs


def _with_event(leg: Leg, event: Event) -> Leg:
    status = event.facts["status"]
    rank = LEG_RANK.get(status, TERMINAL_RANK)
    if rank > leg.rank or status == "completed":  # of two ends the one with a conversation
        leg = replace(leg, status=status)
    if status == "ringing" and leg.ringing_at is None:
        leg = replace(leg, ringing_at=event.at)
    if status == "answered" and leg.answered_at is None:
        leg = replace(leg, answered_at=event.at)
    if rank == TERMINAL_RANK and leg.ended_at is None:
        leg = replace(leg, ended_at=event.at, seconds=event.facts.get("seconds"))
    return leg


def _is_bridged(dial: Event) -> bool:
    bridged = dial.facts.get("bridged")
    return bool(bridged) if bridged is not None else dial.facts["status"] in ("completed", "answered")


def _bridged_leg(legs: Mapping[str, Leg], dials: Iterable[Event]) -> Leg | None:
    """The leg that the caller talked to. A carrier's explicit "not bridged" about a leg outweighs that it answered; one that has ended
    goes before one of which nothing more was heard, for no other is rung beside a leg that is talked to."""
    refused = {dial.facts.get("leg_sid") for dial in dials if not _is_bridged(dial)}
    answered = [leg for leg in legs.values() if leg.was_answered and leg.sid not in refused]
    return next((leg for leg in answered if leg.ended_at), answered[0] if answered else None)


def _endings(
    events: Iterable[Event], dials: Mapping[int, Event], leg: Leg | None, bridged: bool, steps: int
) -> list[datetime]:
    """The moments at which something ended the call: its first decides (parent terminal, bridged leg completed, last step's action)."""
    moments = [event.at for event in events if event.kind == "status" and event.facts["status"] in CALL_TERMINAL]
    moments += [dial.at for step, dial in dials.items() if step >= steps or _is_bridged(dial) or _caller_gone(dial)]
    if leg and leg.ended_at:
        moments.append(leg.ended_at)
    return moments


def _caller_gone(dial: Event) -> bool:
    return dial.facts.get("call_status") in CALL_TERMINAL


def _status(
    events: Iterable[Event], dials: Mapping[int, Event], bridged: bool, ended_at: datetime | None, steps: int
) -> str:
    if ended_at is None:
        return "in_progress"
    if bridged:
        return "answered"
    if not steps:  # there was nobody to ring
        return "failed"
    ran_out = any(step >= steps and not _caller_gone(dial) for step, dial in dials.items())
    if not ran_out:
        return "abandoned"
    found = {UNANSWERED.get(dial.facts["status"], "missed") for dial in dials.values()}
    return next(status for status in ("missed", "busy", "failed") if status in found)


def _destination(legs: Mapping[str, Leg], bridged_leg: Leg | None, destinations: Sequence[str]) -> str:
    if bridged_leg:
        return bridged_leg.destination
    rung = [leg.destination for leg in legs.values() if leg.destination]
    return rung[-1] if rung else (destinations[0] if destinations else "")


def _ring_seconds(
    started_at: datetime, answered_at: datetime | None, ended_at: datetime | None, bridged: bool
) -> int | None:
    """From the caller's first ring to the answer, or to his giving up; unknown for an answer whose time is unknown."""
    until = answered_at or (None if bridged else ended_at)
    return max(0, round((until - started_at).total_seconds())) if until else None


def _talk_seconds(leg: Leg | None, dials: Iterable[Event]) -> int | None:
    if leg and leg.seconds is not None:
        return leg.seconds
    return next(
        (dial.facts["seconds"] for dial in dials if _is_bridged(dial) and dial.facts.get("seconds") is not None), None
    )


def _recording(events: Iterable[Event]) -> dict[str, Any]:
    found = [event.facts for event in events if event.kind == "recording" and event.facts.get("url")]
    last = found[-1] if found else {}
    return {
        "recording_sid": last.get("sid") or "",
        "recording_url": last.get("url") or "",
        "recording_seconds": last.get("seconds"),
    }
