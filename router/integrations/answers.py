"""How an HTTP answer of a receiver is read: what is worth another try, and what its Retry-After says."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from router.integrations.contract import DeliveryError
from router.outgoing import AddressBlocked, Answer, ConnectionFailed, OutgoingError

WORTH_ANOTHER_TRY = frozenset((408, 425, 429))
EXCERPT = 500


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that a receiver asked us to wait: a number, or an HTTP date."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max((moment - now).total_seconds(), 0.0)


def may_succeed_later(status: int) -> bool:
    return status in WORTH_ANOTHER_TRY or status >= 500


def not_delivered(error: OutgoingError) -> DeliveryError:
    """The delivery's word for a request that got no answer."""
    if isinstance(error, AddressBlocked):
        return DeliveryError(f"{error} Nothing was sent.", permanent=True)
    return DeliveryError(str(error), ambiguous=not isinstance(error, ConnectionFailed))


def excerpt(answer: Answer, secret: str) -> str:
    """The beginning of an answer's body for the page of deliveries, without our secret in case it was sent back."""
    text = " ".join(answer.text[: EXCERPT * 4].split())
    if secret:
        text = text.replace(secret, "[secret]")
    return text[:EXCERPT]
