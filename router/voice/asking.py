"""Answers from flows: what happens next in a call, with all that the flow wants to know looked up (R12).

Each look-up has a limit of time, a breaker, and a default: the flow's own `otherwise`. All of one answer together have a limit too, so that
the carrier does not ask again. What was found is kept with the answer, travels in the next address, and is not looked up again."""

import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from router.attribution.decision import reach_of
from router.attribution.models import Visit as StoredVisit
from router.carriers.base import DialResult, InboundCall, Plan
from router.lib.http_client import Outgoing, OutgoingError
from router.lib.phones import spellings_of_line
from router.lib.portable_json import portable_json
from router.lib.signatures import sign
from router.lib.texts import plain_text
from router.lib.tls import trusted_authorities
from router.scenarios.flows import flow_secret
from router.scenarios.models import TrackingNumber
from router.server import Server
from router.voice.answers import HANG_UP, Begun, account_sign, last_resort
from router.voice.call_so_far import LONGEST_ANSWER, CallSoFar, Surroundings, Visit, Wanted
from router.voice.calls import decided_values
from router.voice.first_answers import first_answers_of
from router.voice.following import routing_of
from router.voice.given import Given, given_by
from router.voice.interpreter import Way, next_plan, whisper_plan
from router.voice.lookups import Lookups
from router.voice.models import EXTERNAL, Call, CallEvent, Status
from router.voice.routing import Route, kind_of
from router.voice.sounds import SoundAddresses
from router.web.errors import iso

log = structlog.get_logger(__name__)

FACT_SECONDS = 0.3
ASK_SECONDS = 2.0
LONGER = 0.5
"""By so much a request to an address may outlive the caller's patience: so it is seen to be slow, and is not asked again for a while."""
ALL_SECONDS = 2.5
"""For the look-ups of one answer together: the carrier waits 3.5 s for it."""
MOST_REMEMBERED = 10_000
MOST_HOSTS = 200
LONGEST_BODY = 4096

Outcome = Visit | str | None


def answer_of(server: Server, route: Route | None, begun: Begun, so_far: CallSoFar) -> tuple[Plan, Given]:
    """What happens next in a call, and what is kept of it. Never raises: whatever is wrong with a flow, the caller is connected."""
    try:
        program = routing_of(server).program_of(begun.flow, route.fallback if route else "")
        around, way, found = surroundings_of(server, route, so_far.call), Way(), []
        until = time.monotonic() + ALL_SECONDS
        plan = next_plan(program, around, so_far, way)
        while isinstance(plan, Wanted):
            outcome = looked_up(server, route, so_far, plan, until - time.monotonic())
            found.append((plan, outcome))
            so_far = replace(so_far, known=so_far.known.with_outcome(plan, outcome))
            plan = next_plan(program, around, so_far, way)
        return plan, given_by(plan, way, found)
    except Exception:
        log.exception("flow_failed", flow=begun.flow_id)
        result = so_far.result
        talked = result is not None and bool(result.bridged or result.status in ("completed", "answered"))
        plan = HANG_UP if talked else last_resort(server, so_far.call)
        return plan, given_by(plan)


def whisper_of(server: Server, route: Route, begun: Begun, so_far: CallSoFar) -> Plan:
    """What the one who answered hears before he is connected."""
    program = routing_of(server).program_of(begun.flow, route.fallback)
    return whisper_plan(program, surroundings_of(server, route, so_far.call), so_far)


def surroundings_of(server: Server, route: Route | None, call: InboundCall | None = None) -> Surroundings:
    return Surroundings(
        server.settings.base_url,
        ZoneInfo(route.zone if route else "UTC"),
        holidays=route.holidays if route else frozenset(),
        own_lines=routing_of(server).pool,
        sounds=SoundAddresses(server.settings.base_url, server.keys, route.sounds if route else {}),
        account=account_sign(server, route, call) if call else "",
        countries=server.settings.destination_countries,
    )


class FlowLookups:
    """What flows have looked up in one process, and by what."""

    def __init__(self, server: Server) -> None:
        self.facts = Lookups(server.database, "flow", FACT_SECONDS)
        self.accepted: OrderedDict[str, None] = OrderedDict()
        """Legs at which 1 was pressed."""
        self._by_host: OrderedDict[str, Lookups] = OrderedDict()
        self._database = server.database

    def of_host(self, host: str) -> Lookups:
        """With a breaker of its own, so that a company's silent system keeps no other's callers waiting."""
        lookups = self._by_host.setdefault(host, Lookups(self._database, "ask", ASK_SECONDS))
        while len(self._by_host) > MOST_HOSTS:
            self._by_host.popitem(last=False)
        return lookups

    def accept(self, leg_sid: str) -> None:
        self.accepted[leg_sid] = None
        while len(self.accepted) > MOST_REMEMBERED:
            self.accepted.popitem(last=False)


def lookups_of(server: Server) -> FlowLookups:
    """The server's own, made when it is first asked for."""
    if server.flow_lookups is None:
        server.flow_lookups = FlowLookups(server)
    return server.flow_lookups


def was_accepted(server: Server, call_sid: str, result: DialResult) -> bool:
    """Whether 1 was pressed at the leg of a forwarding that has ended, of a carrier that does not say whether it was connected. Another
    process may have been told. Never raises."""
    lookups = lookups_of(server)
    if result.leg_sid is None or result.leg_sid in lookups.accepted:
        return result.leg_sid is not None

    def look(session: Session) -> bool:
        told = select(CallEvent.facts).where(CallEvent.call_sid == call_sid, CallEvent.kind == "whisper")
        return any(facts["leg_sid"] == result.leg_sid and facts["accepted"] for facts in session.scalars(told))

    return lookups.facts.ask(look, False)


def looked_up(server: Server, route: Route | None, so_far: CallSoFar, wanted: Wanted, seconds: float) -> Outcome:
    """What a flow wants to know, in so many seconds at most; None: nothing was found in time. An address's limit begins when the carrier
    asks for the first time: where processes die or hang, its last try comes to an end. Never raises."""
    if route is None:
        return None
    lookups, first_answers = lookups_of(server), first_answers_of(server)
    key = f"{route.project_id} {so_far.call.sid} {wanted.what} {wanted.step if wanted.what == 'answer' else ''}"
    if (first := first_answers.find(key)) is not None:  # a request that is repeated is answered as before
        return _read_outcome(first)
    if wanted.what == "answer":
        seconds = min(seconds, ASK_SECONDS - first_answers.seconds_since(key))
    if seconds <= 0:
        return None
    outcome: Outcome
    if wanted.what == "answer":
        host = urlsplit(wanted.url).netloc.casefold()
        outcome = lookups.of_host(host).run(lambda: _asked(server, route, so_far, wanted), None, seconds)
    else:
        look = FACTS[wanted.what]
        outcome = lookups.facts.ask(lambda session: look(session, server, route, so_far), None, seconds)
    said = json.dumps(astuple(outcome) if isinstance(outcome, Visit) else outcome)
    return _read_outcome(first_answers.agree(key, said))


def _read_outcome(text: str) -> Outcome:
    outcome = json.loads(text)
    return Visit(*outcome) if isinstance(outcome, list) else outcome


def _visit(session: Session, server: Server, route: Route, so_far: CallSoFar) -> Visit:
    """The visit and the source that the call is attributed to, as the applier will decide it."""
    call = so_far.call
    kind = kind_of(call.caller, route.own_lines)
    reach = reach_of(server.settings)
    values = decided_values(session, route, reach, call.caller, so_far.started_at, call.sid, kind)
    source = values["source"] or {}
    number = None
    if values["visit_id"] is not None:
        number = session.scalar(select(StoredVisit.number).where(StoredVisit.id == values["visit_id"]))
    return Visit.of(number, *(source.get(name) or "" for name in ("source", "medium", "campaign")))


def _earlier_calls(route: Route, so_far: CallSoFar) -> Any:
    """SELECT of the caller's earlier calls to the project, in any spelling of his line."""
    of_project = select(TrackingNumber.id).where(TrackingNumber.project_id == route.project_id)
    return select(Call.destination).where(
        Call.number_id.in_(of_project),
        Call.caller.in_(spellings_of_line(so_far.call.caller.e164 or "")),
        Call.kind == EXTERNAL,
        Call.started_at < so_far.started_at,
        Call.sid != so_far.call.sid,
    )


def _kind_of_caller(session: Session, server: Server, route: Route, so_far: CallSoFar) -> str:
    return "repeat" if session.scalar(select(exists(_earlier_calls(route, so_far)))) else "first"


def _last_answerer(session: Session, server: Server, route: Route, so_far: CallSoFar) -> str:
    """The destination that talked to the caller last; empty: none did."""
    answered = _earlier_calls(route, so_far).where(Call.status == Status.ANSWERED)
    return session.scalar(answered.order_by(Call.started_at.desc()).limit(1)) or ""


FACTS: dict[str, Callable[[Session, Server, Route, CallSoFar], Outcome]] = {
    "visit": _visit,
    "caller": _kind_of_caller,
    "answerer": _last_answerer,
}


def _asked(server: Server, route: Route, so_far: CallSoFar, wanted: Wanted) -> str | None:
    """What an address of the company answers: the name of a branch, or a line."""
    reply = _ask_address(server, route.project_id, so_far, wanted)
    if reply.problem:
        log.warning("asking_failed", call=so_far.call.sid, step=wanted.step, reason=reply.problem)
    return reply.answer


@dataclass(frozen=True)
class Reply:
    """What came of asking an address of the company."""

    answer: str | None = None
    problem: str = ""
    """Why there is no answer that counts, a sentence for people."""
    seconds: float = 0.0


TRIED_IN_VAIN = "No answer came in time."


def try_address(server: Server, project_id: int, so_far: CallSoFar, wanted: Wanted) -> Reply:
    """Asks an address as a call would, with the same limits and signature, for somebody who plays the flow: the message says `test`.
    Addresses of calls are asked all the same when this one does not answer. Never raises."""
    lookups = lookups_of(server).of_host(f"test {urlsplit(wanted.url).netloc.casefold()}")
    lookups.resume()
    began = time.monotonic()
    ask = partial(_ask_address, server, project_id, so_far, wanted, is_test=True)
    reply = lookups.run(ask, Reply(problem=TRIED_IN_VAIN))
    return replace(reply, seconds=time.monotonic() - began)


def _ask_address(server: Server, project_id: int, so_far: CallSoFar, wanted: Wanted, *, is_test: bool = False) -> Reply:
    """Its message is signed as webhooks are, at the time at which it is sent: receivers refuse old ones."""
    known, call, now = so_far.known, so_far.call, server.now()
    data = {
        "sid": call.sid,
        "step": wanted.step,
        "number": so_far.number,
        "caller": call.caller.e164,
        "started_at": iso(so_far.started_at),
        "visit": known.visit.number if known.visit else None,
        "caller_kind": known.caller or None,
    }
    if is_test:
        data["test"] = True
    event = {"type": "call.asking", "timestamp": iso(now), "data": data}
    body = portable_json(event)
    message_id = f"test_{secrets.token_hex(8)}" if is_test else f"{call.sid}.{wanted.step}"
    headers = sign(flow_secret(server.keys, project_id), message_id, int(now.timestamp()), body)
    tls = trusted_authorities(server.settings.ca_file)
    longest = ASK_SECONDS + LONGER
    client = Outgoing(server.settings.allow_private, total_seconds=longest, answer_limit=LONGEST_BODY, tls=tls)
    try:
        answer = client.post(wanted.url, body, headers | {"Content-Type": "application/json"})
    except OutgoingError as error:
        return Reply(problem=str(error))
    if answer.status != 200:
        return Reply(problem=f"The answer has status {answer.status}; only 200 counts.")
    said = read_answer(answer.text)
    return Reply(said) if said else Reply(problem="The answer is empty, or JSON without “answer” and “to”.")


def read_answer(text: str) -> str | None:
    """The answer of a company's system: `{"answer": "vip"}`, `{"to": "+4930123456"}`, or the bare text."""
    text = text.strip()
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = text
    if isinstance(said, dict):
        said = said.get("answer") or said.get("to")
    return plain_text(said).strip()[:LONGEST_ANSWER] or None if isinstance(said, str) else None
