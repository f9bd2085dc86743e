"""What a vendor declares of itself, what its sender is given and may answer, and how answers over HTTP are read."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, Protocol
from urllib.parse import urlsplit

from pydantic import BaseModel, StringConstraints
from sqlalchemy.orm import Session
from werkzeug.http import parse_date

from router.accounts.mail import Letter
from router.lib.http_client import AddressBlocked, Answer, NoAnswer, Outgoing, OutgoingError
from router.lib.texts import plain_text
from router.voice.models import BLOCKED

Address = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
Secret = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


LONGEST_RECEIVER = 80


class DeliveryError(Exception):
    """The message did not arrive, or nobody knows.

    permanent: trying again cannot help. retry_after: seconds the receiver asked for.
    refused_account: the receiver refuses our key, not this message: the receiver is left alone and the attempt does not count.
    gone: the receiver says that its address is there no more: it is switched off at once, and what is for it waits.
    ambiguous: the receiver may have acted on the request: it was sent, and no answer came, or one of 5xx. The next attempt is told
    (`Message.uncertain_at`), and begins no sooner than the vendor's `settles_after`.
    answer: the beginning of the answer's body, for the page of deliveries.
    """

    def __init__(
        self,
        message: str,
        permanent: bool = False,
        retry_after: float | None = None,
        *,
        status: int | None = None,
        refused_account: bool = False,
        gone: bool = False,
        ambiguous: bool = False,
        answer: str = "",
    ) -> None:
        super().__init__(plain_text(message))
        self.permanent = permanent
        self.retry_after = retry_after
        self.status = status
        self.refused_account = refused_account
        self.gone = gone
        self.ambiguous = ambiguous
        self.answer = answer


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
    config: Mapping[str, Any]
    """The integration's settings without the secret."""
    secret: str
    call: Mapping[str, Any]
    """The call, or the text message, as the API and webhooks show it."""
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
    earlier_secret: str = ""
    """The secret before this one, which signs as well for a day after a change."""
    is_test: bool = False
    """An admin tries the settings out: the receiver has to be able to tell it from a call."""
    country: str | None = None
    """The project's: reads numbers that a receiver has without their country code."""
    earlier: Mapping[str, Any] = field(default_factory=dict)
    """For call.updated: what the delivery of the call's end got back."""
    managers: tuple[str, ...] = ()
    """Who shall be responsible for a new lead, the preferred one first: the scenario's manager, then the integration's."""
    uncertain_at: datetime | None = None
    """When the last attempt ended of which nobody knows whether the receiver acted on it: look before a step is repeated. None: what
    became of every earlier attempt is known."""

    @property
    def outcome(self) -> str:
        """What became of the call: its status, and `blocked` when it was not put through."""
        return BLOCKED if self.call.get("kind") == BLOCKED else str(self.call["status"])


class Sender(Protocol):
    """One kind of receiver."""

    def deliver(self, message: Message) -> dict[str, Any]:
        """
        Returns:
            What the receiver gave back, to be kept: `status` (HTTP), the beginning of its `answer`, and ids; `warning`, a sentence for
            people when the receiver did not take everything.

        Raises:
            DeliveryError, Skipped, Expired
        """


@dataclass(frozen=True)
class Trial:
    """What came of a test that an admin asked for, with settings as they are typed."""

    is_good: bool
    words: str
    """For people: what was accepted, or why it was not."""
    status: int | None = None
    """HTTP status of the answer, when there was one."""
    answer: str = ""
    """The beginning of its body."""
    milliseconds: int = 0


def trial_of(deliver: Callable[[], Mapping[str, Any]], success: str) -> Trial:
    """What came of a delivery; `success` are the words for what was accepted, with `{status}` in them."""
    try:
        given = deliver()
    except DeliveryError as error:
        return Trial(False, str(error), error.status, error.answer)
    return Trial(True, success.format(status=given["status"]), given["status"], given["answer"])


@dataclass(frozen=True)
class Slot:
    """A place in a scenario for one integration."""

    name: str
    """In the API, in the form and in the database."""
    title: str
    """On the page of deliveries."""
    heading: str
    """In the wizard."""
    preview: str
    """What happens after a call, in the wizard's preview; `{address}` is filled in."""
    help: str = ""
    """Of the field by which the slot is used or not."""
    names_kind: bool = False
    """Several vendors share the slot, so that its settings name the `kind`."""


@dataclass(frozen=True, eq=False)
class Vendor:
    """A kind of receiver; `vendors.py` lists all."""

    kind: str
    """In the API, in the database and in the registry."""
    name: str
    events: Mapping[Slot, tuple[str, ...]]
    """The slots that it can fill, and which events of a call it gets there: call.started, call.ended, call.updated."""
    settings: type[BaseModel]
    """The fields in the API, in the database and in the form: a field's title is its label there, its description the help, its first
    example the placeholder. Beside texts there are bool (a switch) and dict (lines `name = text`)."""
    sealed: str
    """The secret among the settings: it is stored sealed and never shown again. Empty: there is none."""
    sender: Callable[[Outgoing], "Sender"]
    address: str = "url"
    """The setting with the address that messages go to. Empty: there is none, or it is the secret; then `account` names the receiver."""
    account: str = ""
    """The setting that tells accounts at one host apart: each fails and waits alone. Empty: the whole address does."""
    decides: str = "url"
    """The setting by which the slot is used or not."""
    product: str = ""
    """In the wizard's choice of products, where vendors share a slot."""
    chosen_events: tuple[str, ...] = ()
    """Events that the setting `events` may name in place of the slot's own."""
    make_secret: Callable[[], str] | None = None
    """Makes the secret when none is typed. Such a secret only signs; any other is sent, so it must not follow a changed address."""
    reveals: Callable[[str, int, str], str] | None = None
    """What people are shown, once, of a secret that was made: of our public address, the scenario's id and the secret. None: the secret."""
    ordered_by_caller: bool = False
    """One caller's calls are delivered one after the other."""
    try_out: Callable[[Outgoing, Message], Trial] | None = None
    """Tests typed settings, on an example of a call; nothing that counts may be left at the receiver."""
    letter: Callable[[Message], tuple[list[str], Letter]] | None = None
    """Of a vendor that tells by e-mail: to whom (an empty text is the project's address) and what, for a test."""
    shows: Callable[[Message], str] | None = None
    """What would be sent, for people to look at."""
    saved: Callable[[Session, int], None] | None = None
    """Told, with the project's id, that an integration of this kind was saved or removed."""
    lifetime: timedelta | None = None
    """After the call the receiver takes no message any more."""
    takes_internal_calls: bool = False
    """Also when the project tells only webhooks of calls between its own telephones."""
    at_most_once: bool = False
    """The receiver cannot tell a repeat by any key: what may have arrived is not sent again by itself, and ends as *unconfirmed*."""
    repeated: str = "The receiver gets the same message again, with the same id."
    """What comes of sending again what has arrived, or may have: a sentence for people, who are asked first."""
    settles_after: timedelta = timedelta(0)
    """After an ambiguous attempt: by then the receiver has acted on the request, or never will, and what it did can be found."""

    def receiver(self, project_id: int, settings: BaseModel) -> str:
        """Whom a failure concerns: `odoo:3:crm.example.com/main`, or `webhook:3:example.com/calls`, at most 80 letters.

        A query, which may hold a key, is told by its digest, and so is the rest of a name that is too long.
        """
        parts = urlsplit(str(getattr(settings, self.address)) if self.address else "")
        if self.account and not self.address:
            place = str(getattr(settings, self.account)).casefold()
        elif self.account:
            place = f"{parts.netloc}/{getattr(settings, self.account)}".casefold()
        else:
            scheme = "" if parts.scheme == "https" else f"{parts.scheme}://"
            place = f"{scheme}{parts.netloc.casefold()}{parts.path.rstrip('/')}"
            if parts.query:
                place += f"?{hashlib.blake2b(parts.query.encode(), digest_size=4).hexdigest()}"
        name = f"{self.kind}:{project_id}:{place}"
        if len(name) <= LONGEST_RECEIVER:
            return name
        return f"{name[: LONGEST_RECEIVER - 17]}~{hashlib.blake2b(name.encode(), digest_size=8).hexdigest()}"


EXCERPT = 2000
"""Letters of an answer that are kept of an attempt."""


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that a receiver asked us to wait: a number, or an HTTP date."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    moment = parse_date(value)
    return max((moment - now).total_seconds(), 0.0) if moment else None


def may_succeed_later(status: int) -> bool:
    return status in (408, 425, 429) or status >= 500


def accepted(answer: Answer, message: Message, refusal: str, permanent: bool | None = None) -> dict[str, Any]:
    """What a sender gives back for an answer of 2xx.

    Raises:
        DeliveryError: any other answer. Whether it is permanent follows from the status unless the receiver's protocol says so.
    """
    if 200 <= answer.status < 300:
        return {"status": answer.status, "answer": excerpt(answer, message.secret)}
    permanent = not may_succeed_later(answer.status) if permanent is None else permanent
    raise DeliveryError(
        refusal,
        permanent,
        retry_after(answer.headers, message.now),
        status=answer.status,
        ambiguous=answer.status >= 500,
        answer=excerpt(answer, message.secret),
    )


def not_delivered(error: OutgoingError) -> DeliveryError:
    """The delivery's word for a request that got no answer."""
    if isinstance(error, AddressBlocked):
        return DeliveryError(f"{error} Nothing was sent.", permanent=True)
    return DeliveryError(str(error), ambiguous=isinstance(error, NoAnswer))


def excerpt(answer: Answer, secret: str) -> str:
    """The beginning of an answer's body for the page of deliveries, without our secret in case it was sent back."""
    text = " ".join(answer.text[: EXCERPT * 4].split())
    if secret:
        text = text.replace(secret, "[secret]")
    return text[:EXCERPT]
