"""R6 and R7 replayed in memory: what a pool of another size would have told."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from router.attribution.decision import Reach
from router.attribution.planner.replay import replay
from router.attribution.planner.traffic import CallMade, Span, Stay, Traffic, TrafficTap, described_traffic
from tests.properties import examples

DAY = 86_400.0
DAY_OF_VISITS = described_traffic(120, 20, seed=3, warm_up_hours=4)


def stay(visitor: str, source: int, *spans: tuple[float, float]) -> Stay:
    return Stay(visitor, source, tuple(Span(start, last) for start, last in spans))


def test_r6_visitors_one_after_the_other_never_share_and_every_call_during_the_visit_is_right() -> None:
    stays = [stay(f"v{i}", i % 3, (i * 400.0, i * 400.0 + 200)) for i in range(20)]
    told = replay(Traffic(stays, [CallMade(i * 400.0 + 100, i) for i in range(20)]), 1, "visit")
    assert (told.calls, told.right_visits, told.right_sources, told.shared) == (20, 20, 20, 0)


def test_r6_of_two_at_once_on_one_number_both_are_shared_and_mixed_when_their_sources_differ() -> None:
    for sources, mixed in (((1, 1), 0), ((1, 2), 2)):
        stays = [stay("anna", sources[0], (0, 300)), stay("ben", sources[1], (100, 200))]
        told = replay(Traffic(stays, []), 1, "visit")
        assert (told.visits, told.shared, told.mixed) == (2, 2, mixed)
        assert replay(Traffic(stays, []), 2, "visit").shared == 0


def test_r6_a_visitor_alone_never_shares_with_himself_and_comes_back_to_his_number() -> None:
    stays = [stay("anna", 1, (0, 300), (2000, 2100)), stay("anna", 1, (100, 200))]
    told = replay(Traffic(stays, [CallMade(2050, 0)]), 1, "visit")
    assert (told.shared, told.right_visits, told.visits) == (0, 1, 2)


def test_r6_with_aim_source_somebody_who_comes_back_by_another_advertisement_gets_another_number() -> None:
    stays = [stay("anna", 1, (0, 10)), stay("anna", 2, (5000, 5010)), stay("ben", 1, (5020, 5030))]
    told = replay(Traffic(stays, [CallMade(6000, 2), CallMade(6001, 1)]), 2, "source")
    assert told.right_sources == 2


def test_r7_a_tap_names_the_caller_among_those_who_share_the_number() -> None:
    stays = [stay(f"v{i}", i, (float(i), 600)) for i in range(4)]
    told = replay(Traffic(stays, [CallMade(300, 2)], [TrafficTap(294, 2)]), 1, "visit")
    assert told.right_visits == 1
    assert told.stated[0][0] > 0.9


@pytest.mark.parametrize("aim", ["visit", "source"])
def test_r6_more_numbers_tell_more_and_never_change_the_calls(aim: str) -> None:
    told = [replay(DAY_OF_VISITS, numbers, aim) for numbers in (2, 20, 200)]
    assert len({one.calls for one in told}) == 1
    assert told[0].visit_share < told[1].visit_share <= told[2].visit_share + 0.02
    assert told[0].shared > told[1].shared >= told[2].shared == 0


def test_r6_aim_source_shares_within_sources_where_aim_visit_mixes_them() -> None:
    by_source, by_visit = replay(DAY_OF_VISITS, 12, "source"), replay(DAY_OF_VISITS, 12, "visit")
    assert by_source.source_share > by_visit.source_share
    assert by_source.mixed < by_source.shared


def in_eighths(count: int) -> float:
    """Seconds whose sums and differences are exact."""
    return count / 8


visits = st.builds(
    lambda who, source, start, seconds: stay(f"v{who}", source, (start, start + seconds)),
    st.integers(0, 5),
    st.integers(1, 3),
    st.integers(0, 24_000).map(in_eighths),
    st.integers(0, 7_200).map(in_eighths),
)


@example([stay("ben", 1, (0, 1)), stay("ben", 1, (0, 0)), stay("anna", 1, (151, 151))], 1, "visit")
@settings(max_examples=examples(150))
@given(st.lists(visits, min_size=1, max_size=25), st.integers(1, 6), st.sampled_from(["visit", "source"]))
def test_r6_no_two_visitors_hold_a_number_at_once_unless_both_are_counted_as_shared(
    found: list[Stay], numbers: int, aim: str
) -> None:
    """As many numbers as visitors at once: with aim visit nobody ever shares."""
    stays = sorted(found, key=lambda one: one.start)
    told = replay(Traffic(stays, [CallMade(one.spans[-1].last, i) for i, one in enumerate(stays)][-1:]), numbers, aim)
    assert told.mixed <= told.shared <= told.visits == len(stays)
    most = max(len({b.visitor for b in stays if b.start <= a.start <= b.spans[-1].last + 150}) for a in stays)
    if most <= numbers and aim == "visit":
        assert told.shared == 0
    if most > numbers and numbers == 1:
        assert told.shared >= 2


def test_r7_the_replay_looks_back_at_as_many_leases_as_the_server_does() -> None:
    stays = [stay(f"v{i}", i, (float(i), i + 60.0)) for i in range(3)]
    told = {
        leases: replay(Traffic(stays, [CallMade(3600, 2)]), 1, "visit", reach=Reach(leases)).stated[0][0]
        for leases in (1, 2, 3)
    }
    assert told[1] > told[2] > told[3]


@pytest.mark.parametrize(
    ("calls", "right"),
    [
        ([(30 * DAY - 1, 0)], [True]),
        ([(30 * DAY, 0)], [False]),
        ([(60, 0), (39 * DAY, 0)], [True, True]),
        ([(35 * DAY, 0), (40 * DAY + 60, 1)], [False, True]),
    ],
    ids=["just young enough", "too old", "known by the first call", "a first call that told nothing"],
)
def test_r7_the_replay_drops_leases_that_are_too_old_when_the_call_comes(
    calls: list[tuple[float, int]], right: list[bool]
) -> None:
    stays = [stay("anna", 1, (0, 60)), stay("anna", 2, (40 * DAY, 40 * DAY + 90))]
    told = replay(Traffic(stays, [CallMade(*one) for one in calls]), 1, "visit")
    assert [was for _, was in told.stated] == right
    assert (told.calls, told.right_sources, told.right_visits) == (len(right), sum(right), sum(right))
