"""Prints what becomes of calls in each fault, as the table of docs/reliability.md. ONLY=frozen,applier: these rows alone; SHORT=1: the
three most telling ones. Ends with status 1 when a promise is broken."""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from faults import clocks, databases, disks, poolers, processes, proxies
from faults.calls import Calls
from faults.cluster import clusters
from faults.counting import Counted, settle
from faults.fault import MORE_IF_UNKNOWN, Fault
from faults.site import LINES, Site

PARTS = (databases, poolers, processes, proxies, disks, clocks)
FAULTS: tuple[Fault, ...] = tuple(fault for part in PARTS for fault in part.FAULTS)
SHORT = ("stopped", "frozen", "applier")
CALLS_A_SECOND = 5.0
BEFORE, AFTER = 4.0, 6.0
"""Seconds of calls before and after the fault."""

HEAD = (
    "| what fails | forwarded right | recorded | deliveries missing | doubled | slowest answer | of an unknown number |\n"
    "|---|---|---|---|---|---|---|"
)


def main() -> int:
    wanted = [name for name in os.environ.get("ONLY", "").split(",") if name]
    if os.environ.get("SHORT"):
        wanted += SHORT
    unknown = set(wanted) - {fault.name for fault in FAULTS}
    if unknown:
        print(f"There is no fault {', '.join(sorted(unknown))}; there are {', '.join(fault.name for fault in FAULTS)}.")
        return 2
    processors, load = os.cpu_count(), os.getloadavg()[0]
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {processors} processors, load {load:.1f} before the first row")
    print(HEAD, flush=True)
    broken: list[str] = []
    for fault in FAULTS:
        if not wanted or fault.name in wanted:
            try:
                broken += report(fault, play(fault))
            except (AssertionError, OSError, SQLAlchemyError, psycopg.Error, subprocess.SubprocessError) as error:
                broken.append(f"BROKEN {fault.name}: the row could not be played: {error}")
    for line in broken:
        print(line)
    return 1 if broken else 0


def play(fault: Fault) -> Counted:
    """The server from its start to the end of the row. Its log is kept where FAULTS_LOG names a folder."""
    with ExitStack() as stack:
        cluster = None
        if fault.embedded:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="router-faults-")))
        else:
            folder, cluster = stack.enter_context(clusters())
        site = Site(folder, cluster, stack)
        fault.prepare(site)
        site.start()
        fault.begin(site)
        calls = Calls(site.server.url, LINES, CALLS_A_SECOND, site.next_number)
        calls.start()
        try:
            time.sleep(BEFORE)
            if not fault.adds_numbers:
                site.rest()
            fault.strike(site)
            time.sleep(AFTER / 3)
            site.go_on()
            time.sleep(AFTER * 2 / 3)
        finally:
            calls.finish()
        counted = settle(site, calls.placed, fault.settled_after)
        if kept := os.environ.get("FAULTS_LOG"):
            (Path(kept) / fault.name).write_text(site.server.output)
    return counted


def report(fault: Fault, counted: Counted) -> list[str]:
    """Prints a row; returns what of the promise was broken."""
    print(
        f"| {fault.title}{counted.remark} | {_share(counted.forwarded, counted.placed)} | {_share(counted.recorded, counted.to_record)}"
        f" | {counted.missing} | {counted.doubled} | {counted.slowest:.2f} s | {counted.slowest_unknown:.2f} s |",
        flush=True,
    )
    if fault.promise is None:
        return []
    late = counted.slowest > fault.promise or counted.slowest_unknown > fault.promise + MORE_IF_UNKNOWN
    failed = {
        "calls went to another line": counted.forwarded < counted.placed,
        "calls are not recorded": counted.recorded < counted.to_record,
        "deliveries are missing": counted.missing > 0,
        "deliveries are doubled": counted.doubled > 0,
        "an answer was late": late,
    }
    return [f"BROKEN {fault.name}: {what}" for what, is_so in failed.items() if is_so] + [
        f"  {fault.name}: {example}" for example in counted.examples
    ]


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole}"


if __name__ == "__main__":
    sys.exit(main())
