"""How it stands with an account at the simulated carrier, and what it has given the carrier about who uses its numbers: regulatory bundles
and addresses. What of it is asked for with a purchase is as strict as at Twilio
(https://www.twilio.com/docs/phone-numbers/regulatory/api, https://www.twilio.com/docs/usage/api/address)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import phonenumbers
from phonenumbers import PhoneNumberType

NUMBER_TYPES = {PhoneNumberType.MOBILE: "mobile", PhoneNumberType.TOLL_FREE: "toll-free"}
MADE_AT = "2020-01-06T09:00:00Z"
APPROVED = "twilio-approved"


@dataclass(frozen=True)
class Bundle:
    """`status`: draft, pending-review, in-review, twilio-rejected, twilio-approved or provisionally-approved. `valid_until`: as in
    2027-01-01T00:00:00Z; empty: for good."""

    sid: str
    name: str
    country: str
    number_type: str
    status: str = APPROVED
    valid_until: str = ""

    def document(self, account: str, url: str) -> dict[str, Any]:
        """A Bundle resource. As at Twilio it does not say for which numbers it is: lists are asked for that."""
        return {
            "sid": self.sid,
            "account_sid": account,
            "regulation_sid": regulation_sid(self.country, self.number_type),
            "friendly_name": self.name,
            "status": self.status,
            "valid_until": self.valid_until or None,
            "email": "compliance@example.com",
            "status_callback": None,
            "date_created": MADE_AT,
            "date_updated": MADE_AT,
            "url": f"{url}/{self.sid}",
            "links": {"item_assignments": f"{url}/{self.sid}/ItemAssignments"},
        }


@dataclass(frozen=True)
class Address:
    sid: str
    name: str
    customer: str
    street: str
    city: str
    postal_code: str
    country: str

    def document(self, account: str, base: str) -> dict[str, Any]:
        """An Address resource; `base` is the path of the account."""
        return {
            "sid": self.sid,
            "account_sid": account,
            "friendly_name": self.name,
            "customer_name": self.customer,
            "street": self.street,
            "street_secondary": None,
            "city": self.city,
            "region": "",
            "postal_code": self.postal_code,
            "iso_country": self.country,
            "emergency_enabled": False,
            "validated": False,
            "verified": False,
            "date_created": "Mon, 06 Jan 2020 09:00:00 +0000",
            "date_updated": "Mon, 06 Jan 2020 09:00:00 +0000",
            "uri": f"{base}/Addresses/{self.sid}.json",
        }


@dataclass
class Standing:
    """`closed_countries` may not be called. `address_requirements`: any, local or foreign, by country. `regulated`: countries and types of
    numbers that want a bundle."""

    status: str = "active"
    kind: str = "Full"
    balance: str = "100.00"
    closed_countries: frozenset[str] = frozenset()
    address_requirements: dict[str, str] = field(default_factory=dict)
    regulated: frozenset[tuple[str, str]] = frozenset()
    bundles: tuple[Bundle, ...] = ()
    addresses: tuple[Address, ...] = ()

    def refusal(self, e164: str, values: Mapping[str, str], now: datetime) -> tuple[int, str] | None:
        """The error, code and message, with which a number is not sold because of its bundle or address; None: it is."""
        parsed = phonenumbers.parse(e164, None)
        country = phonenumbers.region_code_for_number(parsed) or ""
        number_type = NUMBER_TYPES.get(phonenumbers.number_type(parsed), "local")
        bundle_sid, address_sid = values.get("BundleSid", ""), values.get("AddressSid", "")
        bundle, address = find(self.bundles, bundle_sid), find(self.addresses, address_sid)
        if address_sid and address is None:
            return 21631, f"AddressSid {address_sid} is not valid"
        required, at_home = self.address_requirements.get(country, "none"), address and address.country == country
        if required != "none" and (address is None or {"local": not at_home, "foreign": at_home}.get(required)):
            return 21615 if required == "local" else 21631, "Phone Number Requires an Address"
        if bundle_sid and bundle is None:
            return 21649, f"Bundle {bundle_sid} not found"
        if bundle is None:
            return (21649, "Bundle required and not provided") if (country, number_type) in self.regulated else None
        if (bundle.country, bundle.number_type) != (country, number_type):
            return 21649, f"Bundle {bundle_sid} is not compliant with the rules for the country and number type"
        if bundle.status != APPROVED:
            return 21649, f"Bundle {bundle_sid} status is not {APPROVED}"
        if bundle.valid_until and datetime.fromisoformat(bundle.valid_until) <= now:
            return 21649, f"Bundle {bundle_sid} is not valid any more"
        return None

    def regulations(self, country: str, number_type: str, url: str) -> list[dict[str, Any]]:
        """Regulation resources, one for each kind of end user."""
        return [
            {
                "sid": regulation_sid(of_country, of_type),
                "friendly_name": f"{of_country}: {of_type.title()} - Business",
                "iso_country": of_country,
                "number_type": of_type,
                "end_user_type": "business",
                "requirements": {"end_user": [{"type": "business"}], "supporting_document": []},
                "url": f"{url}/{regulation_sid(of_country, of_type)}",
            }
            for of_country, of_type in sorted(self.regulated)
            if country in ("", of_country) and number_type in ("", of_type)
        ]


Kept = TypeVar("Kept", Bundle, Address)


def find(kept: Iterable[Kept], sid: str) -> Kept | None:
    return next((one for one in kept if one.sid == sid), None)


def regulation_sid(country: str, number_type: str) -> str:
    return f"RN{f'{country}{number_type}'.encode().hex():0<32.32}"


def everyday_standing() -> Standing:
    """What an account of the simulated carrier begins with: three countries want to know who uses their numbers."""
    return Standing(
        address_requirements={"AU": "any", "HU": "local"},
        regulated=frozenset({("BE", "local"), ("HU", "local"), ("HU", "mobile")}),
        bundles=(
            Bundle(f"BU{'b' * 32}", "Belgium, office", "BE", "local"),
            Bundle(f"BU{'c' * 32}", "Hungary, office", "HU", "local"),
            Bundle(f"BU{'d' * 32}", "Hungary, mobile", "HU", "mobile", "in-review"),
        ),
        addresses=(
            Address(f"AD{'a' * 32}", "Head office", "Alder Cycles", "12 Alder Street", "Denver", "80202", "US"),
            Address(f"AD{'b' * 32}", "Budapest", "Alder Cycles", "Andrássy út 1", "Budapest", "1061", "HU"),
        ),
    )
