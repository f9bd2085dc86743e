"""Which way a call went through the steps of its flow, in words: from what each answer to the carrier led to."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from markupsafe import Markup
from sqlalchemy.orm import Session

from router.scenarios.flows import steps_in
from router.scenarios.models import CallFlow
from router.voice.given import Given
from router.voice.models import Call, CallEvent, CallLeg
from router.web.filters import phone

Moment = tuple[datetime, str, str]
"""When, what happened (with the numbers as `Markup`), and its kind: quiet, good or bad."""

Step = Mapping[str, Any]
LONGEST_QUOTE = 60
BRANCHES = {
    "holidays": "it was a holiday",
    "no_input": "pressed nothing",
    "wrong_key": "pressed a key that is not in the menu",
    "first": "called for the first time",
    "repeat": "had called before",
}


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
    passed = [
        words_of(steps[step_id], branch, found.get(step_id), is_waiting=place == len(way) and given["leads"] == "ask")
        for place, (step_id, branch) in enumerate(way, 1)
        if step_id in steps
    ]
    said = ", then ".join(words for words in passed if words)
    return f"The caller {said}" if said else ""


def words_of(step: Step, branch: str, answer: str | None, *, is_waiting: bool = False) -> str:
    """Of one step, as what follows *The caller*; `branch` is its name in the step, empty where it went none."""
    name, _, rest = branch.partition(".")
    place = int(rest.partition(".")[0]) if name == "branches" else None
    match step["type"]:
        case "say":
            text = step["text"]
            return f"heard “{text[:LONGEST_QUOTE]}{'…' if len(text) > LONGEST_QUOTE else ''}”"
        case "play":
            return f"heard the sound {step['sound']}"
        case "menu":
            return BRANCHES.get(name, f"pressed {rest}") if branch else "was asked to press a key"
        case "press_key":
            done = "did not press" if branch else "was asked to press" if is_waiting else "pressed"
            return f"{done} {step['key']}"
        case "voicemail":
            return "was asked for a message"
        case "hours":
            if place is None:
                return BRANCHES.get(name, "called at any other time")
            times = step["branches"][place]["times"]
            return "called at " + " or ".join(f"{'/'.join(at['days'])} {at['opens']}–{at['closes']}" for at in times)
        case "by_source":
            if place is None:
                return "came from another source, or from nowhere known"
            match = step["branches"][place]["match"]
            return f"came from {' / '.join(part for part in match.values() if part) or 'any source'}"
        case "by_caller":
            return BRANCHES.get(name, "could not be told apart from others")
        case "by_area":
            return (
                f"called from {', '.join(step['branches'][place]['prefixes'])}"
                if place is not None
                else "called from elsewhere"
            )
        case "ask":
            said = f"answered “{answer}”" if answer else "had no answer in time"
            return f"went as {urlsplit(step['url']).hostname} {said}" if answer is not None else ""
        case "hang_up":
            return "was let go"
    return ""
