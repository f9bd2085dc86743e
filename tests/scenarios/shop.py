"""A carrier's shop in memory, at the seam of the REST side: it remembers every sale, and misbehaves on demand."""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from router.carriers.base import (
    NO_COMPLIANCE,
    NONE_CHOSEN,
    Address,
    Bundle,
    ByKind,
    CarrierPrice,
    Compliance,
    Gone,
    NumberKind,
    Offer,
    Owned,
)


@dataclass
class FakeShop:
    """Numbers for sale, numbers of our account, and what happened."""

    stock: list[str] = field(default_factory=list)
    account: dict[str, Owned] = field(default_factory=dict)
    sales: list[str] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    before: dict[str, deque[Exception]] = field(default_factory=dict)
    """By request, what it raises instead of doing it, in turn."""
    after: dict[str, deque[Exception]] = field(default_factory=dict)
    """By request, what it raises after having done it, in turn."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._sid = 0

    def fail(self, request: str, *errors: Exception, done: bool = False) -> None:
        (self.after if done else self.before).setdefault(request, deque()).extend(errors)

    def _turn(self, request: str, about: str, troubles: dict[str, deque[Exception]]) -> None:
        if troubles is self.before:
            self.asked.append((request, about))
        if troubles.get(request):
            raise troubles[request].popleft()

    def countries(self) -> Sequence[str]:
        return ["DE", "US"]

    def bundles(self, country: str, kind: NumberKind) -> list[Bundle]:
        return []

    def wants_bundle(self, country: str, kind: NumberKind) -> bool:
        return False

    def addresses(self) -> list[Address]:
        return []

    def search(
        self, country: str, area_code: str = "", contains: str = "", limit: int = 20, chosen: ByKind = NONE_CHOSEN
    ) -> list[Offer]:
        self._turn("search", country, self.before)
        price = CarrierPrice("1.15", "USD")
        fits = [one for one in self.stock if one[2:].startswith(area_code) and contains in one]
        return [Offer(one, country, "local", "Springfield", price) for one in fits[:limit]]

    def price(self, country: str) -> CarrierPrice | None:
        return CarrierPrice("1.15", "USD")

    def buy(self, e164: str, label: str, compliance: Compliance = NO_COMPLIANCE) -> Owned:
        self._turn("buy", e164, self.before)
        with self._lock:
            if e164 not in self.stock:
                raise Gone("Not for sale.")
            self.stock.remove(e164)
            self._sid += 1
            owned = self.account[e164] = Owned(e164, f"PN{self._sid:032}", label)
            self.sales.append(e164)
        self._turn("buy", e164, self.after)
        return owned

    def find(self, e164: str) -> Owned | None:
        self._turn("find", e164, self.before)
        return self.account.get(e164)

    def owned(self) -> list[Owned]:
        return list(self.account.values())

    def configure(self, sid: str) -> None:
        self._turn("configure", sid, self.before)

    def release(self, sid: str) -> None:
        self._turn("release", sid, self.before)
        with self._lock:
            for e164, owned in list(self.account.items()):
                if owned.sid == sid:
                    del self.account[e164]
                    self.stock.append(e164)
        self._turn("release", sid, self.after)
