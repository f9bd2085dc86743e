"""Draws the tables that `python -m bench.traffic` prints: right sources and right visits by the size of the pool.

python -m bench.traffic | tee run.txt; python -m bench.traffic.chart < run.txt > docs/attribution.svg
"""

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from html import escape
from math import log2

WIDTH, HEIGHT, LEFT, TOP, GAP = 340, 210, 46, 52, 64
STYLES = {
    "classical": ("#8a6d3b", "2 4", "classical pool"),
    "visit": ("#4a6fa5", "7 4", "ours, aim visit"),
    "source": ("#0b7a5b", "", "ours, aim source"),
}
RATE = re.compile(r"([\d,]+) visits an hour")
ROW = re.compile(r"\s*(\d+)\s+(classical|visit|source)\s+([\d.]+) ± [\d.]+\s+([\d.]+) ± ")
PANELS = ("right sources", "right visits")

Points = dict[str, list[tuple[int, tuple[float, float]]]]


def read_tables(lines: Iterable[str]) -> dict[str, Points]:
    """By the rate, then by the pool: (numbers, (right sources, right visits)) in the order of the table."""
    tables: dict[str, Points] = {}
    for line in lines:
        if found := RATE.match(line):
            tables[found[1]] = points = defaultdict(list)
        elif found := ROW.match(line):
            points[found[2]].append((int(found[1]), (float(found[3]), float(found[4]))))
    return tables


def draw(tables: dict[str, Points]) -> str:
    width = len(PANELS) * (WIDTH + GAP) + LEFT
    height = len(tables) * (HEIGHT + TOP + 40) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
        "<title>Right sources and right visits by the size of the pool</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for row, (rate, points) in enumerate(tables.items()):
        for column, panel in enumerate(PANELS):
            x, y = LEFT + column * (WIDTH + GAP), TOP + row * (HEIGHT + TOP + 40)
            parts += _panel(f"{panel}, {rate} visits an hour", points, column, x, y)
    return "\n".join([*parts, "</svg>\n"])


def _panel(title: str, points: Points, column: int, left: int, top: int) -> Iterator[str]:
    sizes = sorted({numbers for line in points.values() for numbers, _ in line})

    def at(numbers: int, share: float) -> tuple[float, float]:
        across = log2(numbers / sizes[0]) / max(1e-9, log2(sizes[-1] / sizes[0]))
        return left + across * (WIDTH - 110), top + (1 - share) * HEIGHT

    yield f'<text x="{left}" y="{top - 16}" font-weight="bold" fill="#17201c">{escape(title)}</text>'
    for share in (0, 0.25, 0.5, 0.75, 1):
        _, y = at(sizes[0], share)
        yield f'<line x1="{left}" x2="{left + WIDTH - 110}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dfe5e2"/>'
        yield f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#5b6963">{share:.0%}</text>'
    for numbers in sizes:
        x, _ = at(numbers, 0)
        yield f'<text x="{x:.1f}" y="{top + HEIGHT + 18}" text-anchor="middle" fill="#5b6963">{numbers}</text>'
    ends = sorted(points, key=lambda pool: points[pool][-1][1][column])
    floor = top + HEIGHT + 40.0
    for pool in reversed(ends):
        colour, dashes, name = STYLES[pool]
        line = [at(numbers, shares[column]) for numbers, shares in points[pool]]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
        yield f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in line)
        floor = max(line[-1][1] + 4, floor + 16 if floor < top + HEIGHT else 0)
        yield f'<text x="{line[-1][0] + 8:.1f}" y="{floor:.1f}" fill="{colour}">{name}</text>'


if __name__ == "__main__":
    sys.stdout.write(draw(read_tables(sys.stdin)))
