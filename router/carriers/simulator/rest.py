"""The simulated carrier's REST side in Twilio's wire format: searching, buying, changing and giving back numbers, and their prices."""

import base64
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import phonenumbers

from router.carriers.simulator import stock
from router.carriers.simulator.account import Account, Number, Taken
from router.carriers.simulator.rest_answers import Answer, Request, not_found, not_signed_in, refused
from router.carriers.simulator.rest_search import price, search
from router.carriers.simulator.server import Reply

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
            for code in stock.countries()
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
