"""Patterns of marketing sources and landing pages (R1): exact, case-folded, `*` stands for anything."""

import re
from functools import lru_cache
from typing import NamedTuple


class SourceParts(NamedTuple):
    """Source, medium and campaign: of a visit as they are, of a pattern with `*`."""

    source: str
    medium: str
    campaign: str


CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
REGION = re.compile(r"[A-Z]{2}(?:-[A-Z0-9]{1,3})?|[A-Z]{2}(?:-[A-Z0-9]{0,2})?\*", re.IGNORECASE)


def pattern_error(text: str) -> str | None:
    """Why this cannot be a pattern, or any other text of one line."""
    return "Write it on one line, without control characters." if CONTROL.search(text) else None


def region_error(text: str) -> str | None:
    return None if REGION.fullmatch(text) else f"“{text}” is not a region like DE, US-CA or US*."


def fits(pattern: str, text: str) -> bool:
    """Each part between stars is sought at its first place: the time stays in proportion to the text, and nothing has to be compiled for
    the many patterns of many projects."""
    first, *others = _folded(pattern).split("*")
    text = _folded(text)
    if not others:
        return first == text
    *middle, last = others
    begin, end = len(first), len(text) - len(last)
    if begin > end or not text.startswith(first) or not text.endswith(last):
        return False
    for part in middle:
        found = text.find(part, begin, end)
        if found < 0:
            return False
        begin = found + len(part)
    return True


@lru_cache(maxsize=1024)
def _folded(text: str) -> str:
    return text.strip().casefold()


def read_source_pattern(text: str) -> SourceParts:
    """`source[/medium[/campaign]]`; what is not named may be anything. A campaign may hold slashes."""
    parts = [*text.split("/", 2), "", ""][:3]
    return SourceParts(*(part.strip() or "*" for part in parts))


def source_fits(pattern: SourceParts, source: SourceParts) -> bool:
    return all(fits(wanted, given) for wanted, given in zip(pattern, source, strict=True))


def covers(wide: str, narrow: str) -> bool:
    """Whether everything that fits `narrow` fits `wide` as well. Never wrongly True; a star of `narrow` is only met by a star."""
    return fits(wide, narrow)


def source_covers(wide: SourceParts, narrow: SourceParts) -> bool:
    return all(covers(one, other) for one, other in zip(wide, narrow, strict=True))
