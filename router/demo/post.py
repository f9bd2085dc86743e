"""What the example company's receivers were sent about its past calls: mostly delivered at once, once in a while not."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from router.demo.callers import PastCall
from router.demo.company import Room
from router.integrations.models import Integration

EVENTS = {"webhook_start": "call.started", "webhook_end": "call.ended", "ga4": "call.ended", "crm": "call.ended"}
RETRIED_SHARE = 0.04
DEAD_SHARE = 0.008
NO_CLIENT_ID = "no client_id: the visit is not known to Google Analytics"
NO_CUSTOMER = "the caller withheld the number, so there is no customer to name"


@dataclass
class PastDelivery:
    """A row of `delivery` with those of its attempts, and the lead it made."""

    row: dict[str, Any]
    attempts: list[dict[str, Any]] = field(default_factory=list)
    leads: list[dict[str, Any]] = field(default_factory=list)


def deliveries_of(random: Random, call: PastCall, room: Room) -> list[PastDelivery]:
    return [_delivery(random, call, slot, integration) for slot, integration in room.integrations.items()]


def _delivery(random: Random, call: PastCall, slot: str, integration: Integration) -> PastDelivery:
    event = EVENTS[slot]
    at = call.started_at + timedelta(seconds=0 if event == "call.started" else call.ended_after)
    reason = _reason_to_skip(call, slot)
    chance = random.random()
    state = "skipped" if reason else "dead" if chance < DEAD_SHARE and slot == "webhook_end" else "done"
    past = PastDelivery(_row(random, call, integration, event, at, state, reason))
    _attempt(random, past, chance, at, slot)
    if slot == "crm" and state == "done" and call.first:
        past.leads.append(_lead(call, integration, at))
    return past


def _reason_to_skip(call: PastCall, slot: str) -> str:
    if slot == "ga4" and (call.stay is None or not call.stay.ga):
        return NO_CLIENT_ID
    return NO_CUSTOMER if slot == "crm" and call.caller is None else ""


def _row(
    random: Random, call: PastCall, integration: Integration, event: str, at: datetime, state: str, reason: str
) -> dict[str, Any]:
    return {
        "message_id": f"msg_{random.getrandbits(80):020x}_{integration.id}",
        "project_id": integration.project_id,
        "integration_id": integration.id,
        "call_id": call.id,
        "event": event,
        "destination": integration.destination,
        "order_key": f"{integration.destination}|{call.caller}" if integration.slot == "crm" and call.caller else "",
        "state": state,
        "reason": reason,
        "created_at": at,
        "event_at": at,
        "next_at": at,
        "reference": {"lead_id": call.id, "status": 200} if integration.slot == "crm" and state == "done" else {},
    }


def _attempt(random: Random, past: PastDelivery, chance: float, at: datetime, slot: str) -> None:
    """The tries that led to the state: one, a second after a passing failure, or all of them in vain."""
    state = past.row["state"]
    at += timedelta(seconds=random.uniform(0.2, 1.5))
    if state == "dead":
        for turn, pause in enumerate((0, 5, 305, 2105, 9305)):
            failed = _tried(random, at + timedelta(seconds=pause), 503, "retry" if turn < 4 else "dead")
            past.attempts.append(failed | {"message": "The receiver answered 503. The shop system is being updated."})
        past.row |= {"reason": "The receiver answered 503 to every attempt."}
    elif state == "done" and chance > 1 - RETRIED_SHARE:
        past.attempts.append(_tried(random, at, 502, "retry") | {"message": "The receiver answered 502."})
        past.attempts.append(_tried(random, at + timedelta(seconds=5.4), 200, "done"))
    else:
        status = None if state == "skipped" else 204 if slot == "ga4" else 200
        past.attempts.append(_tried(random, at, status, state) | {"message": past.row["reason"]})
    past.row |= {"attempts": len(past.attempts), "done_at": past.attempts[-1]["at"] if state == "done" else None}


def _tried(random: Random, at: datetime, status: int | None, outcome: str) -> dict[str, Any]:
    return {"at": at, "milliseconds": random.randrange(18, 240), "status": status, "outcome": outcome, "message": ""}


def _lead(call: PastCall, integration: Integration, at: datetime) -> dict[str, Any]:
    return {
        "project_id": integration.project_id,
        "destination": integration.destination,
        "caller": call.caller,
        "external_key": f"call-{call.id}",
        "external_id": str(call.id),
        "created_at": at,
    }
