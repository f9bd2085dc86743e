"""What kind of cost a call to a number has, by its numbering plan, and to which countries calls may be forwarded. docs/numbers.md has the
sources."""

from collections.abc import Collection
from enum import StrEnum

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType

from router.lib.formats import country_name, named_countries
from router.lib.phones.showing import country_of, international, parsed

NO_COUNTRY = "001"
"""What the numbering plans call the codes of no country."""


class Cost(StrEnum):
    ORDINARY = "ordinary"
    PREMIUM = "premium"
    SHARED = "shared cost"
    SATELLITE = "satellite"
    PERSONAL = "personal"
    UNKNOWN = "unknown"
    """No numbering plan has the number."""

    @property
    def is_extra(self) -> bool:
        """Whether the one who pays for the call should be asked before."""
        return self not in (Cost.ORDINARY, Cost.UNKNOWN)


BY_CODE = {
    870: Cost.SATELLITE,
    881: Cost.SATELLITE,
    882: Cost.SATELLITE,
    883: Cost.SATELLITE,
    878: Cost.PERSONAL,
    979: Cost.PREMIUM,
    808: Cost.SHARED,
}
"""Country codes of no country: 882 and 883 are networks, some of satellites, some of the internet, with prices alike."""
BY_TYPE = {
    PhoneNumberType.PREMIUM_RATE: Cost.PREMIUM,
    PhoneNumberType.SHARED_COST: Cost.SHARED,
    PhoneNumberType.PERSONAL_NUMBER: Cost.PERSONAL,
    PhoneNumberType.UNKNOWN: Cost.UNKNOWN,
}


def cost_of(e164: str) -> Cost:
    """Of an E.164 number; a SIP address and any other text is unknown."""
    try:
        number = parsed(e164)
    except NumberParseException:
        return Cost.UNKNOWN
    return BY_CODE.get(number.country_code or 0) or BY_TYPE.get(phonenumbers.number_type(number), Cost.ORDINARY)


WHY = {
    Cost.PREMIUM: "a premium-rate number: a part of what each call costs goes to its owner",
    Cost.SHARED: "a shared-cost number: who calls it pays more than for an ordinary line",
    Cost.SATELLITE: "the number of a satellite telephone or an international network: a minute costs many times what others do",
    Cost.PERSONAL: "a personal number: it may lead to any telephone, and a minute may cost as much as to a premium-rate number",
}


def cost_warning(destination: str) -> str | None:
    """Which kind of number it is that makes calls to it cost more, and why; None for ordinary lines and SIP addresses."""
    why = WHY.get(cost_of(destination))
    return f"{international(destination)} is {why}." if why else None


def country_refusal(destination: str, countries: Collection[str]) -> str | None:
    """Why calls may not be forwarded there; None when they may. A SIP address is of no country and always allowed.

    Args:
        countries: the codes of those to which the operator lets calls be forwarded; empty: all.
    """
    country = country_of(destination)
    if not countries or country in countries or not destination.startswith("+"):
        return None
    where = country_name(country) if country and country != NO_COUNTRY else "no country"
    *others, last = [name for _, name in named_countries(countries)]
    allowed = f"{', '.join(others)} and {last}" if others else last
    return (
        f"{international(destination)} is a number of {where}. Calls may be forwarded to {allowed} only. "
        "The operator of this server can allow others."
    )
