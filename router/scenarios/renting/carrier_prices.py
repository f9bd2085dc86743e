"""What the carrier itself asks for a number: the worker asks it now and then, pages show what it said."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.facts import read_fact, remember_fact
from router.accounts.models import Project, ServerFact
from router.carriers import shop_of
from router.carriers.shop import CarrierPrice, ShopError
from router.server import Server
from router.settings import SettingsError

KNOWN_FOR, UNKNOWN_FOR = timedelta(days=1), timedelta(minutes=15)
"""When the carrier is asked again: after it told a price, and after it did not."""
MOST_AT_ONCE = 10
PREFIX = "carrier_price:"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KnownPrice:
    """The carrier's own price, or why it is not known."""

    price: CarrierPrice | None
    reason: str = ""


def carrier_price(session: Session, country: str) -> KnownPrice:
    """What the carrier said last about local numbers of this country; nobody is asked now."""
    if not country:
        return KnownPrice(None, "the project has no country")
    told = read_fact(session, PREFIX + country)
    if told is None:
        return KnownPrice(None, "the carrier was not asked yet")
    found = json.loads(told)
    return KnownPrice(CarrierPrice(**found["price"]) if found["price"] else None, found["reason"])


def refresh_carrier_prices(server: Server, now: datetime) -> int:
    """Asks the carrier about the countries of projects whose price is not known or old; returns how many were asked about."""
    with server.database.reading() as session:
        countries = set(session.scalars(select(Project.country).where(Project.country != "").distinct()))
        known = session.scalars(select(ServerFact).where(ServerFact.name.startswith(PREFIX))).all()
        fresh = {fact.name.removeprefix(PREFIX) for fact in known if now - fact.changed_at < _lasts(fact)}
    due = sorted(countries - fresh)[:MOST_AT_ONCE]
    for country in due:
        found = _ask(server, country)
        value = json.dumps({"price": asdict(found.price) if found.price else None, "reason": found.reason})
        with server.database.writing() as session:
            remember_fact(session, PREFIX + country, value, now)
    return len(due)


def _lasts(fact: ServerFact) -> timedelta:
    return KNOWN_FOR if json.loads(fact.value)["price"] else UNKNOWN_FOR


def _ask(server: Server, country: str) -> KnownPrice:
    try:
        price = shop_of(server).price(country)
    except (ShopError, SettingsError) as error:
        log.info("carrier_price_unknown", country=country, why=str(error))
        return KnownPrice(None, "the carrier did not tell its price")
    return KnownPrice(price, "" if price else "the carrier has no price for this country")
