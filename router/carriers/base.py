"""What a carrier is to the floors above: who proves its requests, and what they say, as plain values.

Renting numbers from a carrier: what its REST side offers to the floors above, and how a request may end."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal, Protocol, get_args

from flask import Request

from router.lib.phones import Caller

LegState = Literal["initiated", "ringing", "answered", "completed", "busy", "no_answer", "failed", "canceled"]
DialState = Literal["completed", "answered", "busy", "no_answer", "failed", "canceled"]
CallState = Literal["queued", "ringing", "in_progress", "completed", "busy", "no_answer", "failed", "canceled"]

CallerId = Literal["accepted", "doubtful", "refused"]
"""Whether the carrier lets a destination see the caller's number: it does, it may fail the leg because of it, it does not."""

Form = Mapping[str, str]

SID = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._\-]{0,63}")


class BadCarrierRequest(Exception):
    """A request that a carrier signed cannot be understood: it names no call, or a state that nobody knows."""


@dataclass(frozen=True)
class InboundCall:
    """A caller dials one of our numbers. `number_e164` is None when `to` is no phone number."""

    sid: str
    account_sid: str
    caller: Caller
    number_e164: str | None
    to: str
    other_readings: tuple[str, ...] = ()
    """What else `to` may mean, E.164, the likeliest first: other spellings of the line, a national form in its country."""
    readings_anywhere: tuple[str, ...] = ()
    """What a national form means in every country; good only where exactly one of them is ours."""
    caller_id: CallerId = "accepted"
    forwarded_from: str | None = None
    """The number that was dialled and is only forwarded to ours, E.164; None when the carrier names none, or no phone number."""
    failed_verification: bool = False
    """The caller's network signed the call, and the carrier found that the signature does not fit (STIR/SHAKEN)."""


@dataclass(frozen=True)
class InboundText:
    """A text message to one of our numbers. `call`: who wrote to whom, as if it were a call with the message's id."""

    call: InboundCall
    body: str
    media: tuple[str, ...] = ()
    """Addresses of pictures and the like, at the carrier."""


@dataclass(frozen=True)
class LegEvent:
    """Something happened to a destination that was rung. `call_sid` is the parent's, `leg_sid` the leg's own."""

    call_sid: str
    leg_sid: str
    to: str
    status: LegState
    sequence: int | None
    seconds: int | None
    at: datetime | None


@dataclass(frozen=True)
class DialResult:
    """How forwarding ended. `bridged` is None when the carrier did not say; an unknown state counts as failed."""

    call_sid: str
    leg_sid: str | None
    status: DialState
    bridged: bool | None
    seconds: int | None
    recording_url: str | None


@dataclass(frozen=True)
class CallStatus:
    """The state of the inbound call itself; `seconds` includes ringing when the call was answered at once."""

    call_sid: str
    status: CallState
    sequence: int | None
    seconds: int | None
    at: datetime | None


@dataclass(frozen=True)
class Recording:
    """A recording of the inbound call. Only `completed` ones can be listened to."""

    call_sid: str
    recording_sid: str
    url: str | None
    status: str
    seconds: int | None
    channels: int = 1
    is_message: bool = False
    """The caller left it after a tone: nobody else is heard."""


@dataclass(frozen=True)
class Failure:
    """The carrier could not use an answer of ours, and asks its fallback address."""

    code: str
    """The carrier's number of the error; empty when it says none."""
    path: str
    """Of the address that failed; empty when it says none."""
    talk_is_over: bool
    """Somebody of the company has talked to the caller, or the caller has hung up: nobody is to be rung again."""


@dataclass(frozen=True, slots=True)
class Say:
    """Whoever listens hears a sentence; the call counts as answered by the carrier from then on.

    `language` is a BCP 47 tag like `de-DE`, `voice` a voice by the carrier's name; empty: as the carrier has it.
    """

    sentence: str
    language: str = ""
    voice: str = ""


@dataclass(frozen=True, slots=True)
class Play:
    """A sound is played. Its address is ours and whole."""

    address: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Nobody hears anything for a while."""

    seconds: int = 1


Spoken = Say | Play | Pause


@dataclass(frozen=True, slots=True)
class Gather:
    """Whoever listens is asked for a key, and may press it while the prompt is heard. The next address is told which one; who presses none
    goes on with what follows."""

    prompt: tuple[Spoken, ...]
    next_address: str
    seconds: int = 5
    """How long nothing has to be pressed after the prompt."""


@dataclass(frozen=True, slots=True)
class Target:
    """A destination of a forwarding. Addresses are ours and whole, without what the carrier has to know about asking them."""

    to: str
    """E.164 or a SIP address."""
    leg_address: str = ""
    """Where the carrier says what becomes of the destination; empty: it says nothing."""
    whisper_address: str = ""
    """Where the carrier asks what the one who answered hears before he is connected, and whether he is; empty: he is at once."""
    machine_address: str = ""
    """Where the carrier says whether a person or a machine has answered; empty: it does not listen for that."""
    extension: str = ""
    """Keys that are pressed after the answer, `w` for half a second; with one no machine can be told from a person."""
    headers: tuple[tuple[str, str], ...] = ()
    """Of a SIP address: names and values of headers that come along."""
    transport: str = ""
    """Of a SIP address: udp, tcp or tls; empty: as the address says."""
    region: str = ""
    """Of a SIP address: the carrier's region from which it is called, like `ie1`."""


Recorded = Literal["off", "mixed", "dual"]
"""Whether a talk is recorded from the answer on: not, both sides in one channel, or each in its own."""


@dataclass(frozen=True, slots=True)
class Forward:
    """Destinations ring, all at once. The carrier answers the call when the first of them does; then the talk goes on to its end."""

    targets: tuple[Target, ...]
    """At most 10."""
    ring_seconds: int
    caller_id: str | None
    """The number that the destinations see; None: what the carrier shows by itself."""
    next_address: str = ""
    """Where the carrier asks what happens next; empty: it hangs up after the talk."""
    recorded: Recorded = "off"
    recording_address: str = ""
    """Where the carrier says that the recording is finished."""


@dataclass(frozen=True, slots=True)
class Record:
    """The caller leaves a message after a tone. When he has, the next address is asked; one who says nothing goes on with what follows."""

    next_address: str
    recording_address: str
    """Where the carrier says that the recording is finished."""
    longest_seconds: int = 120
    silence_seconds: int = 5
    """How long a silence ends the message."""


@dataclass(frozen=True, slots=True)
class GoOn:
    """The carrier asks this address what happens next."""

    next_address: str


@dataclass(frozen=True, slots=True)
class Reject:
    """The call ends without having been answered, as busy or as not in service."""

    busy: bool = True


@dataclass(frozen=True, slots=True)
class HangUp:
    """The call ends."""


Element = Spoken | Gather | Forward | Record | GoOn | Reject | HangUp
Plan = Sequence[Element]
"""What happens next in a call, in turn, whatever the carrier's language. What follows a Forward with a next address, a GoOn, a Reject or a
HangUp never happens. In a whisper an empty plan connects the one who answered."""


class Carrier(Protocol):
    """Who rents numbers and delivers calls.

    Every reader takes the form of a verified request, as `form_of` gives it; everything but the call's sid may be missing or
    nonsense. They raise BadCarrierRequest and nothing else.
    """

    name: str

    def verify(self, request: Request, account: Any = None) -> bool:
        """Whether the carrier itself sent this request; never raises.

        Args:
            account: what another account than the server's own signs with (router/carriers/accounts.py).
        """

    def form_of(self, request: Request) -> Form:
        """What a verified request says: names and values that its signature covers, wherever they stand in it.

        Raises:
            HTTPException: its body is too long.
        """

    def account_of(self, form: Form) -> str:
        """The account that a request names, verified or not; empty: none."""

    def read_inbound(self, form: Form) -> InboundCall: ...

    def read_text(self, form: Form) -> InboundText: ...

    def read_leg_event(self, form: Form) -> LegEvent: ...

    def read_dial_result(self, form: Form) -> DialResult: ...

    def read_status(self, form: Form) -> CallStatus: ...

    def read_recording(self, form: Form) -> Recording: ...

    def read_failure(self, form: Form) -> Failure: ...

    def read_keys(self, form: Form) -> str | None:
        """The keys that somebody pressed who was asked; empty: none. None: nobody was asked."""

    def read_machine(self, form: Form) -> bool | None:
        """Whether a machine has answered a destination; None: the carrier does not say, or does not know."""

    def render(self, plan: Plan) -> str:
        """The document that tells the carrier what happens next. The same plan gives the same document."""


@dataclass(frozen=True, slots=True)
class CarrierHosts:
    """Where the carrier is asked, addresses without a slash at the end: its REST side, its prices, the files of its recordings, which
    countries the account may call, and its regulatory bundles."""

    api: str
    pricing: str
    media: str
    permissions: str
    numbers: str


@dataclass(frozen=True, slots=True)
class AccountState:
    """`status`: active, suspended or closed. `kind`: trial or full. Empty: the carrier does not say."""

    status: str
    kind: str


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """What is left of the account's money; below zero it owes."""

    amount: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class DialledCountry:
    """Whether the account may call a country (ISO 3166), or all that share its calling codes (digits)."""

    country: str
    codes: tuple[str, ...]
    is_open: bool


@dataclass(frozen=True, slots=True)
class CarrierPrice:
    """What the carrier itself asks, as it says it: a decimal amount, its currency and the time that it is for (`month`)."""

    amount: str
    currency: str
    period: str = "month"


NumberKind = Literal["local", "mobile", "toll-free"]
NUMBER_KINDS: tuple[NumberKind, ...] = get_args(NumberKind)


@dataclass(frozen=True, slots=True)
class Offer:
    """A number that the carrier would sell."""

    e164: str
    country: str
    kind: NumberKind
    place: str = ""
    price: CarrierPrice | None = None


@dataclass(frozen=True, slots=True)
class Compliance:
    """What goes with an order where the law wants to know who uses a number: a regulatory bundle that the carrier approved, an address of
    the account, or both."""

    bundle_sid: str = ""
    address_sid: str = ""
    address_country: str = ""
    """Two letters."""


NO_COMPLIANCE = Compliance()
ByKind = Mapping[NumberKind, Compliance]
NONE_CHOSEN: ByKind = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Bundle:
    """A regulatory bundle of the account: who uses numbers of a country and kind, with documents, as the carrier reviews it."""

    sid: str
    name: str
    is_approved: bool
    status: str
    """In words: `in review`."""
    valid_until: datetime | None = None

    def is_usable(self, now: datetime) -> bool:
        return self.is_approved and (self.valid_until is None or self.valid_until > now)


@dataclass(frozen=True, slots=True)
class Address:
    """An address of the account. `text`: customer, street, city; `country`: two letters."""

    sid: str
    name: str
    text: str
    country: str


def address_fits(requirement: str, number_country: str, address_country: str) -> bool:
    """Whether an address will do for a number, as far as countries tell.

    Args:
        requirement: none, any, local or foreign; anything else: none.
        address_country: empty: there is no address.
    """
    if requirement == "local":
        return address_country == number_country
    if requirement == "foreign":
        return address_country not in ("", number_country)
    return requirement != "any" or address_country != ""


@dataclass(frozen=True, slots=True)
class Owned:
    """A number of our account. `label` is what we gave it when we bought it."""

    e164: str
    sid: str
    label: str
    misdirections: tuple[str, ...] = ()
    """What of its settings keeps calls from this server, a phrase each."""


@dataclass(frozen=True, slots=True)
class CarrierCall:
    """A call as the carrier's books have it. A destination that was rung is a call of its own, a leg."""

    sid: str
    parent_sid: str
    """The inbound call that a leg belongs to; empty: it is no leg."""
    caller: str
    to: str
    forwarded_from: str
    status: CallState
    started_at: datetime | None
    """None: it has not begun."""
    ended_at: datetime | None
    """Of a call that nobody answered: when the carrier changed it last. None: it goes on."""
    seconds: int | None
    price_micros: int | None
    """What it costs us, in millionths of the currency; None: not known, or not yet."""
    currency: str
    inbound: InboundCall | None
    """As its first request told it; None: it did not come in."""


class ShopError(Exception):
    """The carrier did not do what was asked; the message is for people. Each kind says what may be done next."""


class Gone(ShopError):
    """What was asked for is not there. A number that is not for sale: somebody has it, maybe we. Look among the owned ones, else take
    another."""


class NotForUs(ShopError):
    """The carrier refuses for good (an address or a document is missing, the account may not, the key is wrong): an operator has to act."""


CHOOSE_COMPLIANCE = "Choose one under Numbers, Bundles and addresses."
"""The end of a sentence that says what is missing."""


class ComplianceMissing(NotForUs):
    """Numbers of a country and kind are for sale, and what the carrier wants with an order is not chosen."""

    def __init__(self, message: str, country: str, kind: NumberKind) -> None:
        super().__init__(message)
        self.country, self.kind = country, kind


class TryLater(ShopError):
    """Nothing was done (too many requests, nobody reached): asking again is safe, after `seconds` if the carrier said so."""

    def __init__(self, message: str, seconds: float | None = None) -> None:
        super().__init__(message)
        self.seconds = seconds


class OutcomeUnknown(ShopError):
    """No answer, a server's error or nonsense after something was sent: it may be done or not. Look before asking again."""


class NumberShop(Protocol):
    """The REST side of a carrier: its numbers, our account, and its history. Every call is one HTTP request or a few, each limited in
    time; none may be made inside a transaction. All raise ShopErrors and nothing else."""

    def countries(self) -> Sequence[str]:
        """Two-letter codes of the countries in which numbers can be searched."""

    def search(
        self,
        country: str,
        area_code: str = "",
        contains: str = "",
        limit: int = 20,
        chosen: ByKind = NONE_CHOSEN,
    ) -> list[Offer]:
        """Numbers that we can buy, each with the carrier's price if it tells it.

        Args:
            area_code: national digits with which it begins.
            contains: digits that stand somewhere in it.
            chosen: what will go with an order.

        Raises:
            ComplianceMissing: such numbers are for sale, but each of them needs an address that is not chosen.
            NotForUs: each of them takes no calls.
        """

    def price(self, country: str) -> CarrierPrice | None:
        """What a local number of this country costs at the carrier; None when it does not say."""

    def bundles(self, country: str, kind: NumberKind) -> Sequence[Bundle] | None:
        """The account's regulatory bundles for such numbers, whatever their state; None: the carrier knows no bundles."""

    def find_bundle(self, sid: str) -> Bundle | None: ...

    def wants_bundle(self, country: str, kind: NumberKind) -> bool | None:
        """Whether there is a regulation for such numbers; None: the carrier does not tell."""

    def addresses(self) -> Sequence[Address]: ...

    def find_address(self, sid: str) -> Address | None: ...

    def buy(self, e164: str, label: str, compliance: Compliance = NO_COMPLIANCE) -> Owned:
        """Buys exactly this number, with all its voice addresses set to this server.

        Raises:
            Gone, NotForUs, TryLater: not bought.
            OutcomeUnknown: maybe bought.
        """

    def find(self, e164: str) -> Owned | None:
        """The number if our account owns it; compared exactly."""

    def owned(self) -> list[Owned]:
        """All numbers of our account."""

    def configure(self, sid: str) -> None:
        """Points the voice addresses of a number of ours to this server (again)."""

    def release(self, sid: str) -> None:
        """Gives a number back; a number that is not ours any more is released already."""

    def calls(self, since: datetime, until: datetime) -> Iterator[CarrierCall]:
        """The calls of our account that began in this time, and their legs; a page of them is asked for when it is needed."""

    def recordings(self, call_sid: str) -> list[Recording]:
        """The recordings of a call that can be listened to."""

    def recordings_between(self, since: datetime, until: datetime) -> Iterator[Recording]:
        """The recordings of our account that were begun in this time and can be listened to."""

    def fetch_recording(self, recording_sid: str, channels: int, sink: Callable[[bytes], object]) -> str:
        """Gives the file of a recording to `sink`, piece by piece. Returns what it is: audio/wav or audio/mpeg.

        Raises:
            Gone: the carrier has none of this id.
        """

    def delete_recording(self, recording_sid: str) -> None:
        """The carrier keeps nothing of it; one that is not there any more is deleted already."""

    def redirect_call(self, call_sid: str, address: str) -> None:
        """The carrier leaves what it does in a call, be it a talk, and asks this address what happens next.

        Raises:
            Gone, NotForUs: the call has ended, or goes on as it did.
        """

    def account(self) -> AccountState:
        """How it stands with our account."""

    def balance(self) -> AccountBalance | None:
        """Our account's money; None: the carrier does not tell."""

    def dialled_countries(self) -> Sequence[DialledCountry] | None:
        """The countries that our account may call, and those that it may not; None: the carrier does not tell."""
