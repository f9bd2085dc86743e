"""What a call's page shows, read in a fixed number of statements: what happened during the call, how its source was decided rule by rule
(R7), and why a visit was more or less probable to be the caller's. Calls of earlier releases tell less."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from markupsafe import Markup
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.decision import OVERFLOW, reach_then
from router.attribution.models import Visit
from router.integrations.models import Delivery, Integration
from router.lib.formats import format_count, format_day, format_duration, format_percent
from router.reports.calls import CALL_STATUSES, find_call, format_source, only_announced
from router.reports.flow_way import Moment, way_moments
from router.reports.lease_history import read_history
from router.scenarios.models import DEFAULT_HOLD_SECONDS, Scenario
from router.voice.blocking.rules import because_words
from router.voice.calls import CORRECTED, IMPORTED
from router.voice.models import BLOCKED, INTERNAL, Call, CallEvent, CallLeg, CallRecording, LegStatus, RecordingState
from router.voice.recordings import RECORDING, recordings_of
from router.web.filters import phone

Facts = dict[str, Any]


LEG_ENDS: dict[str, tuple[str, str]] = {
    LegStatus.BUSY: ("was busy", "bad"),
    LegStatus.NO_ANSWER: ("did not answer", "bad"),
    LegStatus.FAILED: ("could not be reached", "bad"),
    LegStatus.CANCELED: ("stopped ringing", "quiet"),
}
"""How ringing a destination ended without an answer."""


def moments_of(
    call: Call, legs: Iterable[CallLeg], events: Sequence[CallEvent], way: Iterable[Moment] = ()
) -> list[Moment]:
    """The call's beginning, its way through its flow, each destination that was rung, the recording, the end, and corrections of its
    source."""
    moments = [*way]
    refused = {
        event.facts.get("leg_sid") for event in events if event.kind == "dial" and event.facts.get("bridged") is False
    }
    for leg in legs:
        to = phone(leg.destination)
        if leg.ringing_at:
            moments.append((leg.ringing_at, Markup("{} began to ring").format(to), "quiet"))
        if leg.answered_at:
            moments.append((leg.answered_at, Markup("{} answered").format(to), "good"))
            if leg.ended_at and leg.sid not in refused:
                talked = format_duration(leg.seconds or (leg.ended_at - leg.answered_at).total_seconds())
                moments.append((leg.ended_at, Markup("The talk with {} ended after {}").format(to, talked), "quiet"))
        elif leg.ended_at and leg.status in LEG_ENDS:
            label, kind = LEG_ENDS[leg.status]
            moments.append((leg.ended_at, Markup("{} {}").format(to, label), kind))
    for event in events:
        if event.kind == RECORDING and event.facts.get("status", "completed") == "completed":
            what = "caller’s message" if event.facts.get("is_message") else "recording"
            moments.append((event.at, f"The {what} is ready at the carrier", "quiet"))
        if event.kind == CORRECTED:
            before = format_source(event.facts.get("source")) or "not known"
            sentence = f"An earlier call became known, and the source was decided again; it was {before} before"
            moments.append((event.at, sentence, "quiet"))
    moments.sort(key=lambda moment: moment[0])
    if announcement := call.flow.get("announcement"):
        moments.insert(0, (call.started_at, f"Answered with the words “{announcement}”", "quiet"))
    if call.ended_at is not None and call.rule != IMPORTED:  # the end stands before a recording that came later
        label, kind = ("nobody else was rung", "quiet") if only_announced(call) else CALL_STATUSES[call.status]
        if call.kind == BLOCKED:
            label, kind = "it was not put through", "quiet"
        place = sum(at <= call.ended_at for at, _, _ in moments)
        moments.insert(place, (call.ended_at, f"The call ended: {label}", kind if kind in ("good", "bad") else "quiet"))
    return [(call.started_at, Markup("The call came in to {}").format(phone(call.number)), "quiet"), *moments]


RECORDING_STATES = {
    RecordingState.WAITING: ("being fetched", "quiet"),
    RecordingState.FAILED: ("not fetched", "bad"),
    RecordingState.REMOVING: ("deleted", "quiet"),
    RecordingState.REMOVED: ("deleted", "quiet"),
}


def describe_recording(recording: CallRecording) -> str:
    lasts = "length not known" if recording.seconds is None else format_duration(recording.seconds)
    return f"{lasts}, caller on the left, company on the right" if recording.channels == 2 else lasts


@dataclass(frozen=True)
class Step:
    question: str
    answer: str
    decided: bool
    call_id: int | None = None
    """The earlier call that the answer speaks of."""


QUESTIONS = {
    "repeat": "Has this caller called this number before?",
    "static": "Does this number stand for one source for good?",
    "lease": "Who had been shown this number?",
    "imported": "Did another service decide?",
    "none": "Is anything else known?",
}
PASSED_OVER = {
    "every call by its own visit": "this project credits every call to its own visit",
    "own visit": "this call's own visit says where it came from",
    "own number": "that call was direct, and the number says more",
    "no earlier call has a source": "where the earlier calls came from is not known",
}
"""Why rule 1 left a repeat call to the next rules."""


def steps_of(call: Call) -> list[Step]:
    """The rules in the order in which they were asked, up to the one that decided."""
    return [
        Step(
            QUESTIONS[facts["rule"]],
            _answer(call, facts),
            bool(facts.get("applies")),
            facts.get("first_call_id") or facts.get("earlier_call_id"),
        )
        for facts in call.decision.get("steps", [])
        if facts.get("rule") in QUESTIONS
    ]


def _answer(call: Call, facts: Facts) -> str:
    """What a rule found."""
    rule, applies, is_overflow = facts["rule"], bool(facts.get("applies")), facts.get("because") == OVERFLOW
    if rule == "repeat":
        return _repeat(call, facts)
    if rule == "imported":
        return "Yes: it is a call of the time before, brought over with the source that was named there."
    if rule == "none":
        return "The source is not known."
    if rule == "static":
        if is_overflow:
            return "No, visitors are shown it when all others are taken."
        return "Yes, so the source is certain." if applies else "No, visitors are shown it in turn."
    if not applies and is_overflow:
        return "Anybody for whom no other was left."
    if not applies:
        days = reach_then(call.decision).age.days
        return f"Nobody in the last {'day' if days == 1 else f'{days} days'}."
    amount, winner = int(facts.get("candidates") or 0), call.candidates[0]
    answer = f"{format_confidence(winner['probability'])} sure that it was visit {winner['visit']}"
    if call.rule == "lease" and call.source_confidence != call.confidence:
        of_source = format_confidence(call.source_confidence)
        answer += f", and {of_source} sure of the source, because other visits came from there too"
    if amount == 1:
        return f"Only one visit: {answer}."
    return f"{format_count(amount, 'visit')}. The most probable one wins: {answer}."


def _repeat(call: Call, facts: Facts) -> str:
    if facts.get("applies"):
        if "earlier_call_id" not in facts:
            credit = "The source of that first call stays this caller's."
        elif (call.source or {}).get("channel") == "direct":
            credit = "That call was direct, and no other source of this caller is known."
        else:
            credit = "The source of that call is the last one known of this caller that is not direct."
        by_lease = " The visit is the one that was shown the number now." if facts.get("visit_by") == "lease" else ""
        return f"Yes. {credit}{by_lease}"
    if facts.get("because") == INTERNAL:
        return "Not asked: the call came from one of your own telephones."
    if facts.get("because") == BLOCKED:
        return "Not asked: the call was blocked."
    if call.caller is None:
        return f"Nobody can tell: the caller's number is {'forgotten' if call.forgotten_id else 'withheld'}."
    if not facts.get("first_call_id") and facts.get("earlier_call_id") is None:
        return "No, this is the first call."
    return f"Yes, but {PASSED_OVER.get(str(facts.get('because')), 'where that first call came from is not known')}."


def blocked_because(call: Call) -> str:
    """Why a blocked call was not put through."""
    blocked: Facts = call.flow.get("blocked") or {}
    return because_words(str(blocked.get("because")), str(blocked.get("pattern") or ""))


def how_sure(call: Call) -> str:
    """The end of the sentence that tells where a call came from."""
    if call.rule == "static":
        return "certain, because the number stands for this source alone"
    if call.rule == "imported":
        return "as the service before said"
    if call.rule != "repeat":
        return f"{format_confidence(call.source_confidence)} sure"
    steps: list[Facts] = call.decision.get("steps", [])
    credited = "an earlier call" if any("earlier_call_id" in step for step in steps) else "this caller's first call"
    if call.source_confidence is None:
        return f"as the service before said of {credited}"
    return f"{format_confidence(call.source_confidence)} sure, as on {credited}"


def format_confidence(share: float | None) -> str:
    return "not at all" if share is None else format_percent(share)


MOST_ROWS = 200

Row = TypeVar("Row", CallLeg, CallEvent)


class Receipt:
    """All that a call's page shows.

    Raises:
        Problem: 404 when the project has no such call.
    """

    def __init__(self, session: Session, project: Project, call_id: int) -> None:
        self.call = call = find_call(session, project.id, call_id)
        self.visit = session.get(Visit, call.visit_id) if call.visit_id else None
        self.scenario = session.get(Scenario, call.scenario_id) if call.scenario_id else None
        legs, events = session.scalars(_rows_of(CallLeg, call)).all(), session.scalars(_rows_of(CallEvent, call)).all()
        way = way_moments(session, call, legs, events)
        self.moments, self.steps = moments_of(call, legs, events, way), steps_of(call)
        self.recordings = recordings_of(session, [call])[call.sid]
        # the hold as it was for this call, where the decision kept it
        hold = (call.decision.get("given") or {}).get("hold_seconds")
        if hold is None:
            hold = self.scenario.hold_seconds if self.scenario else DEFAULT_HOLD_SECONDS
        self.history = read_history(session, call, timedelta(seconds=hold), project.timezone)
        numbers = [candidate["visit"] for candidate in call.candidates]
        candidates = select(Visit).where(Visit.project_id == project.id, Visit.number.in_(numbers))
        self.visits = {visit.number: visit for visit in session.scalars(candidates)} if numbers else {}
        """The visits of the candidates, by visit number."""
        self.deliveries = session.execute(
            select(Delivery, Integration)
            .join(Integration, Integration.id == Delivery.integration_id)
            .where(Delivery.call_id == call.id)
            .order_by(Delivery.id)
        ).all()


def _rows_of(table: type[Row], call: Call) -> Select[Row]:
    """In the order of arrival, which tells what came first within a second."""
    return select(table).where(table.call_sid == call.sid).order_by(table.id).limit(MOST_ROWS)


def reasons_of(candidate: Mapping[str, Any], visit: Visit | None, zone: str) -> list[str]:
    """What speaks for and against a candidate, the strongest first."""
    reasons = []
    tapped = candidate.get("tapped_seconds")
    if tapped is not None:
        at = f"{format_duration(tapped)} before" if tapped >= 1 else "at that moment"
        reasons.append(f"tapped the number {at}")
    silent = format_duration(candidate.get("silent_seconds") or 0)
    match candidate.get("state"), bool(candidate.get("left")):
        case "open", _:
            reasons.append("its page was open")
        case "hold" | "ended", True:
            reasons.append(f"its page was left {silent} before")
        case "hold", False:
            reasons.append(f"its page had been silent for {silent}")
        case "ended", False:
            reasons.append(f"its page had been closed for {silent}")
    if candidate.get("replaced"):
        reasons.append("the same visitor began another visit since")
    if visit is not None and visit.source_at is not None and visit.source_at < visit.started_at:
        reasons.append(f"came back directly and keeps the source of {format_day(visit.source_at, zone)}")
    return reasons
