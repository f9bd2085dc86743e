"""Scenarios and tracking numbers as programs see them."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.scenarios.models import CallFlow, Scenario, TrackingNumber
from router.scenarios.parts import parts_of
from router.server import Server
from router.web import iso


def scenario_document(session: Session, server: Server, scenario: Scenario) -> dict[str, Any]:
    return scenario_documents(session, server, [scenario])[0]


def scenario_documents(session: Session, server: Server, scenarios: Sequence[Scenario]) -> list[dict[str, Any]]:
    """One document for each, in the same order; the number of statements does not depend on how many."""
    ids = [scenario.id for scenario in scenarios]
    numbers = numbers_by_scenario(session, ids)
    flow_ids = [scenario.call_flow_id for scenario in scenarios if scenario.call_flow_id]
    flows = {flow.id: flow.document for flow in session.scalars(select(CallFlow).where(CallFlow.id.in_(flow_ids)))}
    parts = {part.name: part.show(session, ids) for part in parts_of(server)}
    return [
        _document(scenario, numbers[scenario.id], flows.get(scenario.call_flow_id or 0))
        | {name: shown.get(scenario.id, {}) for name, shown in parts.items()}
        for scenario in scenarios
    ]


def numbers_by_scenario(session: Session, scenario_ids: Sequence[int]) -> dict[int, list[TrackingNumber]]:
    found: dict[int, list[TrackingNumber]] = defaultdict(list)
    numbers = select(TrackingNumber).where(TrackingNumber.scenario_id.in_(scenario_ids))
    for number in session.scalars(numbers.order_by(TrackingNumber.id)):
        found[number.scenario_id or 0].append(number)
    return found


def _document(scenario: Scenario, numbers: list[TrackingNumber], flow: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "id": scenario.id,
        "title": scenario.title,
        "enabled": scenario.enabled,
        "numbers": [number.e164 for number in numbers],
        "static": {number.e164: number.static_source for number in numbers if number.static_source},
        "flow": flow,
        "tagging": scenario.tagging,
        "aim": scenario.aim,
        "exhausted": scenario.exhausted,
        "version": scenario.version,
        "created_at": iso(scenario.created_at),
        "calls": scenario.calls,
        "accuracy": scenario.accuracy,
    }


def number_document(number: TrackingNumber) -> dict[str, Any]:
    return {
        "e164": number.e164,
        "scenario": number.scenario_id,
        "static": number.static_source,
        "owned_elsewhere": number.owned_elsewhere,
        "pinned": number.pinned,
        "calls": number.calls,
        "last_shown_at": iso(number.last_shown_at) if number.last_shown_at else None,
        "created_at": iso(number.created_at),
    }
