"""Prints what becomes of calls in each fault, as the table of docs/reliability.md. ONLY=frozen,applier: these rows alone; SHORT=1: the
three most telling ones; FLOWS=1: through flows of every step. Ends with status 1 when a promise is broken."""

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
from faults.flows import ALL, ANSWER, FACT, LINES
from faults.site import Site

PARTS = (databases, poolers, processes, proxies, disks, clocks)
FAULTS: tuple[Fault, ...] = tuple(fault for part in PARTS for fault in part.FAULTS)
SHORT = ("stopped", "frozen", "applier")
CALLS_A_SECOND = 5.0
BEFORE, AFTER = 4.0, 6.0
"""Seconds of calls before and after the fault."""

HEAD = (
    *("what fails", "forwarded right", "recorded", "deliveries missing", "doubled", "slowest answer"),
    "of an unknown number",
)
HEAD_OF_FLOWS = (*HEAD, "that looks up", "that asks", "branches looked up")


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
    every_step = bool(os.environ.get("FLOWS"))
    head = HEAD_OF_FLOWS if every_step else HEAD
    print(f"| {' | '.join(head)} |\n{'|---' * len(head)}|", flush=True)
    broken: list[str] = []
    for fault in FAULTS:
        if not wanted or fault.name in wanted:
            try:
                broken += report(fault, play(fault, every_step), every_step)
            except (AssertionError, OSError, SQLAlchemyError, psycopg.Error, subprocess.SubprocessError) as error:
                broken.append(f"BROKEN {fault.name}: the row could not be played: {error}")
    for line in broken:
        print(line)
    return 1 if broken else 0


def play(fault: Fault, every_step: bool) -> Counted:
    """The server from its start to the end of the row. Its log is kept where FAULTS_LOG names a folder."""
    with ExitStack() as stack:
        cluster = None
        if fault.embedded:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="router-faults-")))
        else:
            folder, cluster = stack.enter_context(clusters())
        site = Site(folder, cluster, stack, every_step=every_step, seed=fault.name)
        fault.prepare(site)
        site.start()
        fault.begin(site)
        calls = Calls(site.server.url, LINES, CALLS_A_SECOND, site.next_number, site.keep)
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


def report(fault: Fault, counted: Counted, every_step: bool) -> list[str]:
    """Prints a row; returns what of the promise was broken."""
    cells = [
        f"{fault.title}{counted.remark}",
        _share(counted.forwarded, counted.placed),
        _share(counted.recorded, counted.to_record),
        *(str(counted.missing), str(counted.doubled)),
        *(f"{counted.slowest(0.0, is_known):.2f} s" for is_known in (True, False)),
    ]
    if every_step:
        asked = max(counted.slowest(ANSWER), counted.slowest(ALL))
        cells += [f"{counted.slowest(FACT):.2f} s", f"{asked:.2f} s", _share(counted.found, counted.looked_up)]
    print(f"| {' | '.join(cells)} |", flush=True)
    if fault.promise is None:
        return []
    late = [
        wait
        for wait in counted.waits
        if wait.seconds > fault.promise + wait.looks_up + (0.0 if wait.is_known else MORE_IF_UNKNOWN)
    ]
    failed = {
        "calls went to another line": counted.forwarded < counted.placed,
        "calls are not recorded": counted.recorded < counted.to_record,
        "deliveries are missing": counted.missing > 0,
        "deliveries are doubled": counted.doubled > 0,
        "an answer was late": bool(late),
        "no look-up found anything": counted.looked_up > 0 and not counted.found,
    }
    return [f"BROKEN {fault.name}: {what}" for what, is_so in failed.items() if is_so] + [
        f"  {fault.name}: {example}" for example in counted.examples
    ]


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole}"


if __name__ == "__main__":
    sys.exit(main())
