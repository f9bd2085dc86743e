"""What Twilio's REST side says of an account and of how a number is set, read as plain values
(https://www.twilio.com/docs/iam/api/account, https://www.twilio.com/docs/voice/api/dialingpermissions-country-resource)."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from router.carriers.base import AccountBalance, AccountState, DialledCountry

BALANCE = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,10})?")
CURRENCY = re.compile(r"[A-Z]{3}")
COLUMNS = {
    "VoiceUrl": "voice_url",
    "VoiceMethod": "voice_method",
    "VoiceFallbackUrl": "voice_fallback_url",
    "VoiceFallbackMethod": "voice_fallback_method",
    "StatusCallback": "status_callback",
    "StatusCallbackMethod": "status_callback_method",
    "SmsUrl": "sms_url",
    "SmsMethod": "sms_method",
}
UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd]")
INSTEAD = {"VoiceApplicationSid": "voice_application_sid", "TrunkSid": "trunk_sid"}
"""With one of them Twilio heeds none of the number's own addresses."""


def read_account(record: Mapping[str, Any]) -> AccountState:
    """An Account resource. It holds the auth token too, which stays there."""
    return AccountState(_word(record, "status"), _word(record, "type"))


def read_balance(record: Mapping[str, Any]) -> AccountBalance | None:
    """A Balance resource; None: it is none."""
    amount, currency = record.get("balance"), str(record.get("currency") or "").upper()
    if not isinstance(amount, str) or not BALANCE.fullmatch(amount) or not CURRENCY.fullmatch(currency):
        return None
    return AccountBalance(Decimal(amount), currency)


def read_dialled_country(record: Mapping[str, Any]) -> DialledCountry | None:
    """A Country of the dialing permissions; None: it is none."""
    country, codes, is_open = (record.get(name) for name in ("iso_code", "country_codes", "low_risk_numbers_enabled"))
    if not isinstance(country, str) or not isinstance(codes, list) or not isinstance(is_open, bool):
        return None
    digits = (re.sub("[^0-9]", "", code) for code in codes if isinstance(code, str))
    return DialledCountry(country.upper()[:2], tuple(code for code in digits if code), is_open)


def misdirections(record: Mapping[str, Any], wanted: Mapping[str, str]) -> tuple[str, ...]:
    """What of a number's settings is not `wanted` (by Twilio's names), a phrase each; what the record does not tell is left out."""
    said = []
    for name, column in INSTEAD.items():
        if isinstance(sid := record.get(column), str) and sid:
            said.append(f"its {name} takes the place of all addresses: take it away at the carrier")
    for name, value in wanted.items():
        column = COLUMNS[name]
        if column in record and (record[column] or "") != value:
            said.append(f"{name} is {shown_address(record[column])} instead of {value}")
    return tuple(said)


def shown_address(value: object) -> str:
    """An address that may be another program's, without what may be secret in it: user, password and query."""
    if not isinstance(value, str) or not value:
        return "empty"
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    except ValueError:
        return "no address"
    if not parts.scheme or not host:
        return value[:10] if value.isalpha() else "no address"
    query, fragment = "?…" if parts.query else "", f"#{parts.fragment}" if parts.fragment else ""
    return f"{parts.scheme}://{host}{port}{parts.path}{query}{fragment}"[:200]


def is_open_for(country: str, code: str, known: Sequence[DialledCountry]) -> bool | None:
    """Whether numbers of a country with this calling code may be called; None: nobody says. Some stand under the name of another
    (Canada under the United States)."""
    of_country = [one for one in known if one.country == country] or [one for one in known if code in one.codes]
    return any(one.is_open for one in of_country) if of_country else None


def printable(text: str) -> str:
    """Without control characters and halves of characters, which no database keeps."""
    return UNPRINTABLE.sub("", text)


def _word(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return re.sub("[^a-z_-]", "", value.lower())[:20] if isinstance(value, str) else ""
