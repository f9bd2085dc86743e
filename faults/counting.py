"""What became of the calls of a row: where they were forwarded, what stands in the database of them, and what receivers were told."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from faults.calls import Placed
from faults.site import Site
from router.accounts.models import Mail
from router.voice.models import Call, CallRecording

EVENTS = ("call.started", "call.ended")


@dataclass(frozen=True)
class Wait:
    """How long somebody waited for a document, and how long its look-ups may take."""

    seconds: float
    looks_up: float
    is_known: bool
    """The number is in the snapshot."""


@dataclass
class Counted:
    """What became of the calls."""

    placed: int
    forwarded: int
    to_record: int
    recorded: int
    missing: int
    doubled: int
    waits: list[Wait]
    looked_up: int
    """Calls whose way depends on a look-up."""
    found: int
    """Those of them that did not go the default way."""
    settled_after: float
    remark: str
    examples: list[str] = field(default_factory=list)

    def slowest(self, looks_up: float, is_known: bool | None = None) -> float:
        """Of the documents whose look-ups may take so many seconds; of numbers that are known, that are not, or of all."""
        waits = (wait for wait in self.waits if wait.looks_up == looks_up and is_known in (None, wait.is_known))
        return max((wait.seconds for wait in waits), default=0.0)


@dataclass(frozen=True)
class Stored:
    """What the database has of the calls, by the carrier's id."""

    calls: dict[str, Call] = field(default_factory=dict)
    recordings: Counter[str] = field(default_factory=Counter)
    mailed: Counter[str] = field(default_factory=Counter)
    """E-mails by the recording that they bring."""


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
    stored = _stored(site)
    told = {sid: data["status"] for sid, data in list(site.receiver.told.items())}
    unrecorded = [one for one in ours if not is_recorded(one, stored, told.get(one.call.sid))]
    ids = site.receiver.ids
    missing = [(event, one) for one in ours for event in EVENTS if not ids.get((event, one.call.sid))]
    missing += [(f"the e-mail with {sid}", one) for one in ours for sid in messages(one) if not stored.mailed[sid]]
    doubled = [key for key, copies in list(ids.items()) if key[0] in EVENTS and len(copies) > 1]
    doubled += [("an e-mail", sid) for sid, copies in stored.mailed.items() if copies > 1]
    wrong = [one for one in placed if one.way is None]
    asked = [one for one in placed if any(way.is_default for way in one.number.case.ways)]
    since = placed[0].began if placed else 0.0
    examples = [
        *(f"{one.began - since:.1f} s: {one.told}" for one in wrong[:4]),
        *(
            f"{one.began - since:.1f} s: {one.call.sid} is {_status(stored, one)}, receivers heard {told.get(one.call.sid)}; {one.told}"
            for one in unrecorded[:4]
        ),
        *(
            f"{one.began - since:.1f} s: {what} of {one.call.sid} was not delivered; {one.told}"
            for what, one in missing[:3]
        ),
        *(f"{what} of {sid} was delivered as two messages" for what, sid in doubled[:3]),
    ]
    return Counted(
        placed=len(placed),
        forwarded=len(placed) - len(wrong),
        to_record=len(ours),
        recorded=len(ours) - len(unrecorded),
        missing=len(missing),
        doubled=len(doubled),
        waits=[wait for one in placed for wait in waits(one)],
        looked_up=len(asked),
        found=sum(one.way is not None and not one.way.is_default for one in asked),
        settled_after=settled_after,
        remark=site.remark,
        examples=examples,
    )


def _stored(site: Site) -> Stored:
    try:
        with site.database.reading() as session:
            return Stored(
                {call.sid: call for call in session.scalars(select(Call))},
                Counter(session.scalars(select(CallRecording.call_sid))),
                Counter(key.split(":")[2] for key in session.scalars(select(Mail.key)) if ":message:" in key),
            )
    except SQLAlchemyError as error:
        print(f"  the database cannot be asked: {type(error).__name__}", flush=True)
        return Stored()


def _status(stored: Stored, placed: Placed) -> str:
    row = stored.calls.get(placed.call.sid)
    return f"{row.status} at {row.destination!r}" if row else "not recorded"


def waits(placed: Placed) -> Iterator[Wait]:
    looks_up = placed.number.case.looks_up
    for kind, seconds in placed.waits:
        yield Wait(seconds, looks_up.get(kind, 0.0), placed.number.is_known)


def messages(placed: Placed) -> list[str]:
    """The carrier's ids of what the caller has said after the tone."""
    return [each.sid for each in placed.call.recordings if each.source == "RecordVerb" and each.seconds]


def is_recorded(placed: Placed, stored: Stored, told: str | None) -> bool:
    """Whether a call stands in the database as it was, and receivers heard the same last: its number and project, who talked, its
    recordings, and that it is over. Of a call that went a wrong way it counts only whether somebody talked."""
    row, way, leg = stored.calls.get(placed.call.sid), placed.way, placed.call.answered_leg
    if row is None or row.ended_at is None or told != row.status:
        return False
    if (row.number, row.project_id) != (placed.number.e164, placed.number.project_id):
        return False
    if stored.recordings[row.sid] != len(placed.call.recordings):
        return False
    if way is None:
        return (row.status == "answered") == (leg is not None)
    # headers belong to the address of a leg, not of the line
    return row.status == way.status and (row.status != "answered" or way.talked.partition("?")[0] == row.destination)
