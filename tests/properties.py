"""How much is tried in every run, and all of it with HYPOTHESIS_PROFILE=thorough: a quarter of a property's examples, and combinations on
one of the two databases each."""

import os
from collections.abc import Collection
from itertools import product
from typing import Any

from hypothesis import settings

QUICK, THOROUGH = 0.25, 1.0
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "quick")
_SHARE = {"quick": QUICK, "thorough": THOROUGH}
KINDS = ("sqlite", "postgresql")


def examples(count: int) -> int:
    """The share of `count` examples that the profile tries."""
    return max(1, round(count * _SHARE[PROFILE]))


def by_turns(*choices: Collection[Any]) -> list[tuple[Any, ...]]:
    """Every combination, each behind the kind of database it is tried on: by turns, so that each choice meets both. For tests whose
    combinations differ in what comes in and not in what is asked of the database."""
    found = []
    for combination in product(*map(enumerate, choices)):
        turn = sum(place for place, _ in combination) % 2
        for kind in KINDS if PROFILE == "thorough" else (KINDS[turn],):
            found.append((kind, *(choice for _, choice in combination)))
    return found


def load_profile() -> None:
    """No deadline for one example: properties are about rules, not about how busy the machine is."""
    for name, share in _SHARE.items():
        settings.register_profile(name, deadline=None, max_examples=round(100 * share))
    settings.load_profile(PROFILE)
