"""R12: no request is answered that is not on the disk, whoever is killed and what the disk does; damage costs the damaged line alone."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.voice import journal as module
from router.voice.journal import (
    LONGEST_RECORD,
    VERSION,
    Journal,
    JournalError,
    Position,
    line_of,
    read_entries,
    remove_segments_before,
    resumed,
    segment_ids,
    segment_path,
    segments,
)
from tests.properties import examples
from tests.waiting import eventually

START = Position()


def records_in(folder: Path) -> list[Any]:
    return [entry.record["n"] for entry in read_entries(folder, START, 1_000_000) if entry.record is not None]


def appended(folder: Path, *numbers: Any, segment_bytes: int = module.SEGMENT_BYTES) -> Journal:
    journal = Journal(folder, segment_bytes)
    for number in numbers:
        journal.append({"n": number})
    return journal


def test_r12_what_was_appended_is_read_in_its_order_from_any_place(tmp_path: Path) -> None:
    appended(tmp_path / "journal", *range(5)).close()
    entries = read_entries(tmp_path / "journal", START, 100)
    assert [entry.record for entry in entries] == [{"version": VERSION, "n": n} for n in range(5)]
    for index, entry in enumerate(entries):
        behind = read_entries(tmp_path / "journal", entry.end, 100)
        assert [later.record for later in behind] == [later.record for later in entries[index + 1 :]]
    assert read_entries(tmp_path / "journal", START, 2) == entries[:2]


def test_r12_nobody_else_may_read_the_journal(tmp_path: Path) -> None:
    appended(tmp_path / "journal", 1).close()
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "journal").iterdir()} == {0o600}


def test_r12_a_folder_that_does_not_exist_has_no_records(tmp_path: Path) -> None:
    assert read_entries(tmp_path / "journal", START, 10) == []


def test_r12_segments_follow_each_other_and_applied_ones_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    appended(folder, *range(40), segment_bytes=200).close()
    assert len(segments(folder)) > 5
    assert records_in(folder) == list(range(40))
    entries = read_entries(folder, START, 100)
    place = entries[25].end
    assert remove_segments_before(folder, place, changed_before=0.0) == 0, "a younger one may be asked for again"
    assert remove_segments_before(folder, place, changed_before=time.time() + 9) > 0
    assert [entry.record for entry in read_entries(folder, place, 100)] == [entry.record for entry in entries[26:]]
    remove_segments_before(folder, Position(10**9), changed_before=time.time() + 9)
    assert len(segments(folder)) == 1, "the newest stays"
    appended(folder, "later", segment_bytes=200).close()
    assert records_in(folder)[-1] == "later"


def test_r12_a_new_segment_is_begun_behind_a_place_that_a_power_cut_took_away(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    appended(folder, *range(10)).close()
    applied = read_entries(folder, START, 100)[-1].end
    os.truncate(segment_path(folder, 1), 30)  # what the disk had not written yet
    journal = Journal(folder)
    journal.begin_segment()
    journal.append({"n": "after the cut"})
    assert [entry.record["n"] for entry in read_entries(folder, applied, 100) if entry.record] == ["after the cut"]


def test_r12_each_segment_has_an_id_that_goes_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    appended(folder, *range(20), segment_bytes=200).close()
    ids = segment_ids(folder)
    assert sorted(ids) == segments(folder)
    assert len(set(ids.values())) == len(ids) > 2
    entries = read_entries(folder, START, 100)
    assert all(each.segment_id == ids[each.segment] for entry in entries for each in (entry.position, entry.end))
    remove_segments_before(folder, entries[-1].position, changed_before=time.time() + 9)
    assert sorted(segment_ids(folder)) == segments(folder)
    for path in folder.glob("*.journal"):
        path.unlink()
    appended(folder, 1).close()
    assert segment_ids(folder)[1] != ids[1]
    assert len(list(folder.glob("0000000001.*"))) == 2, "the segment and its id"


def test_r12_a_place_is_resumed_in_its_own_segment_alone(tmp_path: Path) -> None:
    appended(tmp_path, *range(5)).close()
    place = read_entries(tmp_path, START, 3)[-1].end
    assert resumed(tmp_path, place) == place
    assert resumed(tmp_path, replace(place, segment_id="0" * 16)) == START
    assert resumed(tmp_path, replace(place, segment_id="")) == START
    assert resumed(tmp_path, replace(place, segment=2)) == START
    assert resumed(tmp_path, START) == START
    assert resumed(tmp_path / "elsewhere", START) == START
    (tmp_path / f"0000000001.{place.segment_id}").unlink()  # as a release before has left it
    assert resumed(tmp_path, replace(place, segment_id="")) == place


def test_r12_whoever_has_a_segment_open_that_was_removed_goes_on_in_the_one_that_is_there(tmp_path: Path) -> None:
    first, second = appended(tmp_path, 1), appended(tmp_path, 2)
    segment_path(tmp_path, 1).unlink()
    for journal, n in ((first, 3), (second, 4), (first, 5)):
        journal.append({"n": n})
    assert records_in(tmp_path) == [3, 4, 5]


def test_r12_to_begin_a_segment_leaves_no_file_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        Journal(tmp_path / "journal").begin_segment()
    assert os.listdir("/proc/self/fd") == before


def test_r12_threads_share_a_write_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = []
    real = os.fsync

    def slow(descriptor: int) -> None:
        syncs.append(descriptor)
        time.sleep(0.02)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    journal = Journal(tmp_path / "journal")

    def append_five(n: int) -> None:
        for i in range(5):
            journal.append({"n": [n, i]})

    threads = [threading.Thread(target=append_five, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = records_in(tmp_path / "journal")
    assert sorted(records) == [[n, i] for n in range(16) for i in range(5)]
    for n in range(16):
        assert [i for thread, i in records if thread == n] == list(range(5))
    assert len(syncs) < 40, "each record would have been a write of its own"


WRITER = """
import sys
from pathlib import Path
from router.voice.journal import Journal
journal = Journal(Path(sys.argv[1]), 2000)
for n in range(1_000_000):
    journal.append({"n": [sys.argv[2], n]})
    print(n, flush=True)
"""


def test_r12_no_record_is_lost_whose_append_returned_when_processes_are_killed(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    promised: dict[str, int] = {}
    for generation in range(3):
        writers = {
            name: subprocess.Popen([sys.executable, "-c", WRITER, str(folder), name], stdout=subprocess.PIPE, text=True)
            for name in (f"{generation}a", f"{generation}b", f"{generation}c")
        }
        for name, writer in writers.items():
            assert writer.stdout is not None
            while int(writer.stdout.readline()) < 20:
                pass
            writer.send_signal(signal.SIGKILL)
            said = writer.communicate()[0].split()
            promised[name] = int(said[-1]) if said else 20
    records = records_in(folder)
    for name, last in promised.items():
        mine = [n for writer, n in records if writer == name]
        assert mine[: last + 1] == list(range(last + 1)), name
        assert mine == sorted(set(mine))


FULL = """
import resource, signal, sys
from pathlib import Path
from router.voice.journal import Journal, JournalError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(Path(sys.argv[1]))
for n in range(3):
    journal.append({"n": n})
resource.setrlimit(resource.RLIMIT_FSIZE, (260, resource.RLIM_INFINITY))
refused = 0
for n in range(3, 6):
    try:
        journal.append({"n": n, "long": "x" * 200})
    except JournalError:
        refused += 1
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append({"n": "again"})
print(refused)
"""


def test_r12_a_full_disk_is_said_and_the_journal_goes_on_when_there_is_room_again(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    done = subprocess.run([sys.executable, "-c", FULL, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "3"
    assert records_in(folder) == [0, 1, 2, "again"]
    assert [entry.fault for entry in read_entries(folder, START, 100) if entry.record is None]


def test_r12_the_newest_segment_has_its_space_and_the_others_what_they_need(tmp_path: Path) -> None:
    """Where the file system can reserve space, as those of Linux do."""
    journal = appended(tmp_path, 1)
    journal.begin_segment()
    journal.append({"n": 2})
    older, newest = (segment_path(tmp_path, number).stat() for number in (1, 2))
    assert newest.st_blocks * 512 >= module.SEGMENT_BYTES > older.st_blocks * 512
    assert older.st_size == newest.st_size < 100
    assert records_in(tmp_path) == [1, 2]


def test_r12_a_folder_that_cannot_be_made_is_an_error_and_so_is_one_that_was_taken_away(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError):
        Journal(tmp_path / "file" / "journal").append({"n": 1})
    journal = appended(tmp_path / "journal", 1)
    for file in (tmp_path / "journal").iterdir():
        file.unlink()
    (tmp_path / "journal").rmdir()
    with pytest.raises(JournalError):
        journal.append({"n": 2})
    journal.append({"n": 3})
    assert records_in(tmp_path / "journal") == [3]


def test_r12_no_record_follows_in_a_file_whose_fsync_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "journal"
    journal = appended(folder, 1)
    real = os.fsync
    failures = iter([OSError(5, "Input/output error")])

    def fsync(descriptor: int) -> None:
        for error in failures:
            raise error
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(JournalError, match="Input/output"):
        journal.append({"n": 2})
    journal.append({"n": 3})
    places = {entry.record["n"]: entry.position.segment for entry in read_entries(folder, START, 9) if entry.record}
    assert places[3] == places[1] + 1
    assert places.get(2, places[1]) == places[1]


def test_r12_a_record_that_the_journal_cannot_hold_is_refused(tmp_path: Path) -> None:
    journal = appended(tmp_path / "journal", 1)
    for record in ({"n": "x" * LONGEST_RECORD}, {"n": float("nan")}):
        with pytest.raises(ValueError):
            journal.append(record)
    journal.append({"n": 2})
    assert records_in(tmp_path / "journal") == [1, 2]


def test_r12_a_record_of_a_newer_program_is_named_and_not_guessed(tmp_path: Path) -> None:
    appended(tmp_path / "journal", 1).close()
    newer = line_of({"version": VERSION + 1, "n": 2})
    with segment_path(tmp_path / "journal", 1).open("ab") as file:
        file.write(newer)
    entries = read_entries(tmp_path / "journal", START, 9)
    assert [entry.record is None for entry in entries] == [False, True]
    assert "newer" in entries[1].fault


@settings(max_examples=examples(60))
@given(
    damage=st.lists(
        st.tuples(st.integers(0, 2_000), st.binary(min_size=0, max_size=40), st.integers(0, 60)), max_size=4
    ),
    cut=st.integers(0, 100),
)
def test_r12_damage_never_makes_a_record_and_costs_only_the_lines_it_touches(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, bytes, int]], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    appended(folder, *range(30)).close()
    path = segment_path(folder, 1)
    whole = path.read_bytes()
    written = [entry.record for entry in read_entries(folder, START, 100)]
    data = bytearray(whole)
    for place, new, old in damage:
        data[place : place + old] = new
    data = data[: len(data) - cut]
    path.write_bytes(bytes(data))
    entries = read_entries(folder, START, 10_000)
    found = [entry.record for entry in entries if entry.record is not None]
    lines = set(bytes(data).split(b"\n")[:-1])
    untouched = [record for record in written if record and line_of(record).rstrip(b"\n") in lines]
    assert found == untouched
    ends = [START, *(entry.end for entry in entries)]
    assert ends == sorted(ends), "a reader always comes further"


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_position_is_read_as_it_is_written(segment: int, offset: int) -> None:
    assert Position.read(str(Position(segment, offset))) == Position(segment, offset)


def test_r12_a_disk_that_hangs_holds_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.05)
    journal, is_back = Journal(tmp_path), threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda descriptor: is_back.wait(20.0))
        for sid in ("CA1", "CA2", "CA3", "CA4"):
            with pytest.raises(JournalError, match="has not answered"):
                journal.append({"sid": sid})
        is_back.set()
        eventually(lambda: journal._began_writing is None)
    journal.append({"sid": "CA5"})
    assert [entry.record and entry.record["sid"] for entry in read_entries(tmp_path, Position(), 9)] == ["CA1", "CA5"]


def test_r12_a_journal_without_work_keeps_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.01)
    journal = Journal(tmp_path)
    for n in range(3):
        journal.append({"n": n})
        writers = [thread for thread in threading.enumerate() if thread.name == f"journal {tmp_path}"]
        for writer in writers:
            writer.join(60)
            assert not writer.is_alive()
        assert journal._writer == 0
    assert records_in(tmp_path) == [0, 1, 2]


def test_r12_a_fault_of_the_program_in_one_write_ends_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "_write", lambda journal, batch: 1 // 0)
        with pytest.raises(JournalError, match="ZeroDivisionError"):
            journal.append({"n": 1})
    journal.append({"n": 2})
    assert records_in(tmp_path) == [2]
