"""Machines that have answered a line: each after which a flow goes on is one row. `machine_jobs.py` leads their callers on."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from router.db import insert_new
from router.voice.call_so_far import Place, read_place
from router.voice.models import Call, Redirect
from router.voice.state import Event

LED_ON_WITHIN = timedelta(seconds=15)
"""Later the greeting of a voicemail is over, and the caller may be leaving his message there."""


def note_machines(
    session: Session, calls: Mapping[str, Call], events: Mapping[str, Iterable[Event]], now: datetime
) -> None:
    """Writes a row for each machine that has just answered in these calls where something follows, once."""
    rows: list[dict[str, Any]] = []
    for sid, call in calls.items():
        for event in events[sid]:
            place = read_place(str(event.facts.get("step", ""))) if event.facts.get("goes_on") else None
            if place is None or call.ended_at is not None or now - event.at > LED_ON_WITHIN:
                continue
            leg_sid, next_place = event.facts["leg_sid"], Place(place.step, place.turn + 1)
            query = f"{event.facts['goes_on']}&screen=machine&machine={leg_sid}"
            rows.append(
                {
                    "project_id": call.project_id,
                    "call_sid": sid,
                    "leg_sid": leg_sid,
                    "path": f"/voice/dial/{sid}/{next_place}?{query}",
                    "told_at": event.at,
                    "next_at": now,
                }
            )
    if rows:
        session.execute(insert_new(session, Redirect, unique=["leg_sid"]).values(rows))
