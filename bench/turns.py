"""Measures contestants in turns (A B A B ...), so that whatever else the machine does meanwhile falls on all of them alike."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import median

from bench.load import Measured, Plan
from bench.processes import Running, cpu_of_database, cpu_seconds


@dataclass(frozen=True)
class Result:
    """The medians over all rounds of one contestant."""

    name: str
    rounds: list[Measured]
    server_cpu: list[float]
    """Milliseconds of processor for each request in the web processes, one figure for each round."""
    database_cpu: list[float]

    def of(self, what: str) -> float:
        return median(float(getattr(one, what)) for one in self.rounds)

    @property
    def failures(self) -> int:
        return sum(one.failures for one in self.rounds)


Contestant = tuple[Running, Plan]


def in_turns(contestants: Mapping[str, Contestant], rounds: int) -> dict[str, Result]:
    """Each contestant once in every round, after one short round that only warms up; every other round goes backwards."""
    found = {name: Result(name, [], [], []) for name in contestants}
    for turn in range(-1, rounds):
        for name in list(contestants) if turn % 2 else list(reversed(contestants)):
            server, plan = contestants[name]
            given = asdict(plan) | {"run": f"{plan.run}{turn + 1:02d}"}
            before = _cpu(server)
            measured = _run(given | ({"seconds": 1.0} if turn < 0 else {}))
            if turn >= 0:
                spent = [(after - earlier) * 1000 for after, earlier in zip(_cpu(server), before, strict=True)]
                found[name].rounds.append(measured)
                found[name].server_cpu.append(spent[0] / measured.requests)
                found[name].database_cpu.append(spent[1] / measured.requests)
    return found


def _cpu(server: Running) -> tuple[float, float]:
    return cpu_seconds(server.pid), cpu_of_database(server.database_url)


def relation(one: Result, other: Result) -> float:
    """The median over the rounds of how many requests the one answers for each of the other's."""
    pairs = zip(one.rounds, other.rounds, strict=True)
    return median(first.per_second / second.per_second for first, second in pairs)


def _run(plan: Mapping[str, object]) -> Measured:
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"], input=json.dumps(plan), text=True, capture_output=True, timeout=300
    )
    if done.returncode:
        raise SystemExit(f"bench: the load failed: {done.stderr[-500:]}")
    return Measured(**json.loads(done.stdout))
