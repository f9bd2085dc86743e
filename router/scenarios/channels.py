"""Which number a visit is shown by its marketing source (R1): a dynamic one, or a static one of its own. Pure rules."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from router.scenarios.patterns import SourceParts, fits

Channel = tuple[Literal["dynamic"], None] | tuple[Literal["static"], str]
DYNAMIC: Channel = ("dynamic", None)


def channel_for(channels: Iterable[Mapping[str, Any]], source: SourceParts) -> Channel:
    """The first row of `Scenario.channels` that fits decides; when none does: dynamic. A static number without a match is shown to
    nobody (a billboard's)."""
    for row in channels:
        match: Mapping[str, str] = {name: text for name, text in (row.get("match") or {}).items() if text}
        if not all(fits(match.get(name, "*"), given) for name, given in source._asdict().items()):
            continue
        if row.get("kind") != "static":
            return DYNAMIC
        if match and row.get("number"):
            return "static", row["number"]
    return DYNAMIC
