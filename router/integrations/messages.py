"""From a claimed delivery to the message that its sender gets: built when it is sent, from what is known then."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.models import Visit
from router.crypto import KeyRing
from router.integrations.claims import Claim
from router.integrations.contract import Expired, Message, Skipped
from router.integrations.document import full_call_documents
from router.integrations.models import Delivery, Integration, Lead
from router.integrations.placeholders import placeholder_values
from router.phones import spellings_of_line
from router.scenarios.models import Scenario
from router.voice.models import Call

Remember = Callable[[dict[str, Any]], None]


def build(
    session: Session, claim: Claim, keys: KeyRing, now: datetime, deadline: float, remember: Remember
) -> tuple[str, Message]:
    """The kind of the receiver and the message for it.

    Raises:
        Skipped: the integration was removed, or the call is not there any more.
        Expired: it is too late.
    """
    delivery = session.get_one(Delivery, claim.id)
    integration = session.get(Integration, delivery.integration_id)
    call = session.get(Call, delivery.call_id)
    if integration is None or integration.removed_at is not None:
        raise Skipped("the integration was removed")
    if call is None:
        raise Skipped("the call was deleted")
    if delivery.not_after is not None and now > delivery.not_after:
        raise Expired("too late: the receiver would not count it any more")
    visit = session.get(Visit, call.visit_id) if call.visit_id is not None else None
    project = session.get_one(Project, delivery.project_id)
    return integration.kind, Message(
        id=delivery.message_id,
        event=delivery.event,
        event_at=delivery.event_at,
        now=now,
        attempt=claim.attempt,
        config=_config(session, integration),
        secret=keys.unseal(integration.sealed) if integration.sealed else "",
        call=full_call_documents(session, [call])[0],
        placeholders=placeholder_values(call, visit, project),
        visit_last_sign=visit.last_sign_at if visit else None,
        reference=delivery.reference,
        known_lead=_known_lead(session, integration.destination, call.caller),
        deadline=deadline,
        remember=remember,
        country=project.country,
    )


def _config(session: Session, integration: Integration) -> dict[str, Any]:
    """The responsible person of a lead is the scenario's manager, else the integration's (R10)."""
    if integration.slot != "crm":
        return dict(integration.config)
    of_scenario = session.scalar(select(Scenario.manager).where(Scenario.id == integration.scenario_id))
    of_integration = integration.config.get("manager", "")
    return {**integration.config, "manager": of_scenario or of_integration, "fallback_manager": of_integration}


def _known_lead(session: Session, destination: str, caller: str | None) -> str | None:
    if caller is None:
        return None
    of_line = Lead.caller.in_(spellings_of_line(caller))
    return session.scalar(
        select(Lead.external_id).where(Lead.destination == destination, of_line).order_by(Lead.id).limit(1)
    )
