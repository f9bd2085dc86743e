"""R10: whether a call makes a lead or is added to what a CRM has of this caller."""

from collections.abc import Sequence
from dataclasses import dataclass

from router.integrations.matching import Match


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
