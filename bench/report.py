"""What a run of the bench prints, and which demanded bounds it misses."""

from collections.abc import Mapping
from statistics import median

from bench.turns import Result

LEAST_OF_FLOOR = 0.6
MOST_GROWTH = 1.3


class Report:
    """Prints as it goes, and remembers what was missed."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def table(self, title: str, results: Mapping[str, Result]) -> None:
        print(
            f"\n{title}\n  {'':34}{'req/s':>8}{'p50 ms':>9}{'p99 ms':>9}{'CPU ms web':>12}{'CPU ms db':>11}{'failed':>8}{'load CPU':>10}"
        )
        for name, one in results.items():
            figures = f"{one.of('per_second'):8.0f}{one.of('p50'):9.1f}{one.of('p99'):9.1f}"
            figures += f"{median(one.server_cpu):12.2f}{median(one.database_cpu):11.2f}"
            print(f"  {name:34}{figures}{one.failures:8d}{one.of('load_cpu'):9.0%}", flush=True)
            if one.failures:
                self.missed.append(f"{title}: {name}: {one.failures} requests failed")

    def bound(self, what: str, value: float, good: bool, demanded: str) -> None:
        print(f"  {what}: {value:.2f} (demanded: {demanded}) {'' if good else 'MISSED'}", flush=True)
        if not good:
            self.missed.append(f"{what}: {value:.2f}, demanded {demanded}")
