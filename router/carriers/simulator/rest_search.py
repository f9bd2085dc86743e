"""What the simulated carrier sells, searched with Twilio's patterns, and what it asks for it."""

import re
from collections.abc import Set
from typing import Any

import phonenumbers

from router.carriers.simulator import stock
from router.carriers.simulator.rest_answers import Answer, Request, not_found, refused

KINDS = {"Local": "local", "Mobile": "mobile", "TollFree": "toll-free"}
PRICES = {"local": 115, "mobile": 300, "toll-free": 215}
"""US cents a month in a country of the first group; others cost a multiple."""
PATTERN = re.compile(r"(?=.{2,16}$)\+?[0-9*%]+\$?")


def search(request: Request, taken: Set[str], limit: int, base: str) -> Answer:
    """Numbers for sale; those that somebody has are not offered."""
    country, kind = request.rest[0], KINDS.get(request.rest[1])
    if country not in stock.countries() or kind is None or not stock.is_sold(country, kind):
        return not_found()
    pattern, area = request.values.get("Contains", ""), request.values.get("AreaCode", "")
    if pattern and not PATTERN.fullmatch(pattern):
        return refused(20001, "Contains is not valid.")
    if area and not re.fullmatch(r"[0-9]{3}", area):
        return refused(21451, "AreaCode is not valid.")
    if area and country not in ("US", "CA"):
        return refused(21457, "AreaCode is not supported for this country.")
    begins, inside = _in_stock(country, pattern, area)
    found = stock.search(country, inside, kind, limit + len(taken), begins)
    fits = _fitting(pattern)
    left = [number for number in found if number.e164 not in taken and fits.match(number.e164)]
    return Answer(
        200,
        {
            "available_phone_numbers": [_offer(number) for number in left[:limit]],
            "uri": f"{base}/AvailablePhoneNumbers/{country}/{request.rest[1]}.json",
        },
    )


def price(request: Request) -> Answer:
    country = request.rest[0]
    if country not in stock.countries():
        return not_found()
    factor = 1 if country in ("US", "CA", "GB", "PR") else 1 + sum(country.encode()) % 7
    prices = [
        {
            "number_type": kind.replace("-", " "),
            "base_price": _money(cents * factor),
            "current_price": _money(cents * factor),
        }
        for kind, cents in PRICES.items()
        if stock.is_sold(country, kind)
    ]
    return Answer(
        200,
        {
            "country": country,
            "iso_country": country,
            "phone_number_prices": prices,
            "price_unit": "USD",
            "url": f"https://pricing.twilio.com/v1/PhoneNumbers/Countries/{country}",
        },
    )


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"


def _offer(number: stock.StockNumber) -> dict[str, Any]:
    parsed = phonenumbers.parse(number.e164, None)
    return {
        "phone_number": number.e164,
        "friendly_name": phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL),
        "iso_country": number.country,
        "locality": None,
        "region": None,
        "postal_code": None,
        "rate_center": None,
        "lata": None,
        "latitude": None,
        "longitude": None,
        "address_requirements": "none",
        "beta": False,
        "capabilities": {"voice": True, "SMS": False, "MMS": False},
    }


def _in_stock(country: str, pattern: str, area: str) -> tuple[str, str]:
    """How the wanted numbers begin in national form, and what they contain."""
    code = str(phonenumbers.country_code_for_region(country))
    if not pattern.startswith(f"+{code}"):
        return area, pattern.strip("*%$")
    begins, _, inside = pattern.removeprefix(f"+{code}").partition("%")
    return area or begins, inside


def _fitting(pattern: str) -> "re.Pattern[str]":
    """Twilio's pattern as a regular expression over E.164: `+` at its beginning is the number's own, `*` one digit, `%` any."""
    inside = "".join({"*": "[0-9]", "%": "[0-9]*"}.get(sign, sign) for sign in pattern.lstrip("+"))
    return re.compile(rf"\+{'' if pattern.startswith('+') else '[0-9]*'}{inside}")
