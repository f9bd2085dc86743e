"""Which way a call went through the steps of its flow, in words: from what each answer to the carrier led to."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from markupsafe import Markup
from sqlalchemy.orm import Session

from router.scenarios.flow_words import Step, passed
from router.scenarios.flows import steps_in
from router.scenarios.models import CallFlow
from router.voice.given import Given
from router.voice.models import Call, CallEvent, CallLeg
from router.voice.state import caller_gone
from router.web.filters import phone

Moment = tuple[datetime, str, str]
"""When, what happened (with the numbers as `Markup`), and its kind: quiet, good or bad."""


def way_moments(session: Session, call: Call, legs: Iterable[CallLeg], events: Iterable[CallEvent]) -> list[Moment]:
    """Nothing for destinations that ring in turn. One statement, for a flow of steps alone."""
    version = call.flow.get("version")
    flow = session.get(CallFlow, version) if version else None
    if flow is None:
        return []
    steps = {step["id"]: step for _, step in steps_in(flow.document) if step.get("id")}
    lines = {leg.sid: leg.destination for leg in legs}
    moments: list[Moment] = [(call.started_at, sentence_of(call.flow.get("given") or {}, steps), "quiet")]
    for event in events:
        facts = event.facts
        if not caller_gone(facts):  # nobody hears what is answered then
            moments.append((event.at, sentence_of(facts.get("given") or {}, steps), "quiet"))
        if facts.get("leg_sid") not in lines:
            continue
        to = phone(lines[facts["leg_sid"]])
        if event.kind == "whisper" and facts.get("digits") is not None:
            done = "pressed 1 and was connected" if facts.get("accepted") else "did not take the call"
            moments.append((event.at, Markup("{} {}").format(to, done), "good" if facts.get("accepted") else "bad"))
        if event.kind == "machine" and facts.get("machine"):
            moments.append((event.at, Markup("A machine had answered at {}").format(to), "bad"))
    return [moment for moment in moments if moment[1]]


def sentence_of(given: Given, steps: Mapping[str, Step]) -> str:
    """What the caller went through by one answer; empty: nothing but lines that ring."""
    found = {step_id: outcome for what, step_id, outcome in given.get("found", ()) if what == "answer"}
    way = given.get("way", ())
    said = [
        passed(steps[step_id], branch, found.get(step_id), is_waiting=place == len(way) and given["leads"] == "ask")
        for place, (step_id, branch) in enumerate(way, 1)
        if step_id in steps
    ]
    sentence = ", then ".join(words for words in said if words)
    return f"The caller {sentence}" if sentence else ""
