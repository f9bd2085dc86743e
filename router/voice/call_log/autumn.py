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


_Line = tuple[int, Hashable, datetime]
"""Its place in the file, who called what, and when by the clock on the wall."""


class Autumn:
    """The lines of a log in their order; of those in a repeated hour it tells which hour they mean."""

    def __init__(self) -> None:
        self._up = self._down = 0
        self._before: datetime | None = None
        self._nights: dict[object, list[_Line]] = {}

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
        is_sorted = min(self._up, self._down) * 10 <= max(self._up, self._down) or min(self._up, self._down) <= 1
        folds: dict[int, tuple[int, bool]] = {}
        for night in self._nights.values():
            placed: dict[tuple[Hashable, datetime], dict[int, int]] = {}
            for stretch in _stretches(night) if is_sorted else [night]:
                _place(stretch if self._up >= self._down else stretch[::-1], placed, is_sorted=is_sorted)
            for alike in placed.values():
                is_alone = len(set(alike.values())) == 1
                folds |= {index: (fold, is_alone) for index, fold in alike.items()}
        return folds


def _stretches(night: list[_Line]) -> list[list[_Line]]:
    """Lines that follow each other in the file: one that was put together of several logs is sorted in parts only."""
    stretches: list[list[_Line]] = []
    for line in night:
        if stretches and line[0] == stretches[-1][-1][0] + 1:
            stretches[-1].append(line)
        else:
            stretches.append([line])
    return stretches


def _place(stretch: list[_Line], placed: dict[tuple[Hashable, datetime], dict[int, int]], *, is_sorted: bool) -> None:
    """Gives each line of a stretch, earlier ones first, its fold."""
    is_second = False
    before: datetime | None = None
    seen: set[tuple[Hashable, datetime]] = set()
    for index, who, local in stretch:
        is_again = (who, local) in seen
        if is_sorted and ((before is not None and local < before) or is_again):
            is_second = True
        placed.setdefault((who, local), {})[index] = 1 if is_second or is_again else 0
        seen.add((who, local))
        before = local
