"""What senders are given (R11): built when it is sent, for a batch of deliveries with a few statements."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from router.accounts.models import Project
from router.attribution.models import Visit
from router.db import DATABASE_FAULTS
from router.integrations.base import Expired, Message, Skipped
from router.integrations.crm import CRM
from router.integrations.crm.placeholders import placeholder_values
from router.integrations.forgetting import REASON as FORGOTTEN
from router.integrations.models import Delivery, Integration, Lead
from router.integrations.outbox import full_call_documents
from router.integrations.queue import DeliveryClaim
from router.integrations.text_messages import message_document
from router.lib.phones import spellings_of_line
from router.scenarios.models import Scenario
from router.server import Server
from router.voice.models import Call, TextMessage

Built = tuple[str, Message] | Exception
"""The kind of the receiver and the message for it; or why there is none: Skipped, Expired, or a mistake of ours."""
Remember = Callable[[DeliveryClaim], Callable[[dict[str, Any]], None]]
UNREAD = [defer(column) for column in (Call.decision, Call.shares)]
"""Of a call: nobody is told, and it is long."""


def build_messages(
    server: Server,
    session: Session,
    claims: Sequence[DeliveryClaim],
    now: datetime,
    deadline: float,
    remember: Remember,
) -> dict[int, Built]:
    """By the ids of deliveries. What cannot be built spoils no other one.

    Args:
        deadline: when the attempts have to be over (monotonic).
        remember: gives the function that keeps the steps of a delivery.
    """
    try:
        return _build(server, session, claims, now, deadline, remember)
    except DATABASE_FAULTS:
        raise
    except Exception as error:
        if len(claims) == 1:
            return {claims[0].id: error}
        session.expunge_all()
        alone = (build_messages(server, session, [one], now, deadline, remember) for one in claims)
        return {delivery_id: built for built_alone in alone for delivery_id, built in built_alone.items()}


def _build(
    server: Server,
    session: Session,
    claims: Sequence[DeliveryClaim],
    now: datetime,
    deadline: float,
    remember: Remember,
) -> dict[int, Built]:
    ids = {one.job.integration_id for one in claims}
    with_manager = select(Integration, Scenario.manager).join(Scenario, Scenario.id == Integration.scenario_id)
    rows = session.execute(with_manager.where(Integration.id.in_(ids), Integration.removed_at.is_(None)))
    integrations = {row.Integration.id: row for row in rows}
    call_ids = {one.job.call_id for one in claims if not one.job.text_message_id}
    found = session.scalars(select(Call).where(Call.id.in_(call_ids)).options(*UNREAD)) if call_ids else ()
    calls = {call.id: call for call in found}
    documents = dict(zip(calls, full_call_documents(server, session, calls.values()), strict=True))
    text_ids = {one.job.text_message_id for one in claims if one.job.text_message_id}
    texts = session.scalars(select(TextMessage).where(TextMessage.id.in_(text_ids))) if text_ids else ()
    text_messages = {text.id: text for text in texts}
    for_crm = [row.Integration for row in integrations.values() if row.Integration.slot == CRM.name]
    leads = _known_leads(session, {_account(one) for one in for_crm}, calls)
    ends = _references_of_ends(session, {one.id for one in for_crm}, claims)
    secrets = {
        row.Integration.id: server.keys.unseal(row.Integration.sealed) if row.Integration.sealed else ""
        for row in integrations.values()
    }
    earlier = {
        row.Integration.id: server.keys.unseal(row.Integration.sealed_before)
        for row in integrations.values()
        if row.Integration.sealed_before and row.Integration.earlier_until and now < row.Integration.earlier_until
    }
    built: dict[int, Built] = {}
    for one in claims:
        job = one.job
        row, call = integrations.get(job.integration_id), calls.get(job.call_id)
        if row is None:
            built[one.id] = Skipped("the integration was removed")
            continue
        integration: Integration = row.Integration
        common: dict[str, Any] = {
            "id": job.message_id,
            "event": job.event,
            "event_at": job.event_at,
            "now": now,
            "config": integration.config,
            "secret": secrets[integration.id],
            "earlier_secret": earlier.get(integration.id, ""),
            "reference": job.reference,
            "deadline": deadline,
            "remember": remember(one),
            "uncertain_at": job.uncertain_at,
        }
        if job.text_message_id:
            text = text_messages.get(job.text_message_id)
            if text is None:
                built[one.id] = Skipped("the message was deleted")
                continue
            message = Message(
                call=message_document(text), placeholders={}, visit_last_sign=None, known_lead=None, **common
            )
            built[one.id] = integration.kind, message
        elif call is None:
            built[one.id] = Skipped("the call was deleted")
        elif call.forgotten_id is not None and integration.slot == CRM.name:
            built[one.id] = Skipped(FORGOTTEN)
        elif job.not_after is not None and now > job.not_after:
            built[one.id] = Expired("too late: the receiver would not count it any more")
        else:
            visit = session.get(Visit, call.visit_id) if call.visit_id is not None else None
            project = session.get_one(Project, job.project_id)
            of_caller = spellings_of_line(call.caller) if call.caller is not None and for_crm else ()
            account = _account(integration)
            known = [leads[account, each] for each in of_caller if (account, each) in leads]
            message = Message(
                call=documents[call.id],
                placeholders=placeholder_values(call, visit, project),
                visit_last_sign=visit.last_sign_at if visit else None,
                known_lead=min(known)[1] if known else None,
                country=project.country,
                earlier=ends.get((integration.id, call.id), {}) if job.event == "call.updated" else {},
                managers=(row.manager, str(integration.config.get("manager") or "")),
                **common,
            )
            built[one.id] = integration.kind, message
    return built


def _account(integration: Integration) -> str:
    """Whose leads they are."""
    return integration.account or integration.receiver


def _references_of_ends(
    session: Session, crm_ids: set[int], claims: Sequence[DeliveryClaim]
) -> dict[tuple[int, int], dict[str, Any]]:
    """What CRMs gave back for the end of calls of which more became known, by integration and call."""
    call_ids = {
        one.job.call_id for one in claims if one.job.event == "call.updated" and one.job.integration_id in crm_ids
    }
    if not call_ids:
        return {}
    ends = select(Delivery.integration_id, Delivery.call_id, Delivery.reference).where(
        Delivery.call_id.in_(call_ids), Delivery.integration_id.in_(crm_ids), Delivery.event == "call.ended"
    )
    return {(row.integration_id, row.call_id): dict(row.reference) for row in session.execute(ends)}


def _known_leads(
    session: Session, accounts: set[str], calls: Mapping[int, Call]
) -> dict[tuple[str, str], tuple[int, str]]:
    """Of accounts and callers the lead that stands for them: our id, by which the earliest one counts, and the CRM's."""
    callers = {each for call in calls.values() if call.caller is not None for each in spellings_of_line(call.caller)}
    if not accounts or not callers:
        return {}
    leads = select(Lead).where(Lead.account.in_(accounts), Lead.caller.in_(callers))
    return {(lead.account, lead.caller): (lead.id, lead.external_id) for lead in session.scalars(leads)}
