"""Scenarios and tracking numbers as programs see them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.scenarios.channel_rows import Channel, short_form, with_static, without_numbers
from router.scenarios.models import OPEN, CallFlow, NumberBatch, NumberOrder, Scenario, TrackingNumber
from router.scenarios.parts import parts_of
from router.scenarios.renting.paid_time import grace_ends
from router.scenarios.shape import Terms, ToBuy
from router.server import Server
from router.web import iso

EMPTY_TERMS, NOTHING_TO_BUY = Terms().model_dump(), ToBuy().model_dump()


def scenario_document(session: Session, server: Server, scenario: Scenario) -> dict[str, Any]:
    return scenario_documents(session, server, [scenario])[0]


def scenario_documents(session: Session, server: Server, scenarios: Sequence[Scenario]) -> list[dict[str, Any]]:
    """One document for each, in the same order; the number of statements does not depend on how many."""
    ids = [scenario.id for scenario in scenarios]
    numbers = numbers_by_scenario(session, ids)
    channels = shown_channels(session, scenarios, numbers)
    flow_ids = [scenario.call_flow_id for scenario in scenarios if scenario.call_flow_id]
    flows = {flow.id: flow.document for flow in session.scalars(select(CallFlow).where(CallFlow.id.in_(flow_ids)))}
    parts = {part.name: part.show(session, ids) for part in parts_of(server)}
    return [
        _document(scenario, numbers[scenario.id], channels[scenario.id], flows.get(scenario.call_flow_id or 0))
        | {name: shown.get(scenario.id, {}) for name, shown in parts.items()}
        for scenario in scenarios
    ]


def numbers_by_scenario(session: Session, scenario_ids: Sequence[int]) -> dict[int, list[TrackingNumber]]:
    found: dict[int, list[TrackingNumber]] = defaultdict(list)
    numbers = select(TrackingNumber).where(TrackingNumber.scenario_id.in_(scenario_ids))
    for number in session.scalars(numbers.order_by(TrackingNumber.id)):
        found[number.scenario_id or 0].append(number)
    return found


def shown_channels(
    session: Session, scenarios: Sequence[Scenario], numbers: Mapping[int, Sequence[TrackingNumber]] | None = None
) -> dict[int, list[Channel]]:
    """The channels of each scenario without those of static numbers that left it, and with one for each static number it has.

    The number of statements does not depend on how many scenarios there are.
    """
    ids = [scenario.id for scenario in scenarios]
    if numbers is None:
        numbers = numbers_by_scenario(session, ids)
    has_static = any(one["kind"] == "static" for scenario in scenarios for one in scenario.channels)
    coming = coming_numbers(session, ids) if has_static else {}
    shown: dict[int, list[Channel]] = {}
    for scenario in scenarios:
        own = numbers.get(scenario.id, [])
        stay = {number.e164 for number in own} | coming.get(scenario.id, set())
        channels = without_numbers(scenario.channels, stay | set(scenario.to_buy.get("numbers", [])))
        missing = {number.e164: number.static_source for number in own if number.static_source}
        for one in channels:
            missing.pop(one.get("number", ""), None)
        shown[scenario.id] = with_static(channels, short_form(channels) | missing) if missing else channels
    return shown


def coming_numbers(session: Session, scenario_ids: Sequence[int]) -> dict[int, set[str]]:
    """The numbers that are being bought for each scenario."""
    orders = (
        select(NumberBatch.scenario_id, NumberOrder.e164)
        .join(NumberOrder, NumberOrder.batch_id == NumberBatch.id)
        .where(NumberBatch.scenario_id.in_(scenario_ids), OPEN)
    )
    found: dict[int, set[str]] = defaultdict(set)
    for scenario_id, e164 in session.execute(orders):
        found[scenario_id or 0].add(e164)
    return found


def _document(
    scenario: Scenario, numbers: list[TrackingNumber], channels: list[Channel], flow: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "id": scenario.id,
        "title": scenario.title,
        "enabled": scenario.enabled,
        "numbers": [number.e164 for number in numbers if not number.overflow],
        "channels": channels,
        "static": short_form(channels),
        "flow": flow,
        "tagging": scenario.tagging,
        "aim": scenario.aim,
        "exhausted": scenario.exhausted,
        "overflow": next((number.e164 for number in numbers if number.overflow), None),
        "hold_seconds": scenario.hold_seconds,
        "terms": EMPTY_TERMS | scenario.terms,
        "upkeep": {
            "on": scenario.upkeep_on,
            "spending_limit_minor": scenario.upkeep_spending_limit_minor,
            "max_numbers": scenario.upkeep_max_numbers,
        },
        "manager": scenario.manager,
        "to_buy": NOTHING_TO_BUY | scenario.to_buy,
        "version": scenario.version,
        "created_at": iso(scenario.created_at),
        "calls": scenario.calls,
        "accuracy": scenario.accuracy,
    }


def number_document(number: TrackingNumber, now: datetime) -> dict[str, Any]:
    """`state` is in_use, free, grace (its paid time has ended) or releasing."""
    state = state_of(number, now)
    return {
        "e164": number.e164,
        "scenario": number.scenario_id,
        "static": number.static_source,
        "kind": kind_of(number),
        "owned_elsewhere": number.owned_elsewhere,
        "pinned": number.pinned,
        "state": state,
        "bought_at": _iso(number.bought_at),
        "paid_until": _iso(number.paid_until),
        "grace_until": _iso(grace_ends(number.paid_until)) if number.paid_until and state == "grace" else None,
        "carrier_error": number.carrier_error,
        "calls": number.calls,
        "last_call_at": _iso(number.last_call_at),
        "last_shown_at": _iso(number.last_shown_at),
        "created_at": iso(number.created_at),
    }


def kind_of(number: TrackingNumber) -> str | None:
    """dynamic, static or overflow; None for one that is in no scenario."""
    if number.scenario_id is None:
        return None
    return "overflow" if number.overflow else "static" if number.static_source is not None else "dynamic"


def state_of(number: TrackingNumber, now: datetime) -> str:
    if number.releasing_at is not None:
        return "releasing"
    if not number.owned_elsewhere and number.paid_until is not None and number.paid_until <= now:
        return "grace"
    return "in_use" if number.scenario_id is not None else "free"


def _iso(moment: datetime | None) -> str | None:
    return iso(moment) if moment else None
