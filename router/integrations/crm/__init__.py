"""What every CRM has: its slot in a scenario, and the settings that all share. `connector.py` says what a CRM brings, `saga.py` what is
done with it."""

import re
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator

from router.integrations.base import Address, Slot
from router.integrations.crm.placeholders import unknown_placeholder

CRM = Slot(name="crm", title="CRM", heading="CRM", preview="The CRM gets a lead or a note", names_kind=True)

LEAD_FIELD = re.compile(r"[a-z][a-z0-9_]{0,62}")
MOST_FIELDS, LONGEST_TEMPLATE = 30, 2000


def _as_text(value: Any) -> Any:
    """A user's number in a CRM may come as a number."""
    return "" if value is None else str(value) if type(value) is int else value


Chosen = Annotated[str, BeforeValidator(_as_text), StringConstraints(strip_whitespace=True, max_length=200)]
"""Something of the CRM, as `Choice.value` or one of its other names has it; empty: nothing is chosen."""


def printable(key: str) -> str:
    """
    Raises:
        ValueError: no header of a request takes it.
    """
    if not (key.isascii() and key.isprintable()):
        raise ValueError("A key has no such signs.")
    return key


def database_name(name: str) -> str:
    """
    Raises:
        ValueError: no header and no path of a request takes it.
    """
    if not re.fullmatch(r"[\w.\-]{1,200}", name, re.ASCII):
        raise ValueError("A database's name has letters, digits, dots, dashes and underscores.")
    return name


def root_of(address: str) -> str:
    return address.rstrip("/")


def host_alone(address: str) -> str:
    """Of an address that was copied from the browser."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else address


Key = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000), AfterValidator(printable)]
"""What a CRM lets us in by; some are signed documents of a thousand signs."""
DatabaseName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(database_name),
]
Root = Annotated[Address, AfterValidator(root_of)]
Host = Annotated[Address, AfterValidator(host_alone)]


class CrmSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    field_name: ClassVar[re.Pattern[str]] = LEAD_FIELD
    """How the CRM writes names of fields of a lead."""
    reserved_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields of a lead that the connector fills itself."""
    falls_to_nobody: ClassVar[bool] = True
    """A lead for which nobody is named belongs to nobody; else to the user of the key."""
    chosen_from: ClassVar[dict[str, str]] = {"manager": "people"}
    """Settings that name something of the CRM, each with the member of `Choices` that lists what there is."""
    groups: ClassVar[dict[str, tuple[str, ...]]] = {
        "Who gets the lead": ("manager", "pipeline", "team", "stage"),
        "When a lead is made": (
            *("only_new_customers", "not_while_open", "reopen_lost", "answered_only", "longer_than", "first_call_only"),
            *("withheld_leads", "callback_task"),
        ),
        "How callers are found": ("phone_fields",),
        "What the lead says": ("fields",),
    }
    """The headings of the form, each with its settings; those that stand in none connect to the CRM, and come first."""

    manager: Chosen = Field(
        "",
        title="Responsible for new leads",
        description="A person of the CRM. Without one the lead belongs to nobody, and most CRMs show it to no seller.",
    )
    only_new_customers: bool = Field(True, title="A lead only for a new customer")
    not_while_open: bool = Field(True, title="No new lead while a deal of the same number is open")
    reopen_lost: bool = Field(
        False,
        title="Reopen a lost lead when its caller rings again",
        description="With a task for the responsible person. Off: a new lead is made.",
    )
    answered_only: bool = Field(False, title="A new lead only for an answered call")
    longer_than: int = Field(
        0,
        ge=0,
        le=3600,
        title="A new lead only for a call longer than",
        description="Seconds of talk. Calls of known customers are entered however short they are.",
    )
    first_call_only: bool = Field(False, title="A new lead only for a caller’s first call")
    withheld_leads: bool = Field(
        False,
        title="A lead for a caller who withheld the number",
        description="One for each call: nobody can tell who called before.",
    )
    callback_task: bool = Field(
        True, title="A task “Call back” for a missed call", description="For the responsible person, due at once."
    )
    fields: dict[str, str] = Field(
        default_factory=dict,
        max_length=MOST_FIELDS,
        title="Fields of the lead",
        description="One in each line: name = Call from {phone}, {utmCampaign}. A field that your pages tell is {param.NAME}, or"
        " {roistatParam1} to {roistatParam5}; an advertisement’s click id is {gclid}, {fbclid}, {yclid} and so on. Every call is also"
        " added as a note, whatever stands here.",
    )

    @field_validator("fields")
    @classmethod
    def _templates(cls, value: dict[str, str]) -> dict[str, str]:
        for name, template in value.items():
            if not cls.field_name.fullmatch(name) or name in cls.reserved_fields:
                raise ValueError(f"“{name[:60]}” is not the name of a field that can be filled.")
            if (unknown := unknown_placeholder(template)) is not None:
                raise ValueError(f"There is no placeholder {{{unknown[:60]}}} (in “{name}”).")
            if len(template) > LONGEST_TEMPLATE:
                raise ValueError(f"“{name}” is longer than {LONGEST_TEMPLATE} characters.")
        return value
