"""What first answers fixed, for all processes of a machine: a carrier that repeats a request is told the same (R12).

A carrier's first request says nothing of when its call began: no parameter and no header tells a moment that can be believed. So whoever
answers a repetition has to know what was answered first. The processes of a machine share a file for it. Machines do not: a repetition
that meets another machine begins anew there, at its own clock (docs/rules.md).
"""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import struct
import threading
import time
from collections import OrderedDict
from dataclasses import replace
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from router.lib.shared_files import open_shared
from router.server import Server
from router.voice.answers import Begun
from router.voice.following import routing_of

PLACES, WIDTH = 4096, 2048
"""Of the file: how many things it holds, and how many bytes each may have. When it is full the oldest makes way: of 200 calls a second each
is known for some 20 s, and a carrier repeats a request within 15."""
PROBES = 8
"""So many places a key may be at; another key's oldest makes way."""
HEAD = struct.Struct("8sH")
"""Of what was said: its checksum and its length."""
LONGEST = WIDTH - HEAD.size
MOST_LONG = 1_000
"""Longer ones that a process remembers."""
KEY, TIME = 16, 8
TIMES = struct.Struct(f"{PROBES}d")
FLOCK = ctypes.PyDLL(None, use_errno=True).flock
"""Without letting other threads run meanwhile, as `fcntl.flock` does: it waits for nothing, and to get the turn back takes longer."""
TEXT_OF = json.JSONEncoder(separators=(",", ":")).encode
"""`json.dumps` makes an encoder each time."""
LOCK_TRIES, AT_ONCE, LOCK_PAUSE = 40, 20, 0.0005
"""Some tries at once, as long as another process takes to write, and others after a pause each. A process that was stopped while it wrote
holds nobody up for longer."""


class FirstAnswers:
    """Of one process. Nothing here raises."""

    def __init__(self, path: Path, places: int | None = None) -> None:
        self._path, self._places = path, places or PLACES
        self._long: OrderedDict[str, str] = OrderedDict()
        self._turn = threading.Lock()
        self._process, self._handle = 0, -1
        self._file: mmap.mmap | None = None

    def agree(self, key: str, said: str) -> str:
        """What was said first under this key on this machine; that is `said` for whoever comes first. More than LONGEST bytes are known
        to this process alone."""
        digest, saying = _digest(key), said.encode(errors="replace")
        with self._turn:
            if key in self._long:
                return self._long[key]
            if len(saying) > LONGEST:
                self._long[key] = said
                if len(self._long) > MOST_LONG:
                    self._long.popitem(last=False)
                return said
            self._lock()
            try:
                first = self._read(digest)
                if first is None:
                    self._write(digest, saying)
            finally:
                if self._handle >= 0:
                    FLOCK(self._handle, fcntl.LOCK_UN)
        return said if first is None else first.decode()

    def find(self, key: str) -> str | None:
        """What was said under this key; None: nothing on this machine, or nothing that is still known."""
        with self._turn:
            found = self._read(_digest(key))
            return self._long.get(key) if found is None else found.decode()

    def seconds_since(self, key: str) -> float:
        """For how long this machine has been asked for what will be said under this key; 0 for whoever comes first."""
        now = time.monotonic()  # the same for all processes of a machine
        return max(0.0, now - float(self.agree(f"{key} since", repr(now))))

    # Three columns, each of all places: digests of keys, times, and what was said.
    @property
    def _times(self) -> int:
        return self._places * KEY

    @property
    def _said(self) -> int:
        return self._places * (KEY + TIME)

    def _first_place(self, digest: bytes) -> int:
        """Where a key is looked for first; it is there or among the next ones."""
        return int.from_bytes(digest[:TIME], "big") % (self._places - PROBES + 1)

    def _read(self, digest: bytes) -> bytes | None:
        file, first = self._open(), self._first_place(digest)
        at = file[first * KEY : (first + PROBES) * KEY].find(digest)
        if at < 0:
            return None
        start = self._said + (first + at // KEY) * WIDTH
        check, length = HEAD.unpack_from(file, start)
        said = file[start + HEAD.size : start + HEAD.size + length]
        return said if check == _check(digest, said) else None  # whoever wrote it was killed meanwhile

    def _write(self, digest: bytes, said: bytes) -> None:
        file, first = self._open(), self._first_place(digest)
        times = TIMES.unpack_from(file, self._times + first * TIME)
        place = first + times.index(min(times))
        start = self._said + place * WIDTH
        file[place * KEY : (place + 1) * KEY] = bytes(KEY)
        file[start : start + HEAD.size + len(said)] = HEAD.pack(_check(digest, said), len(said)) + said
        struct.pack_into("d", file, self._times + place * TIME, time.time())
        file[place * KEY : (place + 1) * KEY] = digest

    def _lock(self) -> None:
        """No other process writes from now on, unless it takes too long: then two may say different things, and nobody waits."""
        self._open()
        for trial in range(LOCK_TRIES if self._handle >= 0 else 0):
            if FLOCK(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB) == 0 or ctypes.get_errno() != errno.EWOULDBLOCK:
                break  # also on a file system without locks
            if trial >= AT_ONCE:
                time.sleep(LOCK_PAUSE)

    def _open(self) -> mmap.mmap:
        # after a fork the parent's lock would be the child's too, and keep none of them out
        if self._file is None or self._process != os.getpid():
            self._file, self._handle = open_shared(self._path, self._said + self._places * WIDTH)
            self._process = os.getpid()
        return self._file


def _digest(key: str) -> bytes:
    return blake2b(key.encode(errors="replace"), digest_size=KEY).digest()


def _check(digest: bytes, said: bytes) -> bytes:
    return blake2b(said, key=digest, digest_size=8).digest()


def first_answers_of(server: Server) -> FirstAnswers:
    """The server's own, made when it is first asked for."""
    if server.first_answers is None:
        server.first_answers = FirstAnswers(server.settings.data_dir / "routing" / "first-answers")
    return server.first_answers


def first_given(server: Server, call_sid: str, project_id: int | None, begun: Begun) -> Begun:
    """What this machine gave the call when it was asked first: a carrier that asks again is told the same, also after a change.

    Args:
        project_id: whose number was dialled; None: nobody's here. Another project's request names another call, whatever its id.
    """
    said: dict[str, Any] = {"start": begun.started_at.isoformat(), "flow": begun.flow_id}
    said |= {"document": begun.flow} if begun.flow_id is None else {}
    said |= {"announcement": begun.announcement} if begun.announcement else {}
    text = TEXT_OF(said)
    if project_id is not None and routing_of(server).accounts:
        first_answers_of(server).agree(_owner_key(call_sid), str(project_id))
    first = first_answers_of(server).agree(f"{project_id} {call_sid}", text)
    if first == text:
        return begun
    kept = json.loads(first)
    began = replace(begun, started_at=datetime.fromisoformat(kept["start"]), announcement=kept.get("announcement", ""))
    if "document" in kept:
        return replace(began, flow=kept["document"], flow_id=None)
    if kept["flow"] == begun.flow_id:
        return began
    flow = routing_of(server).find_flow(kept["flow"])
    return began if flow is None else replace(began, flow=flow, flow_id=kept["flow"])


def project_given(server: Server, call_sid: str) -> int | None:
    """The project whose number this call has dialled first, as far as this machine knows and projects have accounts of their own."""
    found = first_answers_of(server).find(_owner_key(call_sid))
    return None if found is None else int(found)


def _owner_key(call_sid: str) -> str:
    return f"project of {call_sid}"
