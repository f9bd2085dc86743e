"""Who rents numbers and delivers calls: Twilio, or the built-in simulator."""

import threading
from ipaddress import ip_network

from router.carriers.base import Carrier, CarrierHosts, NumberShop
from router.carriers.twilio.webhooks import Twilio
from router.config import Networks, Settings, SettingsError
from router.lib.crypto import kept_secret
from router.server import Server

TWILIO = CarrierHosts(
    "https://api.twilio.com",
    "https://pricing.twilio.com",
    "https://api.twilio.com",
    "https://voice.twilio.com",
    "https://numbers.twilio.com",
)
SIMULATED_ACCOUNT = "AC" + "5" * 32
SIMULATOR_FILE = "simulator.db"
SHOP_SECONDS = 10.0
LARGEST_ANSWER = 8 * 1024 * 1024
"""A page of a thousand numbers has about two megabytes."""
ANYWHERE: Networks = (ip_network("0.0.0.0/0"), ip_network("::/0"))
CLOSED: Networks = tuple(
    ip_network(text)
    for text in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7", "fe80::/10")
)
"""Where the account's token may go without encryption."""
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
    """Where numbers are searched, rented and given back with the server's own account, made once for each server.

    Without ROUTER_CARRIER_URL the simulated carrier runs in this process, and processes with the same data folder share its book.

    Raises:
        SettingsError: Twilio without its account.
    """
    settings = server.settings
    with _making:
        if server.shop is None:
            account = settings.twilio_account_sid
            if settings.carrier == "simulator":
                account = simulated_account(settings)
            elif not account:
                raise SettingsError("TWILIO_ACCOUNT_SID: is required to buy numbers with ROUTER_CARRIER=twilio")
            server.shop = _shop_at(settings, _hosts_of(server), account, carrier_tokens(settings)[0])
        return server.shop


def shop_of_account(server: Server, sid: str, token: str) -> NumberShop:
    """The same with another account at the carrier's hosts, made once for each account and token."""
    key = (sid, token)
    with _making:
        if key not in server.shops:
            server.shops[key] = _shop_at(server.settings, _hosts_of(server), sid, token)
        return server.shops[key]


def _hosts_of(server: Server) -> CarrierHosts:
    """The carrier's hosts; a simulated carrier without an address is started in this process, once for each server."""
    settings, hosts = server.settings, carrier_hosts(server.settings)
    if hosts.api:
        return hosts
    if not server.simulator_url:
        from router.carriers.simulator.accounts import Accounts
        from router.carriers.simulator.rest import RestServer

        path, token = settings.data_dir / SIMULATOR_FILE, carrier_tokens(settings)[0]
        simulator = RestServer(Accounts(path, simulated_account(settings), token))
        simulator.start()
        server.simulator_url = simulator.url
    return CarrierHosts(*[server.simulator_url] * 5)


def _shop_at(settings: Settings, hosts: CarrierHosts, account: str, token: str) -> NumberShop:
    from router.carriers.twilio.rest import TwilioShop  # brings an HTTP client, which most web processes never need
    from router.lib.http_client import Outgoing
    from router.lib.tls import trusted_authorities

    tls = trusted_authorities(settings.ca_file)
    http = Outgoing(carrier_networks(settings), total_seconds=SHOP_SECONDS, answer_limit=LARGEST_ANSWER, tls=tls)
    return TwilioShop(http, hosts, account, token, settings.base_url)


def carrier_hosts(settings: Settings) -> CarrierHosts:
    """As they are set. What is not set lies at the carrier itself; beside a ROUTER_CARRIER_URL it lies there, so that with this one setting
    no other host is asked."""
    url = settings.carrier_url
    own = TWILIO if settings.carrier == "twilio" and not url else CarrierHosts(*[url] * 5)
    return CarrierHosts(
        own.api,
        settings.carrier_pricing_url or own.pricing,
        settings.carrier_media_url or own.media,
        settings.carrier_permissions_url or own.permissions,
        settings.carrier_numbers_url or own.numbers,
    )


def carrier_networks(settings: Settings) -> Networks:
    """The networks beside the public ones in which the carrier's hosts may lie, and over http too."""
    urls = (
        settings.carrier_url,
        settings.carrier_pricing_url,
        settings.carrier_media_url,
        settings.carrier_permissions_url,
        settings.carrier_numbers_url,
    )
    set_urls = [url for url in urls if url]
    if settings.carrier == "simulator" or (set_urls and all(url.startswith("https://") for url in set_urls)):
        return ANYWHERE
    return (*CLOSED, *settings.allow_private) if set_urls else settings.allow_private


def simulated_account(settings: Settings) -> str:
    """The account's id at the simulated carrier."""
    return settings.twilio_account_sid or SIMULATED_ACCOUNT
