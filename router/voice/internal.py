"""Internal calls, from the company's own telephones (R10): which calls are internal, and the announcement that their callers hear."""

from collections.abc import Container, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from router.attribution.decision import OVERFLOW, reach_then
from router.lib.formats import format_count, format_percent
from router.lib.phones import Caller, line_of, read_caller
from router.voice.models import EXTERNAL, INTERNAL

UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
LONGEST_PART = 40
"""Letters of a source's name that are said: whoever makes a link to the site chooses them."""


def lines_of(numbers: Iterable[str]) -> frozenset[str]:
    """The lines of E.164 numbers and of SIP addresses that hold one, in the form in which lines are compared."""
    return frozenset(line_of(e164) for number in numbers if (e164 := read_caller(number).e164))


def own_lines(fallback: str, own_numbers: Iterable[Mapping[str, str]], destinations: Iterable[str]) -> frozenset[str]:
    """A company's lines: its fallback line, its own telephones, and where its scenarios forward calls to."""
    return lines_of([fallback, *(entry["number"] for entry in own_numbers), *destinations])


def kind_of(caller: Caller, own_lines: Container[str]) -> str:
    """Whether a call is internal or external; a call with a withheld number is external."""
    return INTERNAL if caller.e164 is not None and line_of(caller.e164) in own_lines else EXTERNAL


def announcement(
    scenario: str | None, enabled: bool, values: Mapping[str, Any], started_at: datetime, rings: bool, is_line: bool
) -> str:
    """What the caller of an internal call hears.

    Args:
        scenario: its title; None: the number is in none.
        values: the columns of the call that hold its attribution.
        rings: a telephone rings after the announcement.
        is_line: the caller's telephone is one that this number is forwarded to.
    """
    place = "to a number that is in no scenario" if scenario is None else f"in the scenario {scenario}"
    off = "" if scenario is None or enabled else ", which is switched off"
    opening = f"This is a test call from one of your own telephones, recorded as internal, {place}{off}."
    if is_line and rings:
        ending = "Visitors are connected to this telephone too; the others ring now."
    elif is_line:
        ending = "Visitors are connected to this telephone, so nobody else is rung. Goodbye."
    else:
        ending = "You are put through now." if rings else "There is no telephone that could ring. Goodbye."
    # which source a visitor's call would have been credited to
    if values["rule"] == "none":
        if any(step.get("because") == OVERFLOW for step in values["decision"]["steps"]):
            credit = "Visitors are shown this number when all others are taken, so a call has no source."
        else:
            days = reach_then(values["decision"]).age
            credit = f"No visitor was shown this number in the last {_spoken(days)}, so a call has no source."
        return f"{opening} {credit} {ending}"
    source = ", ".join(
        str(values["source"][name])[:LONGEST_PART]
        for name in ("source", "medium", "campaign")
        if values["source"].get(name) not in (None, "", "none")
    )
    if values["rule"] == "static":
        credit = f"Calls to this number count for {source}."
    else:
        winner = values["candidates"][0]
        ago = _spoken(started_at - datetime.fromisoformat(winner["leased_at"]))
        confidence = format_percent(values["source_confidence"]).replace("%", "percent")
        credit = (
            f"A visitor who calls now would count for {source}, {confidence} sure:"
            f" visit {winner['visit']} was shown this number {ago} ago."
        )
    return f"{opening} {credit} {ending}"


def _spoken(time: timedelta) -> str:
    """`40 seconds`, `90 minutes`, `3 days`: in the largest unit of which there are at least two."""
    seconds = max(1, int(time.total_seconds()))
    size, unit = next((size, unit) for size, unit in UNITS if seconds >= 2 * size or size == 1)
    return format_count(seconds // size, unit)
