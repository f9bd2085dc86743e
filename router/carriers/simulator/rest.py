"""The simulated carrier's REST side in Twilio's wire format: searching, buying, changing and giving back numbers, and their prices.

What the simulated carrier sells, searched with Twilio's patterns, and what it asks for it.

Requests and answers of the simulated carrier's REST side, with Twilio's error documents."""

import base64
import hmac
import json
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import phonenumbers

from router.carriers.simulator import account
from router.carriers.simulator.account import Account, Number, Taken, countries
from router.carriers.simulator.exchange import Reply
from router.carriers.simulator.rest_ways import error_body


@dataclass(frozen=True)
class Request:
    """`kind` is what the ways of misbehaving go by; `rest` is the last part of its path: a country and type, or a sid."""

    kind: str
    values: dict[str, str]
    rest: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any = None
    kind: str = "application/json"
    retry_after: str = ""

    def reply(self) -> Reply:
        body = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return self.status, self.kind, b"" if self.body is None else body.encode()


def refused(code: int, message: str, status: int = 400) -> Answer:
    return Answer(status, error_body(status, code, message))


def not_found() -> Answer:
    return refused(20404, "The requested resource was not found", 404)


def not_signed_in() -> Answer:
    return refused(20003, "Authenticate", 401)


KINDS = {"Local": "local", "Mobile": "mobile", "TollFree": "toll-free"}
PRICES = {"local": 115, "mobile": 300, "toll-free": 215}
"""US cents a month in a country of the first group; others cost a multiple."""
PATTERN = re.compile(r"(?=.{2,16}$)\+?[0-9*%]+\$?")


def search(request: Request, taken: Set[str], limit: int, base: str) -> Answer:
    """Numbers for sale; those that somebody has are not offered."""
    country, kind = request.rest[0], KINDS.get(request.rest[1])
    if country not in account.countries() or kind is None or not account.is_sold(country, kind):
        return not_found()
    pattern, area = request.values.get("Contains", ""), request.values.get("AreaCode", "")
    if pattern and not PATTERN.fullmatch(pattern):
        return refused(20001, "Contains is not valid.")
    if area and not re.fullmatch(r"[0-9]{3}", area):
        return refused(21451, "AreaCode is not valid.")
    if area and country not in ("US", "CA"):
        return refused(21457, "AreaCode is not supported for this country.")
    begins, inside = _in_stock(country, pattern, area)
    found = account.search(country, inside, kind, limit + len(taken), begins)
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
    if country not in account.countries():
        return not_found()
    factor = 1 if country in ("US", "CA", "GB", "PR") else 1 + sum(country.encode()) % 7
    prices = [
        {
            "number_type": kind.replace("-", " "),
            "base_price": _money(cents * factor),
            "current_price": _money(cents * factor),
        }
        for kind, cents in PRICES.items()
        if account.is_sold(country, kind)
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


def _offer(number: account.StockNumber) -> dict[str, Any]:
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


VERSION = "2010-04-01"
PRICING = "/v1/PhoneNumbers/Countries/"
PAGE_SIZE, LARGEST_PAGE = 50, 1000
LONGEST_NAME = 64


class Rest:
    """One account with its token. `read` says what a request is, `do` does it."""

    def __init__(self, account: Account, sid: str, token: str) -> None:
        self.account = account
        self._sid = sid
        self._signed_in = b"Basic " + base64.b64encode(f"{sid}:{token}".encode())
        self._base = f"/{VERSION}/Accounts/{quote(sid, safe='')}"

    def reply(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answers a request without any misbehaviour; a mount of the simulated exchange."""
        if not self.knows(headers.get("Authorization", "")):
            return not_signed_in().reply()
        request = self.read(method, target, body)
        return (self.do(request) if request else not_found()).reply()

    def knows(self, authorization: str) -> bool:
        return hmac.compare_digest(authorization.encode("utf-8", "replace"), self._signed_in)

    def read(self, method: str, target: str, body: bytes) -> Request | None:
        """None: there is nothing at this address."""
        parts = urlsplit(target)
        values = dict(parse_qsl(parts.query, keep_blank_values=True))
        values |= dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        if parts.path.startswith(PRICING) and method == "GET":
            return Request("price", values, (unquote(parts.path.removeprefix(PRICING)),))
        if not parts.path.startswith(f"{self._base}/"):
            return None
        names = unquote(parts.path.removeprefix(f"{self._base}/")).removesuffix(".json").split("/")
        kind = _kind(method, names)
        return Request(kind, values, tuple(names[1:])) if kind else None

    def do(self, request: Request) -> Answer:
        return {
            "countries": self._countries,
            "search": self._search,
            "price": price,
            "list": self._list,
            "fetch": self._fetch,
            "buy": self._buy,
            "update": self._update,
            "release": self._release,
        }[request.kind](request)

    def _countries(self, request: Request) -> Answer:
        found = [
            {
                "country_code": code,
                "country": code,
                "beta": False,
                "uri": f"{self._base}/AvailablePhoneNumbers/{code}.json",
            }
            for code in countries()
        ]
        return self._page("AvailablePhoneNumbers", "countries", found, request.values)

    def _search(self, request: Request) -> Answer:
        return search(request, self.account.taken(), page_size(request.values), self._base)

    def _list(self, request: Request) -> Answer:
        part = request.values.get("PhoneNumber", "").strip("*")
        found = [self._document(number) for number in self.account.numbers(part)]
        return self._page("IncomingPhoneNumbers", "incoming_phone_numbers", found, request.values)

    def _fetch(self, request: Request) -> Answer:
        found = self.account.find(request.rest[0])
        return Answer(200, self._document(found)) if found else not_found()

    def _buy(self, request: Request) -> Answer:
        e164 = request.values.get("PhoneNumber", "")
        if not e164:
            return refused(21452, "No phone numbers found in area code.")
        if not _is_number(e164):
            return refused(21421, f"PhoneNumber {e164} is not valid")
        if wrong := _wrong(request.values):
            return wrong
        try:
            return Answer(201, self._document(self.account.buy(e164, request.values)))
        except Taken:
            return refused(21422, f"{e164} is not available")

    def _update(self, request: Request) -> Answer:
        if wrong := _wrong(request.values):
            return wrong
        changed = self.account.change(request.rest[0], request.values)
        return Answer(200, self._document(changed)) if changed else not_found()

    def _release(self, request: Request) -> Answer:
        return Answer(204) if self.account.release(request.rest[0]) else not_found()

    def _page(self, path: str, name: str, found: list[Any], values: Mapping[str, str]) -> Answer:
        """A page of a list. As at Twilio, its parameters stand in the address of the next one."""
        size, page = page_size(values), int(values["Page"]) if values.get("Page", "").isdigit() else 0
        uri = f"{self._base}/{path}.json"
        kept = {key: value for key, value in values.items() if key not in ("Page", "PageToken")}
        more = urlencode({**kept, "Page": page + 1, "PageToken": f"PA{page + 1}"})
        shown = found[page * size : (page + 1) * size]
        return Answer(
            200,
            {
                name: shown,
                "first_page_uri": f"{uri}?PageSize={size}&Page=0",
                "next_page_uri": f"{uri}?{more}" if len(found) > (page + 1) * size else None,
                "previous_page_uri": None,
                "page": page,
                "page_size": size,
                "start": page * size,
                "end": page * size + max(len(shown) - 1, 0),
                "uri": f"{uri}?PageSize={size}&Page={page}",
            },
        )

    def _document(self, number: Number) -> dict[str, Any]:
        kept = {key: value for key, value in number.items() if key not in ("e164", "ord", "made")}
        return kept | {
            "account_sid": self._sid,
            "phone_number": number["e164"],
            "capabilities": {"voice": True, "sms": False, "mms": False, "fax": False},
            "address_requirements": "none",
            "api_version": VERSION,
            "beta": False,
            "date_created": number["made"],
            "date_updated": number["made"],
            "origin": "twilio",
            "status": "in-use",
            "uri": f"{self._base}/IncomingPhoneNumbers/{number['sid']}.json",
        }


def _kind(method: str, names: list[str]) -> str:
    if names[0] == "AvailablePhoneNumbers" and method == "GET":
        return {1: "countries", 3: "search"}.get(len(names), "")
    if names[0] == "IncomingPhoneNumbers" and len(names) == 1:
        return {"GET": "list", "POST": "buy"}.get(method, "")
    if names[0] == "IncomingPhoneNumbers" and len(names) == 2:
        return {"GET": "fetch", "POST": "update", "DELETE": "release"}.get(method, "")
    return ""


def page_size(values: Mapping[str, str]) -> int:
    asked = values.get("PageSize", "")
    return max(1, min(int(asked), LARGEST_PAGE)) if asked.isdigit() else PAGE_SIZE


def _is_number(e164: str) -> bool:
    try:
        return e164.startswith("+") and phonenumbers.is_valid_number(phonenumbers.parse(e164, None))
    except phonenumbers.NumberParseException:
        return False


def _wrong(values: Mapping[str, str]) -> Answer | None:
    """What Twilio refuses of a number's settings."""
    if len(values.get("FriendlyName", "")) > LONGEST_NAME or not values.get("FriendlyName", "").isprintable():
        return refused(20001, "FriendlyName is not valid")
    for name in ("VoiceUrl", "VoiceFallbackUrl", "StatusCallback"):
        if values.get(name) and not values[name].startswith(("http://", "https://")):
            return refused(21402, f"{name} is not a valid URL")
    for name in ("VoiceMethod", "VoiceFallbackMethod", "StatusCallbackMethod"):
        if values.get(name, "POST") not in ("GET", "POST"):
            return refused(21403, f"{name} is not valid")
    if values.get("VoiceFallbackUrl") and not values.get("VoiceUrl"):
        return refused(21405, "VoiceFallbackUrl without VoiceUrl")
    return None
