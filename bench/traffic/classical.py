"""The classical pool: a random free number, held for 30 minutes after the last sign of life; a random one when none is free; of a call
the last visit that was shown the number gets all the credit."""

import random
from dataclasses import dataclass, field
from heapq import merge

from bench.traffic.cells import Cell, Told
from router.attribution.planner.traffic import CallMade, Stay, Traffic

HELD = 30 * 60.0
OUR_HOLD = 150.0
"""Exclusive is measured alike for both pools: alone from the lease to the end of our hold."""


@dataclass
class _Number:
    holder: int = -1
    held_until: float = 0.0
    lent: list[int] = field(default_factory=list)


class ClassicalPool:
    def __init__(self, traffic: Traffic, numbers: int, seed: int) -> None:
        self.told = Told()
        self._stays = traffic.stays
        self._random = random.Random(seed)
        self._numbers = [_Number() for _ in range(numbers)]
        self._shown: dict[int, _Number] = {}
        self._of_visitor: dict[str, _Number] = {}
        self._shared: set[int] = set()

    def arrive(self, index: int) -> None:
        stay = self._stays[index]
        number = self._of_visitor.get(stay.visitor)
        if number is None or self._stays[number.holder].visitor != stay.visitor or number.held_until < stay.start:
            free = [one for one in self._numbers if one.held_until < stay.start]
            number = self._random.choice(free or self._numbers)
        self._mark_shared(number, index, stay)
        number.lent.append(index)
        number.holder = index
        number.held_until = max(number.held_until, stay.spans[-1].last + HELD)
        self._shown[index] = self._of_visitor[stay.visitor] = number
        self.told.visits += 1

    def _mark_shared(self, number: _Number, index: int, stay: Stay) -> None:
        number.lent = [one for one in number.lent if self._stays[one].spans[-1].last + OUR_HOLD >= stay.start]
        others = {one for one in number.lent if self._stays[one].visitor != stay.visitor}
        if others:
            self._shared |= others | {index}

    def call(self, call: CallMade) -> None:
        credited = self._shown[call.stay].holder
        of_source = self._stays[credited].source_key == self._stays[call.stay].source_key
        self.told.count(credited == call.stay, of_source)

    def finish(self) -> Told:
        self.told.exclusive = self.told.visits - len(self._shared)
        return self.told


def run_classical(cell: Cell) -> Told:
    traffic = cell.traffic()
    pool = ClassicalPool(traffic, cell.numbers, cell.seed)
    arrivals = ((stay.start, 0, index) for index, stay in enumerate(traffic.stays))
    calls = ((call.at, 1, index) for index, call in enumerate(traffic.calls))
    for _, kind, index in merge(arrivals, calls):
        if kind == 0:
            pool.arrive(index)
        else:
            pool.call(traffic.calls[index])
    return pool.finish()
