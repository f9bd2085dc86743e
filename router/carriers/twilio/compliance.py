"""What Twilio's REST side says of regulatory bundles and addresses, and of offers that want them, read as plain values
(https://www.twilio.com/docs/phone-numbers/regulatory/api/bundles, https://www.twilio.com/docs/usage/api/address)."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from router.carriers.base import Address, Bundle, Compliance, address_fits
from router.carriers.twilio.account import printable

ADDRESSES = {
    "any": "the carrier wants an address for them, and none is chosen",
    "local": "the carrier wants an address in their area for them, and none in their country is chosen",
    "foreign": "the carrier wants an address outside their country for them, and none is chosen",
}
"""By address_requirements: the carrier refuses a purchase without one (21631, 21615)."""
APPROVED = "twilio-approved"
BUNDLE_SID, ADDRESS_SID = re.compile(r"BU[0-9a-fA-F]{32}"), re.compile(r"AD[0-9a-fA-F]{32}")
COUNTRY = re.compile(r"[A-Z]{2}")


def takes_calls(record: Mapping[str, Any]) -> bool:
    """Whether an offered number does; the names of capabilities have come in both cases."""
    capabilities = record.get("capabilities")
    named = capabilities if isinstance(capabilities, dict) else {}
    return bool({name.lower(): value for name, value in named.items()}.get("voice", True))


def missing_address(record: Mapping[str, Any], country: str, chosen: Compliance) -> str:
    """Why an offered number cannot be bought with what is chosen; empty: it can, as far as the carrier says."""
    requirement = _line(record, "address_requirements", 20).lower()
    return "" if address_fits(requirement, country, chosen.address_country) else ADDRESSES[requirement]


def read_bundle(record: Mapping[str, Any]) -> Bundle | None:
    """A Bundle; None: it is none."""
    sid, status = _line(record, "sid", 40), _line(record, "status", 40).lower()
    if not BUNDLE_SID.fullmatch(sid) or not status:
        return None
    valid_until = None
    with suppress(ValueError):
        read = datetime.fromisoformat(_line(record, "valid_until", 40))
        valid_until = read if read.tzinfo else read.replace(tzinfo=UTC)
    words = status.removeprefix("twilio-").replace("-", " ")
    return Bundle(sid, _line(record, "friendly_name", 120) or sid, status == APPROVED, words, valid_until)


def read_address(record: Mapping[str, Any]) -> Address | None:
    """An Address; None: it is none."""
    sid, country = _line(record, "sid", 40), _line(record, "iso_country", 2).upper()
    if not ADDRESS_SID.fullmatch(sid) or not COUNTRY.fullmatch(country):
        return None
    parts = [_line(record, name, 80) for name in ("customer_name", "street", "postal_code", "city", "region")]
    text = ", ".join(filter(None, (*parts[:2], " ".join(filter(None, parts[2:])))))
    return Address(sid, _line(record, "friendly_name", 120), text, country)


def _line(record: Mapping[str, Any], name: str, longest: int) -> str:
    value = record.get(name)
    return printable(value).strip()[:longest] if isinstance(value, str) else ""
