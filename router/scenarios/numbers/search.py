"""Numbers for sale (R5), for programs and for pages, with our price and the carrier's own beside it (R4).

The worker asks the carrier for its own prices now and then; pages show what it said last.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.models import Project, ServerFact, read_fact, remember_fact
from router.carriers import shop_of
from router.carriers.accounts import shop_of_project
from router.carriers.base import (
    CHOOSE_COMPLIANCE,
    CarrierPrice,
    ComplianceMissing,
    NotForUs,
    NumberKind,
    NumberShop,
    Offer,
    ShopError,
)
from router.config import SettingsError
from router.scenarios.numbers.compliance import chosen_now, kinds_without_bundle, numbers_of
from router.scenarios.numbers.inventory import taken_numbers
from router.server import Server
from router.web.errors import Problem

AWAY = "The carrier cannot be asked now: {why} Try again in a minute."
REFUSES = "The carrier refuses: {why} The operator of this server has to act."
SPARE = 20
"""Offers beyond those wanted, because some may be on this server already."""


def open_shop(server: Server, project_id: int | None = None) -> NumberShop:
    """Where the project rents: at its own account, else at the server's; None: at the server's.

    Raises:
        Problem: 502, the project's account cannot be used; 503, this server has no account at the carrier.
    """
    try:
        return shop_of(server) if project_id is None else shop_of_project(server, project_id)
    except NotForUs as error:
        raise Problem(502, REFUSES.format(why=error)) from None
    except SettingsError:
        sentence = "Numbers cannot be rented: the carrier's account is not set on this server. Ask its operator."
        raise Problem(503, sentence) from None


def search_numbers(
    server: Server, project_id: int, country: str, area_code: str = "", contains: str = "", limit: int = 20
) -> list[Offer]:
    """Asks the carrier, so never inside a transaction; numbers that are on this server or being bought are left out.
    An offer without a price of its own has the carrier's for the country, where it tells it.

    Args:
        country: two letters.

    Raises:
        Problem: 409 with `country` and `kind`, a bundle or an address has to be chosen for them; 422, the carrier has no numbers in this
            country; 502, it refuses; 503, it is away.
    """
    shop = open_shop(server, project_id)
    try:
        known = shop.countries()
        if country not in known:
            some = ", ".join(known[:10]) + (", …" if len(known) > 10 else "")
            raise Problem(422, f"The carrier has no numbers in “{country}”. It has some in {some}.", "country")
        free = _free_offers(server, project_id, shop, country, area_code, contains, limit)
    except ComplianceMissing as error:
        raise Problem(409, str(error), country=error.country, kind=error.kind) from None
    except NotForUs as error:
        raise Problem(502, REFUSES.format(why=error)) from None
    except ShopError as error:
        raise Problem(503, AWAY.format(why=error)) from None
    country_price = None
    if not all(offer.price for offer in free):
        with suppress(ShopError):
            country_price = shop.price(country)
    return [replace(offer, price=offer.price or country_price) for offer in free]


def _free_offers(
    server: Server, project_id: int, shop: NumberShop, country: str, area_code: str, contains: str, limit: int
) -> list[Offer]:
    chosen = chosen_now(server, project_id, country)
    offers = shop.search(country, area_code, contains, limit + SPARE, chosen)
    with server.database.reading() as session:
        taken = taken_numbers(session, [offer.e164 for offer in offers])
    return [offer for offer in offers if offer.e164 not in taken][:limit]


SHOWN = 20


@dataclass(frozen=True, slots=True)
class Lack:
    """Why the carrier will not sell numbers of a country and kind before something is chosen."""

    sentence: str
    country: str
    kind: NumberKind

    @property
    def reason(self) -> str:
        """Without where to choose, for pages that lead there."""
        return self.sentence.removesuffix(CHOOSE_COMPLIANCE).rstrip()


def bundles_lacking(
    server: Server, project_id: int, numbers: Iterable[tuple[str, NumberKind]], shop: NumberShop | None = None
) -> list[Lack]:
    """For which of these countries and kinds the carrier wants a bundle, and none is chosen. Asks the carrier; what it does not tell is no
    lack."""
    try:
        missing = kinds_without_bundle(server, project_id, shop or open_shop(server, project_id), numbers)
    except Problem:
        return []
    sentence = "{} are sold only with an approved regulatory bundle, and none is chosen. " + CHOOSE_COMPLIANCE
    return [Lack(sentence.format(numbers_of(country, kind)), country, kind) for country, kind in missing]


@dataclass(frozen=True)
class Market:
    """`said`: why there is nothing to choose from. `lacks`: what has to be chosen before the carrier sells."""

    countries: Sequence[str] = ()
    price: CarrierPrice | None = None
    offers: list[Offer] = field(default_factory=list)
    said: str = ""
    lacks: Sequence[Lack] = ()


def look_around(
    server: Server, project_id: int, country: str, area_code: str = "", contains: str = "", search: bool = False
) -> Market:
    """Asks the carrier; never inside a transaction."""
    try:
        shop = open_shop(server, project_id)
        countries = shop.countries()
        price = shop.price(country) if country else None
        if not search:
            return Market(countries, price)
        if not country:
            return Market(countries, price, said="Choose a country first.")
        offers = _free_offers(server, project_id, shop, country, area_code, contains, SHOWN)
    except Problem as refusal:
        return Market(said=refusal.detail)
    except ComplianceMissing as missing:
        return Market(countries, price, lacks=[Lack(str(missing), missing.country, missing.kind)])
    except ShopError as error:
        return Market([country] if country else [], said=f"The carrier was asked and did not help: {error}")
    said = "" if offers else "The carrier has no such number. Ask for fewer digits."
    lacks = bundles_lacking(server, project_id, {(country, offer.kind) for offer in offers}, shop)
    return Market(countries, price, offers, said, lacks)


KNOWN_FOR, UNKNOWN_FOR = timedelta(days=1), timedelta(minutes=15)
"""When the carrier is asked again: after it told a price, and after it did not."""
MOST_AT_ONCE = 10
PREFIX = "carrier_price:"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KnownPrice:
    price: CarrierPrice | None
    reason: str = ""


def carrier_price(session: Session, country: str) -> KnownPrice:
    """What the carrier said last about local numbers of this country; nobody is asked now."""
    if not country:
        return KnownPrice(None, "the project has no country")
    stored = read_fact(session, PREFIX + country)
    if stored is None:
        return KnownPrice(None, "the carrier was not asked yet")
    fact = json.loads(stored)
    return KnownPrice(CarrierPrice(**fact["price"]) if fact["price"] else None, fact["reason"])


def refresh_carrier_prices(server: Server, now: datetime) -> int:
    """Asks the carrier about the countries of projects whose price is not known or old; returns how many were asked about."""
    with server.database.reading() as session:
        countries = set(session.scalars(select(Project.country).where(Project.country != "").distinct()))
        known = session.scalars(select(ServerFact).where(ServerFact.name.startswith(PREFIX))).all()
        fresh = {
            fact.name.removeprefix(PREFIX)
            for fact in known
            if now - fact.changed_at < (KNOWN_FOR if json.loads(fact.value)["price"] else UNKNOWN_FOR)
        }
    due = sorted(countries - fresh)[:MOST_AT_ONCE]
    for country in due:
        price, reason = None, "the carrier has no price for this country"
        try:
            price = shop_of(server).price(country)
        except (ShopError, SettingsError) as error:
            log.info("carrier_price_unknown", country=country, why=str(error))
            reason = "the carrier did not tell its price"
        value = json.dumps({"price": asdict(price) if price else None, "reason": "" if price else reason})
        with server.database.writing() as session:
            remember_fact(session, PREFIX + country, value, now)
    return len(due)
