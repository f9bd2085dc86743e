"""R7, rule 1: what a repeat call is credited to, by the project's choice."""

from typing import Any

import pytest

from router.attribution.decision import (
    FIRST_CALL,
    LAST_NON_DIRECT,
    OWN_VISIT,
    Decision,
    EarlierCall,
    Weighed,
    decide,
    weigh,
)
from router.attribution.tracking.sources import DIRECT, named_source
from tests.attribution.test_decision import BILLBOARD, HOLD, candidate
from tests.factories import NOON

GOOGLE = named_source("google", "cpc", "spring").as_dict()
MAIL = named_source("mail", "email").as_dict()
NOTHING = DIRECT.as_dict()
CALLED_DIRECT = named_source("Direct", "(none)", "spring").as_dict()


def decided(
    credit: str, earlier: Any = MAIL, own: Any = None, silent: float = 0.0, static: Any = None, others: int = 0
) -> Decision:
    """A repeat call: the earlier call's source, and that of the one visit which was shown the number, silent for some seconds."""
    found = [candidate(1, 1, silent=silent)] + [candidate(2 + i, 2 + i, silent=silent + 1) for i in range(others)]
    weighed: list[Weighed] = weigh(found, HOLD, NOON) if own is not None else []
    before = EarlierCall(5, NOON, 77, earlier, 42 if earlier else None, 0.8, 0.9)
    return decide(before, static, weighed, {one.visit_id: own for one in found}, credit)


def test_r7_the_first_calls_source_stays_whatever_the_own_visit_says() -> None:
    found = decided(FIRST_CALL, earlier=NOTHING, own=GOOGLE)
    assert (found.rule, found.source, found.source_confidence) == ("repeat", NOTHING, 0.9)
    assert decided(FIRST_CALL, earlier=None, own=GOOGLE).rule == "lease"


def test_r7_by_its_own_visit_a_repeat_call_is_decided_as_a_first_one() -> None:
    for own, static, rule in ((GOOGLE, None, "lease"), (GOOGLE, BILLBOARD, "static"), (None, None, "none")):
        found = decided(OWN_VISIT, own=own, static=static)
        weighed = weigh([candidate()], HOLD, NOON) if own else []
        alone = decide(None, static, weighed, {1: GOOGLE})
        assert found.rule == rule
        assert (found.source, found.visit_id, found.confidence) == (alone.source, alone.visit_id, alone.confidence)
        assert found.steps[0]["first_call_id"] == 5


@pytest.mark.parametrize(
    ("earlier", "own", "static", "source", "rule"),
    [
        (MAIL, GOOGLE, None, GOOGLE, "lease"),  # (a)
        (MAIL, NOTHING, None, MAIL, "repeat"),  # (b)
        (MAIL, None, None, MAIL, "repeat"),
        (MAIL, GOOGLE, BILLBOARD, MAIL, "repeat"),  # a static number's visits decide nothing
        (NOTHING, GOOGLE, None, GOOGLE, "lease"),
        (NOTHING, CALLED_DIRECT, None, CALLED_DIRECT, "lease"),  # (c)
        (NOTHING, None, None, NOTHING, "repeat"),  # (d)
        (NOTHING, None, BILLBOARD, None, "static"),
        (None, None, BILLBOARD, None, "static"),
        (None, GOOGLE, None, GOOGLE, "lease"),
        (None, None, None, None, "none"),
    ],
)
def test_r7_the_last_source_that_is_not_direct_counts(
    earlier: Any, own: Any, static: Any, source: Any, rule: str
) -> None:
    found = decided(LAST_NON_DIRECT, earlier=earlier, own=own, static=static)
    assert found.rule == rule
    if rule != "static":
        assert found.source == source


@pytest.mark.parametrize("own", [GOOGLE, NOTHING])
def test_r7_an_own_visit_that_is_less_than_half_sure_says_nothing_against_an_earlier_call(own: Any) -> None:
    assert decided(LAST_NON_DIRECT, earlier=MAIL, own=own, others=1).source == MAIL
    assert decided(LAST_NON_DIRECT, earlier=NOTHING, own=own, others=1).rule == "repeat"
    assert decided(LAST_NON_DIRECT, earlier=None, own=own, others=1).rule == "lease"


def test_r7_a_call_that_is_credited_to_an_earlier_one_names_it() -> None:
    found = decided(LAST_NON_DIRECT, own=NOTHING)
    assert (found.confidence, found.source_confidence, found.source_key) == (0.8, 0.9, 42)
    assert (found.steps[0]["earlier_call_id"], found.steps[0]["earlier_visit_id"]) == (5, 77)
    assert (found.visit_id, found.steps[0]["visit_by"]) == (77, "earlier call")
    assert decided(LAST_NON_DIRECT).visit_id == 77
