"""The outside world of the demo as one process: the simulated exchange, and the receivers of the example company."""

import logging
import signal
import threading
from collections.abc import Mapping
from typing import Any

from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from router.carriers import SIMULATOR_FILE, carrier_tokens, simulated_account
from router.carriers.simulator import Line, RealClock, Simulator
from router.carriers.simulator.account import Account
from router.carriers.simulator.exchange import ControlServer, Mount, Reply
from router.carriers.simulator.rest import PRICING, VERSION, Rest
from router.config import Settings, read_settings
from router.demo import shop
from router.demo.company import CRM_DATABASE, Places, read_places
from router.demo.inbox import Crm, Inbox
from router.demo.odoo import OdooFake
from router.server import utc_now


def wsgi_receiver(application: Any) -> Crm:
    """A WSGI application as something that answers one request."""

    def answer(path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        environ = EnvironBuilder(path=path, method="POST", headers=Headers(headers), data=body).get_environ()
        pieces, status, answered = run_wsgi_app(application, environ, buffered=True)
        return int(status.split()[0]), answered.get("Content-Type", ""), b"".join(pieces)

    return answer


def outside_world(settings: Settings, places: Places) -> ControlServer:
    """Every line is worked by hand, from the telephone's page. Numbers are rented here, too, and can be dialled at once."""
    token = carrier_tokens(settings)[0]
    account = Account(settings.data_dir / SIMULATOR_FILE)
    for number in (*shop.POOL, shop.BILLBOARD, shop.FLYER, *shop.LINES):
        account.give_to_somebody_else(number)
    rest = Rest(account, simulated_account(settings), token)
    simulator = Simulator(
        settings.base_url,
        token,
        clock=RealClock(),
        lines={"*": Line.by_hand()},
        owned=[*shop.POOL, shop.BILLBOARD, shop.FLYER],
        rented=account.addresses,
    )
    inbox = Inbox(utc_now, wsgi_receiver(OdooFake(CRM_DATABASE, places.crm_key)))
    mounts: dict[str, Mount] = {"/demo/inbox": inbox.receive, "/json/2/": inbox.receive_crm}
    mounts |= dict.fromkeys((f"/{VERSION}/", PRICING), rest.reply)
    return ControlServer(simulator, places.key, places.port, mounts)


def main() -> None:
    settings = read_settings()
    places = read_places(settings.data_dir)
    if places is None:
        raise SystemExit("router: the demo's exchange is started by `router demo`")
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    world = outside_world(settings, places)
    world.start()
    logging.getLogger(__name__).info("the simulated exchange listens at %s", places.address)
    stop.wait()
    world.close()


if __name__ == "__main__":
    main()
