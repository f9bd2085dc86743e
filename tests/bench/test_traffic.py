"""The benchmark itself: it has to know the truth, and the replay of the pool planner has to tell what the server tells."""

from dataclasses import replace

import pytest

from bench.traffic.browsers import CALL, CRAWLER, LEFT, SIGN, TAP, VIEW, acts_of
from bench.traffic.cells import Cell, Told, calibration_error
from bench.traffic.classical import run_classical
from bench.traffic.ours import run_ours
from router.attribution.planner.replay import replay
from router.attribution.planner.traffic import CALLERS
from tests.properties import PROFILE

SMALL = Cell(120, 6, "source", calls=25, warm_up_hours=2)
WARM_UP_HOURS, SHARE_OF_CALLERS = {"quick": (7, (0.2, 0.4)), "thorough": (8, CALLERS)}[PROFILE]
"""Many calls of a few visits in every run, the usual share of callers in the thorough one."""


@pytest.mark.parametrize("aim", ["visit", "source"])
def test_the_replay_tells_what_the_server_tells(aim: str) -> None:
    cell = Cell(60, 4, aim, calls=30, warm_up_hours=WARM_UP_HOURS, callers=SHARE_OF_CALLERS)
    served, replayed = run_ours(cell), replay(cell.traffic(), cell.numbers, aim)
    assert served.calls == replayed.calls >= 15
    assert abs(served.right_visits - replayed.right_visits) <= 0.15 * served.calls
    assert abs(served.right_sources - replayed.right_sources) <= 0.15 * served.calls
    assert abs(served.exclusively - (1 - replayed.shared / replayed.visits)) < 0.1


def test_every_visit_is_seen_and_left_and_every_call_and_tap_made() -> None:
    traffic = SMALL.traffic()
    acts = list(acts_of(traffic))
    assert [act.at for act in acts] == sorted(act.at for act in acts)
    count = {what: sum(act.what == what for act in acts) for what in (VIEW, SIGN, LEFT, TAP, CALL, CRAWLER)}
    assert count[CALL] == len(traffic.calls)
    assert count[TAP] == len(traffic.taps)
    assert count[VIEW] > len(traffic.stays) > count[CRAWLER] > 0
    assert count[SIGN] > 0


def test_a_classical_pool_with_a_number_for_everybody_is_right_about_visits_and_a_tiny_one_is_not() -> None:
    lively = Cell(120, 3, "classical", calls=200, warm_up_hours=8, callers=(0.2, 0.4))
    large, tiny = (run_classical(replace(lively, numbers=numbers)) for numbers in (2000, 3))
    assert large.exclusively == 1
    assert large.of_visits > 0.8 > 0.5 > tiny.of_visits
    assert large.calls == tiny.calls
    assert not large.stated


def test_the_calibration_error_is_the_mean_gap_between_what_was_stated_and_what_was_right() -> None:
    assert calibration_error([(0.85, True)] * 85 + [(0.85, False)] * 15) == pytest.approx(0)
    assert calibration_error([(0.95, False)] * 10) == pytest.approx(0.95)
    assert calibration_error([(1.0, True), (0.5, False)]) == pytest.approx(0.25)
    told = Told(calls=1500)
    assert told.sampling_error(0.5) == pytest.approx(2 * 0.0129, abs=1e-4)
