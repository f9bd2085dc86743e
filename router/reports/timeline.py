"""What happened during a call, in order of time and in words."""

from collections.abc import Iterable
from datetime import datetime

from markupsafe import Markup

from router.accounts.filters import phone
from router.formats import say_duration
from router.reports.words import STATUS_WORDS, only_announced, say_source
from router.voice.calls import CORRECTED, IMPORTED
from router.voice.models import Call, CallEvent, CallLeg

Moment = tuple[datetime, str, str]
"""When, what happened (with the numbers as `Markup`), and its kind: quiet, good or bad."""

LEG_ENDS = {
    "busy": ("was busy", "bad"),
    "no_answer": ("did not answer", "bad"),
    "failed": ("could not be reached", "bad"),
    "canceled": ("stopped ringing", "quiet"),
}


def moments_of(call: Call, legs: Iterable[CallLeg], events: Iterable[CallEvent]) -> list[Moment]:
    """The call's beginning, each destination that was rung, the recording, the end, and corrections of its source."""
    moments = [moment for leg in legs for moment in _leg_moments(leg)]
    moments += [(event.at, "The recording is ready", "quiet") for event in events if event.kind == "recording"]
    moments += [(event.at, _was(event), "quiet") for event in events if event.kind == CORRECTED]
    moments.sort(key=lambda moment: moment[0])
    came_in = (call.started_at, Markup("The call came in to {}").format(phone(call.number)), "quiet")
    if said := call.flow.get("announcement"):
        moments.insert(0, (call.started_at, f"Answered with the words “{said}”", "quiet"))
    return [came_in, *_ended_in_place(call, moments)]


def _ended_in_place(call: Call, moments: list[Moment]) -> list[Moment]:
    """With the end where it belongs: after all that happened up to then, before a recording that came later."""
    if call.ended_at is None or call.rule == IMPORTED:
        return moments
    before = [moment for moment in moments if moment[0] <= call.ended_at]
    word, kind = ("nobody else was rung", "quiet") if only_announced(call) else STATUS_WORDS[call.status]
    end = (call.ended_at, f"The call ended: {word}", kind if kind in ("good", "bad") else "quiet")
    return [*before, end, *moments[len(before) :]]


def _was(event: CallEvent) -> str:
    before = say_source(event.facts.get("source")) or "not known"
    return f"An earlier call became known, and the source was decided again; it was {before} before"


def _leg_moments(leg: CallLeg) -> list[Moment]:
    to = phone(leg.destination)
    moments: list[Moment] = []
    if leg.ringing_at:
        moments.append((leg.ringing_at, Markup("{} began to ring").format(to), "quiet"))
    if leg.answered_at:
        moments.append((leg.answered_at, Markup("{} answered").format(to), "good"))
        if leg.ended_at:
            talked = say_duration(leg.seconds or (leg.ended_at - leg.answered_at).total_seconds())
            moments.append((leg.ended_at, Markup("The talk with {} ended after {}").format(to, talked), "quiet"))
    elif leg.ended_at and leg.status in LEG_ENDS:
        words, kind = LEG_ENDS[leg.status]
        moments.append((leg.ended_at, Markup("{} {}").format(to, words), kind))
    return moments
