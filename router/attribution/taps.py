"""Taps: a visitor who taps a number on a page is about to call it (R7)."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from router.attribution.models import Lease, Tap
from router.database import insert_new
from router.scenarios.models import TrackingNumber
from router.web import Problem

E164 = re.compile(r"\+[1-9][0-9]{6,14}")


def read_tapped(body: Mapping[str, Any]) -> str:
    """
    Raises:
        Problem: 422, it is no E.164 number.
    """
    e164 = body.get("e164")
    if not isinstance(e164, str) or not E164.fullmatch(e164):
        raise Problem(422, "e164 has to be a number like +14155552671.", "e164")
    return e164


def record_tap(session: Session, project_id: int, visit_id: int, e164: str, now: datetime) -> None:
    """Writes the tap when the visit was lent this number, or when it is a static number of the project; anything else is no evidence.

    Taps of one second are one. It is written with the second's end, so that no call is decided by a tap that came after it.
    """
    lent = exists().where(Lease.visit_id == visit_id, Lease.number_id == TrackingNumber.id)
    number_id = session.execute(
        select(TrackingNumber.id).where(
            TrackingNumber.e164 == e164,
            TrackingNumber.project_id == project_id,
            TrackingNumber.released_at.is_(None),
            or_(lent, TrackingNumber.static_source.is_not(None)),
        )
    ).scalar_one_or_none()
    if number_id is not None:
        tap = {"visit_id": visit_id, "number_id": number_id, "at": _end_of_second(now)}
        session.execute(insert_new(session, Tap, unique=list(tap)).values(tap))


def _end_of_second(moment: datetime) -> datetime:
    return moment + timedelta(microseconds=-moment.microsecond % 1_000_000)
