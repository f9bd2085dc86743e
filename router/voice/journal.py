"""The journal of a machine (R12): every request of a carrier stands in a file, written through to the disk, before it is answered.

The journal is a folder of segments, `0000000001.journal`, `0000000002.journal`, … A segment holds lines: the checksum of a record, a space,
the record as JSON. The processes of a machine append to the newest segment in turns, so that the place of a record, its segment and its
first byte, is its sequence. In each process one thread writes, with one write and one fsync for all records that have come meanwhile. A
reader needs no lock: it takes whole lines only.

Beside each segment lies an empty file whose name tells its random id, `0000000001.9f86d081884c7d65`: when a journal was emptied and
begins anew, its first segment is told from the one that was there.

A line that is torn or was changed costs itself alone: the reader names it, and goes on behind the next line break.
"""

import ctypes
import fcntl
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

from router.lib.waiting import Signal

VERSION = 1
"""Of the record's format; a reader refuses a newer one by name and never guesses."""
SEGMENT_BYTES = 16 * 1024 * 1024
LONGEST_RECORD = 256 * 1024
SEGMENT = re.compile(r"(\d{10})\.journal")
SEGMENT_ID = re.compile(r"(\d{10})\.([0-9a-f]{16})")
CHECKSUM_BYTES = 8
SLOW_SECONDS = 2.0
"""How long a write may take. A carrier gives an answer 3.5 s."""
IDLE_SECONDS = 10.0
"""After so long without a record the thread that writes ends."""


class JournalError(Exception):
    """Nothing is promised about the records of this write: the folder cannot be used, the disk is full or it failed."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a machine's journal; written `12:3456`, without the segment's id."""

    segment: int = 0
    offset: int = 0
    segment_id: str = field(default="", compare=False)
    """Empty for a segment that a release before has begun."""

    def __str__(self) -> str:
        return f"{self.segment}:{self.offset}"

    @classmethod
    def read(cls, text: str, segment_id: str = "") -> "Position":
        """Raises ValueError for any other text."""
        segment, _, offset = text.partition(":")
        return cls(int(segment), int(offset), segment_id)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the journal."""

    position: Position
    end: Position
    """Where the next line begins."""
    record: Mapping[str, Any] | None
    """None: the line is damaged."""
    fault: str = ""
    """Why a damaged line is none."""
    text: str = ""
    """What can be read of a damaged line."""


class _Waiting:
    """A record whose thread or request waits for the disk."""

    __slots__ = ("error", "line", "written")

    def __init__(self, line: bytes) -> None:
        self.line = line
        self.written = Signal()
        self.error: JournalError | None = None


class RecordKeeper(Protocol):
    """Where records are safe."""

    def append(self, record: Mapping[str, Any]) -> None:
        """Returns when the record is safe; raises when it may be lost."""


class Journal:
    """Appends to the journal in a folder. All threads of a process share one object, which may be made before the process forks."""

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES, *, durable: bool = True) -> None:
        """`durable`: a record is written through to the disk; tests, which lose nothing with the power, do without."""
        self._folder = folder
        self._durable = durable
        self._segment_bytes = segment_bytes
        self._turn = threading.Condition(threading.Lock())
        self._waiting: list[_Waiting] = []
        self._writer = 0
        """The process whose thread writes; 0: none does."""
        self._began_writing: float | None = None
        self._process = 0
        self._lock_file = self._file = -1
        self._segment = 0

    def append(self, record: Mapping[str, Any]) -> None:
        """Returns when the record is on the disk. A disk that hangs holds the thread that writes alone: all others give up.

        Raises:
            JournalError: the record may be lost, or may stand in the journal all the same.
            ValueError: the record is longer than LONGEST_RECORD, or is no JSON.
        """
        mine = _Waiting(line_of(record))
        with self._turn:
            if self._writer != os.getpid():  # none, or the parent's, which no fork has
                try:
                    threading.Thread(target=self._write_all, name=f"journal {self._folder}", daemon=True).start()
                except RuntimeError as error:
                    raise JournalError("the system has no more threads") from error
                self._writer, self._began_writing, self._waiting = os.getpid(), None, []
            self._waiting.append(mine)
            if len(self._waiting) == 1:
                self._turn.notify()
        while not mine.written.wait(max(0.0, self._patience())):
            with self._turn:
                if self._patience() <= 0 and not mine.written.is_given:
                    self._waiting = [each for each in self._waiting if each is not mine]
                    raise JournalError(f"{self._folder}: the disk has not answered for {SLOW_SECONDS:g} s")
        if mine.error is not None:
            raise mine.error

    def _patience(self) -> float:
        """Seconds that the present write may still take."""
        began = self._began_writing
        return SLOW_SECONDS if began is None else began + SLOW_SECONDS - time.monotonic()

    def _write_all(self) -> None:
        """In the thread that writes, until nothing has come for a while."""
        while True:
            with self._turn:
                if not self._waiting and not (self._turn.wait(IDLE_SECONDS) or self._waiting):
                    self._writer = 0
                    return
                batch, self._waiting = self._waiting, []
                self._began_writing = time.monotonic()
            error: JournalError | None = JournalError("the write was broken off")
            try:
                error = self._write(batch)
            except Exception as broken:  # what is no fault of the disk ends one write, and not the thread
                error = JournalError(repr(broken))
            finally:
                self._began_writing = None
                for each in batch:
                    each.error = error
                    each.written.give()

    def begin_segment(self) -> None:
        """Later records stand in a new segment. After a power cut the newest segment may end before a place that was applied already, so
        the first process of a machine begins a new one, before it appends anything.

        Raises:
            JournalError: the folder cannot be used.
        """
        try:
            self._open_folder()
            with self._locked():
                self._create_segment(newest_segment(self._folder) + 1)
        except OSError as error:
            raise JournalError(str(error)) from error
        finally:
            self.close()

    def close(self) -> None:
        for descriptor in (self._file, self._lock_file):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock_file = -1
        self._process = self._segment = 0

    def _write(self, batch: list[_Waiting]) -> JournalError | None:
        # The line break in front ends a line that a killed process or a full disk left unfinished. What such a write has left is never
        # taken back: a reader may be behind it already.
        data = memoryview(b"\n" + b"".join(each.line for each in batch))
        try:
            self._open_folder()
            with self._locked():
                newest = newest_segment(self._folder)
                if newest == 0:
                    self._create_segment(1)
                elif (
                    newest != self._segment or os.fstat(self._file).st_nlink == 0
                ):  # or somebody has emptied the folder
                    self._use(newest, os.O_APPEND)
                if os.fstat(self._file).st_size >= self._segment_bytes:
                    self._create_segment(self._segment + 1)
                while data:
                    data = data[os.write(self._file, data) :]
            # after a failed fsync the kernel may call the next one of the same file a success: no further record goes there
            try:
                if self._durable:
                    os.fsync(self._file)
            except OSError:
                with suppress(OSError), self._locked():
                    if newest_segment(self._folder) == self._segment:
                        self._create_segment(self._segment + 1)
                raise
        except OSError as error:
            self.close()
            return JournalError(f"{self._folder}: {error.strerror or error}")
        return None

    def _open_folder(self) -> None:
        if self._process == os.getpid():
            return
        self._lock_file = self._file = -1  # the parent's: a lock that is inherited keeps nobody out
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_file = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._process, self._segment = os.getpid(), 0

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """The lock spans the write, not the fsync: several processes wait for the disk together."""
        fcntl.flock(self._lock_file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock_file, fcntl.LOCK_UN)

    def _create_segment(self, number: int) -> None:
        """Its space is reserved, so that a disk that becomes full takes the records of some hours all the same."""
        with suppress(FileNotFoundError):
            release_reserve(segment_path(self._folder, number - 1))
        for name in _id_files(self._folder, number):
            (self._folder / name).unlink(missing_ok=True)
        marked = self._folder / f"{number:010d}.{secrets.token_hex(8)}"
        os.close(os.open(marked, os.O_WRONLY | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o600))
        self._use(number, os.O_APPEND | os.O_CREAT | os.O_EXCL)
        reserve(self._file, self._segment_bytes)
        if self._durable:
            sync_folder(self._folder)

    def _use(self, number: int, flags: int) -> None:
        opened = os.open(segment_path(self._folder, number), os.O_WRONLY | os.O_CLOEXEC | flags, 0o600)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._segment = opened, number


KEEP_SIZE = 1
"""A mode of Linux's fallocate (fallocate(2)): the file does not become longer."""


def reserve(descriptor: int, length: int) -> None:
    """Claims the disk space of a file's first bytes; its length stays. Does nothing where the system or the file system cannot, or where
    there is no such space."""
    with suppress(AttributeError):
        fallocate = ctypes.CDLL(None).fallocate
        fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        fallocate(descriptor, KEEP_SIZE, 0, length)


def release_reserve(path: Path) -> None:
    """Gives back the space that a file has claimed behind its end. Nobody may append to it meanwhile.

    Raises:
        FileNotFoundError: there is no such file.
    """
    with open(path, "r+b") as file:
        file.truncate(os.fstat(file.fileno()).st_size)


def sync_folder(folder: Path) -> None:
    """Names of files that were made, replaced or removed in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def line_of(record: Mapping[str, Any]) -> bytes:
    """A record as it stands in the journal, with its line break.

    Raises:
        ValueError: it is longer than LONGEST_RECORD, or is no JSON.
    """
    body = json.dumps({"version": VERSION, **record}, separators=(",", ":"), allow_nan=False).encode()
    if len(body) > LONGEST_RECORD:
        raise ValueError(f"a record of {len(body)} bytes is too long for the journal")
    return b"%s %s\n" % (_checksum(body), body)


def _checksum(body: bytes) -> bytes:
    return blake2b(body, digest_size=CHECKSUM_BYTES).hexdigest().encode()


def segment_path(folder: Path, number: int) -> Path:
    return folder / f"{number:010d}.journal"


def segments(folder: Path) -> list[int]:
    """The numbers of the segments that are there, in ascending order; none for a folder that does not exist."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(int(match[1]) for name in names if (match := SEGMENT.fullmatch(name)))


def _id_files(folder: Path, number: int) -> list[str]:
    return [name for name in os.listdir(folder) if (match := SEGMENT_ID.fullmatch(name)) and int(match[1]) == number]


def segment_ids(folder: Path) -> dict[int, str]:
    """The ids of segments by their numbers; those that a release before has begun have none. None in a folder that does not exist."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return {}
    return {int(match[1]): match[2] for name in names if (match := SEGMENT_ID.fullmatch(name))}


def resumed(folder: Path, position: Position) -> Position:
    """A place that was noted, in the journal that is there: the beginning, when that is another journal by now; not behind the end of what
    a power cut has left."""
    if position.segment > newest_segment(folder):
        return Position()
    with suppress(FileNotFoundError):
        size = segment_path(folder, position.segment).stat().st_size
        if segment_ids(folder).get(position.segment, "") != position.segment_id:
            return Position()
        return replace(position, offset=min(position.offset, size))
    return position


def newest_segment(folder: Path) -> int:
    """Its number; 0 when there is none."""
    return max(segments(folder), default=0)


def read_entries(folder: Path, start: Position, most: int) -> list[Entry]:
    """The lines at and behind a place, at most so many. A last line that is not finished yet is none, until a later write ends it.

    Raises:
        OSError: a segment cannot be read.
    """
    entries: list[Entry] = []
    ids, present = segment_ids(folder), segments(folder)
    for number in [number for number in present if number >= start.segment]:
        offset = start.offset if number == start.segment else 0
        is_newest, segment_id = number == present[-1], ids.get(number, "")
        with open(segment_path(folder, number), "rb") as file:
            file.seek(offset)
            while len(entries) < most:
                line = file.readline(LONGEST_RECORD + 64)
                if not line or (is_newest and not line.endswith(b"\n") and len(line) < LONGEST_RECORD + 64):
                    break
                end = offset + len(line)
                if line != b"\n":
                    entries.append(
                        _entry(line, Position(number, offset, segment_id), Position(number, end, segment_id))
                    )
                offset = end
        if len(entries) == most:
            break
    return entries


def _entry(line: bytes, position: Position, end: Position) -> Entry:
    checksum, _, body = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or checksum != _checksum(body):
        return Entry(position, end, None, "its checksum does not fit", line.decode(errors="replace").strip())
    record = json.loads(body)
    if record["version"] > VERSION:
        fault = f"its format {record['version']} is newer than this program"
        return Entry(position, end, None, fault, body.decode())
    return Entry(position, end, record)


def remove_segments_before(folder: Path, position: Position, changed_before: float) -> int:
    """Removes the segments that lie whole before a place, and were written last before a moment of the machine's clock (seconds since
    1970). The newest stays, so that numbers go on. Returns how many."""
    removed = 0
    for number in segments(folder)[:-1]:
        path = segment_path(folder, number)
        with suppress(FileNotFoundError):
            if number < position.segment and path.stat().st_mtime < changed_before:
                path.unlink()
                removed += 1
                for name in _id_files(folder, number):
                    (folder / name).unlink()
    return removed
