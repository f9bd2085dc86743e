"""What a page of the old logic asks for (R13): a number for each class suffix that it has bound to prefixes, and one for all others."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from router.web import Problem

Prefixes = tuple[str, ...]
"""Beginnings of numbers, digits with the country code. A number has to begin like one of them; any does when there are none."""
Groups = Mapping[str, Prefixes]
"""The prefixes of each class suffix; the empty suffix, which comes last, stands for all elements whose suffix is not bound."""

UNBOUND = ""
ALL_ALIKE: Groups = {UNBOUND: ()}
MOST_PREFIXES = 20
LONGEST_PREFIX = 15
LONGEST_TEXT = 200
SUFFIX = re.compile(r"[\w-]{0,40}")


def begins(e164: str, prefixes: Prefixes) -> bool:
    return not prefixes or e164.removeprefix("+").startswith(prefixes)


def read_groups(body: Mapping[str, Any]) -> Groups:
    """Of `prefixes: [{prefix, suffix}]`; what does not fit is dropped, since page variables hold anything.

    Raises:
        Problem: 422, it is no list.
    """
    posted = body.get("prefixes")
    if not isinstance(posted, list | None):
        raise Problem(422, "prefixes has to be a list of {prefix, suffix}.", "prefixes")
    groups: dict[str, Prefixes] = {}
    for suffix, prefix in [found for one in (posted or [])[:MOST_PREFIXES] for found in _entries(one)][:MOST_PREFIXES]:
        groups[suffix] = (*groups.get(suffix, ()), prefix)
    unbound = groups.pop(UNBOUND, ())
    return {**groups, UNBOUND: unbound}


def _entries(posted: Any) -> list[tuple[str, str]]:
    """Suffix and prefix of one entry, which may name several prefixes with commas between them."""
    entry = posted if isinstance(posted, dict) else {}
    given, suffix = entry.get("prefix"), UNBOUND if entry.get("suffix") is None else entry["suffix"]
    if not isinstance(given, str | int) or not isinstance(suffix, str) or not SUFFIX.fullmatch(suffix):
        return []
    found = [re.sub("[^0-9]", "", prefix)[:LONGEST_PREFIX] for prefix in str(given)[:LONGEST_TEXT].split(",")]
    return [(suffix, prefix) for prefix in found if prefix]


def suffixes_by_number(groups: Groups, give: Callable[[Prefixes], str | None]) -> dict[str, list[str]]:
    """Which class suffixes show which number. A number that was given to one suffix serves the later ones that it fits: a page takes no
    more numbers out of the pool than it needs."""
    shown: dict[str, list[str]] = {}
    for suffix, prefixes in groups.items():
        e164 = next((one for one in shown if begins(one, prefixes)), None) or give(prefixes)
        if e164:
            shown.setdefault(e164, []).append(suffix)
    return shown
