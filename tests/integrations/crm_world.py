"""What every CRM's connector has to bear, whichever it is: a world for each, and a line that fails at a chosen request.

A world is one account of one CRM, usually a stateful fake, with one caller whom it has never heard of. `test_crm_saga.py` goes through
all."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from router.integrations.base import DeliveryError, Message, Skipped
from router.integrations.crm.saga import CrmSender
from router.lib.http_client import Answer, ConnectionFailed, NoAnswer, Outgoing
from tests.integrations.odoo import LOOPBACK, call_document
from tests.people import NOW

Transport = Callable[[str, str, bytes, Mapping[str, str]], Answer]
"""Answers a request: method, address, body, headers."""
HTML = b"<!DOCTYPE html><html><head><title>Blocked</title></head><body><h1>Request blocked</h1>\x00</body></html>"
FAULTS: dict[str, Callable[[Callable[[], Answer]], Answer]] = {}


def fault(at: Callable[[Callable[[], Answer]], Answer]) -> Callable[[Callable[[], Answer]], Answer]:
    FAULTS[at.__name__] = at
    return at


@fault
def dropped_before(ask: Callable[[], Answer]) -> Answer:
    raise ConnectionFailed("No connection: refused.")


@fault
def dropped_after(ask: Callable[[], Answer]) -> Answer:
    """The CRM acted, and the connection ended before its answer came."""
    ask()
    raise NoAnswer("The connection ended without an answer.")


@fault
def lost_on_the_way(ask: Callable[[], Answer]) -> Answer:
    """It was sent and never came, which cannot be told from the one before."""
    raise NoAnswer("No answer came in time.")


@fault
def slow(ask: Callable[[], Answer]) -> Answer:
    """No answer in time, and the CRM acts all the same, just before its own limit is over: `Line.late`, `World.deliver`."""
    raise NoAnswer("No answer came in time.")


@fault
def busy(ask: Callable[[], Answer]) -> Answer:
    return Answer(429, {"retry-after": "7"}, b"{}", complete=True)


@fault
def refused_by_a_firewall(ask: Callable[[], Answer]) -> Answer:
    return Answer(403, {"content-type": "text/html"}, HTML, complete=True)


@fault
def bad_gateway(ask: Callable[[], Answer]) -> Answer:
    """The proxy gave up; the CRM acted all the same."""
    ask()
    return Answer(502, {"content-type": "text/html"}, HTML, complete=True)


@fault
def unreadable(ask: Callable[[], Answer]) -> Answer:
    """It acted, and its answer was cut."""
    answer = ask()
    return Answer(answer.status, answer.headers, answer.body[: len(answer.body) // 2], complete=False)


class Line(Outgoing):
    """Counts requests, and fails at one of them."""

    def __init__(self, transport: Transport | None = None, at: int = 0, how: str | Answer = "") -> None:
        super().__init__(LOOPBACK, total_seconds=15)
        self.transport = transport
        self.at, self.how = at, how
        self.count = 0
        self.late: list[Callable[[], Answer]] = []
        """What the CRM has still to act on."""

    def request(
        self, method: str, url: str, content: bytes, headers: Mapping[str, str], *more: Any, **named: Any
    ) -> Answer:
        self.count += 1

        def ask() -> Answer:
            if self.transport is None:
                return super(Line, self).request(method, url, content, headers, *more, **named)
            return self.transport(method, url, content, headers)

        if self.count != self.at:
            return ask()
        if self.how == "slow":
            self.late.append(ask)
        return self.how if isinstance(self.how, Answer) else FAULTS[self.how](ask)


@dataclass
class Lead:
    """As its people see it."""

    id: Any
    owner: Any
    calls: int
    """How often the call was entered."""
    tasks: int
    is_visible: bool


class World(ABC):
    """An account of a CRM. Its caller is new at each `begin`."""

    sender: ClassVar[type[CrmSender]]
    makes_contacts: ClassVar[bool] = False
    own_faults: ClassVar[Mapping[str, Answer]] = {}
    """Errors in the CRM's own form: an expired key, a refusal inside an answer 200."""
    config: dict[str, Any]
    secret: str
    manager: str
    """Somebody who is there."""
    caller: str

    def __init__(self) -> None:
        self.steps: dict[str, Any] = {}
        self.known: str | None = None
        self.transport: Transport | None = None

    @abstractmethod
    def begin(self) -> None:
        """Another caller."""

    @abstractmethod
    def leads(self) -> list[Lead]:
        """Those of the caller, each with his call's entries."""

    @abstractmethod
    def contacts(self) -> int: ...

    @abstractmethod
    def edit(self, lead: Any) -> None:
        """Somebody changes everything there that we wrote."""

    @abstractmethod
    def is_edited(self, lead: Any) -> bool:
        """All of it is as he left it."""

    @abstractmethod
    def corrections(self, lead: Any) -> int:
        """How often a corrected end was entered."""

    def message(self, **more: Any) -> Message:
        call = call_document(self.caller, f"CA{abs(hash(self.caller)):032x}"[:34]) | {"status": "missed", "duration": 0}
        values: dict[str, Any] = {
            "id": f"msg_{self.caller}",
            "event": "call.ended",
            "event_at": NOW,
            "now": NOW,
            "config": self.config | {"fields": {}},
            "secret": self.secret,
            "call": call,
            "placeholders": {"phone": self.caller, "date": "2026-11-23 13:00:00", "utmCampaign": "spring"},
            "visit_last_sign": None,
            "reference": {},
            "known_lead": None,
            "deadline": 0.0,
            "country": "DE",
            "managers": ("", self.manager),
        }
        return Message(**(values | more))

    def attempt(self, message: Message, line: Line) -> dict[str, Any]:
        """One delivery; what it remembers stays for the next one."""
        steps = self.steps = dict(message.reference)

        def remember(found: dict[str, Any]) -> None:
            steps.update(found)
            if found.get("lead_id"):
                self.known = str(found["lead_id"])

        message = replace(message, remember=remember, deadline=time.monotonic() + 15)
        return self.sender(line).deliver(message)

    def deliver(
        self, message: Message, *faults: tuple[int, str | Answer], between: Callable[[], None] = lambda: None
    ) -> int:
        """As the worker does it: again and again until it has arrived, later than any uncertain attempt could last. Each attempt has its
        fault while there are some: at which request, and how. `between` happens after each that failed. Returns how many requests the
        first attempt took."""
        first = 0
        late: list[tuple[datetime, Callable[[], Answer]]] = []
        for turn in range(len(faults) + 8):
            for at, act in list(late):
                if at <= message.now:
                    late.remove((at, act))
                    act()
            line = Line(self.transport, *(faults[turn] if turn < len(faults) else (0, "")))
            wait = timedelta(seconds=1)
            try:
                self.attempt(message, line)
                return self._end(late) or first or line.count
            except Skipped:
                return self._end(late) or first or line.count
            except DeliveryError as error:
                if error.permanent:
                    raise AssertionError("it was given up") from error
                wait += timedelta(seconds=error.retry_after or 0)
                if error.ambiguous:
                    wait = max(wait, self.sender.settles_after)
            finally:
                first = first or line.count
                over = message.now + self.sender.settles_after - timedelta(seconds=1)
                late += [(over, act) for act in line.late]
            between()
            message = replace(message, now=message.now + wait, reference=self.steps, known_lead=self.known)
        raise AssertionError("it never arrived")

    @staticmethod
    def _end(late: list[tuple[datetime, Callable[[], Answer]]]) -> None:
        """What was still under way when nobody waited for it any more."""
        for _, act in late:
            act()
