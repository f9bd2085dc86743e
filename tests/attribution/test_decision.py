"""R7: confidence and the four rules, in their order; and what a repeat call is credited to, by the project's choice."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.attribution.decision import (
    FIRST_CALL,
    LAST_NON_DIRECT,
    NOBODY_WEIGHT,
    OWN_VISIT,
    Candidate,
    Decision,
    EarlierCall,
    Weighed,
    decide,
    source_confidence,
    weigh,
)
from router.attribution.tracking.sources import DIRECT, named_source
from tests.factories import NOON

HOLD = timedelta(seconds=150)
SPRING = {
    "channel": "paid_search",
    "source": "google",
    "medium": "cpc",
    "campaign": "spring",
    "term": "",
    "content": "",
}
MAIL = SPRING | {"channel": "email", "source": "mail", "medium": "email", "campaign": ""}
BILLBOARD = {"source": "billboard", "medium": "print", "campaign": "A7"}


def candidate(visit: int = 1, source: int = 1, silent: float = 0, leased: float = 1000, visitor: str = "") -> Candidate:
    return Candidate(
        visit,
        10_000 + visit,
        source,
        NOON - timedelta(seconds=leased),
        NOON - timedelta(seconds=silent),
        visitor or f"v{visit}",
    )


def known_share(weighed: Sequence[Weighed]) -> float:
    """Probability for each unit of weight."""
    return weighed[0].probability / weighed[0].weight


candidates = st.lists(
    st.builds(
        candidate,
        visit=st.integers(1, 500),
        source=st.integers(1, 4),
        silent=st.one_of(st.floats(-500, 500), st.floats(0, 30 * 86400)),
        leased=st.floats(0, 30 * 86400),
    ),
    max_size=50,
    unique_by=lambda one: one.visit_id,
)


def test_r7_a_visitor_who_began_another_visit_calls_from_that_one() -> None:
    before, now = candidate(1, 1, leased=60, visitor="anna"), candidate(2, 2, leased=20, visitor="anna")
    newest, older = weigh([before, now], HOLD, NOON)
    assert newest.candidate is now
    assert newest.probability > 0.94
    assert older.probability < 0.05
    strangers = weigh([before, candidate(2, 2, leased=20, visitor="bella")], HOLD, NOON)
    assert strangers[1].probability > 0.45


def test_r7_a_tap_just_before_the_call_outweighs_open_pages() -> None:
    """12 others who see the number are less likely together than the one who tapped it."""
    others = [candidate(visit) for visit in range(2, 14)]
    tapped = weigh([candidate(1)._replace(tapped_at=NOON - timedelta(seconds=4)), *others], HOLD, NOON)
    assert (tapped[0].candidate.visit_id, tapped[0].tapped) == (1, timedelta(seconds=4))
    assert tapped[0].probability > 0.9
    long_ago = weigh([candidate(1)._replace(tapped_at=NOON - timedelta(minutes=10)), *others], HOLD, NOON)
    assert {one.tapped for one in long_ago} == {None}
    later = weigh([candidate(1)._replace(tapped_at=NOON + timedelta(seconds=1)), *others], HOLD, NOON)
    assert {one.tapped for one in later} == {None}


def test_r7_a_page_that_said_it_was_left_is_closed_sooner() -> None:
    silent, left = candidate(1, silent=30), candidate(2, silent=30)._replace(left=True)
    assert [one.state for one in weigh([silent, left], HOLD, NOON)] == ["open", "hold"]
    assert weigh([left._replace(last_sign_at=NOON - timedelta(seconds=9))], HOLD, NOON)[0].state == "open"


def test_r7_who_saw_the_number_for_a_moment_seldom_calls_it_later() -> None:
    glanced, read = candidate(1, silent=300, leased=305), candidate(2, silent=300, leased=500)
    first, second = weigh([glanced, read], HOLD, NOON)
    assert first.candidate is read
    assert second.probability < 0.1


@given(candidates.filter(bool))
def test_r7_visits_before_the_candidates_make_a_visit_less_sure_and_its_source_as_sure_as_it_is_often(
    found: list[Candidate],
) -> None:
    known, more = weigh(found, HOLD, NOON), weigh(found, HOLD, NOON, earlier=True)
    by_visit = {one.candidate.visit_id: one.probability for one in known}
    assert all(one.probability < by_visit[one.candidate.visit_id] for one in more)
    sources = {one.candidate.source_key: source_confidence(more, one.candidate.source_key) for one in more}
    assert sum(sources.values()) == pytest.approx(1 - NOBODY_WEIGHT * known_share(more))
    assert all(sources[one.candidate.source_key] >= one.probability for one in more)


@given(candidates)
def test_r7_the_probabilities_sum_with_nobody_to_one(found: list[Candidate]) -> None:
    weighed = weigh(found, HOLD, NOON)
    total = NOBODY_WEIGHT + sum(one.weight for one in weighed)
    assert sum(one.probability for one in weighed) + NOBODY_WEIGHT / total == pytest.approx(1)
    assert all(0 < one.probability < 1 for one in weighed)


@given(candidates, st.randoms())
def test_r7_the_order_of_the_candidates_changes_nothing(found: list[Candidate], chance: Any) -> None:
    other = list(found)
    chance.shuffle(other)
    assert weigh(found, HOLD, NOON) == weigh(other, HOLD, NOON)


@given(candidates)
def test_r7_the_source_confidence_is_never_below_the_visits(found: list[Candidate]) -> None:
    weighed = weigh(found, HOLD, NOON)
    for one in weighed:
        sure = source_confidence(weighed, one.candidate.source_key)
        assert one.probability <= sure + 1e-12
        assert sure <= 1


@given(st.floats(0, 5000), st.floats(0, 5000))
def test_r7_the_longer_silent_the_less_likely(one: float, other: float) -> None:
    shorter, longer = weigh([candidate(silent=min(one, other)), candidate(2, silent=max(one, other))], HOLD, NOON)
    assert shorter.probability >= longer.probability
    assert shorter.silent <= longer.silent


def test_r7_a_page_is_open_in_its_hold_or_ended() -> None:
    states = [
        one.state for one in weigh([candidate(1), candidate(2, silent=100), candidate(3, silent=200)], HOLD, NOON)
    ]
    assert states == ["open", "hold", "ended"]


def test_r7_signs_that_come_after_the_call_change_nothing() -> None:
    assert weigh([candidate(silent=60)], HOLD, NOON)[0].weight == weigh([candidate(silent=-60)], HOLD, NOON)[0].weight


def first(source: Any = MAIL, visit_id: int | None = 77, confidence: float | None = 0.8) -> EarlierCall:
    return EarlierCall(5, NOON - timedelta(days=3), visit_id, source, 42 if source else None, confidence, 0.9)


def lent(*silent: float) -> tuple[Sequence[Weighed], dict[int, Any]]:
    found = [candidate(i + 1, silent=seconds) for i, seconds in enumerate(silent)]
    return weigh(found, HOLD, NOON), {one.visit_id: SPRING for one in found}


def test_r7_rules_apply_in_their_order_and_the_first_that_applies_decides() -> None:
    weighed, sources = lent(0)
    everything = decide(first(), BILLBOARD, weighed, sources)
    assert (everything.rule, everything.source, everything.source_key) == ("repeat", MAIL, 42)
    assert (everything.confidence, everything.source_confidence) == (0.8, 0.9)
    static = decide(None, BILLBOARD, weighed, sources)
    assert (static.rule, static.confidence, static.visit_id) == ("static", 1.0, None)
    assert static.source is not None
    assert static.source["source"] == "billboard"
    by_lease = decide(None, None, weighed, sources)
    assert (by_lease.rule, by_lease.source, by_lease.visit_id) == ("lease", SPRING, 1)
    nothing = decide(None, None, [], {})
    assert (nothing.rule, nothing.source, nothing.confidence, nothing.visit_id) == ("none", None, None, None)
    assert [step["rule"] for step in nothing.steps] == ["repeat", "static", "lease", "none"]


def test_r7_a_first_call_without_a_source_lets_the_next_rules_decide() -> None:
    weighed, sources = lent(0)
    assert decide(first(source=None), BILLBOARD, weighed, sources).rule == "static"
    assert decide(first(source=None), None, weighed, sources).rule == "lease"
    assert decide(first(source=None), None, [], {}).rule == "none"


def won(probability: float, visit: int = 1, visitor: str = "") -> Weighed:
    return Weighed(candidate(visit, visitor=visitor), "open", timedelta(0), False, None, 1.0, probability, probability)


def test_r7_a_repeat_calls_visit_is_the_lease_winner_from_one_half_on_else_the_first_calls() -> None:
    for probability, visit_id in ((0.5, 1), (0.4999, 77)):
        assert decide(first(confidence=0.3), None, [won(probability)], {1: SPRING}).visit_id == visit_id
    assert decide(first(), None, [], {}).visit_id == 77


def test_r7_a_repeat_call_is_of_another_visitor_only_if_that_is_likelier_than_the_first_call_was_right() -> None:
    """Who called before is known: a stranger whose page happens to be open is not the caller."""
    assert decide(first(confidence=0.8), None, [won(0.95)], {1: SPRING}).visit_id == 77
    before, again = won(0.03, visit=77, visitor="anna"), won(0.9, visitor="anna")
    assert decide(first(confidence=0.8), None, [again, before], {1: SPRING}).visit_id == 1
    assert decide(first(confidence=None, visit_id=None), None, [won(0.6)], {1: SPRING}).visit_id == 1


@given(candidates, st.booleans(), st.booleans())
def test_r7_what_is_stored_of_a_decision_is_json_and_its_confidence_a_probability(
    found: list[Candidate], repeat: bool, static: bool
) -> None:
    import json

    weighed = weigh(found, HOLD, NOON)
    sources = {one.visit_id: SPRING for one in found}
    values = decide(first() if repeat else None, BILLBOARD if static else None, weighed, sources).values()
    json.dumps({name: values[name] for name in ("candidates", "decision", "source")}, allow_nan=False)
    assert values["confidence"] is None or 0 <= values["confidence"] <= 1
    assert len(values["candidates"]) <= 50


GOOGLE = named_source("google", "cpc", "spring").as_dict()
LETTER = named_source("mail", "email").as_dict()
NOTHING = DIRECT.as_dict()
CALLED_DIRECT = named_source("Direct", "(none)", "spring").as_dict()


def decided(
    credit: str, earlier: Any = LETTER, own: Any = None, silent: float = 0.0, static: Any = None, others: int = 0
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
        (LETTER, GOOGLE, None, GOOGLE, "lease"),  # (a)
        (LETTER, NOTHING, None, LETTER, "repeat"),  # (b)
        (LETTER, None, None, LETTER, "repeat"),
        (LETTER, GOOGLE, BILLBOARD, LETTER, "repeat"),  # a static number's visits decide nothing
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
    assert decided(LAST_NON_DIRECT, earlier=LETTER, own=own, others=1).source == LETTER
    assert decided(LAST_NON_DIRECT, earlier=NOTHING, own=own, others=1).rule == "repeat"
    assert decided(LAST_NON_DIRECT, earlier=None, own=own, others=1).rule == "lease"


def test_r7_a_call_that_is_credited_to_an_earlier_one_names_it() -> None:
    found = decided(LAST_NON_DIRECT, own=NOTHING)
    assert (found.confidence, found.source_confidence, found.source_key) == (0.8, 0.9, 42)
    assert (found.steps[0]["earlier_call_id"], found.steps[0]["earlier_visit_id"]) == (5, 77)
    assert (found.visit_id, found.steps[0]["visit_by"]) == (77, "earlier call")
    assert decided(LAST_NON_DIRECT).visit_id == 77
