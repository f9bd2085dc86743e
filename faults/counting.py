"""What became of the calls of a row: where they were forwarded, what stands in the database of them, and what receivers were told."""

import time
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from faults.calls import Placed
from faults.site import Site
from router.voice.models import Call

EVENTS = ("call.started", "call.ended")


@dataclass
class Counted:
    """What became of the calls."""

    placed: int
    forwarded: int
    to_record: int
    recorded: int
    missing: int
    doubled: int
    slowest: float
    slowest_unknown: float
    settled_after: float
    remark: str
    examples: list[str] = field(default_factory=list)


def settle(site: Site, placed: list[Placed], seconds: float) -> Counted:
    """Counts once everything is applied and delivered, or that many seconds have passed."""
    began = time.monotonic()
    while True:
        counted = _count(site, placed)
        counted.settled_after = time.monotonic() - began
        is_done = counted.recorded == counted.to_record and not counted.missing
        if is_done or counted.settled_after > seconds:
            break
        time.sleep(0.5)
    time.sleep(1.0)  # for what might come twice
    return _count(site, placed, counted.settled_after)


def _count(site: Site, placed: list[Placed], settled_after: float = 0.0) -> Counted:
    ours = [one for one in placed if one.number.project_id is not None]
    rows: dict[str, Call] = {}
    try:
        with site.database.reading() as session:
            rows = {call.sid: call for call in session.scalars(select(Call))}
    except SQLAlchemyError as error:
        print(f"  the database cannot be asked: {type(error).__name__}", flush=True)
    stored = [(one, rows.get(one.call.sid)) for one in ours]
    unrecorded = [(one, row) for one, row in stored if not is_recorded(one, row)]
    ids = site.receiver.ids
    missing = [(event, one) for one in ours for event in EVENTS if not ids.get((event, one.call.sid))]
    doubled = [key for key, messages in list(ids.items()) if key[0] in EVENTS and len(messages) > 1]
    wrong = [one for one in placed if not one.is_forwarded_right]
    known = [wait for one in placed if one.number.is_known for wait in one.waits]
    unknown = [wait for one in placed if not one.number.is_known for wait in one.waits]
    since = placed[0].began if placed else 0.0
    examples = [
        *(f"{one.began - since:.1f} s: {one.number.e164} rang {one.lines_rung} {one.call.errors}" for one in wrong[:4]),
        *(
            f"{one.began - since:.1f} s: {one.call.sid} is {row.status if row else 'not recorded'} {one.call.errors}"
            for one, row in unrecorded[:4]
        ),
        *(f"{one.began - since:.1f} s: {event} of {one.call.sid} was not delivered" for event, one in missing[:3]),
        *(f"{event} of {sid} was delivered as two messages" for event, sid in doubled[:3]),
    ]
    return Counted(
        placed=len(placed),
        forwarded=len(placed) - len(wrong),
        to_record=len(ours),
        recorded=len(ours) - len(unrecorded),
        missing=len(missing),
        doubled=len(doubled),
        slowest=max(known, default=0.0),
        slowest_unknown=max(unknown, default=0.0),
        settled_after=settled_after,
        remark=site.remark,
        examples=examples,
    )


def is_recorded(placed: Placed, row: Call | None) -> bool:
    """Whether a call stands in the database as it was: its number, its project, answered if it was, and over."""
    if row is None or row.ended_at is None:
        return False
    answered = placed.call.answered_leg is not None
    whose = (row.number, row.project_id) == (placed.number.e164, placed.number.project_id)
    return whose and (row.status == "answered") == answered
