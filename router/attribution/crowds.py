"""Crawlers by what they do: an address from which far more visits of unknown visitors begin than people begin, and none shows life.

What must not happen is that people lose their number, so an address is judged mildly. Only visits without a visitor id of ours count: the
page views of an office's returning visitors never do, and are never refused. One second page view, sign of life or tap of anybody at the
address acquits it, and later one for every 20 of its visits of the window before: of people at least a third give one within a minute, also
behind a mobile carrier's one address; of crawlers none. A refused address is let try again in each window with a tenth of the rate, so that
people who come after a crawler acquit themselves. Addresses of private networks are never judged: they are a proxy's that names no clients.
Nor are clients whom a proxy leaves unknown: all of them count as one.
A request without User-Agent or Accept-Language, which every browser sends, is no proof, since some proxies drop them: it counts as five.
"""

from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_network
from threading import Lock

from limits import parse

from router.web import client_group, is_unknown, within

BARE_REQUEST = 5
"""How many visits one without the headers of a browser counts as."""

VISITS_FOR_A_SIGN = 20
TRIES_PART = 10
MOST_CROWDS = 50_000
"""Addresses that are watched in one window; further ones are not, and may do as they like."""

INSIDE = tuple(
    ip_network(one)
    for one in (
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "100.64.0.0/10",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
)


@dataclass(slots=True)
class Crowd:
    """What happened at one address in one window."""

    asked: int = 0
    """Visits of unknown visitors that wanted to begin, bare ones counted as several."""
    begun: int = 0
    signs: int = 0
    """Second page views, signs of life and taps."""


NOBODY = Crowd()


class Crowds:
    """`Crowds("60/minute")`: the addresses of the last two windows, for each site, in the memory of one process; `off` admits everybody."""

    def __init__(self, rate: str) -> None:
        item = None if rate == "off" else parse(rate)
        self._most = item.amount if item else 0
        self._seconds = item.get_expiry() if item else 0
        self._window = 0
        self._now: dict[str, Crowd] = {}
        self._before: dict[str, Crowd] = {}
        self._lock = Lock()

    def admits(self, site: str, address: str, now: datetime, *, bare: bool = False) -> bool:
        """Whether a visit of an unknown visitor of a site may begin; `bare`: without the headers that every browser sends."""
        if not self._most:
            return True
        with self._lock:
            who = self._turn_to(site, address, now)
            if len(self._now) >= MOST_CROWDS and who not in self._now:
                return True
            crowd, before = self._now.setdefault(who, Crowd()), self._before.get(who, NOBODY)
            crowd.asked += BARE_REQUEST if bare else 1
            if self._crawls(crowd, before) and not (is_unknown(address) or within(address, INSIDE)):
                return False
            crowd.begun += 1
            return True

    def shows_life(self, site: str, address: str, now: datetime) -> None:
        """Somebody at the address looks at a page for longer, or at a second one."""
        if not self._most:
            return
        with self._lock:
            who = self._turn_to(site, address, now)
            if who in self._now or who in self._before:
                self._now.setdefault(who, Crowd()).signs += 1

    def _crawls(self, crowd: Crowd, before: Crowd) -> bool:
        if max(crowd.asked, before.asked) <= self._most:
            return False
        if crowd.signs + before.signs >= max(1, before.begun // VISITS_FOR_A_SIGN):
            return False
        return crowd.begun >= max(1, self._most // TRIES_PART)

    def _turn_to(self, site: str, address: str, now: datetime) -> str:
        window = int(now.timestamp()) // self._seconds
        if window == self._window + 1:
            self._before, self._now, self._window = self._now, {}, window
        elif window > self._window or window < self._window - 1:
            self._before, self._now, self._window = {}, {}, window
        return f"{site} {client_group(address)}"
