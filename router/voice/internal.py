"""Internal calls: from the company's own telephones (R10). Who is one, and what the caller hears: that this was a test call, and what a
visitor's call would have been credited to."""

from collections.abc import Container, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from router.attribution.decide.candidates import reach_then
from router.attribution.decide.decision import OVERFLOW
from router.lib.formats import format_count, format_percent
from router.lib.phones import Caller, line_of, read_caller
from router.voice.models import EXTERNAL, INTERNAL

UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
LONGEST_PART = 40
"""Letters of a source's name that are said: whoever makes a link to the site chooses them."""


def lines_of(numbers: Iterable[str]) -> frozenset[str]:
    """The lines of E.164 numbers and of those in SIP addresses, in the form in which they are compared."""
    found = (read_caller(number).e164 for number in numbers)
    return frozenset(line_of(e164) for e164 in found if e164)


def own_lines(fallback: str, own_numbers: Iterable[Mapping[str, str]], destinations: Iterable[str]) -> frozenset[str]:
    """Those of a company: its fallback line, its own telephones, and where its scenarios forward calls to."""
    return lines_of([fallback, *(one["number"] for one in own_numbers), *destinations])


def kind_of(caller: Caller, own_lines: Container[str]) -> str:
    """What a call is, by its caller and the lines of the company's own telephones; a withheld caller is nobody's telephone."""
    return INTERNAL if caller.e164 is not None and line_of(caller.e164) in own_lines else EXTERNAL


def announcement(
    scenario: str | None, enabled: bool, decided: Mapping[str, Any], started_at: datetime, rings: bool, is_line: bool
) -> str:
    """What somebody hears who calls from an own telephone.

    Args:
        scenario: its title; None: the number is in none.
        decided: the columns of the call that hold its attribution.
        rings: a telephone rings after it.
        is_line: the caller's telephone is one that this number is forwarded to.
    """
    place = "to a number that is in no scenario" if scenario is None else f"in the scenario {scenario}"
    off = "" if scenario is None or enabled else ", which is switched off"
    opening = f"This is a test call from one of your own telephones, recorded as internal, {place}{off}."
    return " ".join([opening, _credit(decided, started_at), _going_on(rings, is_line)])


def _credit(decided: Mapping[str, Any], started_at: datetime) -> str:
    if decided["rule"] == "none":
        steps: Iterable[Mapping[str, Any]] = decided["decision"]["steps"]
        if any(step.get("because") == OVERFLOW for step in steps):
            return "Visitors are shown this number when all others are taken, so a call has no source."
        days = reach_then(decided["decision"]).age
        return f"No visitor was shown this number in the last {_spoken(days)}, so a call has no source."
    source = ", ".join(
        str(decided["source"][name])[:LONGEST_PART]
        for name in ("source", "medium", "campaign")
        if decided["source"].get(name) not in (None, "", "none")
    )
    if decided["rule"] == "static":
        return f"Calls to this number count for {source}."
    winner = decided["candidates"][0]
    ago = _spoken(started_at - datetime.fromisoformat(winner["leased_at"]))
    sure = format_percent(decided["source_confidence"]).replace("%", "percent")
    return (
        f"A visitor who calls now would count for {source}, {sure} sure:"
        f" visit {winner['visit']} was shown this number {ago} ago."
    )


def _going_on(rings: bool, is_line: bool) -> str:
    if not is_line:
        return "You are put through now." if rings else "There is no telephone that could ring. Goodbye."
    if rings:
        return "Visitors are connected to this telephone too; the others ring now."
    return "Visitors are connected to this telephone, so nobody else is rung. Goodbye."


def _spoken(time: timedelta) -> str:
    """`40 seconds`, `90 minutes`, `3 days`: whole ones of the largest unit of which there are two."""
    seconds = max(1, int(time.total_seconds()))
    size, unit = next((size, unit) for size, unit in UNITS if seconds >= 2 * size or size == 1)
    return format_count(seconds // size, unit)
