"""What a CRM brings so that calls become leads there. In which order its steps are taken, what is remembered, looked up and repeated is the
same for all: `saga.py`. A connector knows one protocol and one data model, and no rule.

One object works for one delivery, or for one press of *Check connection*. Every method may raise DeliveryError in the CRM's own words."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

import structlog

from router.integrations.base import DeliveryError, Message
from router.integrations.crm.matching import FoundContact, FoundLead, RecordId
from router.lib.http_client import Outgoing

log = structlog.get_logger(__name__)


class RecordGone(DeliveryError):
    """The record was deleted in the CRM, or merged into another."""


@contextmanager
def answers_read(product: str) -> Iterator[None]:
    """Around what reads answers of a CRM for people who wait: a form that nobody expected becomes a sentence, and the log has the rest.

    Raises:
        DeliveryError
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        log.warning("an answer of a CRM has an unexpected form", product=product, exc_info=error)
        raise DeliveryError(f"{product}’s answer has an unexpected form.", status=200) from error


class FieldsRefused(DeliveryError):
    """No record was made because of some of its fields. `fields`: their names among the values, each with the CRM's words."""

    def __init__(self, message: str, fields: dict[str, str], status: int | None) -> None:
        super().__init__(message, permanent=True, status=status)
        self.fields = fields


@dataclass(frozen=True)
class Access:
    """What is needed to talk to an account."""

    config: Mapping[str, Any]
    """The integration's settings without the secret."""
    secret: str
    deadline: float
    """When everything has to be over (monotonic)."""
    now: datetime

    @classmethod
    def of(cls, message: Message) -> "Access":
        return cls(message.config, message.secret, message.deadline, message.now)


@dataclass(frozen=True)
class Account:
    """Whose data it is, whatever the address is written like."""

    identity: str | None
    """The CRM's own name of the account, the same for every address and key: a vendor's number of its customer, or an unguessable one that
    a server of the customer's own tells. None: this key may not read it."""
    title: str
    """For people."""


@dataclass(frozen=True)
class Choice:
    value: str
    """As the setting has it."""
    label: str
    aliases: tuple[str, ...] = ()
    """Other ways to name it, which count as well."""
    within: str = ""
    """The value of the pipeline or team that it belongs to."""

    def names(self) -> set[str]:
        return {name.strip().casefold() for name in (self.value, self.label, *self.aliases) if name.strip()}


@dataclass(frozen=True)
class OwnField:
    """A field that we offer to make in the CRM, once, and fill with each new lead."""

    name: str
    """Our name, from which the CRM's is made."""
    label: str
    template: str
    is_address: bool = False


OWN_FIELDS = (
    OwnField("visit", "Visit number", "{visit}"),
    OwnField("source", "Marketing source", "{markerSource}"),
    OwnField("utm_term", "UTM term", "{utmTerm}"),
    OwnField("utm_content", "UTM content", "{utmContent}"),
    OwnField("call_id", "Call id", "{callId}"),
    OwnField("recording", "Recording of the call", "{recording}", is_address=True),
)


@dataclass(frozen=True)
class Choices:
    """What the account has, to choose from; by the names in `CrmSettings.chosen_from`."""

    people: tuple[Choice, ...] = ()
    pipelines: tuple[Choice, ...] = ()
    """Or teams."""
    stages: tuple[Choice, ...] = ()
    fields: tuple[Choice, ...] = ()
    """Of a lead, that a template may fill."""


@dataclass(frozen=True)
class Person:
    """Whom a lead may belong to. `named`: as the settings name him."""

    id: RecordId
    name: str
    named: str


@dataclass(frozen=True)
class Caller:
    """Whose leads and contacts are looked for."""

    e164: str
    known: str | None
    """The id of the lead that stood for this caller before."""
    country: str | None
    """In which a number without its country code is read, after what the CRM itself says of it."""


@dataclass(frozen=True)
class Found:
    """Some of what belongs to a caller."""

    leads: Sequence[FoundLead] = ()
    contacts: Sequence[FoundContact] = ()


@dataclass(frozen=True)
class Record:
    """Where a call is entered."""

    kind: str
    """`Connector.lead` or `Connector.contact`."""
    id: RecordId


@dataclass(frozen=True)
class NewLead:
    """A lead as it shall be, before the CRM's own names."""

    key: str
    """Of the call: the same at each repeat."""
    phone: str | None
    title: str
    description: Sequence[str]
    """Lines of plain text: where the caller came from."""
    fields: Mapping[str, str]
    """By the CRM's names of its fields: filled templates, which go before everything above."""
    source: Mapping[str, str]
    """source, medium, campaign, term, content: those that are known."""
    responsible: Person | None = None
    contact: RecordId | None = None


@dataclass(frozen=True)
class CallEntry:
    """A call as it is entered at a record."""

    key: str
    caller: str | None
    number: str
    started_at: str
    """ISO 8601, UTC."""
    outcome: str
    """A call's status, or `blocked`."""
    duration: int
    """Talk time in seconds."""
    html: str
    """All of it in words, with `mark`."""
    mark: str
    """By which an entry in words is found again."""
    recording: str = ""
    """Where people hear it; empty: nowhere."""
    responsible: Person | None = None


@dataclass(frozen=True)
class Task:
    """Something that somebody has to do now."""

    key: str
    title: str
    html: str
    mark: str
    owner: RecordId
    due: str
    """The day, as the project's calendar has it: `2026-11-23`."""


class Connector(ABC):
    """One account of one CRM."""

    product: ClassVar[str]
    """As people are told: “Odoo has no user …”."""
    lead: ClassVar[str]
    contact: ClassVar[str]
    """The CRM's names of both kinds of records."""
    responsible: ClassVar[str]
    """The name among the values of a lead by which its owner is refused."""
    needed: ClassVar[tuple[str, ...]]
    """Values without which no lead is made; any other is left out when the CRM refuses it."""
    makes_contacts: ClassVar[bool] = False
    """A lead needs a contact, which is made first."""
    changes_calls: ClassVar[bool] = False
    """An entered call can be changed; else corrections are entered beside it."""

    def __init__(self, outgoing: Outgoing, access: Access) -> None:
        self.outgoing = outgoing
        self.access = access
        self.config = access.config

    def setting_of(self, name: str) -> str:
        """The setting from which a value of a lead comes, where one does."""
        return name

    # Check connection

    @abstractmethod
    def account(self) -> Account: ...

    @abstractmethod
    def choices(self) -> Choices: ...

    @abstractmethod
    def check(self, lead: NewLead) -> list[str]:
        """Tries all that a call will need, as close to the real thing as leaves nothing behind; what is missing, a sentence each."""

    def make_fields(self, fields: Sequence[OwnField]) -> dict[str, str]:
        """Makes those that are not there yet; our name of each to the CRM's.

        Raises:
            DeliveryError: this key may not; the message says what an administrator of the CRM has to add.
        """
        return {}

    # The steps

    @abstractmethod
    def person(self, name: str) -> Person | str:
        """Who has this id, login or e-mail; or why he cannot be responsible: `Odoo has no user “bob”`."""

    @abstractmethod
    def find(self, caller: Caller) -> Iterator[Found]:
        """Leads and contacts of this caller, the surest first; the next part is asked for only when those before decide nothing."""

    def moved(self, mark: str) -> Record | None:
        """Where the newest entry with this mark stands: entries go along when people merge leads."""
        return None

    @abstractmethod
    def own(self, step: str, key: str, mark: str, record: Record | None) -> RecordId | None:
        """What an earlier attempt made.

        Args:
            step: contact, lead, call or task.
            key: that it was made with.
            record: at which a call or a task is.
        """

    def create_contact(self, key: str, caller: Caller, responsible: Person | None) -> RecordId:
        raise NotImplementedError

    @abstractmethod
    def lead_values(self, lead: NewLead) -> tuple[dict[str, Any], dict[str, str]]:
        """A lead in the CRM's names and values; and what of it the CRM does not take, name to words."""

    @abstractmethod
    def create_lead(self, key: str, values: Mapping[str, Any]) -> RecordId:
        """
        Raises:
            FieldsRefused
        """

    @abstractmethod
    def owner(self, record: Record) -> RecordId | None:
        """Who is responsible for it."""

    @abstractmethod
    def read(self, record: Record, names: Sequence[str]) -> dict[str, Any]:
        """What these values are now, in any form that stays the same while nobody changes them.

        Raises:
            RecordGone
        """

    @abstractmethod
    def change(self, record: Record, values: Mapping[str, Any]) -> None:
        """Writes these of `lead_values`.

        Raises:
            FieldsRefused
        """

    @abstractmethod
    def reopen(self, record: Record) -> None:
        """Brings a lost or archived lead back to the lists of sellers; one that is there already stays as it is."""

    @abstractmethod
    def add_call(self, record: Record, entry: CallEntry) -> RecordId:
        """
        Raises:
            RecordGone
        """

    def change_call(self, record: Record, call: RecordId, entry: CallEntry) -> None:
        raise NotImplementedError

    @abstractmethod
    def add_note(self, record: Record, html: str) -> RecordId:
        """
        Raises:
            RecordGone
        """

    @abstractmethod
    def note(self, record: Record, mark: str) -> RecordId | None:
        """A note there with this mark, as it stands in the HTML."""

    @abstractmethod
    def add_task(self, record: Record, task: Task) -> RecordId: ...


@dataclass
class Checked:
    """What *Check connection* found."""

    account: Account
    choices: Choices = field(default_factory=Choices)
    problems: list[str] = field(default_factory=list)
