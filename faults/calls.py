"""A steady stream of calls, each played as the carrier plays it: signed requests, retries, the fallback address, callbacks beside them."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from router.carriers.simulator import CallerScript, Faults, Line, PhoneCall, RealClock
from router.carriers.simulator.player import Addresses, Player
from router.carriers.simulator.stage import Answer, Courier, Stage
from router.carriers.simulator.twiml import CallError
from router.carriers.twilio.twiml import CALLBACK, STEERING
from tests.faults.running import CARRIER_TOKEN

ACCOUNT = "AC" + "5" * 32
RECORDINGS = f"https://api.carrier.invalid/2010-04-01/Accounts/{ACCOUNT}/Recordings"
STEERED = ("inbound", "action", "gather", "record", "redirect", "whisper", "fallback")
"""The requests that somebody waits for."""
WITHOUT_FALLBACK = ("fallback", "whisper")
CARRIER = Faults(parallel=True)


CALLERS: Mapping[str, Callable[[int], str]] = {
    "usual": lambda index: f"+1415667{(index if index % 4 else index // 2) % 10_000:04d}",
    "new": lambda index: f"+1415668{index % 10_000:04d}",
    "known": lambda index: f"+1415669{index % KNOWN_CALLERS:04d}",
    "distant": lambda index: f"+1212668{index % 10_000:04d}",
    "withheld": lambda index: "anonymous",
}
"""Who places the n-th call. Every fourth of the usual callers has called before; the known ones long ago."""
KNOWN_CALLERS = 40


PATIENT = CallerScript()


@dataclass(frozen=True)
class Way:
    """A way that a call may go.

    Attributes:
        rung: the lines, in the order in which they are rung.
        talked: the one of them that talks with the caller; empty: none.
        heard: what the caller hears.
        status: what has to be stored of the call.
        is_default: right only where a look-up was not answered in time.
    """

    rung: tuple[str, ...] = ()
    talked: str = ""
    heard: tuple[str, ...] = ()
    status: str = "answered"
    is_default: bool = False


@dataclass(frozen=True)
class Case:
    """What a caller does, and the ways that are right then.

    Attributes:
        looks_up: how many seconds the look-ups of an answer may take, by the kind of its request.
    """

    ways: tuple[Way, ...]
    script: CallerScript = PATIENT
    callers: str = "usual"
    looks_up: Mapping[str, float] = field(default_factory=dict)

    @property
    def rings_at_once(self) -> bool:
        """The first answer rings a line, whoever calls and whatever is known of him."""
        return self.callers == "usual" and not self.looks_up and all(way.rung and not way.heard for way in self.ways)


@dataclass(frozen=True)
class Number:
    """A number that can be dialled, and what its callers do.

    Attributes:
        project_id: None: the number is not ours.
        is_known: the snapshot has it, because it was there before the first call.
    """

    e164: str
    case: Case
    project_id: int | None
    is_known: bool = True


@dataclass
class Placed:
    """A call that was placed, and for how many seconds somebody waited for each document, over all tries, with the kind of the request."""

    call: PhoneCall
    number: Number
    began: float
    """By time.monotonic()."""
    waits: list[tuple[str, float]] = field(default_factory=list)

    @cached_property
    def way(self) -> Way | None:
        """The right way that the call went, of a call that is over; None: it went a wrong one."""
        leg, heard = self.call.answered_leg, tuple(each for each in self.call.heard if each != "beep")
        went = tuple(leg.to for leg in self.call.legs), leg.to if leg else "", heard
        return next((way for way in self.number.case.ways if (way.rung, way.talked, way.heard) == went), None)

    @property
    def told(self) -> str:
        """What became of it, in words."""
        lines = ", ".join(f"{leg.to}{' who talked' if leg.bridged else ''}" for leg in self.call.legs) or "nobody"
        return f"{self.call.caller} to {self.number.e164} rang {lines}, heard {self.call.heard} {self.call.errors}"


class TimedCourier(Courier):
    """Measures how long somebody waits: a document that did not come and the one of the fallback address are one wait."""

    waits: list[tuple[str, float]]
    _failed: tuple[str, float] | None = None

    def send(self, kind: str, url: str, values: dict[str, str], method: str = "POST") -> Answer:
        if kind not in STEERED:
            return super().send(kind, url, values, method)
        first, since = self._failed or (kind, time.monotonic())
        self._failed = None
        try:
            answer = super().send(kind, url, values, method)
        except CallError:
            if kind in WITHOUT_FALLBACK:
                self.waits.append((first, time.monotonic() - since))
            else:
                self._failed = first, since
            raise
        self.waits.append((first, time.monotonic() - since))
        return answer


class Calls:
    """Places so many calls a second, whatever becomes of those before. `next_number` says which number the n-th call dials; `keep` writes
    a call into the carrier's book."""

    def __init__(
        self,
        base_url: str,
        lines: Mapping[str, Line],
        each_second: float,
        next_number: Callable[[int], Number],
        keep: Callable[[PhoneCall], None] = lambda _: None,
    ) -> None:
        self.placed: list[Placed] = []
        self._lines, self._pause, self._next_number, self._keep = lines, 1 / each_second, next_number, keep
        self._addresses = Addresses(
            f"{base_url}/voice/inbound{STEERING}",
            f"{base_url}/voice/fallback{STEERING}",
            f"{base_url}/voice/status{CALLBACK}",
        )
        self._clock = RealClock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._pacing = threading.Thread(target=self._place_all)

    def start(self) -> None:
        self._pacing.start()

    def finish(self) -> None:
        """Places no more; returns when every call is over and its last callback is answered or given up."""
        self._stop.set()
        self._pacing.join()
        for thread in self._threads:
            thread.join()

    def _place_all(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due += self._pause
            index = len(self.placed)
            number = self._next_number(index)
            case, now = number.case, self._clock.now()
            caller = CALLERS[case.callers](index)
            call = PhoneCall(caller, number.e164, case.script, now, ACCOUNT, place=index, digits=case.script.digits)
            placed = Placed(call, number, time.monotonic())
            self.placed.append(placed)
            thread = threading.Thread(target=self._play, args=(placed,))
            self._threads.append(thread)
            thread.start()

    def _play(self, placed: Placed) -> None:
        courier = TimedCourier(CARRIER_TOKEN, self._clock, placed.call.exchanges)
        courier.waits = placed.waits
        stage = Stage(placed.call, self._clock, courier, CARRIER, RECORDINGS, self._keep)
        try:
            Player(stage, self._addresses, self._lines, set()).run()
            stage.close()
        finally:
            courier.close()
