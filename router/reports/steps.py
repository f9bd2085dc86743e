"""The decision about a call's source, rule by rule (R7), in words: what was asked, what was found, which rule decided."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from router.attribution.candidates import reach_then
from router.attribution.decision import OVERFLOW
from router.formats import say_count
from router.voice.models import INTERNAL, Call

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
    return f"Only one visit: {sure}" if seen == 1 else f"{say_count(seen, 'visit')}. The most probable one wins: {sure}"


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
    """Rounded down, so that only certainty is 100 %."""
    return "not at all" if share is None else f"{int(share * 100 + 1e-9)} %"
