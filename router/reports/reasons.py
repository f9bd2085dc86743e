"""Why a visit was more or less probable to be the caller's, in words. Calls of earlier releases tell less."""

from collections.abc import Mapping
from typing import Any

from router.attribution.models import Visit
from router.formats import say_day, say_duration

Facts = Mapping[str, Any]


def reasons_of(candidate: Facts, visit: Visit | None, zone: str) -> list[str]:
    """What speaks for and against a candidate, the strongest first."""
    said = [_tapped(candidate), _page(candidate)]
    if candidate.get("replaced"):
        said.append("the same visitor began another visit since")
    if visit is not None and visit.source_at is not None and visit.source_at < visit.started_at:
        said.append(f"came back directly and keeps the source of {say_day(visit.source_at, zone)}")
    return [one for one in said if one]


def _tapped(candidate: Facts) -> str:
    seconds = candidate.get("tapped_seconds")
    if seconds is None:
        return ""
    return f"tapped the number {say_duration(seconds)} before" if seconds >= 1 else "tapped the number at that moment"


def _page(candidate: Facts) -> str:
    """What its page was doing when the call came."""
    silent = say_duration(candidate.get("silent_seconds") or 0)
    left = bool(candidate.get("left"))
    return {
        "open": "its page was open",
        "hold": f"its page was left {silent} before" if left else f"its page had been silent for {silent}",
        "ended": f"its page was left {silent} before" if left else f"its page had been closed for {silent}",
    }.get(str(candidate.get("state")), "")
