"""Who rents numbers and delivers calls: Twilio, or the built-in simulator."""

import threading
from ipaddress import ip_network

from router.carriers.base import Carrier, NumberShop
from router.carriers.twilio.webhooks import Twilio
from router.config import Settings, SettingsError
from router.lib.crypto import kept_secret
from router.server import Server

TWILIO_API = "https://api.twilio.com"
TWILIO_PRICING = "https://pricing.twilio.com"
SIMULATED_ACCOUNT = "AC" + "5" * 32
SIMULATOR_FILE = "simulator.db"
SHOP_SECONDS = 10.0
LARGEST_ANSWER = 8 * 1024 * 1024
"""A page of a thousand numbers has about two megabytes."""
ANYWHERE = (ip_network("0.0.0.0/0"), ip_network("::/0"))
_making = threading.Lock()


def carrier_of(server: Server) -> Carrier:
    """The carrier that the settings choose, made once for each server.

    Raises:
        SettingsError: Twilio without its auth token.
    """
    if server.carrier is None:
        settings = server.settings
        if settings.carrier == "twilio" and not settings.twilio_auth_token.strip(", "):
            raise SettingsError("TWILIO_AUTH_TOKEN: is required with ROUTER_CARRIER=twilio")
        server.carrier = Twilio(settings.base_url, carrier_tokens(settings), settings.carrier)
    return server.carrier


def carrier_tokens(settings: Settings) -> list[str]:
    """What the carrier signs with, newest first: TWILIO_AUTH_TOKEN (a comma list while it is rotated), else a kept random one."""
    tokens = [token.strip() for token in settings.twilio_auth_token.split(",") if token.strip()]
    return tokens or [kept_secret(settings, "carrier.token")]


def shop_of(server: Server) -> NumberShop:
    """Where numbers are searched, rented and given back, made once for each server.

    The simulated carrier is reached at ROUTER_SIMULATOR_URL; without one it runs in this process, and processes with the same
    data folder share its book.

    Raises:
        SettingsError: Twilio without its account.
    """
    settings = server.settings
    with _making:
        if server.shop is not None:
            return server.shop
        from router.carriers.twilio.rest import TwilioShop  # brings an HTTP client, which most web processes never need
        from router.lib.http_client import Outgoing

        token = carrier_tokens(settings)[0]
        if settings.carrier == "twilio":
            if not settings.twilio_account_sid:
                raise SettingsError("TWILIO_ACCOUNT_SID: is required to buy numbers with ROUTER_CARRIER=twilio")
            account, networks = settings.twilio_account_sid, settings.allow_private
            url, pricing_url = TWILIO_API, TWILIO_PRICING
        else:
            account, networks, url = simulated_account(settings), ANYWHERE, settings.simulator_url
            if not url:
                from router.carriers.simulator.account import Account
                from router.carriers.simulator.rest import Rest, RestServer

                simulator = RestServer(Rest(Account(settings.data_dir / SIMULATOR_FILE), account, token))
                simulator.start()
                url = simulator.url
            pricing_url = url
        http = Outgoing(networks, total_seconds=SHOP_SECONDS, answer_limit=LARGEST_ANSWER)
        server.shop = TwilioShop(http, url, pricing_url, account, token, settings.base_url)
        return server.shop


def simulated_account(settings: Settings) -> str:
    """The account's id at the simulated carrier."""
    return settings.twilio_account_sid or SIMULATED_ACCOUNT
