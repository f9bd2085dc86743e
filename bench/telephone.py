"""How fast the telephone is: answers beside their floor, calls that are recorded at a steady rate beside an earlier build, and what the
applier takes for each call as past calls grow."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from bench import world
from bench.before import serving_before
from bench.load import Plan, requests_of
from bench.offered import Offered, offer
from bench.processes import APPLIER, BASE_URL, SECRET, TOKEN, Running, cpu_of_database, serving
from bench.report import LEAST_OF_FLOOR, MOST_GROWTH, Report
from bench.statements import send
from bench.turns import in_turns, relation
from router.app import create_app
from router.config import Settings
from router.supervisor import TELEPHONE
from router.voice.applier import Applier
from router.voice.journal import line_of, segment_path
from router.voice.records import Record

PRODUCT, FLOOR = "router.app:create_app()", "bench.floor:create_app()"
LEAST_OF_DESTINATION = 0.9
MOST_P99 = 50.0
"""Milliseconds for an answer, at the load's 16 connections."""
MOST_VISIBLE = 300.0
"""Milliseconds from an answer to the call's row, for 99 of 100 calls at STEADY_RATE."""
STEADY_RATE = 50.0
FIRST_RATE, LAST_RATE, STEP, FINE_STEP = 100.0, 4_000.0, 2.0, 1.06
LEAST_OF_BEFORE = 2.0


@dataclass(frozen=True)
class TelephoneSize:
    """`look_seconds`: for each step of the search for a rate; `hold_seconds`: for the rate that is told. `journal`: records."""

    rounds: int
    seconds: float
    look_seconds: float
    hold_seconds: float
    journal: int


def calls(
    server: Running, seconds: float, past: int, path: str = "/voice/inbound", first_e164: int = world.FIRST_E164
) -> tuple[Running, Plan]:
    """Signed inbound calls, every second from a caller who has called before."""
    return server, Plan(
        "V",
        server.port,
        seconds,
        run=f"{server.port}{time.monotonic_ns():x}",
        first_e164=first_e164,
        numbers=world.CALLED_NUMBERS,
        first_known_caller=world.FIRST_KNOWN_CALLER,
        known_callers=past // world.CALLED_NUMBERS,
        first_new_caller=world.FIRST_NEW_CALLER,
        base_url=BASE_URL,
        token=TOKEN,
        path=path,
    )


def answers(report: Report, servers: Mapping[str, Running], floor: Running, past: int, size: TelephoneSize) -> None:
    """As fast as 16 connections get them. The telephones alone are at work: nothing is applied meanwhile."""
    contestants = {name: calls(server, size.seconds, past) for name, server in servers.items()}
    contestants |= {
        f"{name}, flow": calls(server, size.seconds, past, first_e164=world.FIRST_FLOW_E164)
        for name, server in servers.items()
        if not name.startswith(BEFORE)
    }
    contestants["floor"] = calls(floor, size.seconds, past)
    contestants["constant document"] = calls(floor, size.seconds, past, "/voice/constant")
    results = in_turns(contestants, size.rounds)
    report.table("Answers to signed inbound calls", results)
    for name in servers:
        beside = relation(results[name], results["constant document"])
        print(f"  {name} beside a constant document: {beside:.2f}")
        if name.startswith(BEFORE):
            continue
        ratio = relation(results[name], results["floor"])
        report.bound(f"{name} beside the floor", ratio, ratio >= LEAST_OF_FLOOR, f"at least {LEAST_OF_FLOOR}")
        flow = relation(results[f"{name}, flow"], results[name])
        report.bound(
            f"{name}: a flow of opening hours, round robin and whisper beside one destination",
            flow,
            flow >= LEAST_OF_DESTINATION,
            f"at least {LEAST_OF_DESTINATION}",
        )
        p99 = results[name].of("p99")
        report.bound(f"{name}: p99 in ms at 16 connections", p99, p99 < MOST_P99, f"below {MOST_P99:.0f}")


BEFORE = "before"


def recorded(report: Report, servers: Mapping[str, Running], past: int, size: TelephoneSize) -> None:
    """With attribution and deliveries: how soon at a steady rate, and up to which rate without a growing backlog."""
    print(f"\nRecorded with attribution and deliveries\n{HEAD}")
    for name in (name for name in servers if not name.startswith(BEFORE)):
        offered = offered_to(servers[name], size.hold_seconds, past, STEADY_RATE, look_every=0.01)
        _print_offered(name, offered)
        visible = offered.visible(0.99)
        report.bound(
            f"{name}: p99 from answer to row in ms", visible, visible < MOST_VISIBLE, f"below {MOST_VISIBLE:.0f}"
        )
    rates = highest_rates(servers, past, size)
    for name, rate in rates.items():
        print(f"  {name}: {rate:.0f} calls a second are sustained")
    for database in DATABASES:
        before, now = rates.get(f"{BEFORE}, {database}"), rates.get(database)
        if before and now:
            report.bound(
                f"{database}: rate beside the build before",
                now / before,
                now >= LEAST_OF_BEFORE * before,
                f"at least {LEAST_OF_BEFORE}",
            )


DATABASES = ("PostgreSQL", "SQLite")
HEAD = (
    f"  {'':20}{'calls/s':>8}{'p50 ms':>9}{'p99 ms':>9}{'visible p50':>12}{'p99':>8}"
    f"{'backlog':>15}{'after end s':>12}{'CPU ms':>8}{'CPU ms db':>10}{'failed':>8}"
)


def _print_offered(name: str, offered: Offered) -> None:
    first, last = offered.thirds()
    print(
        f"  {name:20}{offered.rate:8.0f}{offered.answer(0.5):9.1f}{offered.answer(0.99):9.1f}"
        f"{offered.visible(0.5):12.0f}{offered.visible(0.99):8.0f}{first:8.0f} ->{last:4.0f}"
        f"{offered.after_end():12.2f}{offered.server_cpu:8.2f}{offered.database_cpu:10.2f}{offered.failures:8d}"
        f"  {'sustained' if offered.is_sustained() else 'not sustained'}",
        flush=True,
    )


def offered_to(server: Running, seconds: float, past: int, rate: float, look_every: float = 0.25) -> Offered:
    _, plan = calls(server, seconds, past)
    return offer(server, replace(plan, per_second=rate), look_every)


class Search:
    """The highest rate of a contestant: doubled until it turns, halfway between the last two until they are close. Then it is held for
    longer, and goes down by fine steps until it holds, or up until it does not."""

    def __init__(self) -> None:
        self.rate, self.best, self.least_failed = FIRST_RATE, 0.0, float("inf")
        self.is_holding = self.is_done = False

    def take(self, is_sustained: bool) -> None:
        if self.is_holding:
            self._hold(is_sustained)
            return
        if is_sustained:
            self.best = self.rate
        else:
            self.least_failed = self.rate
        if self.best and self.least_failed <= self.best * FINE_STEP * 1.001:
            self.is_holding, self.rate = True, self.best
            self.best, self.least_failed = 0.0, float("inf")
        elif self.best and self.least_failed < float("inf"):
            self.rate = max((self.best * self.least_failed) ** 0.5, self.best * FINE_STEP)
        else:
            self.rate *= STEP if is_sustained else 1 / STEP
            if self.rate > LAST_RATE:
                raise SystemExit(f"bench: {LAST_RATE:.0f} calls a second are sustained, and no more are offered")

    def _hold(self, is_sustained: bool) -> None:
        """`best` and `least_failed` are those of rates that were held for longer."""
        if is_sustained:
            self.best = max(self.best, self.rate)
        else:
            self.least_failed = min(self.least_failed, self.rate)
        following = self.rate * FINE_STEP if is_sustained else self.rate / FINE_STEP
        is_known = following <= self.best * 1.001 or following >= self.least_failed * 0.999
        self.is_done = bool(self.best) and is_known
        self.rate = self.best if self.is_done else following


def highest_rates(servers: Mapping[str, Running], past: int, size: TelephoneSize) -> dict[str, float]:
    """By the names of contestants, who take turns."""
    searches = {name: Search() for name in servers}
    while going := [name for name, search in searches.items() if not search.is_done]:
        for name in going:
            search = searches[name]
            seconds = size.hold_seconds if search.is_holding else size.look_seconds
            offered = offered_to(servers[name], seconds, past, search.rate)
            _print_offered(name, offered)
            search.take(offered.is_sustained())
    return {name: search.rate for name, search in searches.items()}


class KeptRecords:
    """Instead of a journal."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def append(self, record: Record) -> None:
        self.records.append(record)


def settings_of(database_url: str, folder: Path) -> Settings:
    return Settings(
        database_url=database_url,
        data_dir=folder,
        secret_key=SECRET,
        public_url=BASE_URL,
        twilio_auth_token=TOKEN,
        visit_rate="off",
    )


@dataclass(frozen=True)
class Applied:
    """What one applier took for each record of a prepared journal, in milliseconds."""

    took: float
    cpu: float
    database_cpu: float


def apply_prepared(database_url: str, folder: Path, past: int, count: int) -> Applied:
    """Has a telephone answer so many calls, keeps their records in a journal, and applies that in this process."""
    app = create_app(settings_of(database_url, folder))
    server = app.extensions["router"]
    kept = server.journal = KeptRecords()
    watched = Running("watched", 0, 0, database_url)
    with app.test_client() as client:
        for raw in requests_of(calls(watched, 1, past)[1], count):
            assert send(client, raw).status_code == 200
    applier, journal = Applier(server, folder / "journal"), folder / "journal"
    journal.mkdir(parents=True)
    segment_path(journal, 1).write_bytes(b"".join(line_of(record) for record in kept.records))
    began, cpu = time.perf_counter(), time.process_time()
    database_cpu = cpu_of_database(database_url)
    applier.apply_all()
    spent = time.perf_counter() - began, time.process_time() - cpu, cpu_of_database(database_url) - database_cpu
    server.database.dispose()
    return Applied(*(each * 1000 / count for each in spent))


def applier_alone(report: Report, databases: Mapping[int, str], folder: Path, size: TelephoneSize) -> None:
    """A journal that was written before, as after an outage, with few and with many past calls in the database, in turns."""
    found: dict[int, list[Applied]] = {past: [] for past in databases}
    for turn in range(-1, size.rounds):
        for past, url in databases.items():
            count = size.journal if turn >= 0 else size.journal // 10
            applied = apply_prepared(url, folder / f"applied-{past}-{turn}", past, count)
            if turn >= 0:
                found[past].append(applied)
    print(f"\nA prepared journal, one applier, PostgreSQL\n  {'':34}{'calls/s':>8}{'CPU ms':>9}{'CPU ms db':>11}")
    for past, rounds in found.items():
        took, cpu, database_cpu = (
            median(getattr(one, name) for one in rounds) for name in ("took", "cpu", "database_cpu")
        )
        print(f"  {f'{past:,} past calls':34}{1000 / took:8.0f}{cpu:9.2f}{database_cpu:11.2f}", flush=True)
    few, many = databases
    growth = median(more.took / less.took for less, more in zip(found[few], found[many], strict=True))
    report.bound(
        f"cost of a call, {few:,} -> {many:,} past calls", growth, growth <= MOST_GROWTH, f"at most {MOST_GROWTH}"
    )


@contextmanager
def build_before(cluster: str, folder: Path, past: int) -> Iterator[dict[str, Running]]:
    """The build in the checkout BEFORE, on both databases; none without one."""
    checkout = os.environ.get("BEFORE")
    if not checkout:
        print("BEFORE names no checkout of an earlier build: no rates are set beside it.")
        yield {}
        return
    urls = {"PostgreSQL": world.make_empty(cluster, "before"), "SQLite": f"sqlite:///{folder}/before.db"}
    with ExitStack() as stack:
        yield {
            f"{BEFORE}, {name}": stack.enter_context(
                serving_before(Path(checkout), f"{BEFORE}-{name}", url, folder, past)
            )
            for name, url in urls.items()
        }


def telephone(report: Report, cluster: str, databases: Mapping[int, str], folder: Path, size: TelephoneSize) -> None:
    """
    Args:
        databases: of PostgreSQL, filled, by the number of their past calls: few, many.
        folder: where the product was watched for the floor.
    """
    past, url = next(iter(databases.items()))
    applier_alone(report, databases, folder, size)
    urls = {"PostgreSQL": url, "SQLite": f"sqlite:///{folder}/product.db"}
    world.fill(urls["SQLite"], past)
    with build_before(cluster, folder, past) as before:
        with ExitStack() as stack:
            telephones = {
                name: stack.enter_context(serving(f"telephone-{name}", PRODUCT, each, folder, (TELEPHONE,)))
                for name, each in urls.items()
            }
            more = {"BENCH_STATEMENTS": str(folder / "statements")}
            floor = stack.enter_context(serving("telephone-floor", FLOOR, url, folder, (TELEPHONE,), **more))
            answers(report, telephones | before, floor, past, size)
        with ExitStack() as stack:
            whole = {
                name: stack.enter_context(serving(f"whole-{name}", PRODUCT, each, folder, (TELEPHONE, APPLIER)))
                for name, each in urls.items()
            }
            recorded(report, whole | before, past, size)
