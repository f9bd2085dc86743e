"""What kind of cost a call to a number has, by its numbering plan. docs/numbers.md has the sources."""

from enum import StrEnum

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType

from router.lib.phones.showing import parsed


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
