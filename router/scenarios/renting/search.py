"""Numbers for sale (R5), with our price and the carrier's own beside it (R4)."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from router.accounts.ledger import price_of
from router.accounts.models import Project
from router.carriers import shop_of
from router.carriers.shop import CarrierPrice, NotForUs, NumberShop, Offer, ShopError
from router.scenarios.renting.orders import taken_numbers
from router.server import Server
from router.settings import SettingsError
from router.web import Problem

NO_ACCOUNT = "Numbers cannot be rented: the carrier's account is not set on this server. Ask its operator."
AWAY = "The carrier cannot be asked now: {why} Try again in a minute."
REFUSES = "The carrier refuses: {why} The operator of this server has to act."
SPARE = 20
"""Offers beyond those wanted, because some may be on this server already."""


@dataclass(frozen=True, slots=True)
class ForSale:
    """A number that can be bought, for 7 days at `price_minor` of the project's currency."""

    offer: Offer
    price_minor: int
    currency: str
    carrier_price: CarrierPrice | None
    """None when the carrier does not tell it."""


def open_shop(server: Server) -> NumberShop:
    """
    Raises:
        Problem: 503, this server has no account at the carrier.
    """
    try:
        return shop_of(server)
    except SettingsError:
        raise Problem(503, NO_ACCOUNT) from None


def search_numbers(
    server: Server, project: Project, country: str, area_code: str = "", contains: str = "", limit: int = 20
) -> list[ForSale]:
    """Asks the carrier, so never inside a transaction; numbers that are on this server or being bought are left out.

    Args:
        country: two letters.

    Raises:
        Problem: 422, the carrier has no numbers in this country; 502, it refuses; 503, it is away.
    """
    shop = open_shop(server)
    try:
        _check_country(country, shop.countries())
        offers = shop.search(country, area_code, contains, limit + SPARE)
    except NotForUs as error:
        raise Problem(502, REFUSES.format(why=error)) from None
    except ShopError as error:
        raise Problem(503, AWAY.format(why=error)) from None
    with server.database.reading() as session:
        taken = taken_numbers(session, [offer.e164 for offer in offers])
    free = [offer for offer in offers if offer.e164 not in taken][:limit]
    asked = None if all(offer.price for offer in free) else _asked(shop, country)
    price = price_of(server.settings, project)
    return [ForSale(offer, price, project.currency, offer.price or asked) for offer in free]


def _check_country(country: str, known: Sequence[str]) -> None:
    if country not in known:
        some = ", ".join(known[:10]) + (", …" if len(known) > 10 else "")
        raise Problem(422, f"The carrier has no numbers in “{country}”. It has some in {some}.", "country")


def _asked(shop: NumberShop, country: str) -> CarrierPrice | None:
    with suppress(ShopError):
        return shop.price(country)
    return None
