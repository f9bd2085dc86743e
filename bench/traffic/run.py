"""One cell in a process of its own."""

import sys

from bench.traffic.cells import Cell, Told
from bench.traffic.classical import run_classical
from bench.traffic.ours import run_ours


def run(cell: Cell) -> Told:
    told = run_classical(cell) if cell.aim == "classical" else run_ours(cell)
    print(f"{cell.visits_per_hour}/h {cell.numbers} {cell.aim}", file=sys.stderr, flush=True)
    return told
