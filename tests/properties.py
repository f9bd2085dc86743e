"""How many examples each property is tried on: a quarter in every run, all of them with HYPOTHESIS_PROFILE=thorough."""

import os

from hypothesis import settings

QUICK, THOROUGH = 0.25, 1.0
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "quick")
_SHARE = {"quick": QUICK, "thorough": THOROUGH}


def examples(count: int) -> int:
    """The share of `count` examples that the profile tries."""
    return max(1, round(count * _SHARE[PROFILE]))


def load_profile() -> None:
    """No deadline for one example: properties are about rules, not about how busy the machine is."""
    for name, share in _SHARE.items():
        settings.register_profile(name, deadline=None, max_examples=round(100 * share))
    settings.load_profile(PROFILE)
