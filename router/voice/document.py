"""A call as programs see it: the shape of the API and of webhooks (DESIGN.md, HTTP)."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.attribution.models import Visit
from router.voice.models import Call
from router.web import iso as iso


def call_documents(session: Session, calls: Iterable[Call]) -> list[dict[str, Any]]:
    """One document for each call, in the same order, without `deliveries` (those belong to the floor above). Two statements at most.

    What comes from its visit is as the visit is now: fields that its pages told after the call began are among `params`, and click ids
    whose consent was withdrawn are not there any more.
    """
    calls = list(calls)
    wanted = {call.visit_id for call in calls if call.visit_id is not None}
    visits = {visit.id: visit for visit in session.scalars(select(Visit).where(Visit.id.in_(wanted)))} if wanted else {}
    return [_document(call, visits.get(call.visit_id or 0)) for call in calls]


def _document(call: Call, visit: Visit | None) -> dict[str, Any]:
    return {
        "id": call.id,
        "sid": call.sid,
        "kind": call.kind,
        "started_at": iso(call.started_at),
        "caller": call.caller,
        "number": call.number,
        "scenario": call.scenario_id,
        "destination": call.destination or None,
        "status": call.status,
        "first_call": call.first_call,
        "ring_seconds": call.ring_seconds,
        "duration": call.talk_seconds,
        "visit": visit.number if visit else None,
        "landing_page": visit.page if visit else None,
        "referrer": visit.referrer or None if visit else None,
        "source": call.source,
        "attribution": {
            "rule": call.rule,
            "confidence": call.confidence,
            "source_confidence": call.source_confidence,
            "candidates": [{"visit": one["visit"], "probability": one["probability"]} for one in call.candidates],
        },
        "click_ids": visit.click_ids if visit else {},
        "ga": visit.ga if visit else {},
        "params": visit.params if visit else {},
        "recording": call.recording_url or None,
    }
