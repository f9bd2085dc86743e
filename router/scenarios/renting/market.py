"""What the carrier has to offer, for a page: the countries, what it asks itself, and a search; a carrier that is away is said, not felt."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from router.carriers.shop import CarrierPrice, Offer, ShopError
from router.scenarios.renting.orders import taken_numbers
from router.scenarios.renting.search import open_shop
from router.server import Server
from router.web import Problem

SHOWN, SPARE = 20, 20
"""Offers on a page; more are asked for, because some may be ours."""


@dataclass(frozen=True)
class Market:
    """`said`: why there is nothing to choose from."""

    countries: Sequence[str] = ()
    price: CarrierPrice | None = None
    offers: list[Offer] = field(default_factory=list)
    said: str = ""


def look_around(server: Server, country: str, area_code: str = "", contains: str = "", search: bool = False) -> Market:
    """Asks the carrier; never inside a transaction."""
    try:
        shop = open_shop(server)
        countries = shop.countries()
        price = shop.price(country) if country else None
        if not search:
            return Market(countries, price)
        if not country:
            return Market(countries, price, said="Choose a country first.")
        offers = _still_for_sale(server, shop.search(country, area_code, contains, SHOWN + SPARE))
    except Problem as refusal:
        return Market(said=refusal.detail)
    except ShopError as error:
        return Market([country] if country else [], said=f"The carrier was asked and did not help: {error}")
    return Market(countries, price, offers, "" if offers else "The carrier has no such number. Ask for fewer digits.")


def _still_for_sale(server: Server, offers: Sequence[Offer]) -> list[Offer]:
    """Without those that are on this server already, or being bought."""
    with server.database.reading() as session:
        taken = taken_numbers(session, [offer.e164 for offer in offers])
    return [offer for offer in offers if offer.e164 not in taken][:SHOWN]
