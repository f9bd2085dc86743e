"""How many calls really came from each source: the expected value and its range, from the probabilities of each call (R7). Pure."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any, TypeVar

Row = TypeVar("Row", bound=Hashable)
Shares = Mapping[int, float]
"""The probability that a call came from a source, by source key; what is missing to 1 came from nobody we know."""

CERTAIN = ("static", "imported")
DEVIATIONS = 2


@dataclass(slots=True)
class Expected:
    """The mean and the variance of a number of calls."""

    mean: float = 0.0
    variance: float = 0.0

    @property
    def range(self) -> int:
        """Two standard deviations, rounded up: the true number lies within in about 95 of 100 cases."""
        return ceil(DEVIATIONS * sqrt(self.variance) - 1e-9)

    def __add__(self, other: "Expected") -> "Expected":
        return Expected(self.mean + other.mean, self.variance + other.variance)


def shares_of(
    rule: str, source_key: int | None, source_confidence: float | None, shares: Iterable[Sequence[Any]] | None
) -> Shares:
    """The shares of a call that is no repeat, from what is stored of it. Static and imported ones are certain.

    Where the shares are not known by source (calls of an earlier release), the call's own source has its confidence and nobody the rest.
    """
    if rule in CERTAIN or shares is None:
        return own_share(source_key, source_confidence)
    return {key: probability for key, probability, *_ in shares}


def own_share(source_key: int | None, source_confidence: float | None) -> Shares:
    """A call's own source, with its confidence; without one it is certain."""
    return {} if source_key is None else {source_key: 1.0 if source_confidence is None else source_confidence}


def expected_rows(
    calls: Iterable[tuple[Shares, int]], row_of: Callable[[int], Row | None]
) -> dict[Row | None, Expected]:
    """What to expect of each row; None is the row of nobody we know.

    Args:
        calls: the shares of each first call, and how many calls follow them: itself and its repeats, which came from where it came from.
        row_of: the row of a source.
    """
    rows: dict[Row | None, Expected] = defaultdict(Expected)
    for shares, times in calls:
        by_row: dict[Row | None, float] = {}
        for key, share in shares.items():
            row = row_of(key)
            by_row[row] = by_row.get(row, 0.0) + share
        total = sum(by_row.values())
        if total < 1:
            by_row[None] = by_row.get(None, 0.0) + 1 - total
        for row, share in by_row.items():
            probability = (
                share if total <= 1 else share / total
            )  # shares are rounded, so they may come to a little more than 1
            found = rows[row]
            found.mean += times * probability
            found.variance += times * times * probability * (1 - probability)
    return dict(rows)
