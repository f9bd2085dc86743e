"""A running simulated carrier, reached over HTTP as Twilio is: what tests of buying and giving back use."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twilio.http.http_client import TwilioHttpClient  # type: ignore[import-untyped]  # twilio ships no types
from twilio.rest import Client  # type: ignore[import-untyped]  # twilio ships no types

from router.carriers import ANYWHERE, LARGEST_ANSWER, SIMULATED_ACCOUNT
from router.carriers.base import CarrierHosts
from router.carriers.simulator.account import Account
from router.carriers.simulator.standing import Address, Bundle, Standing
from router.carriers.twilio.rest import TwilioShop
from router.lib.http_client import Outgoing
from tests.carriers.rest_faults import Faults, faulty_server
from tests.waiting import PATIENCE_SECONDS, standing_still

TOKEN = "simulated-token"
VOICE = "https://calls.example.net"

BUNDLE, REVIEWED, OVER, HOME, ABROAD = (
    f"BU{'1' * 32}",
    f"BU{'2' * 32}",
    f"BU{'3' * 32}",
    f"AD{'1' * 32}",
    f"AD{'2' * 32}",
)
REGULATED = Standing(
    address_requirements={"HU": "local"},
    regulated=frozenset({("HU", "local"), ("BE", "local")}),
    bundles=(
        Bundle(BUNDLE, "Hungary", "HU", "local"),
        Bundle(REVIEWED, "New", "HU", "local", "in-review"),
        Bundle(OVER, "Old", "HU", "local", valid_until="2020-01-01T00:00:00Z"),
    ),
    addresses=(
        Address(HOME, "Budapest", "Alder", "Andrássy út 1", "Budapest", "1061", "HU"),
        Address(ABROAD, "Denver", "Alder", "12 Alder Street", "Denver", "80202", "US"),
    ),
)
"""An account with what Hungary's local numbers need, and something else of each; Belgium's need a bundle."""


@dataclass(frozen=True)
class Carrier:
    """`shop` is what the product uses; `account` is the carrier's own book, with the history of what was really done; `faults` are those
    of the next requests. `url`, `sid` and `token` are for other processes."""

    shop: TwilioShop
    account: Account
    faults: Faults
    url: str
    sid: str = SIMULATED_ACCOUNT
    token: str = TOKEN

    def bought(self) -> dict[str, int]:
        """How often each number was really bought."""
        events = self.account.history("bought")
        return {event.e164: sum(one.e164 == event.e164 for one in events) for event in events}


@contextmanager
def running_carrier(folder: Path, token: str = TOKEN) -> Iterator[Carrier]:
    """Its book is `simulator.db` in the folder."""
    with faulty_server(folder / "simulator.db", SIMULATED_ACCOUNT, token) as (server, rest):
        yield Carrier(make_shop(server.url, token=token), rest.account, rest.faults, server.url, token=token)


def make_shop(
    url: str,
    seconds: float = PATIENCE_SECONDS,
    token: str = TOKEN,
    voice: str = VOICE,
    clock: Callable[[], float] = time.monotonic,
    account: str = SIMULATED_ACCOUNT,
) -> TwilioShop:
    """`seconds` is how long it waits for an answer."""
    http = Outgoing(ANYWHERE, total_seconds=seconds, answer_limit=LARGEST_ANSWER, clock=clock)
    return TwilioShop(http, CarrierHosts(*[url] * 5), account, token, voice)


def hasty_shop(url: str) -> TwilioShop:
    """One that soon gives up a request that is not answered; it must not be asked for anything else."""
    return make_shop(url, 0.3, clock=standing_still)


class Redirected(TwilioHttpClient):  # type: ignore[misc]  # twilio ships no types
    """Twilio's own client, which finds the simulated carrier at Twilio's addresses."""

    def __init__(self, url: str) -> None:
        super().__init__(timeout=5, pool_connections=False)
        self.url = url

    def request(self, method: str, url: str, *values: Any, **more: Any) -> Any:
        for host in ("api", "pricing", "voice", "numbers"):
            url = url.replace(f"https://{host}.twilio.com", self.url)
        return super().request(method, url, *values, **more)


def library(carrier: Carrier, token: str = "") -> Any:
    return twilio_client(carrier.url, carrier.sid, token or carrier.token)


def twilio_client(url: str, sid: str = SIMULATED_ACCOUNT, token: str = TOKEN) -> Any:
    return Client(sid, token, http_client=Redirected(url))
