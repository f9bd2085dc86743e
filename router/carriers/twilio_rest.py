"""Twilio's REST side: numbers are searched, bought, pointed here and given back (facts on Twilio, section 4). The simulator speaks it too.

It uses our own limited HTTP client, not twilio-python's: only that one tells whether a byte of a failed request had left, ends
a request that drips, and does not take a page of HTML for success. Nothing is repeated here.
"""

import base64
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlencode

from router.carriers import twilio_answers as answers
from router.carriers.shop import CarrierPrice, Gone, NotForUs, Offer, OutcomeUnknown, Owned, TryLater
from router.carriers.twilio_search import E164, Search
from router.outgoing import Outgoing

VERSION = "2010-04-01"
PAGE_SIZE = 1000
MOST_PAGES = 100
LONGEST_LABEL = 64
KINDS = {"local": "Local", "mobile": "Mobile", "toll-free": "TollFree"}
PRICE_NAMES = {"local": "local", "mobile": "mobile", "toll-free": "toll free"}
REMEMBERED_SECONDS = 3600.0
"""How long prices and the list of countries are believed."""
SID = re.compile(r"[A-Za-z0-9_-]{1,64}")
COUNTRY = re.compile(r"[A-Z]{2}")
AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
CURRENCY = re.compile(r"[A-Z]{3}")
STATUS_RETRIES = "#rc=3&rp=all"
"""Twilio repeats a status callback only when it is told to (facts on Twilio, 1.3)."""


class TwilioShop:
    """A NumberShop at `api` (and `pricing`), for an account. `voice` is this server's public address."""

    def __init__(self, http: Outgoing, api: str, pricing: str, account: str, token: str, voice: str) -> None:
        self._http = http
        self._base = f"{api}/{VERSION}/Accounts/{quote(account, safe='')}"
        self._api = api
        self._pricing = pricing
        self._voice = voice
        signed_in = base64.b64encode(f"{account}:{token}".encode()).decode()
        self._headers = {"Authorization": f"Basic {signed_in}", "Accept": "application/json"}
        self._remembered: dict[str, tuple[float, Any]] = {}

    def countries(self) -> Sequence[str]:
        known: Sequence[str] | None = self._recall("countries")
        if known is None:
            found = self._pages(f"{self._base}/AvailablePhoneNumbers.json?PageSize={PAGE_SIZE}", "countries")
            codes = {_text(one, "country_code") for one in found}
            known = self._remember("countries", sorted(code for code in codes if COUNTRY.fullmatch(code)))
        return known

    def search(self, country: str, area_code: str = "", contains: str = "", limit: int = 20) -> list[Offer]:
        """Offers of the first kind that has any: local numbers, else mobile ones, else toll-free ones."""
        search, deadline = Search(country, area_code, contains, limit), self._http.deadline()
        for kind in KINDS:
            if found := self._search(search, kind, deadline):
                return self._offers(search, kind, found, deadline)
        return []

    def price(self, country: str) -> CarrierPrice | None:
        return self._price(country, "local", self._http.deadline())

    def buy(self, e164: str, label: str) -> Owned:
        values = {"PhoneNumber": e164, "FriendlyName": clean_label(label), **self._addresses()}
        owned = _owned(self._post(f"{self._base}/IncomingPhoneNumbers.json", values))
        if owned is None or owned.e164 != e164:
            raise OutcomeUnknown("The carrier's answer does not say which number it sold.")
        return owned

    def find(self, e164: str) -> Owned | None:
        """Twilio's own filter finds parts of numbers as well."""
        query = urlencode({"PhoneNumber": e164, "PageSize": PAGE_SIZE})
        url, deadline = f"{self._base}/IncomingPhoneNumbers.json?{query}", self._http.deadline()
        found = self._pages(url, "incoming_phone_numbers", deadline)
        return next((owned for one in found if (owned := _owned(one)) and owned.e164 == e164), None)

    def owned(self) -> list[Owned]:
        url = f"{self._base}/IncomingPhoneNumbers.json?PageSize={PAGE_SIZE}"
        found = [owned for one in self._pages(url, "incoming_phone_numbers") if (owned := _owned(one))]
        return list({owned.sid: owned for owned in found}.values())

    def configure(self, sid: str) -> None:
        """
        Raises:
            Gone: the account has no such number.
        """
        self._post(self._number(sid), self._addresses(), missing=Gone("The carrier does not have this number."))

    def release(self, sid: str) -> None:
        answer = answers.sent(self._http, "DELETE", self._number(sid), b"", self._headers, self._http.deadline())
        if answer.status != 204 and not answers.is_missing(answer):
            raise answers.failure(answer, changing=True)

    def _search(self, search: Search, kind: str, deadline: float) -> list[Mapping[str, Any]]:
        url = f"{self._base}/AvailablePhoneNumbers/{search.country}/{KINDS[kind]}.json"
        *narrower, widest = [f"{url}?{urlencode(query)}" for query in search.queries()]
        body = None
        for query in narrower:
            with suppress(NotForUs):
                body = self._read(query, deadline, missing={})
        if body is None:
            body = self._read(widest, deadline, missing={})
        found = answers.records(body, "available_phone_numbers")
        return [one for one in found if search.fits(_text(one, "phone_number"))]

    def _offers(self, search: Search, kind: str, found: list[Mapping[str, Any]], deadline: float) -> list[Offer]:
        try:
            price = self._price(search.country, kind, deadline)
        except (TryLater, NotForUs):  # numbers may be shown without it
            price = None
        numbers = {_text(one, "phone_number"): one for one in found}
        return [
            Offer(e164, search.country, kind, _text(one, "locality") or _text(one, "region"), price)
            for e164, one in list(numbers.items())[: search.limit]
        ]

    def _price(self, country: str, kind: str, deadline: float) -> CarrierPrice | None:
        body = self._recall(f"price {country}")
        if body is None:
            url = f"{self._pricing}/v1/PhoneNumbers/Countries/{quote(country, safe='')}"
            body = self._remember(f"price {country}", self._read(url, deadline, missing={}))
        currency = _text(body, "price_unit").upper()
        for one in answers.records(body, "phone_number_prices"):
            amount = _text(one, "current_price") or _text(one, "base_price")
            usable = AMOUNT.fullmatch(amount) and CURRENCY.fullmatch(currency)
            if _text(one, "number_type") == PRICE_NAMES[kind] and usable:
                return CarrierPrice(amount, currency)
        return None

    def _pages(self, url: str, name: str, deadline: float | None = None) -> list[Mapping[str, Any]]:
        """All records of a list. Without a deadline of the whole, each page has its own.

        Raises:
            TryLater: no whole list could be had.
        """
        found: list[Mapping[str, Any]] = []
        for _ in range(MOST_PAGES):
            body = self._read(url, deadline or self._http.deadline())
            found += answers.records(body, name)
            following = body.get("next_page_uri")
            if not following:
                return found
            url = self._following(following)
        raise TryLater("The carrier's list does not end.")

    def _following(self, uri: object) -> str:
        """The next page is asked from the same account; our key goes nowhere else."""
        url = f"{self._api}{uri}"
        if not isinstance(uri, str) or not url.startswith((f"{self._base}/", f"{self._base}.")):
            raise TryLater("The carrier's list goes on at an address that is not its own.")
        return url

    def _read(self, url: str, deadline: float, missing: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = answers.sent(self._http, "GET", url, b"", self._headers, deadline)
        if missing is not None and answers.is_missing(answer):
            return missing
        return answers.document(answer, changing=False)

    def _post(self, url: str, values: Mapping[str, str], missing: Exception | None = None) -> dict[str, Any]:
        headers = {**self._headers, "Content-Type": "application/x-www-form-urlencoded"}
        answer = answers.sent(self._http, "POST", url, urlencode(values).encode(), headers, self._http.deadline())
        if missing is not None and answers.is_missing(answer):
            raise missing
        return answers.document(answer, changing=True)

    def _number(self, sid: str) -> str:
        return f"{self._base}/IncomingPhoneNumbers/{quote(sid, safe='')}.json"

    def _addresses(self) -> dict[str, str]:
        return {
            "VoiceUrl": f"{self._voice}/voice/inbound",
            "VoiceMethod": "POST",
            "VoiceFallbackUrl": f"{self._voice}/voice/fallback",
            "VoiceFallbackMethod": "POST",
            "StatusCallback": f"{self._voice}/voice/status{STATUS_RETRIES}",
            "StatusCallbackMethod": "POST",
        }

    def _recall(self, name: str) -> Any:
        until, value = self._remembered.get(name, (0.0, None))
        return value if time.monotonic() < until else None

    def _remember(self, name: str, value: Any) -> Any:
        self._remembered[name] = (time.monotonic() + REMEMBERED_SECONDS, value)
        return value


def clean_label(label: str) -> str:
    """What may stand in a FriendlyName: no control characters, at most 64."""
    return answers.printable(label)[:LONGEST_LABEL]


def _owned(record: Mapping[str, Any]) -> Owned | None:
    e164, sid = _text(record, "phone_number"), _text(record, "sid")
    if not E164.fullmatch(e164) or not SID.fullmatch(sid):
        return None
    return Owned(e164, sid, _text(record, "friendly_name"))


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return clean_label(value) if isinstance(value, str) else ""
