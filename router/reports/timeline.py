"""What happened during a call, in order of time and in words."""

from collections.abc import Iterable
from datetime import datetime

from router.formats import say_duration
from router.phones import international
from router.reports.words import STATUS_WORDS
from router.voice.models import Call, CallEvent, CallLeg

Moment = tuple[datetime, str, str]
"""When, what happened, and its kind: quiet, good or bad."""

LEG_ENDS = {
    "busy": ("{to} was busy", "bad"),
    "no_answer": ("{to} did not answer", "bad"),
    "failed": ("{to} could not be reached", "bad"),
    "canceled": ("{to} stopped ringing", "quiet"),
}


def moments_of(call: Call, legs: Iterable[CallLeg], events: Iterable[CallEvent]) -> list[Moment]:
    """The call's beginning, each destination that was rung, the recording, the end."""
    moments = [moment for leg in legs for moment in _leg_moments(leg)]
    moments += [(event.at, "The recording is ready", "quiet") for event in events if event.kind == "recording"]
    moments.sort(key=lambda moment: moment[0])
    came_in = (call.started_at, f"The call came in to {international(call.number)}", "quiet")
    return [came_in, *_ended_in_place(call, moments)]


def _ended_in_place(call: Call, moments: list[Moment]) -> list[Moment]:
    """With the end where it belongs: after all that happened up to then, before a recording that came later."""
    if call.ended_at is None:
        return moments
    before = [moment for moment in moments if moment[0] <= call.ended_at]
    word, kind = STATUS_WORDS[call.status]
    end = (call.ended_at, f"The call ended: {word}", kind if kind in ("good", "bad") else "quiet")
    return [*before, end, *moments[len(before) :]]


def _leg_moments(leg: CallLeg) -> list[Moment]:
    to = international(leg.destination)
    moments: list[Moment] = []
    if leg.ringing_at:
        moments.append((leg.ringing_at, f"{to} began to ring", "quiet"))
    if leg.answered_at:
        moments.append((leg.answered_at, f"{to} answered", "good"))
        if leg.ended_at:
            talked = say_duration(leg.seconds or (leg.ended_at - leg.answered_at).total_seconds())
            moments.append((leg.ended_at, f"The talk with {to} ended after {talked}", "quiet"))
    elif leg.ended_at and leg.status in LEG_ENDS:
        words, kind = LEG_ENDS[leg.status]
        moments.append((leg.ended_at, words.format(to=to), kind))
    return moments
