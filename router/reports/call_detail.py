"""What a call's page shows, read in a fixed number of statements.

What happened during a call, in order of time and in words.

The decision about a call's source, rule by rule (R7), in words: what was asked, what was found, which rule decided.

Why a visit was more or less probable to be the caller's, in words. Calls of earlier releases tell less."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from markupsafe import Markup
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.decide.candidates import reach_then
from router.attribution.decide.decision import OVERFLOW
from router.attribution.models import Visit
from router.integrations.models import Delivery, Integration
from router.lib.formats import format_count, format_day, format_duration, format_percent
from router.reports.calls import find_call
from router.reports.lease_history import Picture, picture_of, read_history
from router.reports.overview import STATUS_WORDS, only_announced, say_source
from router.scenarios.models import DEFAULT_HOLD_SECONDS, Scenario
from router.voice.calls import CORRECTED, IMPORTED
from router.voice.models import INTERNAL, Call, CallEvent, CallLeg
from router.web.filters import phone

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
            talked = format_duration(leg.seconds or (leg.ended_at - leg.answered_at).total_seconds())
            moments.append((leg.ended_at, Markup("The talk with {} ended after {}").format(to, talked), "quiet"))
    elif leg.ended_at and leg.status in LEG_ENDS:
        words, kind = LEG_ENDS[leg.status]
        moments.append((leg.ended_at, Markup("{} {}").format(to, words), kind))
    return moments


Facts = dict[str, Any]


@dataclass(frozen=True)
class Step:
    question: str
    answer: str
    decided: bool
    call_id: int | None = None
    """The earlier call that the answer speaks of."""


def steps_of(call: Call) -> list[Step]:
    """The rules in the order in which they were asked, up to the one that decided."""
    return [_step(call, facts) for facts in call.decision.get("steps", []) if facts.get("rule") in RULES]


def _step(call: Call, facts: Facts) -> Step:
    question, answer = RULES[facts["rule"]]
    return Step(question, answer(call, facts), bool(facts.get("applies")), _earlier_call(facts))


def _earlier_call(facts: Facts) -> int | None:
    return facts.get("first_call_id") or facts.get("earlier_call_id")


def _repeat(call: Call, facts: Facts) -> str:
    if facts.get("applies"):
        visit = "The visit is the one that was shown the number now." if facts.get("visit_by") == "lease" else ""
        return f"Yes. {_credited(call, facts)} {visit}".strip()
    if facts.get("because") == INTERNAL:
        return "Not asked: the call came from one of your own telephones."
    if call.caller is None:
        return "Nobody can tell: the caller's number is withheld."
    if _earlier_call(facts) is None:
        return "No, this is the first call."
    return f"Yes, but {PASSED_OVER.get(str(facts.get('because')), 'where that first call came from is not known')}."


def _credited(call: Call, facts: Facts) -> str:
    if "earlier_call_id" not in facts:
        return "The source of that first call stays this caller's."
    if (call.source or {}).get("channel") == "direct":
        return "That call was direct, and no other source of this caller is known."
    return "The source of that call is the last one known of this caller that is not direct."


PASSED_OVER = {
    "every call by its own visit": "this project credits every call to its own visit",
    "own visit": "this call's own visit says where it came from",
    "own number": "that call was direct, and the number says more",
    "no earlier call has a source": "where the earlier calls came from is not known",
}
"""Why rule 1 left a repeat call to the next rules."""


def _static(call: Call, facts: Facts) -> str:
    if facts.get("because") == OVERFLOW:
        return "No, visitors are shown it when all others are taken."
    return "Yes, so the source is certain." if facts.get("applies") else "No, visitors are shown it in turn."


def _lease(call: Call, facts: Facts) -> str:
    if not facts.get("applies"):
        return "Anybody for whom no other was left." if facts.get("because") == OVERFLOW else _nobody(call)
    seen = int(facts.get("candidates") or 0)
    winner = call.candidates[0]
    sure = f"{whole_percent(winner['probability'])} sure that it was visit {winner['visit']}{_together(call)}."
    return (
        f"Only one visit: {sure}" if seen == 1 else f"{format_count(seen, 'visit')}. The most probable one wins: {sure}"
    )


def _nobody(call: Call) -> str:
    days = reach_then(call.decision).age.days
    return f"Nobody in the last {'day' if days == 1 else f'{days} days'}."


def _together(call: Call) -> str:
    """How sure its source is, when other visits came from there too."""
    if call.rule != "lease" or call.source_confidence == call.confidence:
        return ""
    return f", and {whole_percent(call.source_confidence)} sure of the source, because other visits came from there too"


def _imported(call: Call, facts: Facts) -> str:
    return "Yes: it is a call of the time before, brought over with the source that was named there."


def _none(call: Call, facts: Facts) -> str:
    return "The source is not known."


RULES: dict[str, tuple[str, Callable[[Call, Facts], str]]] = {
    "repeat": ("Has this caller called this number before?", _repeat),
    "static": ("Does this number stand for one source for good?", _static),
    "lease": ("Who had been shown this number?", _lease),
    "imported": ("Did another service decide?", _imported),
    "none": ("Is anything else known?", _none),
}


def how_sure(call: Call) -> str:
    """The end of the sentence that tells where a call came from."""
    if call.rule == "static":
        return "certain, because the number stands for this source alone"
    if call.rule == "imported":
        return "as the service before said"
    if call.rule == "repeat" and call.source_confidence is None:
        return f"as the service before said of {_which(call)}"
    if call.rule == "repeat":
        return f"{whole_percent(call.source_confidence)} sure, as on {_which(call)}"
    return f"{whole_percent(call.source_confidence)} sure"


def _which(call: Call) -> str:
    """The call whose source a repeat call was given."""
    steps: list[Facts] = call.decision.get("steps", [])
    return "an earlier call" if any("earlier_call_id" in one for one in steps) else "this caller's first call"


def whole_percent(share: float | None) -> str:
    return "not at all" if share is None else format_percent(share)


MOST_ROWS = 200

Row = TypeVar("Row", CallLeg, CallEvent)


@dataclass(frozen=True)
class Receipt:
    call: Call
    visit: Visit | None
    scenario: Scenario | None
    visits: dict[int, Visit]
    """Those of the candidates, by visit number."""
    moments: list[Moment]
    steps: list[Step]
    picture: Picture | None
    """The lease history of the number around the call."""
    deliveries: Sequence[tuple[Delivery, Integration]]


def read_receipt(session: Session, project: Project, call_id: int) -> Receipt:
    """
    Raises:
        Problem: 404 when the project has no such call.
    """
    call = find_call(session, project.id, call_id)
    legs = session.scalars(_rows_of(CallLeg, call)).all()
    events = session.scalars(_rows_of(CallEvent, call)).all()
    scenario = session.get(Scenario, call.scenario_id) if call.scenario_id else None
    history = read_history(session, call, _hold(call, scenario))
    return Receipt(
        call=call,
        visit=session.get(Visit, call.visit_id) if call.visit_id else None,
        scenario=scenario,
        visits=_candidates(session, project, call),
        moments=moments_of(call, legs, events),
        steps=steps_of(call),
        picture=picture_of(history, project.timezone),
        deliveries=_deliveries(session, call),
    )


def _rows_of(table: type[Row], call: Call) -> Select[Row]:
    """As they came: what happened within one second is told in this order."""
    return select(table).where(table.call_sid == call.sid).order_by(table.id).limit(MOST_ROWS)


def _hold(call: Call, scenario: Scenario | None) -> timedelta:
    """As it was for this call, where the decision kept it."""
    given = (call.decision.get("given") or {}).get("hold_seconds")
    now = scenario.hold_seconds if scenario else DEFAULT_HOLD_SECONDS
    return timedelta(seconds=now if given is None else given)


def _candidates(session: Session, project: Project, call: Call) -> dict[int, Visit]:
    numbers = [one["visit"] for one in call.candidates]
    visits = select(Visit).where(Visit.project_id == project.id, Visit.number.in_(numbers))
    return {visit.number: visit for visit in session.scalars(visits)} if numbers else {}


def _deliveries(session: Session, call: Call) -> Sequence[tuple[Delivery, Integration]]:
    rows = session.execute(
        select(Delivery, Integration)
        .join(Integration, Integration.id == Delivery.integration_id)
        .where(Delivery.call_id == call.id)
        .order_by(Delivery.id)
    )
    return [(delivery, integration) for delivery, integration in rows]


ReasonFacts = Mapping[str, Any]


def reasons_of(candidate: ReasonFacts, visit: Visit | None, zone: str) -> list[str]:
    """What speaks for and against a candidate, the strongest first."""
    said = [_tapped(candidate), _page(candidate)]
    if candidate.get("replaced"):
        said.append("the same visitor began another visit since")
    if visit is not None and visit.source_at is not None and visit.source_at < visit.started_at:
        said.append(f"came back directly and keeps the source of {format_day(visit.source_at, zone)}")
    return [one for one in said if one]


def _tapped(candidate: ReasonFacts) -> str:
    seconds = candidate.get("tapped_seconds")
    if seconds is None:
        return ""
    return (
        f"tapped the number {format_duration(seconds)} before" if seconds >= 1 else "tapped the number at that moment"
    )


def _page(candidate: ReasonFacts) -> str:
    """What its page was doing when the call came."""
    silent = format_duration(candidate.get("silent_seconds") or 0)
    left = bool(candidate.get("left"))
    return {
        "open": "its page was open",
        "hold": f"its page was left {silent} before" if left else f"its page had been silent for {silent}",
        "ended": f"its page was left {silent} before" if left else f"its page had been closed for {silent}",
    }.get(str(candidate.get("state")), "")
