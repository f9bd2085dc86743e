"""The hour that a clock shows twice when summer time ends: which of the two a line of a log means.

A log without zones has nothing but its order. It is sorted by time, upwards or downwards; where the clock runs back between two lines of
that hour, the first hour ends. A caller who stands at the same minute of that hour twice called twice, an hour apart. Where nothing tells,
it is the first of the two.
"""

from collections.abc import Hashable
from datetime import datetime, tzinfo


def is_repeated(local: datetime, zone: tzinfo) -> bool:
    """Whether a clock in this zone showed that moment twice."""
    first, second = (local.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    return first is not None and second is not None and first > second


class Autumn:
    """The lines of a log in their order; of those in a repeated hour it tells which hour they mean."""

    def __init__(self) -> None:
        self._up = self._down = 0
        self._before: datetime | None = None
        self._nights: dict[object, list[tuple[int, Hashable, datetime]]] = {}

    def see(self, index: int, who: Hashable, local: datetime, zone: tzinfo | None) -> None:
        """
        Args:
            who: caller and number.
            local: by the clock on the wall.
            zone: None: the line names its own.
        """
        if self._before is not None:
            self._up += local > self._before
            self._down += local < self._before
        self._before = local
        if zone is not None and is_repeated(local, zone):
            self._nights.setdefault(local.date(), []).append((index, who, local))

    def folds(self) -> dict[int, tuple[int, bool]]:
        """Of each line in a repeated hour its fold (1 is the second hour), and whether no other line of that hour has the same caller,
        number and time: then another file may have told it otherwise."""
        folds: dict[int, tuple[int, bool]] = {}
        is_sorted = min(self._up, self._down) * 10 <= max(self._up, self._down) or min(self._up, self._down) <= 1
        for night in self._nights.values():
            folds |= _folds(night if self._up >= self._down else night[::-1], is_sorted=is_sorted)
        return folds


def _folds(night: list[tuple[int, Hashable, datetime]], *, is_sorted: bool) -> dict[int, tuple[int, bool]]:
    """Of the lines of one night, the earlier ones first where the file is sorted."""
    same: dict[tuple[Hashable, datetime], list[int]] = {}
    folds: dict[int, int] = {}
    is_second = False
    before: datetime | None = None
    for index, who, local in night:
        alike = same.setdefault((who, local), [])
        if is_sorted and ((before is not None and local < before) or alike):
            is_second = True
        folds[index] = 1 if is_second or alike else 0
        alike.append(index)
        before = local
    return {index: (folds[index], len(alike) == 1) for alike in same.values() for index in alike}
