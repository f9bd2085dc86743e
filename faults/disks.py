"""The data folder of a machine: full, read-only, or damaged."""

import os
import signal
import subprocess
import time
from pathlib import Path

from faults.fault import Fault
from faults.site import Site
from router.voice.journal import newest_segment, segment_path
from router.voice.snapshot import NEWEST
from tests.waiting import eventually

MEGABYTES = 320
"""More than recordings leave to calls on any disk."""
SECONDS = 15.0
STOPPED_SECONDS = 3.0
ADOPTED_AFTER = 90.0
"""A call whose first request is not known is written after a minute."""


def mount_small_disk(site: Site) -> None:
    """Needs root."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", site.data], check=True)
    site.stack.callback(lambda: subprocess.run(["umount", "--lazy", site.data], check=True))


def fill_disk(site: Site) -> None:
    filling = site.data / "filling"
    with filling.open("wb", buffering=0) as file:
        for size in (2**20, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
        time.sleep(SECONDS)
    filling.unlink()


def start_read_only(site: Site) -> None:
    """A disk cannot be made read-only under a program that writes to it; so the program starts anew on it."""
    assert site.server.stop() == 0
    subprocess.run(["mount", "-o", "remount,ro", site.data], check=True)
    site.server.start()
    site.server.wait_until_healthy()


def make_writable(site: Site) -> None:
    time.sleep(SECONDS)
    subprocess.run(["mount", "-o", "remount,rw", site.data], check=True)


def damage_journal(site: Site) -> None:
    """The record of an incoming call, and one of a leg, which were not applied yet."""
    folder = site.data / "journal"
    applier = eventually(lambda: site.server.children().get("applier"))
    os.kill(applier, signal.SIGSTOP)
    path = segment_path(folder, newest_segment(folder))
    begin = path.stat().st_size
    time.sleep(STOPPED_SECONDS)
    damage_line(path, begin, b'"kind":"inbound"')
    damage_line(path, begin, b'"kind":"leg"')
    os.kill(applier, signal.SIGCONT)


def damage_line(path: Path, begin: int, word: bytes) -> None:
    """One byte of the first line behind a place that holds a word."""
    with path.open("r+b") as file:
        file.seek(begin)
        found = file.read().index(word)
        file.seek(begin + found + len(word) - 2)
        file.write(b"#")


def tear_snapshot(site: Site) -> None:
    """Without a database, and with processes that have just begun: what they know stands in the older file."""
    site.primary.stop()
    newest = site.data / "routing" / NEWEST
    os.truncate(newest, newest.stat().st_size // 2)
    (newest.parent / f"{NEWEST}-new").write_bytes(newest.read_bytes())
    old = set(site.server.members()) - {site.server.process.pid}
    site.server.process.send_signal(signal.SIGHUP)
    eventually(lambda: not old & set(site.server.members()), 120)
    time.sleep(SECONDS / 3)
    site.primary.start()
    time.sleep(SECONDS / 3)


FAULTS = (
    Fault("disk-full", "the data folder full for 15 s", fill_disk, mount_small_disk),
    Fault("disk-full-sqlite", "the same, SQLite in it", fill_disk, mount_small_disk, embedded=True),
    Fault("disk-read-only", "the data folder read-only for 15 s", make_writable, mount_small_disk, start_read_only),
    Fault("journal", "two lines of the journal damaged", damage_journal, settled_after=ADOPTED_AFTER),
    Fault("snapshot", "the snapshot half written, and no database", tear_snapshot),
)
