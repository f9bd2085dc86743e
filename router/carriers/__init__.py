"""Who rents numbers and delivers calls: Twilio, or the built-in simulator."""

from typing import cast

from router.carriers.base import Carrier
from router.carriers.twilio import Twilio
from router.crypto import kept_secret
from router.server import Server
from router.settings import Settings, SettingsError

REGISTRY = "carrier"


def carrier_of(server: Server) -> Carrier:
    """The carrier that the settings choose, made once for each server.

    Raises:
        SettingsError: Twilio without its auth token.
    """
    if REGISTRY not in server.registries:
        server.registries[REGISTRY] = _chosen(server.settings)
    return cast(Carrier, server.registries[REGISTRY])


def _chosen(settings: Settings) -> Carrier:
    if settings.carrier == "twilio" and not settings.twilio_auth_token.strip(", "):
        raise SettingsError("TWILIO_AUTH_TOKEN: is required with ROUTER_CARRIER=twilio")
    return Twilio(settings.base_url, carrier_tokens(settings), settings.carrier)


def carrier_tokens(settings: Settings) -> list[str]:
    """What the carrier signs with, newest first: TWILIO_AUTH_TOKEN (a comma list while it is rotated), else a kept random one."""
    tokens = [token.strip() for token in settings.twilio_auth_token.split(",") if token.strip()]
    return tokens or [kept_secret(settings, "carrier.token")]
