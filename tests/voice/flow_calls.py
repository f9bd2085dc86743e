"""Plays calls through the interpreter as the carrier would: what an address of ours says comes back with the next request."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from router.carriers.base import DialResult, Element, Forward, Gather, GoOn, InboundCall, Plan, Record, Target
from router.carriers.simulator.twiml import read_document
from router.carriers.twilio.twiml import render
from router.lib.phones import Caller, line_of
from router.scenarios.flow_document import FlowSchema
from router.voice.call_so_far import CallSoFar, Surroundings, Visit, Wanted, read_known, read_place
from router.voice.interpreter import Program, next_plan, prepare, whisper_plan
from tests.carriers.twiml_checker import check_document

BASE = "https://calls.example.net"
ANNA = "+4915123460002"
NUMBER, OTHER_NUMBER = "+14155550100", "+14155550101"
"""Tracking numbers: the dialled one, and another of the pool."""
OFFICE, SHOP, FORWARDING = "+4930123456", "+442071838750", "+498912345678"
PBX = "sip:sales@pbx.example.com"
MONDAY = datetime(2026, 6, 1, 10, 0, tzinfo=UTC)
GOOGLE = Visit(10001, "google", "cpc", "Spring sale")
AROUND = Surroundings(
    BASE,
    ZoneInfo("Europe/Berlin"),
    holidays={date(2026, 12, 25)},
    own_lines={line_of(NUMBER), line_of(OTHER_NUMBER)},
    sounds={"welcome": f"{BASE}/voice/sound/welcome"},
)


def inbound(caller: str | None = ANNA, **members: Any) -> InboundCall:
    given = {"sid": "CA1", "account_sid": "AC1", "number_e164": NUMBER, "to": NUMBER}
    return InboundCall(**given | {"caller": Caller(caller, caller or "anonymous")} | members)


def beginning(call: InboundCall | None = None, started_at: datetime = MONDAY, **members: Any) -> CallSoFar:
    return CallSoFar(call or inbound(), NUMBER, started_at, **{"flow_id": 7} | members)


def program_of(document: dict[str, Any]) -> Program:
    return prepare(FlowSchema.model_validate(document))


def steps(*listed: dict[str, Any]) -> Program:
    return program_of({"steps": list(listed)})


def ring(*lines: str, **members: Any) -> dict[str, Any]:
    return {"type": "ring", "destinations": [{"to": line} for line in lines]} | members


def say(text: str) -> dict[str, Any]:
    return {"type": "say", "text": text}


def read_again(program: Program) -> Program:
    """The same version, read from what is stored of it."""
    return prepare(FlowSchema.model_validate(program.flow.document()))


def plan_of(
    program: Program, so_far: CallSoFar, around: Surroundings = AROUND, again: Program | None = None
) -> tuple[Element, ...]:
    """The plan, found twice and by another reading of the flow, that the carrier could play."""
    plan = next_plan(program, around, so_far)
    assert not isinstance(plan, Wanted), plan
    return checked(plan, next_plan(again or read_again(program), around, so_far))


def checked(plan: Plan, again: Plan | Wanted, *, whisper: bool = False) -> tuple[Element, ...]:
    assert not isinstance(again, Wanted)
    document = render(plan)
    assert render(again) == document
    check_document(document, whisper=whisper)
    read_document(document.encode())
    return tuple(plan)


def arriving_at(address: str, before: CallSoFar, **came: Any) -> CallSoFar:
    """The request that an address of ours brings, with what the carrier adds to it: everything else is read from the address."""
    parts = urlsplit(address)
    args = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    place = read_place(parts.path.rpartition("/")[2])
    assert place is not None, address
    return CallSoFar(
        before.call,
        before.number,
        datetime.fromtimestamp(int(args["start"]) / 1000, UTC),
        int(args["flow"]) or None,
        place,
        read_known(args, place),
        showed_caller=args.get("caller_id") == "caller",
        **came,
    )


def ended(status: Any, bridged: bool | None = False) -> DialResult:
    return DialResult("CA1", "CL1", status, bridged, None, None)


def forward_in(plan: Plan) -> Forward:
    return next(element for element in plan if isinstance(element, Forward))


def rung(plan: Plan) -> list[str]:
    return [target.to for element in plan if isinstance(element, Forward) for target in element.targets]


def sentences(plan: Plan) -> list[str]:
    heard = [inner for element in plan for inner in (element.prompt if isinstance(element, Gather) else (element,))]
    return [element.sentence for element in heard if hasattr(element, "sentence")]


@dataclass
class CallMade:
    """A call that was played to its end."""

    plans: list[tuple[Element, ...]] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    wanted: list[Wanted] = field(default_factory=list)


def play(
    program: Program,
    so_far: CallSoFar,
    outcome: Callable[[Wanted], Visit | str | None],
    react: Callable[[Element], dict[str, Any] | None],
    around: Surroundings = AROUND,
    most: int = 10_000,
) -> CallMade:
    """Plays a call. `react` says what comes with the request to which an element leads, as arguments of `CallSoFar`; None: the caller has
    hung up."""
    made, again = CallMade(), read_again(program)
    for _ in range(most):
        plan = next_plan(program, around, so_far)
        while isinstance(plan, Wanted):
            made.wanted.append(plan)
            assert len(made.wanted) < most
            so_far = replace(so_far, known=so_far.known.with_outcome(plan, outcome(plan)))
            plan = next_plan(program, around, so_far)
        made.plans.append(plan_of(program, so_far, around, again))
        leads = next((element for element in plan if isinstance(element, Forward | Gather | Record | GoOn)), None)
        if isinstance(leads, Forward):
            made.targets += leads.targets
            made.plans += whispers(program, so_far, leads.targets[0], around)
        came = react(leads) if leads is not None and leads.next_address else None
        if leads is None or came is None:
            return made
        so_far = arriving_at(leads.next_address, so_far, **came)
    raise AssertionError("the call goes on for ever")


def whispers(
    program: Program, before: CallSoFar, target: Target, around: Surroundings
) -> Iterator[tuple[Element, ...]]:
    """What a destination hears when it answers, after a right key, after none, and when it is a machine."""
    for came in ({}, {"digits": "1"}, {"digits": ""}, {"is_machine": True}) if target.whisper_address else ():
        so_far = arriving_at(target.whisper_address, before, **came)
        yield checked(whisper_plan(program, around, so_far), whisper_plan(program, around, so_far), whisper=True)
