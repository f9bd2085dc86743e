"""What a call's flow is interpreted from: the call, the step that an address of ours names, what the carrier has brought to that address,
and what was looked up before. All of it but the flow travels in addresses, so that any process of any machine goes on with the call."""

import re
from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Literal
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from router.carriers.base import DialResult, InboundCall
from router.lib.formats import parse_int

LONGEST_VALUE = 100
LONGEST_QUOTED = 400
"""Of a value as it stands in an address: a campaign's name may have letters of four bytes."""
LONGEST_ANSWER = 200

PLACE = re.compile(r"(?:([a-z0-9][a-z0-9_-]{0,15})\.)?(\d{1,4})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """How far a call is: a step of its flow, and which turn of the step comes next. In the short form of a flow all turns are of one step,
    whose id is empty."""

    step: str
    turn: int = 0

    def __str__(self) -> str:
        return f"{self.step}.{self.turn}" if self.step else str(self.turn)


NOWHERE = Place("", 9999)
"""Behind the last destination: of an address that names no place of a flow."""


def read_place(text: str) -> Place | None:
    """The place out of an address of ours; None: it holds none."""
    found = PLACE.fullmatch(text)
    return Place(found[1] or "", int(found[2])) if found else None


def _cut(text: str) -> str:
    """As much of a text as an address may hold of it."""
    cut = text[:LONGEST_VALUE].encode(errors="ignore").decode()
    while len(quote(cut)) > LONGEST_QUOTED:
        cut = cut[:-1]
    return cut


@dataclass(frozen=True, slots=True)
class Visit:
    """The visit that a call is attributed to, as far as flows go by it; all of it empty: there is none, or it could not be looked up."""

    number: int | None = None
    source: str = ""
    medium: str = ""
    campaign: str = ""

    @classmethod
    def of(cls, number: int | None, source: str, medium: str, campaign: str) -> "Visit":
        """Longer names are cut, the first time as every later one, so that a call goes one way."""
        return cls(number, _cut(source), _cut(medium), _cut(campaign))


CallerKind = Literal["first", "repeat", ""]
LookUp = Literal["visit", "caller", "answerer", "answer"]
"""What a step may want to know: the call's visit, whether the caller has called before, who talked to him last, and what an address of the
company answers."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A look-up without whose outcome the flow cannot go on."""

    what: LookUp
    step: str
    """The id of the step that wants to know."""
    url: str = ""
    """Of an answer: the address that is asked."""


@dataclass(frozen=True, slots=True)
class Known:
    """The outcomes of look-ups; None: not looked up yet. A look-up that failed has an empty outcome, and is not repeated."""

    visit: Visit | None = None
    caller: CallerKind | None = None
    answerer: str | None = None
    """The destination that talked to this caller last."""
    answers: tuple[tuple[str, str], ...] = ()
    """By a step's id: the name of one of its branches, or a destination."""

    def with_outcome(self, wanted: Wanted, outcome: "Visit | str | None") -> "Known":
        """`outcome`: a visit, first or repeat, a destination, or an answer; None: nothing was found in time."""
        match wanted.what:
            case "visit":
                return replace(self, visit=outcome if isinstance(outcome, Visit) else Visit())
            case "caller":
                kind: CallerKind = "first" if outcome == "first" else "repeat" if outcome == "repeat" else ""
                return replace(self, caller=kind)
            case "answerer":
                return replace(self, answerer=str(outcome or "")[:LONGEST_ANSWER])
            case "answer":
                answer = (wanted.step, str(outcome or "")[:LONGEST_ANSWER])
                return replace(self, answers=(*self.answers, answer))

    def query(self, step: str) -> dict[str, str]:
        """What an address of a step says of it; of answers only the step's own."""
        values: dict[str, str] = {}
        if self.visit is not None:
            values["visit"] = str(self.visit.number or "")
            names = {"source": self.visit.source, "medium": self.visit.medium, "campaign": self.visit.campaign}
            values |= {name: value for name, value in names.items() if value}
        if self.caller is not None:
            values["caller"] = self.caller
        if self.answerer is not None:
            values["answerer"] = self.answerer
        answer = dict(self.answers).get(step)
        return values if answer is None else values | {"answer": answer}


def read_known(args: Mapping[str, str], place: Place | None) -> Known:
    """What an address of ours says of look-ups; `place`: the one that it names."""
    known = Known()
    step = place.step if place else ""
    if "visit" in args:
        names = (args.get(name, "") for name in ("source", "medium", "campaign"))
        known = replace(known, visit=Visit.of(parse_int(args["visit"], 1), *names))
    if "caller" in args:
        known = known.with_outcome(Wanted("caller", step), args["caller"])
    if "answerer" in args:
        known = known.with_outcome(Wanted("answerer", step), args["answerer"])
    if "answer" in args:
        known = known.with_outcome(Wanted("answer", step), args["answer"])
    return known


@dataclass(frozen=True, slots=True)
class CallSoFar:
    """A request of the carrier, and what its address says."""

    call: InboundCall
    number: str
    """The one that the call belongs to, as ours is written."""
    started_at: datetime
    flow_id: int | None
    """The stored version of the flow; None: the project's fallback destination."""
    place: Place | None = None
    """None: the call begins."""
    known: Known = Known()
    result: DialResult | None = None
    """How the forwarding ended that led here."""
    accepted: bool = False
    """Somebody has accepted the call at that forwarding; for carriers that do not say whether it was connected."""
    digits: str | None = None
    """The keys that were pressed; empty: none in time. None: nobody was asked."""
    is_machine: bool = False
    """A machine has answered the whisper."""
    showed_caller: bool = False
    """The destinations saw the caller's own number, over which the carrier may have failed."""
    announcement: str = ""
    """What the caller of an internal call hears first."""

    def query(self, **more: str) -> str:
        """What the carrier brings back with its next request."""
        fixed = f"flow={self.flow_id or 0}&start={round(self.started_at.timestamp() * 1000)}"
        return f"{fixed}&{urlencode(more)}" if more else fixed


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a flow goes by beside the call: of the server, and of the number's project."""

    base_url: str
    zone: ZoneInfo
    holidays: Container[date] = frozenset()
    own_lines: Container[str] = frozenset()
    """The lines of all tracking numbers of the server, in the form in which lines are compared."""
    sounds: Mapping[str, str] = field(default_factory=dict)
    """Addresses by name."""
    account: str = ""
    """What addresses of callbacks without a number bring back, if the call came from its project's own account at the carrier."""
    countries: Collection[str] = ()
    """To which the operator lets calls be forwarded; empty: all."""
