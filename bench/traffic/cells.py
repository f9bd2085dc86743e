"""What is compared: a rate of visits, a pool, an aim; and what came out of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt

from router.attribution.planner.traffic import CALLERS, Traffic, described_traffic

CALLS = 1500
WARM_UP_HOURS = 30.0
"""So that calls of the day before yesterday can be in it."""
BINS = 10


@dataclass(frozen=True)
class Cell:
    """`aim` is visit or source, or classical: the pool that others use."""

    visits_per_hour: int
    numbers: int
    aim: str
    seed: int = 1
    calls: int = CALLS
    warm_up_hours: float = WARM_UP_HOURS
    callers: tuple[float, float] = CALLERS
    """The least and the greatest share of visits that call, by source."""

    def traffic(self) -> Traffic:
        """The same for every pool and aim. 1.1: who calls may call again."""
        hours = self.calls / (self.visits_per_hour * sum(self.callers) / 2 * 1.1)
        return described_traffic(
            self.visits_per_hour, hours, self.seed, callers=self.callers, warm_up_hours=self.warm_up_hours
        )


@dataclass
class Told:
    """What a pool told of the calls. `stated`: each call's confidence in its visit, and whether that was right; None states nothing."""

    calls: int = 0
    right_sources: int = 0
    right_visits: int = 0
    visits: int = 0
    exclusive: int = 0
    stated: list[tuple[float, bool]] = field(default_factory=list)
    stated_sources: list[tuple[float, bool]] = field(default_factory=list)

    def count(self, right_visit: bool, right_source: bool) -> None:
        self.calls += 1
        self.right_visits += right_visit
        self.right_sources += right_source

    @property
    def sources(self) -> float:
        return self.right_sources / max(1, self.calls)

    @property
    def of_visits(self) -> float:
        return self.right_visits / max(1, self.calls)

    @property
    def exclusively(self) -> float:
        return self.exclusive / max(1, self.visits)

    def sampling_error(self, share: float) -> float:
        """Two standard errors."""
        return 2 * sqrt(share * (1 - share) / max(1, self.calls))


def calibration_error(stated: Sequence[tuple[float, bool]]) -> float:
    """Expected calibration error in 10 equal bins: how far the stated shares are from the right ones, by the calls in each bin."""
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for sure, right in stated:
        bins[min(BINS - 1, int(sure * BINS))].append((sure, right))
    gaps = (abs(sum(sure - right for sure, right in one)) for one in bins)
    return sum(gaps) / max(1, len(stated))
