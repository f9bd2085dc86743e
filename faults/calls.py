"""A steady stream of calls, each played as the carrier plays it: signed requests, retries, the fallback address, callbacks beside them."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from router.carriers.simulator import CallerScript, Faults, Line, PhoneCall, RealClock
from router.carriers.simulator.player import Addresses, Player
from router.carriers.simulator.stage import Answer, Courier, Stage
from router.carriers.simulator.twiml import CallError
from router.carriers.twilio.twiml import CALLBACK, STEERING
from tests.faults.running import CARRIER_TOKEN

ACCOUNT = "AC" + "5" * 32
STEERED = ("inbound", "action", "fallback")
"""The requests that a caller waits for."""
CARRIER = Faults(parallel=True)


@dataclass(frozen=True)
class Number:
    """A number that can be dialled.

    Attributes:
        lines: the destinations that have to be rung, the last of which answers.
        project_id: None: the number is not ours.
        is_known: the snapshot has it, because it was there before the first call.
    """

    e164: str
    lines: tuple[str, ...]
    project_id: int | None
    is_known: bool = True


@dataclass
class Placed:
    """A call that was placed, and for how many seconds its caller waited for each document, over all tries."""

    call: PhoneCall
    number: Number
    began: float
    """By time.monotonic()."""
    waits: list[float] = field(default_factory=list)

    @property
    def is_forwarded_right(self) -> bool:
        legs = self.call.legs
        return bool(legs) and tuple(leg.to for leg in legs) == self.number.lines and legs[-1].bridged

    @property
    def lines_rung(self) -> str:
        return ", ".join(leg.to for leg in self.call.legs) or "nobody"


class TimedCourier(Courier):
    """Measures how long the caller waits: a document that did not come and the one of the fallback address are one wait."""

    waits: list[float]
    _since: float | None = None

    def send(self, kind: str, url: str, values: dict[str, str], method: str = "POST") -> Answer:
        if kind not in STEERED:
            return super().send(kind, url, values, method)
        since = time.monotonic() if self._since is None else self._since
        try:
            answer = super().send(kind, url, values, method)
        except CallError:
            self._since = since
            if kind == "fallback":
                self.waits.append(time.monotonic() - since)
            raise
        self._since = None
        self.waits.append(time.monotonic() - since)
        return answer


class Calls:
    """Places so many calls a second, whatever becomes of those before. `next_number` says which number the n-th call dials."""

    def __init__(
        self, base_url: str, lines: Mapping[str, Line], each_second: float, next_number: Callable[[int], Number]
    ) -> None:
        self.placed: list[Placed] = []
        self._lines, self._pause, self._next_number = lines, 1 / each_second, next_number
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
            # every fourth caller has called before
            caller = f"+1415667{(index if index % 4 else index // 2) % 10_000:04d}"
            call = PhoneCall(caller, number.e164, CallerScript(), self._clock.now(), ACCOUNT, place=index)
            placed = Placed(call, number, time.monotonic())
            self.placed.append(placed)
            thread = threading.Thread(target=self._play, args=(placed,))
            self._threads.append(thread)
            thread.start()

    def _play(self, placed: Placed) -> None:
        courier = TimedCourier(CARRIER_TOKEN, self._clock, placed.call.exchanges)
        courier.waits = placed.waits
        stage = Stage(placed.call, self._clock, courier, CARRIER)
        try:
            Player(stage, self._addresses, self._lines, set()).run()
            stage.close()
        finally:
            courier.close()
