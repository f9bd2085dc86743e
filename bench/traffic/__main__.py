"""Right sources, right visits and calibration of our pools and a classical one, on the same traffic. SHORT=1: two cells; SEED=7: other
traffic. Ends with status 1 when a demanded figure is missed."""

import os
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

from bench.traffic.cells import Cell, Told, calibration_error
from bench.traffic.run import run

RATES, POOLS, AIMS = (120, 1_000), (10, 20, 40, 80, 160), ("classical", "visit", "source")
SHORT_CALLS = 300
MOST_CALIBRATION_ERROR = 0.05
HEAD = f"  {'numbers':>7}  {'pool':<10}{'right sources':>15}{'right visits':>15}{'exclusive':>11}{'ECE':>7}{'ECE source':>12}"

Results = Mapping[Cell, Told]


def main() -> int:
    seed, began = int(os.environ.get("SEED", "1")), time.monotonic()
    cells = [Cell(rate, numbers, aim, seed) for rate in RATES for numbers in POOLS for aim in AIMS]
    if os.environ.get("SHORT"):
        cells = [
            replace(cell, calls=SHORT_CALLS) for cell in cells if (cell.visits_per_hour, cell.numbers) == (1_000, 20)
        ]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as workers:
        results = dict(zip(cells, workers.map(run, cells), strict=True))
    for rate in sorted({cell.visits_per_hour for cell in cells}):
        _print_table(rate, results)
    missed = [line for line in _bounds(results) if line.startswith("MISSED")]
    print(f"\n{time.monotonic() - began:.0f} s, seed {seed}; ± is two standard errors.")
    return 1 if missed else 0


def _print_table(rate: int, results: Results) -> None:
    calls = next(told.calls for cell, told in results.items() if cell.visits_per_hour == rate)
    print(f"\n{rate:,} visits an hour, {calls:,} calls\n{HEAD}")
    for cell, told in results.items():
        if cell.visits_per_hour == rate:
            print(f"  {cell.numbers:7}  {cell.aim:<10}{_figures(told)}")


def _figures(told: Told) -> str:
    shares = "".join(
        f"{f'{share:.3f} ± {told.sampling_error(share):.3f}':>15}" for share in (told.sources, told.of_visits)
    )
    stated = (told.stated, told.stated_sources)
    errors = [f"{calibration_error(one):.3f}" if one else "-" for one in stated]
    return f"{shares}{told.exclusively:11.3f}{errors[0]:>7}{errors[1]:>12}"


def _bounds(results: Results) -> list[str]:
    lines = [line for cell, told in results.items() for line in _bounds_of(cell, told, results)]
    print("\n" + "\n".join(lines))
    return lines


def _bounds_of(cell: Cell, told: Told, results: Results) -> list[str]:
    if cell.aim == "classical":
        return []
    name = f"{cell.visits_per_hour:,}/h, {cell.numbers} numbers, aim {cell.aim}"
    beside = results[replace(cell, aim="classical")]
    error = beside.sampling_error(beside.of_visits) + told.sampling_error(told.of_visits)
    least_visits = beside.of_visits - error
    lines = [
        _line(f"{name}: right visits", told.of_visits, told.of_visits >= least_visits, f"at least {least_visits:.3f}"),
        _line(f"{name}: ECE", wrong := calibration_error(told.stated), wrong <= MOST_CALIBRATION_ERROR, "at most 0.05"),
    ]
    if cell.aim == "visit":
        least = beside.exclusively
        lines.append(_line(f"{name}: exclusive", told.exclusively, told.exclusively >= least, f"at least {least:.3f}"))
    if (cell.visits_per_hour, cell.numbers) == (1_000, 20):
        least = 0.95 if cell.aim == "source" else 0.75
        lines.append(_line(f"{name}: right sources", told.sources, told.sources >= least, f"at least {least}"))
    return lines


def _line(what: str, value: float, good: bool, demanded: str) -> str:
    return f"{'      ' if good else 'MISSED'} {what} {value:.3f} ({demanded})"


if __name__ == "__main__":
    sys.exit(main())
