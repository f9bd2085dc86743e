"""Requests per second of the two hot paths, beside their floor and as tables grow. SHORT=1: less of everything, in under a minute;
MINUTES=3: page views for that long, minute by minute. Ends with status 1 when a demanded bound is missed."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psycopg

from bench import world
from bench.load import Plan
from bench.processes import BASE_URL, SECRET, TOKEN, Running, serving
from bench.statements import keep, second_look, statements_of
from bench.turns import Contestant, Result, in_turns, relation
from router.app import create_app
from router.config import Settings
from tests.postgres import postgres_cluster

LEAST_OF_FLOOR = 0.6
MOST_GROWTH = 1.3
PRODUCT, FLOOR = "router.app:create_app()", "bench.floor:create_app()"


@dataclass(frozen=True)
class Size:
    rounds: int
    seconds: float
    past_calls: tuple[int, int]


FULL = Size(rounds=5, seconds=3.0, past_calls=(10_000, 1_000_000))
SHORT = Size(rounds=2, seconds=1.0, past_calls=(2_000, 50_000))


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


def main() -> int:
    size = SHORT if os.environ.get("SHORT") else FULL
    report, began = Report(), time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="router-bench-")))
        cluster = stack.enter_context(postgres_cluster(durable=True))
        few, many = (_timed_database(cluster, f"router_{calls}", calls) for calls in size.past_calls)
        beside = world.make_database(cluster, "floor", size.past_calls[0])
        keep_statements(few, folder)
        more = {"BENCH_STATEMENTS": str(folder / "statements")}
        product = stack.enter_context(serving("product", PRODUCT, few, folder))
        floor = stack.enter_context(serving("floor", FLOOR, beside, folder, **more))
        if minutes := int(os.environ.get("MINUTES", "0")):
            over_minutes(report, product, floor, few, minutes)
            return 0
        beside_floor(report, product, floor, size)
        with serving("many calls", PRODUCT, many, folder) as large:
            as_calls_grow(report, product, large, size)
        as_pools_grow(report, product, size)
    print(f"\n{time.monotonic() - began:.0f} s. Other work on this machine moves the figures, less so their relations.")
    for line in report.missed:
        print(f"MISSED {line}")
    return 1 if report.missed else 0


def beside_floor(report: Report, product: Running, floor: Running, size: Size) -> None:
    plans: tuple[tuple[str, Callable[..., Contestant]], ...] = (
        ("L: page views of new visitors, a lease each, pool of 200", lambda *given: views(*given, key="pool-200")),
        ("V: signed inbound calls", lambda *given: calls(*given, past=size.past_calls[0])),
    )
    for title, plan in plans:
        results = in_turns({"product": plan(product, size.seconds), "floor": plan(floor, size.seconds)}, size.rounds)
        report.table(title, results)
        ratio = relation(results["product"], results["floor"])
        report.bound(f"{title[0]} beside its floor", ratio, ratio >= LEAST_OF_FLOOR, f"at least {LEAST_OF_FLOOR}")


def as_calls_grow(report: Report, small: Running, large: Running, size: Size) -> None:
    names = [f"{past:,} past calls" for past in size.past_calls]
    servers = zip((small, large), size.past_calls, strict=True)
    plans = {name: calls(server, size.seconds, past) for name, (server, past) in zip(names, servers, strict=True)}
    results = in_turns(plans, size.rounds)
    report.table("V: as past calls grow", results)
    _growth(report, "V: cost", results, names)


def as_pools_grow(report: Report, product: Running, size: Size) -> None:
    plans = {f"pool of {count:,}": views(product, size.seconds, f"pool-{count}") for count in world.POOLS}
    results = in_turns(plans | {"pool of 200, all active": views(product, size.seconds, "all-active")}, size.rounds)
    report.table("L: as pools grow", results)
    _growth(report, "L: cost", results, list(plans))


def _growth(report: Report, what: str, results: Mapping[str, Result], names: list[str]) -> None:
    for name in names[1:]:
        growth = relation(results[names[0]], results[name])
        report.bound(f"{what}, {names[0]} -> {name}", growth, growth <= MOST_GROWTH, f"at most {MOST_GROWTH}")


def over_minutes(report: Report, product: Running, floor: Running, database: str, minutes: int) -> None:
    """Whether page views stay as fast while the rows that they rewrite pile up."""
    for minute in range(minutes):
        for part in range(3):
            results = in_turns({f"minute {minute} part {part}": views(product, 20, "pool-200")}, 1)
            report.table("L over minutes", results)
            print("  pool_number:", *table_sizes(database))


def table_sizes(database: str) -> Iterator[str]:
    with psycopg.connect(database.replace("+psycopg", "")) as connection:
        row = connection.execute(
            "SELECT pg_relation_size('pool_number'), pg_indexes_size('pool_number'), n_dead_tup, n_tup_hot_upd, n_tup_upd,"
            " autovacuum_count, vacuum_count FROM pg_stat_user_tables WHERE relname = 'pool_number'"
        ).fetchone()
    assert row
    names = ("table kB", "indexes kB", "dead", "hot updates", "updates", "autovacuums", "vacuums")
    figures = [row[0] // 1024, row[1] // 1024, *row[2:]]
    return (f"{name} {figure}" for name, figure in zip(names, figures, strict=True))


def views(server: Running, seconds: float, key: str) -> Contestant:
    return server, Plan("L", server.port, seconds, run="", project_key=key)


def calls(server: Running, seconds: float, past: int) -> Contestant:
    return server, Plan(
        "V",
        server.port,
        seconds,
        run=f"{server.port}{time.monotonic_ns():x}",
        first_e164=world.FIRST_E164,
        numbers=world.CALLED_NUMBERS,
        first_known_caller=world.FIRST_KNOWN_CALLER,
        known_callers=past // world.CALLED_NUMBERS,
        first_new_caller=world.FIRST_NEW_CALLER,
        base_url=BASE_URL,
        token=TOKEN,
    )


class KeptRecords:
    """Instead of a journal."""

    last: Mapping[str, object]

    def append(self, record: Mapping[str, object]) -> None:
        self.last = record


def keep_statements(database_url: str, folder: Path) -> None:
    settings = Settings(
        database_url=database_url,
        data_dir=folder,
        secret_key=SECRET,
        public_url=BASE_URL,
        twilio_auth_token=TOKEN,
        visit_rate="off",
    )
    app = create_app(settings)
    watched = Running("watched", 0, 0, database_url)
    records = app.extensions["router"].journal = KeptRecords()
    with app.test_client() as client:
        found = {"L": statements_of(client, views(watched, 1, "pool-200")[1])}
        statements_of(client, calls(watched, 1, 10_000)[1])
    (folder / "record").write_text(json.dumps(records.last))
    keep(folder / "statements", found | {"look again": [second_look(found["L"])]})
    app.extensions["router"].database.dispose()


def _timed_database(cluster: str, name: str, past_calls: int) -> str:
    began = time.monotonic()
    url = world.make_database(cluster, name, past_calls)
    print(f"database with {past_calls:,} past calls: {time.monotonic() - began:.0f} s", flush=True)
    return url


if __name__ == "__main__":
    sys.exit(main())
