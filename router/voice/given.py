"""What an answer to the carrier has led to, as calls and their events keep it: the story of a call follows from it, and its page shows by
it which way the call went."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from router.carriers.base import Forward, Gather, GoOn, Pause, Plan, Play, Record, Say
from router.voice.call_so_far import Visit, Wanted

Lead = Literal["ring", "ask", "record", "on", "end"]
"""What the caller meets: lines ring, a key is asked for, he is recorded, the carrier asks again, or the call ends."""

Given = Mapping[str, Any]
"""`{leads, lines?: destinations that ring, spoken?: he hears something first, way?: [[id of a step, its branch], ...], found?: [[what was
looked up, for which step, its outcome], ...]}`"""

MOST_FOUND = 20


def given_by(plan: Plan, way: Sequence[tuple[str, str]] = (), found: Iterable[tuple[Wanted, Any]] = ()) -> Given:
    given: dict[str, Any] = {"leads": "end"}
    leads: dict[type[Any], Lead] = {Forward: "ring", Gather: "ask", Record: "record", GoOn: "on"}
    for element in plan:
        if type(element) in leads:
            given["leads"] = leads[type(element)]
            if isinstance(element, Forward):
                given["lines"] = [target.to for target in element.targets]
            break
    if any(isinstance(element, Say | Play | Pause | Gather | Record) for element in plan):
        given["spoken"] = True
    if steps := [list(passed) for passed in way if passed[0]]:
        given["way"] = steps
    if outcomes := [[wanted.what, wanted.step, shown_outcome(outcome)] for wanted, outcome in found]:
        given["found"] = outcomes[:MOST_FOUND]
    return given


def shown_outcome(outcome: Visit | str | None) -> str:
    """Empty: nothing was found in time."""
    if isinstance(outcome, Visit):
        return "/".join(filter(None, (outcome.source, outcome.medium, outcome.campaign)))
    return outcome or ""


def has_spoken(given: Given | None) -> bool:
    return bool(given and given.get("spoken"))


def last_step(given: Given | None) -> str:
    """The id of the step by which the caller waits now; empty for destinations in turn."""
    way = given.get("way") if given else None
    return str(way[-1][0]) if way else ""
