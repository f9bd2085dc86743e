"""What an answer of Twilio's REST side means: was it done, was it not, or is that unknown (facts on Twilio, section 4, error codes)."""

import json
import re
from collections.abc import Mapping
from typing import Any

from router.carriers.shop import Gone, NotForUs, OutcomeUnknown, ShopError, TryLater
from router.outgoing import AddressBlocked, Answer, ConnectionFailed, NoAnswer, Outgoing

NOT_AVAILABLE = 21422
NOT_FOUND = 20404
TOO_MANY = 429
LONGEST_PAUSE = 3600.0
UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd]")

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
    21615: "The carrier wants a local address for numbers of this country.",
    21631: "The carrier wants an address for numbers of this country.",
    21649: "The carrier wants a regulatory bundle for numbers of this country.",
    21650: "The carrier wants a verified identity document for numbers of this country.",
    21651: "The carrier does not accept the identity document for numbers of this country.",
}
"""For the operator, who has to act: what we know about a code. The carrier's own words follow it."""


def sent(http: Outgoing, method: str, url: str, content: bytes, headers: Mapping[str, str], deadline: float) -> Answer:
    """The answer to one request, whatever it says.

    Raises:
        TryLater: nobody was reached, or no answer came to a question that changes nothing.
        OutcomeUnknown: no answer came to something that changes something.
        NotForUs: this server may not reach the address.
    """
    try:
        return http.request(method, url, content, headers, deadline)
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
    found = body.get(name, [])
    if not isinstance(found, list):
        raise TryLater("The carrier's list cannot be read.")
    return [one for one in found if isinstance(one, dict)]


def printable(text: str) -> str:
    """Without control characters and halves of characters, which no database keeps."""
    return UNPRINTABLE.sub("", text)


def _object(answer: Answer) -> dict[str, Any] | None:
    try:
        body = json.loads(answer.body) if answer.complete else None
    except (ValueError, RecursionError):
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
