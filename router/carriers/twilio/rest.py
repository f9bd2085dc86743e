"""Twilio's REST side: numbers are searched, bought, pointed here and given back
(https://www.twilio.com/docs/phone-numbers/api/incomingphonenumber-resource), and the account's calls are listed
(https://www.twilio.com/docs/voice/api/call-resource). The simulator speaks it too.

It uses our own limited HTTP client, not twilio-python's: only that one tells whether a byte of a failed request had left, ends
a request that drips, and does not take a page of HTML for success. Nothing is repeated here.

A search of numbers in Twilio's terms, and what of its answer really fits: area codes are known to it in North America only.

What an answer of Twilio's REST side means: was it done, was it not, or is that unknown (https://www.twilio.com/docs/api/errors)."""

import base64
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import phonenumbers

from router.carriers.base import (
    CHOOSE_COMPLIANCE,
    NO_COMPLIANCE,
    NONE_CHOSEN,
    AccountBalance,
    AccountState,
    Address,
    Bundle,
    ByKind,
    CarrierCall,
    CarrierHosts,
    CarrierPrice,
    Compliance,
    ComplianceMissing,
    DialledCountry,
    Gone,
    NotForUs,
    NumberKind,
    Offer,
    OutcomeUnknown,
    Owned,
    Recording,
    ShopError,
    TryLater,
)
from router.carriers.twilio.account import (
    misdirections,
    printable,
    read_account,
    read_balance,
    read_dialled_country,
)
from router.carriers.twilio.compliance import missing_address, read_address, read_bundle, takes_calls
from router.carriers.twilio.history import at_host, read_carrier_call, read_kept_recording
from router.carriers.twilio.twiml import CALLBACK, STEERING
from router.lib.http_client import AddressBlocked, Answer, ConnectionFailed, NoAnswer, Outgoing, Sink

NORTH_AMERICA = ("US", "CA")
LEAST_PATTERN, MOST_PATTERN = 2, 16
MOST_RESULTS = 1000
"""Asked for when part of the question is ours to answer."""
E164 = re.compile(r"\+[1-9][0-9]{3,14}")
NOT_DIGITS = re.compile(r"[^0-9]")


@dataclass
class Search:
    """What was asked; everything but digits is dropped, and so is a leading 0 that is dialled only inside the country.

    Raises:
        NotForUs: this is no country.
    """

    country: str
    area_code: str
    contains: str
    limit: int
    code: str = field(init=False)

    def __post_init__(self) -> None:
        self.country = self.country.strip().upper()
        if self.country not in phonenumbers.SUPPORTED_REGIONS:
            raise NotForUs("There is no such country.")
        self.area_code = NOT_DIGITS.sub("", self.area_code)
        self.contains = NOT_DIGITS.sub("", self.contains)
        self.limit = max(1, min(self.limit, MOST_RESULTS))
        self.code = str(phonenumbers.country_code_for_region(self.country))
        metadata = phonenumbers.PhoneMetadata.metadata_for_region(self.country)
        if metadata and metadata.national_prefix == "0":
            self.area_code = self.area_code.removeprefix("0")

    def queries(self) -> list[dict[str, str | int]]:
        """Twilio's parameters. Patterns with a wildcard inside are documented, but have been refused: then the next one is used."""
        asked: dict[str, str | int] = {"PageSize": self.limit, "VoiceEnabled": "true"}
        if self.country in NORTH_AMERICA and len(self.area_code) == 3:
            return [asked | {"AreaCode": self.area_code} | self._containing()]
        if not self.area_code:
            return [asked | self._containing()]
        pattern = f"+{self.code}{self.area_code}"
        wide = asked | {"Contains": pattern[:MOST_PATTERN], "PageSize": MOST_RESULTS}
        narrow = asked | {"Contains": f"{pattern}%{self.contains}"}
        return [narrow, wide] if self.contains else [asked | {"Contains": pattern}]

    def _containing(self) -> dict[str, str | int]:
        if len(self.contains) >= LEAST_PATTERN:
            return {"Contains": self.contains[:MOST_PATTERN]}
        return {"PageSize": MOST_RESULTS} if self.contains else {}

    def fits(self, e164: str) -> bool:
        """Whether an offered number is one that was asked for: an answer may hold others."""
        begins = e164.startswith(f"+{self.code}{self.area_code}")
        return begins and E164.fullmatch(e164) is not None and self.contains in e164


NOT_AVAILABLE = 21422
NOT_FOUND = 20404
TOO_MANY = 429
LONGEST_PAUSE = 3600.0

SENTENCES = {
    10001: "The account at the carrier is not active.",
    10002: "A trial account at the carrier cannot do this.",
    20003: "The carrier does not accept our account and token (TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN).",
    20005: "The account at the carrier is not active.",
    20006: "The account at the carrier may not do this.",
    20008: "These are test credentials, which the carrier does not let do this.",
    20403: "The account at the carrier may not do this.",
    20404: "The carrier knows no such account or address.",
    21401: "The carrier says that this is not a phone number.",
    21402: "The carrier does not accept this server's voice address (ROUTER_PUBLIC_URL).",
    21403: "The carrier does not accept the method of a voice address.",
    21404: "A trial account at the carrier cannot do this.",
    21405: "The carrier wants a voice address beside the fallback address.",
    21420: "The carrier does not accept the voice application.",
    21421: "The carrier says that this is not a phone number.",
    21615: f"The carrier wants an address in the area of this number. {CHOOSE_COMPLIANCE}",
    21631: f"The carrier wants an address for this number. {CHOOSE_COMPLIANCE}",
    21649: f"The carrier wants an approved regulatory bundle for this number. {CHOOSE_COMPLIANCE}",
    21650: "The carrier wants a verified identity document for this number: add it to the bundle in its console.",
    21651: "The carrier does not accept the document for this number: look at the bundle in its console.",
}
"""For whoever has to act: what we know about a code. The carrier's own words follow it."""


def sent(
    http: Outgoing,
    method: str,
    url: str,
    content: bytes,
    headers: Mapping[str, str],
    deadline: float,
    sink: Sink | None = None,
) -> Answer:
    """The answer to one request, whatever it says; `sink` as in `Outgoing.request`.

    Raises:
        TryLater: nobody was reached, or no answer came to a question that changes nothing.
        OutcomeUnknown: no answer came to something that changes something.
        NotForUs: this server may not reach the address.
    """
    try:
        return http.request(method, url, content, headers, deadline, sink)
    except AddressBlocked as error:
        raise NotForUs(f"The carrier's address cannot be used. {error}") from None
    except ConnectionFailed as error:
        raise TryLater(f"The carrier was not reached. {error}") from None
    except NoAnswer as error:
        raise unclear(f"The carrier did not answer. {error}", changing=method != "GET") from None


def document(answer: Answer, changing: bool) -> dict[str, Any]:
    """The JSON object of a successful answer.

    Raises:
        ShopError: it is no success, or nonsense.
    """
    body = _object(answer)
    if answer.status in (200, 201) and body is not None:
        return body
    raise failure(answer, changing)


def failure(answer: Answer, changing: bool) -> ShopError:
    """What an answer that is no success means. Only Twilio's own words are a refusal: a proxy's page says nothing about what was done."""
    body = _object(answer) or {}
    if answer.status == TOO_MANY:
        return TryLater("The carrier has too many requests of ours at once.", _pause(answer))
    code = _number(body.get("code"))
    if not 400 <= answer.status < 500 or code is None:
        return unclear(f"The carrier answered {answer.status} without a usable document.", changing, _pause(answer))
    if code == NOT_AVAILABLE:
        return Gone("The carrier does not have this number for sale.")
    words = printable(str(body.get("message") or body.get("detail") or body.get("title") or ""))[:200]
    told = SENTENCES.get(code, "The carrier refuses this.")
    return NotForUs(f"{told} It said: {code} {words}".rstrip())


def unclear(message: str, changing: bool, seconds: float | None = None) -> ShopError:
    return OutcomeUnknown(message) if changing else TryLater(message, seconds)


def is_missing(answer: Answer) -> bool:
    """Twilio itself says that there is no such thing; a proxy's 404 does not count."""
    return answer.status == 404 and _number((_object(answer) or {}).get("code")) == NOT_FOUND


def records(body: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The objects of a list in a document.

    Raises:
        TryLater: the list is no list.
    """
    listed = body.get(name, [])
    if not isinstance(listed, list):
        raise TryLater("The carrier's list cannot be read.")
    return [record for record in listed if isinstance(record, dict)]


def _object(answer: Answer) -> dict[str, Any] | None:
    try:
        body = answer.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _number(value: object) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None


def _pause(answer: Answer) -> float | None:
    """Retry-After in seconds; the form with a date is not used by Twilio."""
    text = answer.headers.get("retry-after", "").strip()
    return min(float(text), LONGEST_PAUSE) if text.isascii() and text.isdigit() else None


VERSION = "2010-04-01"
PAGE_SIZE = 1000
MOST_PAGES = 100
MOST_CALL_PAGES = 2000
LONGEST_LABEL = 64
KINDS: dict[NumberKind, str] = {"local": "Local", "mobile": "Mobile", "toll-free": "TollFree"}
PRICE_NAMES: dict[NumberKind, str] = {"local": "local", "mobile": "mobile", "toll-free": "toll free"}
NONE_OF_THEM = "None of the numbers that were found can be rented from here"
REMEMBERED_SECONDS = 3600.0
"""How long prices, regulations and the list of countries are believed."""
AWAY_SECONDS = 60.0
REGULATORY = "/v2/RegulatoryCompliance/"
MEDIA_SECONDS = 300.0
LARGEST_RECORDING = 512 * 1024 * 1024
"""A call of four hours, the longest that carriers allow, has 460 MB with two channels."""
AUDIO = {
    **dict.fromkeys(("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"), "audio/wav"),
    **dict.fromkeys(("audio/mpeg", "audio/mp3"), "audio/mpeg"),
}
SID = re.compile(r"[A-Za-z0-9_-]{1,64}")
COUNTRY = re.compile(r"[A-Z]{2}")
AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
CURRENCY = re.compile(r"[A-Z]{3}")


class TwilioShop:
    """A NumberShop at the carrier's hosts, for an account. `voice` is this server's public address."""

    def __init__(self, http: Outgoing, hosts: CarrierHosts, account: str, token: str, voice: str) -> None:
        self._http = http
        self._hosts = hosts
        self._base = f"{hosts.api}/{VERSION}/Accounts/{quote(account, safe='')}"
        self._media = f"{hosts.media}/{VERSION}/Accounts/{quote(account, safe='')}/Recordings"
        self._media_http = replace(
            http, total_seconds=max(http.total_seconds, MEDIA_SECONDS), answer_limit=LARGEST_RECORDING
        )
        self._regulatory = f"{hosts.numbers}{REGULATORY}"
        self._voice = voice
        signed_in = base64.b64encode(f"{account}:{token}".encode()).decode()
        self._headers = {"Authorization": f"Basic {signed_in}", "Accept": "application/json"}
        self._remembered: dict[str, tuple[float, Any]] = {}

    def countries(self) -> Sequence[str]:
        known: Sequence[str] | None = self._recall("countries")
        if known is None:
            listed = self._pages(f"{self._base}/AvailablePhoneNumbers.json?PageSize={PAGE_SIZE}", "countries")
            codes = {_text(record, "country_code") for record in listed}
            known = self._remember("countries", sorted(code for code in codes if COUNTRY.fullmatch(code)))
        return known

    def search(
        self,
        country: str,
        area_code: str = "",
        contains: str = "",
        limit: int = 20,
        chosen: ByKind = NONE_CHOSEN,
    ) -> list[Offer]:
        """Offers of the first kind of which we can buy any: local numbers, else mobile ones, else toll-free ones."""
        search, deadline = Search(country, area_code, contains, limit), self._http.deadline()
        missing, are_silent = None, False
        for kind in KINDS:
            found = self._search(search, kind, deadline)
            audible = {e164: record for e164, record in found.items() if takes_calls(record)}
            are_silent = are_silent or len(audible) < len(found)
            compliance = chosen.get(kind, NO_COMPLIANCE)
            lacks = {e164: missing_address(record, search.country, compliance) for e164, record in audible.items()}
            if numbers := {e164: record for e164, record in audible.items() if not lacks[e164]}:
                price = None
                with suppress(TryLater, NotForUs):  # numbers may be shown without it
                    price = self._price(search.country, kind, deadline)
                return [
                    Offer(e164, search.country, kind, _text(record, "locality") or _text(record, "region"), price)
                    for e164, record in list(numbers.items())[: search.limit]
                ]
            if lacks and not missing:
                sentence = f"{NONE_OF_THEM}: {next(iter(lacks.values()))}. {CHOOSE_COMPLIANCE}"
                missing = ComplianceMissing(sentence, search.country, kind)
        if missing:
            raise missing
        if are_silent:
            raise NotForUs(f"{NONE_OF_THEM}: they take no calls.")
        return []

    def bundles(self, country: str, kind: NumberKind) -> Sequence[Bundle] | None:
        """The pages of such a list name their next one in whole addresses."""
        query = urlencode({"IsoCountry": country, "NumberType": kind, "PageSize": PAGE_SIZE})
        url, listed = f"{self._regulatory}Bundles?{query}", list[Mapping[str, Any]]()
        for _ in range(MOST_PAGES):
            told = self._read_if_there(url)
            if told is None:
                return None
            listed += records(told, "results")
            meta = told.get("meta")
            following = meta.get("next_page_url") if isinstance(meta, dict) else None
            if not following:
                return [bundle for record in listed if (bundle := read_bundle(record))]
            try:
                parts = urlsplit(str(following))
            except ValueError:
                raise TryLater("The carrier's list goes on at no address.") from None
            url = at_host(self._hosts.numbers, f"{parts.path}?{parts.query}")  # our key goes nowhere else
            if not url.startswith(self._regulatory):
                raise TryLater("The carrier's list goes on at an address that is not its own.")
        raise TryLater("The carrier's list does not end.")

    def find_bundle(self, sid: str) -> Bundle | None:
        url = f"{self._regulatory}Bundles/{quote(sid, safe='')}"
        return read_bundle(self._read(url, self._http.deadline(), missing={}))

    def wants_bundle(self, country: str, kind: NumberKind) -> bool | None:
        name = f"regulation {country} {kind}"
        known: tuple[bool | None] | None = self._recall(name)
        if known is None:
            query = urlencode({"IsoCountry": country, "NumberType": kind, "PageSize": 1})
            try:
                told = self._read_if_there(f"{self._regulatory}Regulations?{query}")
            except TryLater:  # whoever looks at pages does not wait for it again and again
                self._remember(name, (None,), AWAY_SECONDS)
                raise
            known = self._remember(name, (bool(records(told, "results")) if told is not None else None,))
        return known[0]

    def addresses(self) -> Sequence[Address]:
        listed = self._pages(f"{self._base}/Addresses.json?PageSize={PAGE_SIZE}", "addresses")
        return [address for record in listed if (address := read_address(record))]

    def find_address(self, sid: str) -> Address | None:
        url = f"{self._base}/Addresses/{quote(sid, safe='')}.json"
        return read_address(self._read(url, self._http.deadline(), missing={}))

    def price(self, country: str) -> CarrierPrice | None:
        return self._price(country, "local", self._http.deadline())

    def buy(self, e164: str, label: str, compliance: Compliance = NO_COMPLIANCE) -> Owned:
        values = {"PhoneNumber": e164, "FriendlyName": clean_label(label), **self._addresses()}
        chosen = {"BundleSid": compliance.bundle_sid, "AddressSid": compliance.address_sid}
        values |= {name: sid for name, sid in chosen.items() if sid}
        owned = self._owned(self._post(f"{self._base}/IncomingPhoneNumbers.json", values))
        if owned is None or owned.e164 != e164:
            raise OutcomeUnknown("The carrier's answer does not say which number it sold.")
        return owned

    def find(self, e164: str) -> Owned | None:
        """Twilio's own filter finds parts of numbers as well."""
        query = urlencode({"PhoneNumber": e164, "PageSize": PAGE_SIZE})
        url, deadline = f"{self._base}/IncomingPhoneNumbers.json?{query}", self._http.deadline()
        listed = self._pages(url, "incoming_phone_numbers", deadline)
        return next((owned for record in listed if (owned := self._owned(record)) and owned.e164 == e164), None)

    def owned(self) -> list[Owned]:
        url = f"{self._base}/IncomingPhoneNumbers.json?PageSize={PAGE_SIZE}"
        listed = [owned for record in self._pages(url, "incoming_phone_numbers") if (owned := self._owned(record))]
        return list({owned.sid: owned for owned in listed}.values())

    def configure(self, sid: str) -> None:
        """
        Raises:
            Gone: the account has no such number.
        """
        self._post(self._number(sid), self._addresses(), missing=Gone("The carrier does not have this number."))

    def release(self, sid: str) -> None:
        answer = sent(self._http, "DELETE", self._number(sid), b"", self._headers, self._http.deadline())
        if answer.status != 204 and not is_missing(answer):
            raise failure(answer, changing=True)

    def calls(self, since: datetime, until: datetime) -> Iterator[CarrierCall]:
        """The newest first."""
        query = {"StartTime>": _second(since), "StartTime<": _second(until), "PageSize": PAGE_SIZE}
        url = f"{self._base}/Calls.json?{urlencode(query)}"
        for record in self._each(url, "calls", most_pages=MOST_CALL_PAGES):
            call = read_carrier_call(record)
            if call and call.started_at and since <= call.started_at <= until:  # the filter may count whole days
                yield call

    def recordings(self, call_sid: str) -> list[Recording]:
        query = urlencode({"CallSid": call_sid, "PageSize": PAGE_SIZE})
        listed = self._pages(f"{self._base}/Recordings.json?{query}", "recordings")
        kept = [recording for record in listed if (recording := read_kept_recording(record, self._hosts.media))]
        return [recording for recording in kept if recording.call_sid == call_sid and recording.status == "completed"]

    def recordings_between(self, since: datetime, until: datetime) -> Iterator[Recording]:
        query = {"DateCreated>": _second(since), "DateCreated<": _second(until), "PageSize": PAGE_SIZE}
        url = f"{self._base}/Recordings.json?{urlencode(query)}"
        for record in self._each(url, "recordings", most_pages=MOST_CALL_PAGES):
            recording = read_kept_recording(record, self._hosts.media)
            if recording is not None and recording.status == "completed":
                yield recording

    def fetch_recording(self, recording_sid: str, channels: int, sink: Callable[[bytes], object]) -> str:
        """By its id, whatever address the carrier told of it: our token goes to no other host. Two channels have to be asked for."""
        url = f"{self._media}/{quote(recording_sid, safe='')}.wav" + ("?RequestedChannels=2" if channels == 2 else "")
        http, headers = self._media_http, {"Authorization": self._headers["Authorization"], "Accept": "audio/*"}
        amount = 0

        def take(piece: bytes) -> None:
            nonlocal amount
            amount += len(piece)
            sink(piece)

        answer = sent(http, "GET", url, b"", headers, http.deadline(), take)
        if is_missing(answer):
            raise Gone("The carrier does not have this recording.")
        if 300 <= answer.status < 400:
            raise TryLater("The carrier says that the file lies elsewhere, where it is not fetched from.")
        if answer.status != 200:
            raise failure(answer, changing=False)
        kind = AUDIO.get(answer.headers.get("content-type", "").partition(";")[0].strip().lower())
        if kind is None:
            raise TryLater("The carrier's answer is no sound.")
        told = _number(answer.headers.get("content-length"))
        if not answer.complete or not amount or (told is not None and told != amount):
            raise TryLater(f"The file did not come whole: {amount} bytes of {told if told is not None else 'more'}.")
        return kind

    def delete_recording(self, recording_sid: str) -> None:
        url = f"{self._base}/Recordings/{quote(recording_sid, safe='')}.json"
        answer = sent(self._http, "DELETE", url, b"", self._headers, self._http.deadline())
        if answer.status != 204 and not is_missing(answer):
            raise failure(answer, changing=True)

    def redirect_call(self, call_sid: str, address: str) -> None:
        """https://www.twilio.com/docs/voice/api/call-resource#update-a-call-resource; a <Dial> ends by it without asking its action."""
        url = f"{self._base}/Calls/{quote(call_sid, safe='')}.json"
        gone = Gone("The carrier does not have this call.")
        self._post(url, {"Url": address + STEERING, "Method": "POST"}, missing=gone)

    def account(self) -> AccountState:
        return read_account(self._read(f"{self._base}.json", self._http.deadline()))

    def balance(self) -> AccountBalance | None:
        """Engines without this resource have a page of their own for what is not there."""
        told = self._read_if_there(f"{self._base}/Balance.json")
        return read_balance(told) if told is not None else None

    def dialled_countries(self) -> Sequence[DialledCountry] | None:
        told = self._read_if_there(f"{self._hosts.permissions}/v1/DialingPermissions/Countries?PageSize={PAGE_SIZE}")
        if told is None:
            return None
        return [country for record in records(told, "content") if (country := read_dialled_country(record))]

    def _read_if_there(self, url: str) -> dict[str, Any] | None:
        answer = sent(self._http, "GET", url, b"", self._headers, self._http.deadline())
        return None if answer.status == 404 else document(answer, changing=False)

    def _search(self, search: Search, kind: NumberKind, deadline: float) -> dict[str, Mapping[str, Any]]:
        """What is for sale, by number."""
        url = f"{self._base}/AvailablePhoneNumbers/{search.country}/{KINDS[kind]}.json"
        *narrower, widest = [f"{url}?{urlencode(query)}" for query in search.queries()]
        body = None
        for query in narrower:
            with suppress(NotForUs):
                body = self._read(query, deadline, missing={})
        if body is None:
            body = self._read(widest, deadline, missing={})
        numbers = {_text(record, "phone_number"): record for record in records(body, "available_phone_numbers")}
        return {e164: record for e164, record in numbers.items() if search.fits(e164)}

    def _price(self, country: str, kind: NumberKind, deadline: float) -> CarrierPrice | None:
        body = self._recall(f"price {country}")
        if body is None:
            url = f"{self._hosts.pricing}/v1/PhoneNumbers/Countries/{quote(country, safe='')}"
            body = self._remember(f"price {country}", self._read(url, deadline, missing={}))
        currency = _text(body, "price_unit").upper()
        for record in records(body, "phone_number_prices"):
            amount = _text(record, "current_price") or _text(record, "base_price")
            usable = AMOUNT.fullmatch(amount) and CURRENCY.fullmatch(currency)
            if _text(record, "number_type") == PRICE_NAMES[kind] and usable:
                return CarrierPrice(amount, currency)
        return None

    def _pages(self, url: str, name: str, deadline: float | None = None) -> list[Mapping[str, Any]]:
        """All records of a list.

        Raises:
            TryLater: no whole list could be had.
        """
        return list(self._each(url, name, deadline))

    def _each(
        self, url: str, name: str, deadline: float | None = None, most_pages: int | None = None
    ) -> Iterator[Mapping[str, Any]]:
        """The records of a list in turn. Without a deadline of the whole, each page has its own.

        Raises:
            TryLater: no further page could be had.
        """
        for _ in range(most_pages or MOST_PAGES):
            body = self._read(url, deadline or self._http.deadline())
            yield from records(body, name)
            following = body.get("next_page_uri")
            if not following:
                return
            url = at_host(self._hosts.api, str(following))  # of the same account: our key goes nowhere else
            if not url.startswith((f"{self._base}/", f"{self._base}.")):
                raise TryLater("The carrier's list goes on at an address that is not its own.")
        raise TryLater("The carrier's list does not end.")

    def _read(self, url: str, deadline: float, missing: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = sent(self._http, "GET", url, b"", self._headers, deadline)
        if missing is not None and is_missing(answer):
            return missing
        return document(answer, changing=False)

    def _post(self, url: str, values: Mapping[str, str], missing: Exception | None = None) -> dict[str, Any]:
        headers = {**self._headers, "Content-Type": "application/x-www-form-urlencoded"}
        answer = sent(self._http, "POST", url, urlencode(values).encode(), headers, self._http.deadline())
        if missing is not None and is_missing(answer):
            raise missing
        return document(answer, changing=True)

    def _owned(self, record: Mapping[str, Any]) -> Owned | None:
        e164, sid = _text(record, "phone_number"), _text(record, "sid")
        if not E164.fullmatch(e164) or not SID.fullmatch(sid):
            return None
        return Owned(e164, sid, _text(record, "friendly_name"), misdirections(record, self._addresses()))

    def _number(self, sid: str) -> str:
        return f"{self._base}/IncomingPhoneNumbers/{quote(sid, safe='')}.json"

    def _addresses(self) -> dict[str, str]:
        return {
            "VoiceUrl": f"{self._voice}/voice/inbound{STEERING}",
            "VoiceMethod": "POST",
            "VoiceFallbackUrl": f"{self._voice}/voice/fallback{STEERING}",
            "VoiceFallbackMethod": "POST",
            "StatusCallback": f"{self._voice}/voice/status{CALLBACK}",
            "StatusCallbackMethod": "POST",
            "SmsUrl": f"{self._voice}/voice/sms{CALLBACK}",
            "SmsMethod": "POST",
        }

    def _recall(self, name: str) -> Any:
        until, value = self._remembered.get(name, (0.0, None))
        return value if time.monotonic() < until else None

    def _remember(self, name: str, value: Any, seconds: float = REMEMBERED_SECONDS) -> Any:
        self._remembered[name] = (time.monotonic() + seconds, value)
        return value


def clean_label(label: str) -> str:
    """What may stand in a FriendlyName: no control characters, at most 64."""
    return printable(label)[:LONGEST_LABEL]


def _second(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return clean_label(value) if isinstance(value, str) else ""
