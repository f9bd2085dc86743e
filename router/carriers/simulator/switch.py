"""The simulated exchange: places calls to a server under test or to the demo, in this thread or in one of their own."""

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from router.carriers.simulator.clock import Clock, RealClock
from router.carriers.simulator.courier import LONGEST_REQUEST, Courier
from router.carriers.simulator.lines import CallerScript, Line, Ways
from router.carriers.simulator.phone_call import Button, PhoneCall
from router.carriers.simulator.player import Addresses, Player
from router.carriers.simulator.stage import Stage

ACCOUNT = "AC" + "5" * 32
MOST_CALLS_AT_ONCE = 32
KEPT_CALLS = 50
PATIENT_LINE = Line.answers()


class Simulator:
    """The carrier of one server at `base_url`, signing with `token`.

    `rented` tells the addresses that a number was given when it was bought, None of one that was not: it is played with ours.
    `lines` says what each destination does, under `*` what all others do. `call()` plays a call to its end and returns it;
    `start()` plays it beside us, `press()` acts in it, `find()` shows it.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        clock: Clock | None = None,
        lines: Mapping[str, Line] | None = None,
        owned: Iterable[str] = (),
        ways: Ways | None = None,
        longest_request: float = LONGEST_REQUEST,
        rented: Callable[[str], Addresses | None] = lambda _: None,
    ) -> None:
        self.clock = clock or RealClock()
        self.lines = {"*": PATIENT_LINE} | dict(lines or {})
        self.ways = ways or Ways()
        self.addresses = Addresses(
            f"{base_url}/voice/inbound", f"{base_url}/voice/fallback", f"{base_url}/voice/status"
        )
        self._token = token
        self._owned = set(owned)
        self._longest_request = longest_request
        self._rented = rented
        self._calls: dict[str, PhoneCall] = {}
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(MOST_CALLS_AT_ONCE, "call")

    def call(self, caller: str, to: str, script: CallerScript | None = None, sid: str = "") -> PhoneCall:
        """Plays a call to its end. `caller` is what the carrier says, e.g. `anonymous`; a `sid` makes it the same call again."""
        call = self._new_call(caller, to, script, sid)
        self._play(call)
        return call

    def start(self, caller: str, to: str, script: CallerScript | None = None) -> tuple[PhoneCall, "Future[None]"]:
        """Plays a call in a thread of its own."""
        call = self._new_call(caller, to, script, "")
        return call, self._threads.submit(self._play, call)

    def press(self, call: PhoneCall, button: Button) -> None:
        call.inbox.put(button)

    def find(self, sid: str) -> PhoneCall | None:
        return self._calls.get(sid)

    def latest(self) -> list[PhoneCall]:
        with self._lock:
            return list(reversed(self._calls.values()))

    def close(self) -> None:
        """Hangs up every call that is still played, and waits for its end."""
        for call in self.latest():
            if call.ended_at is None:
                self.press(call, Button("hang_up"))
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _new_call(self, caller: str, to: str, script: CallerScript | None, sid: str) -> PhoneCall:
        script = script or CallerScript()
        call = PhoneCall(caller, to, script, self.clock.now(), ACCOUNT, digits=script.digits)
        call.sid = sid or call.sid
        with self._lock:
            self._calls[call.sid] = call
            for old in list(self._calls)[:-KEPT_CALLS]:
                del self._calls[old]
        return call

    def _play(self, call: PhoneCall) -> None:
        courier = Courier(self._token, self.clock, call.exchanges, self._longest_request)
        try:
            stage = Stage(call, self.clock, courier, self.ways)
            addresses = self._rented(call.to) or self.addresses
            Player(stage, addresses, self.lines, self._owned).run()
        finally:
            courier.close()
            call.ended_at = call.ended_at or self.clock.now()
