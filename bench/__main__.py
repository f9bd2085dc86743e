"""Requests per second of the two hot paths, beside their floor, as tables grow and beside an earlier build, and deliveries per second of a
worker beside it. SHORT=1: less of everything; ONLY=views, ONLY=calls or ONLY=deliveries: one of them; BEFORE=folder: a checkout of an
earlier build, with its environment in `.venv`; MINUTES=3: page views for that long, minute by minute. Ends with status 1 when a demanded
bound is missed."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench import world
from bench.deliveries import DeliveriesSize, deliveries
from bench.load import Plan
from bench.processes import Running, serving
from bench.report import LEAST_OF_FLOOR, MOST_GROWTH, Report
from bench.statements import keep, second_look, statements_of
from bench.telephone import FLOOR, PRODUCT, KeptRecords, TelephoneSize, calls, settings_of, telephone
from bench.turns import Contestant, Result, in_turns, relation
from router.app import create_app
from tests.postgres import postgres_cluster


@dataclass(frozen=True)
class Size:
    rounds: int
    seconds: float
    past_calls: tuple[int, int]
    telephone: TelephoneSize
    deliveries: DeliveriesSize


FULL = Size(
    rounds=5,
    seconds=3.0,
    past_calls=(10_000, 1_000_000),
    telephone=TelephoneSize(rounds=5, seconds=3.0, look_seconds=10.0, hold_seconds=60.0, journal=3_000),
    deliveries=DeliveriesSize(rounds=5, seconds=8.0),
)
SHORT = Size(
    rounds=2,
    seconds=1.0,
    past_calls=(2_000, 50_000),
    telephone=TelephoneSize(rounds=2, seconds=1.0, look_seconds=4.0, hold_seconds=10.0, journal=1_000),
    deliveries=DeliveriesSize(rounds=2, seconds=5.0),
)


def main() -> int:
    size = SHORT if os.environ.get("SHORT") else FULL
    report, began = Report(), time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="router-bench-")))
        cluster = stack.enter_context(postgres_cluster(durable=True))
        only = os.environ.get("ONLY", "")
        if only != "deliveries":
            databases = {calls: _timed_database(cluster, f"router_{calls}", calls) for calls in size.past_calls}
            few = databases[size.past_calls[0]]
            keep_statements(few, folder)
        if only in ("", "views"):
            page_views(report, cluster, few, folder, size)
        if only in ("", "calls"):
            telephone(report, cluster, databases, folder, size.telephone)
        if only in ("", "deliveries"):
            deliveries(report, cluster, folder, size.deliveries)
    print(f"\n{time.monotonic() - began:.0f} s. Other work on this machine moves the figures, less so their relations.")
    for line in report.missed:
        print(f"MISSED {line}")
    return 1 if report.missed else 0


def page_views(report: Report, cluster: str, database: str, folder: Path, size: Size) -> None:
    beside = world.make_database(cluster, "floor", size.past_calls[0])
    more = {"BENCH_STATEMENTS": str(folder / "statements")}
    with (
        serving("product", PRODUCT, database, folder) as product,
        serving("floor", FLOOR, beside, folder, **more) as floor,
    ):
        if minutes := int(os.environ.get("MINUTES", "0")):
            over_minutes(report, product, database, minutes)
            return
        beside_floor(report, product, floor, size)
        as_pools_grow(report, product, size)


def beside_floor(report: Report, product: Running, floor: Running, size: Size) -> None:
    plans = {"product": views(product, size.seconds, "pool-200"), "floor": views(floor, size.seconds, "pool-200")}
    results = in_turns(plans, size.rounds)
    report.table("L: page views of new visitors, a lease each, pool of 200", results)
    ratio = relation(results["product"], results["floor"])
    report.bound("L beside its floor", ratio, ratio >= LEAST_OF_FLOOR, f"at least {LEAST_OF_FLOOR}")


def as_pools_grow(report: Report, product: Running, size: Size) -> None:
    plans = {f"pool of {count:,}": views(product, size.seconds, f"pool-{count}") for count in world.POOLS}
    results = in_turns(plans | {"pool of 200, all active": views(product, size.seconds, "all-active")}, size.rounds)
    report.table("L: as pools grow", results)
    _growth(report, "L: cost", results, list(plans))


def _growth(report: Report, what: str, results: Mapping[str, Result], names: list[str]) -> None:
    for name in names[1:]:
        growth = relation(results[names[0]], results[name])
        report.bound(f"{what}, {names[0]} -> {name}", growth, growth <= MOST_GROWTH, f"at most {MOST_GROWTH}")


def over_minutes(report: Report, product: Running, database: str, minutes: int) -> None:
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


def keep_statements(database_url: str, folder: Path) -> None:
    app = create_app(settings_of(database_url, folder))
    watched = Running("watched", 0, 0, database_url)
    kept = app.extensions["router"].journal = KeptRecords()
    with app.test_client() as client:
        found = {"L": statements_of(client, views(watched, 1, "pool-200")[1])}
        statements_of(client, calls(watched, 1, 10_000)[1])
    (folder / "record").write_text(json.dumps(kept.records[-1]))
    keep(folder / "statements", found | {"look again": [second_look(found["L"])]})
    app.extensions["router"].database.dispose()


def _timed_database(cluster: str, name: str, past_calls: int) -> str:
    began = time.monotonic()
    url = world.make_database(cluster, name, past_calls)
    print(f"database with {past_calls:,} past calls: {time.monotonic() - began:.0f} s", flush=True)
    return url


if __name__ == "__main__":
    sys.exit(main())
