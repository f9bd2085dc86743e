"""A running simulated carrier, reached over HTTP as Twilio is: what tests of buying and giving back use."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from router.carriers import ANYWHERE, LARGEST_ANSWER, SIMULATED_ACCOUNT
from router.carriers.simulator.account import Account
from router.carriers.simulator.rest_server import RestServer
from router.carriers.simulator.rest_ways import RestWays
from router.carriers.twilio_rest import TwilioShop
from router.outgoing import Outgoing

TOKEN = "simulated-token"
VOICE = "https://calls.example.net"
PATIENCE_SECONDS = 2.0
"""Much shorter than in production, so that a carrier that does not answer costs a test little."""


@dataclass(frozen=True)
class Carrier:
    """`shop` is what the product uses; `account` is the carrier's own book, with the history of what was really done; `ways` says how
    the next requests are misdone. `url`, `sid` and `token` are for other processes."""

    shop: TwilioShop
    account: Account
    ways: RestWays
    url: str
    sid: str = SIMULATED_ACCOUNT
    token: str = TOKEN

    def bought(self) -> dict[str, int]:
        """How often each number was really bought."""
        events = self.account.history("bought")
        return {event.e164: sum(one.e164 == event.e164 for one in events) for event in events}


@contextmanager
def running_carrier(folder: Path, seconds: float = PATIENCE_SECONDS, token: str = TOKEN) -> Iterator[Carrier]:
    """Its book is `simulator.db` in the folder. `seconds` is how long the shop waits for an answer."""
    server = RestServer(folder / "simulator.db", SIMULATED_ACCOUNT, token)
    server.start()
    try:
        shop = make_shop(server.url, seconds, token)
        yield Carrier(shop, server.account, server.ways, server.url, token=token)
    finally:
        server.close()


def make_shop(url: str, seconds: float = PATIENCE_SECONDS, token: str = TOKEN, voice: str = VOICE) -> TwilioShop:
    http = Outgoing(ANYWHERE, total_seconds=seconds, answer_limit=LARGEST_ANSWER)
    return TwilioShop(http, url, url, SIMULATED_ACCOUNT, token, voice)
