"""What a sender is given and what it may answer: `deliver(message) -> reference`, or one of the refusals below.

How an HTTP answer of a receiver is read: what is worth another try, and what its Retry-After says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from router.lib.http_client import AddressBlocked, Answer, ConnectionFailed, OutgoingError


class DeliveryError(Exception):
    """The message did not arrive, or nobody knows.

    permanent: trying again cannot help. retry_after: seconds the receiver asked for. ambiguous: it may have arrived.
    refused_account: the receiver refuses our key, not this message: the destination is left alone and the attempt does not count.
    """

    def __init__(
        self,
        message: str,
        permanent: bool = False,
        retry_after: float | None = None,
        ambiguous: bool = False,
        *,
        status: int | None = None,
        refused_account: bool = False,
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.retry_after = retry_after
        self.ambiguous = ambiguous
        self.status = status
        self.refused_account = refused_account


class Skipped(Exception):
    """There is nothing to send, for a reason that people are shown."""


class Expired(Exception):
    """It is too late for this message to be of use."""


@dataclass(frozen=True)
class Message:
    """One delivery with everything that its sender needs; no sender touches the database."""

    id: str
    """The receiver's idempotency key."""
    event: str
    event_at: datetime
    now: datetime
    attempt: int
    config: Mapping[str, Any]
    """A CRM's `manager` is who shall be responsible for a new lead, `fallback_manager` who is when the receiver does not know him."""
    secret: str
    call: Mapping[str, Any]
    """The call as the API and webhooks show it."""
    placeholders: Mapping[str, str]
    """The market's placeholders with their values."""
    visit_last_sign: datetime | None
    reference: Mapping[str, Any]
    """What earlier attempts of this delivery got back."""
    known_lead: str | None
    """The receiver's id of the lead that stands for this caller, from any earlier call."""
    deadline: float
    """When the attempt has to be over (monotonic)."""
    remember: Callable[[dict[str, Any]], None] = field(default=lambda steps: None)
    """Keeps the result of a step at once, so that a repeat resumes after it. `lead_id` and `missing` mean more: queue.py."""
    country: str | None = None
    """The project's: reads numbers that a receiver has without their country code."""


class Sender(Protocol):
    """One kind of receiver."""

    def deliver(self, message: Message) -> dict[str, Any]:
        """
        Returns:
            What the receiver gave back, to be kept: `status` (HTTP) and ids; `warning`, a sentence for people when something in it
            is not as it should be.

        Raises:
            DeliveryError, Skipped, Expired
        """


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
