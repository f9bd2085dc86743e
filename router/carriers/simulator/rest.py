"""The simulated carrier's REST side in Twilio's wire format: searching, buying, changing and giving back numbers, and their prices; the
account's calls, and their recordings with their files. Also as an HTTP server on the loopback."""

import base64
import hmac
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import phonenumbers
import structlog

from router.carriers.simulator import account
from router.carriers.simulator.account import Account, Number, Taken, countries
from router.carriers.simulator.call_book import (
    BadFilter,
    CallBook,
    Row,
    call_document,
    is_ready,
    recording_document,
    silence,
)
from router.carriers.simulator.exchange import Reply
from router.carriers.simulator.standing import Standing, find

VERSION = "2010-04-01"
PRICING = "/v1/PhoneNumbers/Countries/"
PERMISSIONS = "/v1/DialingPermissions/Countries"
REGULATORY = "/v2/RegulatoryCompliance/"
REGULATIONS, BUNDLES = f"{REGULATORY}Regulations", f"{REGULATORY}Bundles"
PAGE_SIZE, LARGEST_PAGE = 50, 1000
LONGEST_NAME = 64
NUMBER_TYPES = {"Local": "local", "Mobile": "mobile", "TollFree": "toll-free"}
PRICES = {"local": 115, "mobile": 300, "toll-free": 215}
"""US cents a month in a country of the first group; others cost a multiple."""
KINDS = {
    ("", 0, "GET"): "account",
    ("Balance", 0, "GET"): "balance",
    ("AvailablePhoneNumbers", 0, "GET"): "countries",
    ("AvailablePhoneNumbers", 2, "GET"): "search",
    ("IncomingPhoneNumbers", 0, "GET"): "list",
    ("IncomingPhoneNumbers", 0, "POST"): "buy",
    ("IncomingPhoneNumbers", 1, "GET"): "fetch",
    ("IncomingPhoneNumbers", 1, "POST"): "update",
    ("IncomingPhoneNumbers", 1, "DELETE"): "release",
    ("Addresses", 0, "GET"): "addresses",
    ("Addresses", 1, "GET"): "address",
    ("Calls", 0, "GET"): "calls",
    ("Calls", 1, "GET"): "call",
    ("Calls", 1, "POST"): "redirect",
    ("Calls", 2, "GET"): "recordings of a call",
    ("Recordings", 0, "GET"): "recordings",
    ("Recordings", 1, "GET"): "recording",
    ("Recordings", 1, "DELETE"): "forget recording",
}
"""What is asked for, by resource, number of further parts of the path, and method."""
ELSEWHERE = {PRICING: "price", PERMISSIONS: "permissions", REGULATIONS: "regulations", BUNDLES: "bundles"}
"""What is asked for at Twilio's other hosts, by the start of the path."""
PATTERN = re.compile(r"(?=.{2,16}$)\+?[0-9*%]+\$?")


@dataclass(frozen=True)
class Request:
    """`kind` is what is asked for; `path` is the last part of its address: a country and type, or a sid. `origin` is where it was asked,
    `http://127.0.0.1:8123`."""

    kind: str
    values: dict[str, str]
    path: tuple[str, ...] = ()
    origin: str = ""


@dataclass(frozen=True)
class Answer:
    """`body` is JSON, or the bytes of a sound."""

    status: int
    body: Any = None

    def reply(self) -> Reply:
        if isinstance(self.body, bytes):
            return self.status, "audio/x-wav", self.body
        return self.status, "application/json", b"" if self.body is None else json.dumps(self.body).encode()


def refused(code: int, message: str, status: int = 400) -> Answer:
    """Twilio's error document."""
    more = f"https://www.twilio.com/docs/errors/{code}"
    return Answer(status, {"code": code, "message": message, "more_info": more, "status": status})


def not_found() -> Answer:
    return refused(20404, "The requested resource was not found", 404)


class Rest:
    """One account with its token. Its calls are in the account's file."""

    def __init__(
        self,
        account: Account,
        sid: str,
        token: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        standing: Standing | None = None,
        redirect: Callable[[str, str], bool] = lambda sid, url: False,
    ) -> None:
        """`redirect`: makes the call with this SID go on at an address; False: it is not in progress."""
        self.account = account
        self.standing = standing or Standing()
        self._calls = CallBook(account.path, account.sid)
        self._now, self._redirect = now, redirect
        self._sid, self._token = sid, token
        self._signed_in = b"Basic " + base64.b64encode(f"{sid}:{token}".encode())
        self._base = f"/{VERSION}/Accounts/{quote(sid, safe='')}"

    def reply(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """A mount of the simulated exchange."""
        return self.answer(method, target, headers, body).reply()

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        authorization = headers.get("Authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(authorization, self._signed_in):
            return refused(20003, "Authenticate", 401)
        parts, origin = urlsplit(target), f"http://{headers.get('Host', '')}"
        values = dict(parse_qsl(parts.query, keep_blank_values=True))
        values |= dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        for start, kind_there in ELSEWHERE.items():
            if parts.path.startswith(start) and method == "GET":
                named = unquote(parts.path.removeprefix(start)).strip("/")
                return self.do(Request(kind_there, values, (named,), origin))
        if not parts.path.startswith((f"{self._base}/", f"{self._base}.json")):
            return not_found()
        target = unquote(parts.path.removeprefix(self._base).removeprefix("/"))
        resource, *path = target.removesuffix(".json").split("/")
        kind = KINDS.get((resource, len(path), method))
        if kind == "recording" and not target.endswith(".json"):
            kind = "media"
        return self.do(Request(kind, values, tuple(path), origin)) if kind else not_found()

    def do(self, request: Request) -> Answer:
        values = request.values
        if request.kind == "account":
            return Answer(200, self._account_document())
        if self.standing.status != "active":
            return refused(10001, "Account is not active", 403)
        if request.kind in ELSEWHERE.values():
            return self._do_elsewhere(request)
        match request.kind:
            case "balance":
                balance = {"account_sid": self._sid, "balance": self.standing.balance, "currency": "USD"}
                return Answer(200, balance)
            case "addresses":
                country, addresses = values.get("IsoCountry", ""), self.standing.addresses
                listed = [one.document(self._sid, self._base) for one in addresses if country in ("", one.country)]
                return self._page("Addresses", "addresses", listed, values)
            case "address":
                address = find(self.standing.addresses, request.path[0])
                return Answer(200, address.document(self._sid, self._base)) if address else not_found()
            case "countries":
                documents = [
                    {
                        "country_code": code,
                        "country": code,
                        "beta": False,
                        "uri": f"{self._base}/AvailablePhoneNumbers/{code}.json",
                    }
                    for code in countries()
                ]
                return self._page("AvailablePhoneNumbers", "countries", documents, values)
            case "search":
                return self._search(request)
            case "list":
                numbers = self.account.numbers(values.get("PhoneNumber", "").strip("*"))
                documents = [self._document(number) for number in numbers]
                return self._page("IncomingPhoneNumbers", "incoming_phone_numbers", documents, values)
            case "fetch":
                number = self.account.find(request.path[0])
                return Answer(200, self._document(number)) if number else not_found()
            case "buy":
                return self._buy(values)
            case "update":
                if refusal := refusal_of_settings(values):
                    return refusal
                number = self.account.change(request.path[0], values)
                return Answer(200, self._document(number)) if number else not_found()
            case "release":
                return Answer(204) if self.account.release(request.path[0]) else not_found()
            case _:
                return self._do_with_calls(request)

    def _search(self, request: Request) -> Answer:
        """Numbers for sale, without the numbers that somebody has."""
        country, number_type = request.path[0], NUMBER_TYPES.get(request.path[-1])
        if country not in countries() or number_type is None or not account.is_sold(country, number_type):
            return not_found()
        pattern, area = request.values.get("Contains", ""), request.values.get("AreaCode", "")
        if pattern and not PATTERN.fullmatch(pattern):
            return refused(20001, "Contains is not valid.")
        if area and not re.fullmatch(r"[0-9]{3}", area):
            return refused(21451, "AreaCode is not valid.")
        if area and country not in ("US", "CA"):
            return refused(21457, "AreaCode is not supported for this country.")
        # what numbers begin with in national form, and what they contain
        begins, inside = area, pattern.strip("*%$")
        code = f"+{phonenumbers.country_code_for_region(country)}"
        if pattern.startswith(code):
            begins, _, inside = pattern.removeprefix(code).partition("%")
            begins = area or begins
        # over E.164: `+` at the beginning is the number's own, `*` one digit, `%` any
        digits = "".join({"*": "[0-9]", "%": "[0-9]*"}.get(sign, sign) for sign in pattern.lstrip("+"))
        expression = re.compile(rf"\+{'' if pattern.startswith('+') else '[0-9]*'}{digits}")
        taken, limit = self.account.taken(), page_size(request.values)
        stock = account.search(country, inside, number_type, limit + len(taken), begins)
        free = [number for number in stock if number.e164 not in taken and expression.match(number.e164)]
        return Answer(
            200,
            {
                "available_phone_numbers": [
                    offer(number)
                    | {"address_requirements": self.standing.address_requirements.get(number.country, "none")}
                    for number in free[:limit]
                ],
                "uri": f"{self._base}/AvailablePhoneNumbers/{country}/{request.path[-1]}.json",
            },
        )

    def _buy(self, values: Mapping[str, str]) -> Answer:
        e164 = values.get("PhoneNumber", "")
        if not e164:
            return refused(21452, "No phone numbers found in area code.")
        try:
            is_number = e164.startswith("+") and phonenumbers.is_valid_number(phonenumbers.parse(e164, None))
        except phonenumbers.NumberParseException:
            is_number = False
        if not is_number:
            return refused(21421, f"PhoneNumber {e164} is not valid")
        if refusal := refusal_of_settings(values):
            return refusal
        if error := self.standing.refusal(e164, values, self._now()):
            return refused(*error)
        try:
            return Answer(201, self._document(self.account.buy(e164, values)))
        except Taken:
            return refused(21422, f"{e164} is not available")

    def _do_with_calls(self, request: Request) -> Answer:
        values, sid = request.values, request.path[0] if request.path else ""
        match request.kind:
            case "call":
                call = self._calls.find_call(sid)
                return Answer(200, self._call(call)) if call else not_found()
            case "redirect":
                call = self._calls.find_call(sid)
                if call is None:
                    return not_found()
                if not values.get("Url", "").startswith(("http://", "https://")):
                    return refused(21205, "Url is not a valid URL")
                if not self._redirect(sid, values["Url"]):
                    return refused(21220, "Call is not in-progress. Cannot redirect.")
                return Answer(200, self._call(call))
            case "calls":
                return self._list("Calls", "calls", self._calls.calls, self._call, values)
            case "recording":
                recording = self._calls.find_recording(sid)
                return Answer(200, self._recording(recording, request.origin)) if recording else not_found()
            case "media":
                return self._media(sid, values)
            case "forget recording":
                return Answer(204) if self._calls.forget_recording(sid) else not_found()
        path = "Recordings"
        if request.kind == "recordings of a call":
            if request.path[1] != "Recordings":
                return not_found()
            path, values = f"Calls/{sid}/Recordings", values | {"CallSid": sid}

        def document(recording: Row) -> dict[str, Any]:
            return self._recording(recording, request.origin)

        return self._list(path, "recordings", self._calls.recordings, document, values)

    def _call(self, call: Row) -> dict[str, Any]:
        numbers = self.account.numbers(call["dialled"])
        document = call_document(call, self._base, self._sid, self._now())
        if call["direction"] == "inbound" and numbers and numbers[0]["e164"] == call["dialled"]:
            document["phone_number_sid"] = numbers[0]["sid"]
        return document

    def _recording(self, recording: Row, origin: str) -> dict[str, Any]:
        return recording_document(recording, self._base, self._sid, self._now(), origin)

    def _media(self, name: str, values: Mapping[str, str]) -> Answer:
        """The file of a recording: WAV, by its sid with or without that ending. Two channels have to be asked for."""
        recording = self._calls.find_recording(name.removesuffix(".wav"))
        if recording is None or not is_ready(recording, self._now()):
            return not_found()
        channels = values.get("RequestedChannels", "1")
        if channels not in ("1", str(recording["channels"])):
            return refused(20001, "RequestedChannels is not valid")
        return Answer(200, silence(recording["seconds"], int(channels)))

    def _list(
        self,
        path: str,
        name: str,
        read: Callable[[Mapping[str, str], str, int], list[Row]],
        document: Callable[[Row], dict[str, Any]],
        values: Mapping[str, str],
    ) -> Answer:
        """A page of calls or recordings. The token names the last one of the page before, so that new ones move nothing."""
        size, page, token = page_size(values), page_number(values), values.get("PageToken", "")
        if page and not token:
            return refused(20001, "Page is not valid without PageToken")
        try:
            rows = read(values, token.removeprefix("PA"), size + 1)
        except BadFilter as error:
            return refused(20001, f"{error} is not valid")
        following = f"PA{rows[size - 1]['sid']}" if len(rows) > size else None
        return self._page_of(path, name, [document(row) for row in rows[:size]], values, following)

    def _page(self, path: str, name: str, documents: list[Any], values: Mapping[str, str]) -> Answer:
        """A page of a list that is known as a whole."""
        size, page = page_size(values), page_number(values)
        following = f"PA{page + 1}" if len(documents) > (page + 1) * size else None
        return self._page_of(path, name, documents[page * size : (page + 1) * size], values, following)

    def _page_of(
        self, path: str, name: str, shown: list[Any], values: Mapping[str, str], following: str | None
    ) -> Answer:
        """As at Twilio, the parameters of a list stand in the address of its next page, with the token `following`."""
        size, page = page_size(values), page_number(values)
        uri = f"{self._base}/{path}.json"
        kept = {key: value for key, value in values.items() if key not in ("Page", "PageToken")}
        more = urlencode({**kept, "PageSize": size, "Page": page + 1, "PageToken": following or ""})
        return Answer(
            200,
            {
                name: shown,
                "first_page_uri": f"{uri}?PageSize={size}&Page=0",
                "next_page_uri": f"{uri}?{more}" if following else None,
                "previous_page_uri": None,
                "page": page,
                "page_size": size,
                "start": page * size,
                "end": page * size + max(len(shown) - 1, 0),
                "uri": f"{uri}?PageSize={size}&Page={page}",
            },
        )

    def _do_elsewhere(self, request: Request) -> Answer:
        """What Twilio's other hosts do. `path` is the sid or country that is asked for; empty: a list is."""
        values, standing, (named,) = request.values, self.standing, request.path
        country, number_type = values.get("IsoCountry", ""), values.get("NumberType", "")
        if request.kind == "price":
            return price(named)
        if request.kind == "bundles":
            url = f"{request.origin}{BUNDLES}"
            if named:
                bundle = find(standing.bundles, named)
                return Answer(200, bundle.document(self._sid, url)) if bundle else not_found()
            listed = [
                bundle.document(self._sid, url)
                for bundle in standing.bundles
                if country in ("", bundle.country)
                and number_type in ("", bundle.number_type)
                and values.get("Status", "") in ("", bundle.status)
            ]
            return self._page_elsewhere("results", listed, request, BUNDLES)
        if named:
            return not_found()
        if request.kind == "regulations":
            regulations = standing.regulations(country, number_type, f"{request.origin}{REGULATIONS}")
            return self._page_elsewhere("results", regulations, request, REGULATIONS)
        content = permissions(standing.closed_countries, f"{request.origin}{PERMISSIONS}")
        return self._page_elsewhere("content", content, request, PERMISSIONS)

    def _page_elsewhere(self, name: str, documents: list[Any], request: Request, path: str) -> Answer:
        """As at Twilio's other hosts, the addresses of pages are whole ones, and the list's name stands in `meta`."""
        values, url = request.values, f"{request.origin}{path}"
        size, page = page_size(values), page_number(values)
        kept = {key: value for key, value in values.items() if key not in ("Page", "PageToken")}
        more = urlencode({**kept, "PageSize": size, "Page": page + 1, "PageToken": f"PA{page + 1}"})
        meta = {
            "key": name,
            "page": page,
            "page_size": size,
            "first_page_url": f"{url}?PageSize={size}&Page=0",
            "previous_page_url": None,
            "url": f"{url}?PageSize={size}&Page={page}",
            "next_page_url": f"{url}?{more}" if len(documents) > (page + 1) * size else None,
        }
        return Answer(200, {name: documents[page * size : (page + 1) * size], "meta": meta})

    def _account_document(self) -> dict[str, Any]:
        parts = ("available_phone_numbers", "incoming_phone_numbers", "calls", "recordings", "balance")
        return {
            "sid": self._sid,
            "owner_account_sid": self._sid,
            "friendly_name": "Simulated account",
            "auth_token": self._token,
            "status": self.standing.status,
            "type": self.standing.kind,
            "date_created": "Mon, 06 Jan 2020 09:00:00 +0000",
            "date_updated": "Mon, 06 Jan 2020 09:00:00 +0000",
            "uri": f"{self._base}.json",
            "subresource_uris": {part: f"{self._base}/{part.title().replace('_', '')}.json" for part in parts},
        }

    def _document(self, number: Number) -> dict[str, Any]:
        kept = {key: value for key, value in number.items() if key not in ("e164", "ord", "made", "account")}
        return kept | {
            "account_sid": self._sid,
            "phone_number": number["e164"],
            "capabilities": {"voice": True, "sms": False, "mms": False, "fax": False},
            "address_sid": number["address_sid"] or None,
            "bundle_sid": number["bundle_sid"] or None,
            "address_requirements": "none",
            "api_version": VERSION,
            "beta": False,
            "date_created": number["made"],
            "date_updated": number["made"],
            "origin": "twilio",
            "status": "in-use",
            "trunk_sid": None,
            "voice_application_sid": "",
            "uri": f"{self._base}/IncomingPhoneNumbers/{number['sid']}.json",
        }


def page_number(values: Mapping[str, str]) -> int:
    page = values.get("Page", "")
    return int(page) if re.fullmatch(r"[0-9]{1,6}", page) else 0


def page_size(values: Mapping[str, str]) -> int:
    size = values.get("PageSize", "")
    return max(1, min(int(size), LARGEST_PAGE)) if size.isdigit() else PAGE_SIZE


def refusal_of_settings(values: Mapping[str, str]) -> Answer | None:
    """What Twilio refuses of a number's settings."""
    if len(values.get("FriendlyName", "")) > LONGEST_NAME or not values.get("FriendlyName", "").isprintable():
        return refused(20001, "FriendlyName is not valid")
    for name in ("VoiceUrl", "VoiceFallbackUrl", "StatusCallback", "SmsUrl"):
        if values.get(name) and not values[name].startswith(("http://", "https://")):
            return refused(21402, f"{name} is not a valid URL")
    for name in ("VoiceMethod", "VoiceFallbackMethod", "StatusCallbackMethod", "SmsMethod"):
        if values.get(name, "POST") not in ("GET", "POST"):
            return refused(21403, f"{name} is not valid")
    if values.get("VoiceFallbackUrl") and not values.get("VoiceUrl"):
        return refused(21405, "VoiceFallbackUrl without VoiceUrl")
    return None


def price(country: str) -> Answer:
    if country not in countries():
        return not_found()
    factor = 1 if country in ("US", "CA", "GB", "PR") else 1 + sum(country.encode()) % 7
    prices = []
    for number_type, cents in PRICES.items():
        if account.is_sold(country, number_type):
            amount = f"{cents * factor // 100}.{cents * factor % 100:02}"
            prices.append({"number_type": number_type.replace("-", " "), "base_price": amount, "current_price": amount})
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


def permissions(closed: frozenset[str], url: str) -> list[dict[str, Any]]:
    """Which countries the account may call."""
    return [
        {
            "iso_code": code,
            "name": code,
            "continent": None,
            "country_codes": [f"+{phonenumbers.country_code_for_region(code)}"],
            "low_risk_numbers_enabled": code not in closed,
            "high_risk_special_numbers_enabled": False,
            "high_risk_tollfraud_numbers_enabled": False,
            "url": f"{url}/{code}",
            "links": {"highrisk_special_prefixes": f"{url}/{code}/HighRiskSpecialPrefixes"},
        }
        for code in countries()
    ]


def offer(number: account.StockNumber) -> dict[str, Any]:
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
        "beta": False,
        "capabilities": {"voice": True, "SMS": False, "MMS": False},
    }


LARGEST_BODY = 64 * 1024

log = structlog.get_logger(__name__)


class Handler(BaseHTTPRequestHandler):
    server: "RestServer"
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        length = self.headers.get("Content-Length") or "0"
        if not length.isdigit() or int(length) > LARGEST_BODY:
            self.close_connection = True
            self.send_error(413)
            return
        headers = {name.title(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(length))
        try:
            answer = self.server.rest.answer(self.command, self.path, headers, body)
        except Exception:  # a fault of the simulator's own, which a closed connection would hide
            log.exception("simulated_rest_failed", path=urlsplit(self.path).path)
            answer = refused(20500, "Internal Server Error", 500)
        self.send(answer)

    do_POST = do_DELETE = do_GET

    def send(self, answer: Answer) -> None:
        status, content_type, body = answer.reply()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: Any) -> None:
        """Whoever wants to know asks for the history."""


class Answering(Protocol):
    """An account, or all of them."""

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer: ...


class RestServer(ThreadingHTTPServer):
    """Serves the account of `rest` to whoever signs in with its token."""

    daemon_threads = True

    def __init__(self, rest: Answering, handler: type[Handler] = Handler) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.rest = rest
        self.url = f"http://127.0.0.1:{self.server_port}"

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, args=(0.1,), name="simulated-rest", daemon=True).start()

    def handle_error(self, *_: Any) -> None:
        """A client that does not wait for its answer is nothing to report."""
