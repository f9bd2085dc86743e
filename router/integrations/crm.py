"""What every CRM has: its slot in a scenario, the settings that all share, and whether a call makes a lead or is added to one (R10)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator

from router.integrations.base import Slot
from router.integrations.matching import Match
from router.integrations.placeholders import unknown_placeholder

CRM = Slot(name="crm", title="CRM", heading="CRM", preview="The CRM gets a lead or a note", names_kind=True)

FIELD_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
MOST_FIELDS, LONGEST_TEMPLATE = 30, 2000


def _as_text(value: Any) -> Any:
    """A user's number in a CRM may come as a number."""
    return "" if value is None else str(value) if type(value) is int else value


Manager = Annotated[str, BeforeValidator(_as_text), StringConstraints(strip_whitespace=True, max_length=200)]


class CrmSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    reserved_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields of a lead that the sender fills itself."""

    manager: Manager = Field(
        "",
        title="Responsible for new leads",
        description="A user of the CRM. Empty, or nobody of this name there: the lead belongs to nobody yet.",
    )
    only_new_customers: bool = Field(True, title="A lead only for a new customer")
    not_while_open: bool = Field(True, title="No new lead while a deal of the same number is open")
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
            if not FIELD_NAME.fullmatch(name) or name in cls.reserved_fields:
                raise ValueError(f"“{name[:60]}” is not the name of a field that can be filled.")
            if (unknown := unknown_placeholder(template)) is not None:
                raise ValueError(f"There is no placeholder {{{unknown[:60]}}} (in “{name}”).")
            if len(template) > LONGEST_TEMPLATE:
                raise ValueError(f"“{name}” is longer than {LONGEST_TEMPLATE} characters.")
        return value


@dataclass(frozen=True)
class FoundLead:
    """A lead or deal with the caller's number, as the CRM has it."""

    id: int
    is_open: bool
    match: Match = Match.KNOWN


def lead_to_add_to(
    leads: Sequence[FoundLead], known: int | None, is_customer: bool, only_new_customers: bool, not_while_open: bool
) -> FoundLead | str:
    """The lead that a call is added to; else `customer` (known, but without any lead) or `create`.

    Open ones come first; among equals the one that stood for this caller before, then the surest match, then the newest.

    leads: those of the caller's number, newest first. known: the one that stood for this caller before.
    """
    preferred = sorted(leads, key=lambda lead: (lead.id != known, lead.match))
    still_open = [lead for lead in preferred if lead.is_open]
    if not_while_open and still_open:
        return still_open[0]
    if only_new_customers and preferred:
        return preferred[0]
    return "customer" if only_new_customers and is_customer else "create"
