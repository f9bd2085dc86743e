"""What became of a call: its state is derived from all its events, so that repeated, late and disordered callbacks give the same state."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from router.voice.given import Given, last_step
from router.voice.models import LegStatus, Status

LEG_RANK: dict[str, int] = {LegStatus.INITIATED: 1, LegStatus.RINGING: 2, LegStatus.ANSWERED: 3}
TERMINAL_RANK = 4
CALL_TERMINAL = (LegStatus.COMPLETED, LegStatus.BUSY, LegStatus.NO_ANSWER, LegStatus.FAILED, LegStatus.CANCELED)
"""What a carrier says of a leg, or of the whole call, that has ended."""
LEAST_TALK = 15
"""Seconds of a leg, the whisper among them, from which on somebody has talked, where nothing else tells it."""
AT_ONCE = timedelta(seconds=2)
"""When a caller hangs up, what rings stops; the carrier tells whole seconds."""
STEERING = ("dial", "gather")
"""Kinds of requests whose answers say what happens next in the call."""
UNANSWERED: dict[str, Status] = {
    LegStatus.NO_ANSWER: Status.MISSED,
    LegStatus.BUSY: Status.BUSY,
    LegStatus.FAILED: Status.FAILED,
}
"""The status of a call whose last forwarding ended so."""


@dataclass(frozen=True, slots=True)
class Event:
    """One request of the carrier, or our own `closed`. `facts` depends on the kind: leg, dial, gather, whisper, machine, status, recording,
    closed."""

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
    is_guessed: bool = False
    """The call is over, and nothing but that nobody has told of an answer says that its caller gave up: how a forwarding ended may be on
    its way."""

    def call_values(self) -> dict[str, Any]:
        """The columns of the call."""
        return {name: getattr(self, name) for name in self.__slots__ if name not in ("legs", "is_guessed")}


def derive_state(
    started_at: datetime,
    destinations: Sequence[str],
    events: Iterable[Event],
    *,
    spoken: bool = False,
    given: Given | None = None,
    is_over: bool = False,
) -> CallState:
    """The state of a call from the events so far.

    Args:
        destinations: what the call's flow rings in turn; empty for a flow of steps.
        spoken: the caller heard a sentence first, so that the carrier counts the call as answered from then on. Otherwise the carrier
            answers a call when a destination does, and the call's duration is a talk.
        given: what the first answer led to; None: a flow of destinations rings the first one.
        is_over: its end was told, and nothing is waited for.
    """
    events = sorted(events, key=lambda event: (event.at, event.kind, str(sorted(event.facts.items(), key=str))))
    legs: dict[str, Leg] = {}
    for event in events:
        if event.kind == "leg":
            sid = event.facts["leg_sid"]
            legs[sid] = _with_event(legs.get(sid) or Leg(sid, event.facts.get("to") or "", LegStatus.INITIATED), event)
    dials = {event.facts["step"]: event for event in events if event.kind == "dial"}
    steering = [event for event in events if event.kind in STEERING]
    known = [given or _short_form(destinations, 0)]
    known += [_given_at(event, destinations) for event in steering if not caller_gone(event.facts)]
    screening = _Screening(events, spoken or any(answer.get("spoken") for answer in known))
    bridged_dials = [dial for dial in dials.values() if screening.is_bridged(dial)]
    bridged_leg = screening.bridged_leg(legs, dials.values())
    is_plain = known[0]["leads"] == "ring" and not (spoken or known[0].get("spoken") or steering)
    told = _told_talk(events, legs) if is_plain else None
    is_bridged = bridged_leg is not None or bool(bridged_dials) or told is not None
    has_message = _has_message(events, known)

    # the first of what ends a call: the end of the parent leg, of the bridged leg, or of the flow
    ends = [event.at for event in events if event.kind == "status" and event.facts["status"] in CALL_TERMINAL]
    ends += [
        event.at
        for event in steering
        if _given_at(event, destinations)["leads"] == "end" or screening.is_bridged(event) or caller_gone(event.facts)
    ]
    if bridged_leg and bridged_leg.ended_at:
        ends.append(bridged_leg.ended_at)
    closed = [event.at for event in events if event.kind == "closed"]
    is_awaited = screening.awaits_machine(legs, dials.values()) or (has_message is None and not is_bridged)
    if is_awaited and not (closed or is_over):
        ends = []  # who has answered, or whether he has left a message, is about to be told
    ended_at = max(started_at, min(ends)) if ends else None
    if ended_at is None and closed:
        ended_at, status = max(started_at, *closed), Status.UNKNOWN
    elif ended_at is None:
        status = Status.IN_PROGRESS
    elif is_bridged:
        status = Status.ANSWERED
    elif has_message:
        status = Status.VOICEMAIL
    else:
        status = _unanswered(dials, destinations, known)

    gone = [leg.ended_at for leg in legs.values() if leg.status == LegStatus.CANCELED and leg.ended_at]
    gone += [event.at for event in steering if caller_gone(event.facts)]
    is_told = bool(closed) or any(ended_at and at >= ended_at - AT_ONCE for at in gone)

    answered_at = screening.answered_at(bridged_leg) if bridged_leg else None
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
        destination=_destination(destinations, legs, dials, bridged_leg, known),
        answered_at=answered_at,
        ended_at=ended_at,
        ring_seconds=max(0, round((rung_until - started_at).total_seconds())) if rung_until else None,
        talk_seconds=talk_seconds,
        legs=tuple(legs.values()),
        is_guessed=status == Status.ABANDONED and not is_told,
    )


def _short_form(destinations: Sequence[str], turn: int) -> Given:
    """Where an answer of destinations in turn led to, of which nothing was kept."""
    return {"leads": "ring", "lines": [destinations[turn]]} if 0 <= turn < len(destinations) else {"leads": "end"}


def _given_at(event: Event, destinations: Sequence[str]) -> Given:
    """Where the answer to a request led to that asked what happens next."""
    step = event.facts["step"]
    given: Given = event.facts.get("given") or _short_form(destinations, step if isinstance(step, int) else 0)
    return given


class _Screening:
    """Whom the caller was connected with: an answer alone does not say it where the one who answers hears something first, may refuse, or
    may be a machine."""

    def __init__(self, events: Sequence[Event], is_spoken: bool) -> None:
        """`is_spoken`: the caller heard something before a line rang, so that his call was answered then."""
        facts = [(event.kind, event.facts, event.at) for event in events]
        self._screens = {told["leg_sid"]: told["screen"] for _, told, _ in facts if told.get("screen")}
        self._accepted_at: dict[str, datetime] = {
            told["leg_sid"]: at for kind, told, at in reversed(facts) if kind == "whisper" and told.get("accepted")
        }
        self._listened = {told["leg_sid"]: told.get("machine") for kind, told, _ in facts if kind == "machine"}
        self._machines = {leg_sid for leg_sid, is_machine in self._listened.items() if is_machine}
        ends = [told for kind, told, _ in facts if kind == "status" and told["status"] in CALL_TERMINAL]
        self._ended_after = max((told.get("seconds") or 0 for told in ends), default=None)
        self._is_spoken = is_spoken

    def is_bridged(self, dial: Event) -> bool:
        """Whether the caller has talked, by how a forwarding ended."""
        facts = dial.facts
        if dial.kind != "dial" or facts.get("leg_sid") in self._machines:
            return False
        if facts.get("bridged") is None and facts.get("screen") == "accept":
            return facts.get("leg_sid") in self._accepted_at
        return is_bridged(facts.get("bridged"), facts["status"])

    def awaits_machine(self, legs: Mapping[str, Leg], dials: Iterable[Event]) -> bool:
        """A line at which machines are listened for has answered, and what it was is not told yet."""
        said = {dial.facts.get("leg_sid"): self.is_bridged(dial) for dial in dials}
        answered: set[str | None] = {leg.sid for leg in legs.values() if leg.was_answered and said.get(leg.sid, True)}
        answered |= {sid for sid, is_bridged in said.items() if is_bridged}
        return any(self._screens.get(sid) == "machine" and sid not in self._listened for sid in answered)

    def bridged_leg(self, legs: Mapping[str, Leg], dials: Iterable[Event]) -> Leg | None:
        """The leg that the caller talked to. A carrier's explicit "not bridged" about a leg outweighs that it answered; a leg that has
        ended goes before a leg of which nothing more was heard, for no other is rung beside a leg that is talked to."""
        said = {dial.facts.get("leg_sid"): self.is_bridged(dial) for dial in dials}
        answered = [leg for leg in legs.values() if leg.was_answered and self._is_connected(leg, said.get(leg.sid))]
        return next((leg for leg in answered if leg.ended_at), answered[0] if answered else None)

    def _is_connected(self, leg: Leg, said: bool | None) -> bool:
        if leg.sid in self._machines:
            return False
        if said is not None:
            return said
        match self._screens.get(leg.sid):
            case "accept":
                return leg.sid in self._accepted_at
            case "whisper" | "machine" if self._ended_after is None:  # he may have hung up while he heard it
                return False
            case (
                "whisper" | "machine"
            ):  # how the forwarding ended was not told: some carriers do not after the caller has hung up
                return (leg.seconds or 0) >= LEAST_TALK if self._is_spoken else bool(self._ended_after)
        return True

    def answered_at(self, leg: Leg) -> datetime | None:
        accepted_at = self._accepted_at.get(leg.sid)
        if accepted_at is None or leg.answered_at is None:
            return leg.answered_at
        return max(leg.answered_at, accepted_at)


def _has_message(events: Sequence[Event], answers: Sequence[Given]) -> bool | None:
    """Whether the caller has left a message; None: he was asked to, and nothing is known yet."""
    steps = {last_step(answer) for answer in answers if answer["leads"] == "record"}
    told = None if steps else False
    for event in events:
        step = str(event.facts.get("step") or "").partition(".")[0]
        if event.kind in ("gather", "recording") and (step in steps or event.facts.get("is_message")):
            message = event.facts.get("message") if event.kind == "gather" else event.facts
            if message and message.get("url") and message.get("seconds") != 0:
                return True
            told = False
    return told


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


def _told_talk(events: Sequence[Event], legs: Mapping[str, Leg]) -> int | None:
    """Seconds of a talk of which the end of the whole call tells alone: the callbacks of its legs and its forwarding are lost, or late."""
    if any(leg.rank == TERMINAL_RANK or leg.was_answered for leg in legs.values()):
        return None
    ends = [event.facts for event in events if event.kind == "status" and event.facts["status"] == LegStatus.COMPLETED]
    return next((facts["seconds"] for facts in ends if facts.get("seconds")), None)


def _destination(
    destinations: Sequence[str],
    legs: Mapping[str, Leg],
    dials: Mapping[Any, Event],
    bridged_leg: Leg | None,
    answers: Sequence[Given],
) -> str:
    """The destination that answered, else the last that was rung: by its leg, or by the step at which the carrier asked where the callbacks
    of the leg are lost."""
    if bridged_leg is not None and bridged_leg.destination:
        return bridged_leg.destination
    named = [leg.destination for leg in legs.values() if leg.destination]
    turns = {step: dial for step, dial in dials.items() if isinstance(step, int)}
    if len(turns) < len(dials) or not destinations:
        rung: list[str] = next((answer["lines"] for answer in reversed(answers) if answer["leads"] == "ring"), [])
        return named[-1] if named else rung[0] if len(rung) == 1 else ""
    answered = [
        turn
        for turn, dial in turns.items()
        if is_bridged(dial.facts.get("bridged"), dial.facts["status"]) and 0 < turn <= len(destinations)
    ]
    if answered:
        return destinations[answered[0] - 1]
    # at a turn the destination before it has ended, and its own is rung unless the caller has gone
    places = [0, *(min(turn - caller_gone(dial.facts), len(destinations) - 1) for turn, dial in turns.items())]
    places += [destinations.index(name) for name in named if name in destinations]
    if named and named[-1] not in destinations:
        return named[-1]
    return destinations[max(0, *places)]


def caller_gone(facts: Mapping[str, Any]) -> bool:
    """The caller hung up while a destination rang: a forwarding ends as canceled for no other reason, whatever is said of the call."""
    is_canceled = facts.get("status") == LegStatus.CANCELED and not is_bridged(facts.get("bridged"), facts["status"])
    return is_canceled or facts.get("call_status") in CALL_TERMINAL


def _unanswered(dials: Mapping[Any, Event], destinations: Sequence[str], answers: Sequence[Given]) -> Status:
    """What became of an ended call in which nobody of the company has talked. The flow was over, or had nothing left but to take a message,
    or the caller hung up before."""
    if not destinations and not answers[0].get("way") and answers[0]["leads"] == "end":  # there was nobody to ring
        return Status.FAILED
    if not any(answer["leads"] in ("end", "record") for answer in answers):
        return Status.ABANDONED
    statuses = {UNANSWERED.get(dial.facts["status"], Status.MISSED) for dial in dials.values()} or {Status.MISSED}
    return next(status for status in (Status.MISSED, Status.BUSY, Status.FAILED) if status in statuses)
