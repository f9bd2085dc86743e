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
SUFFIX = re.compile(r"[\w-]{1,40}")
REFUSED = "prefixes has to be a list of at most 20 {prefix, suffix}."


def begins(e164: str, prefixes: Prefixes) -> bool:
    return not prefixes or e164.removeprefix("+").startswith(prefixes)


def read_groups(body: Mapping[str, Any]) -> Groups:
    """
    Raises:
        Problem: 422 naming the field.
    """
    posted = body.get("prefixes") or []
    if not isinstance(posted, list) or len(posted) > MOST_PREFIXES or not all(isinstance(one, dict) for one in posted):
        raise Problem(422, REFUSED, "prefixes")
    groups: dict[str, Prefixes] = {}
    unbound: Prefixes = ()
    for one in posted:
        prefix, suffix = one.get("prefix"), one.get("suffix") or UNBOUND
        if not isinstance(prefix, str) or not isinstance(suffix, str):
            raise Problem(422, REFUSED, "prefixes")
        digits = re.sub("[^0-9]", "", prefix)[:LONGEST_PREFIX]
        if digits and suffix == UNBOUND:
            unbound += (digits,)
        elif digits and SUFFIX.fullmatch(suffix):
            groups[suffix] = (*groups.get(suffix, ()), digits)
    return {**groups, UNBOUND: unbound}


def suffixes_by_number(groups: Groups, give: Callable[[Prefixes], str | None]) -> dict[str, list[str]]:
    """Which class suffixes show which number. A number that was given to one suffix serves the later ones that it fits: a page takes no
    more numbers out of the pool than it needs."""
    shown: dict[str, list[str]] = {}
    for suffix, prefixes in groups.items():
        e164 = next((one for one in shown if begins(one, prefixes)), None) or give(prefixes)
        if e164:
            shown.setdefault(e164, []).append(suffix)
    return shown
