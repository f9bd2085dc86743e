"""What a call flow does next: a pure function of the flow's version and of the call so far. The same request gives the same plan.

No step counts anything. Opening hours follow from the call's start, a round robin from a hash of the call's id and the version. Every step
leads to one that is written after it, so that each answer ends within as many steps as the flow has."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal
from urllib.parse import quote, urlencode

from router.carriers.base import (
    DialResult,
    Element,
    Forward,
    Gather,
    GoOn,
    HangUp,
    Plan,
    Play,
    Record,
    Reject,
    Say,
    Spoken,
    Target,
)
from router.lib.phones import BadPhone, line_of, read_destination, same_line
from router.scenarios.flow_document import FlowSchema
from router.scenarios.flow_steps import (
    PLACEHOLDER,
    VISIT_PLACEHOLDERS,
    AnyStep,
    AreaStep,
    AskStep,
    CallerStep,
    Destination,
    HangUpStep,
    HoursStep,
    MenuStep,
    PlayStep,
    PressKeyStep,
    Prompt,
    RingDestination,
    RingStep,
    SayStep,
    SourceStep,
    Speech,
    VoicemailStep,
    Whisper,
)
from router.scenarios.flows import DEFAULT_RING_SECONDS, refusal_of
from router.scenarios.matching import SourceParts, source_fits
from router.scenarios.opening_hours import fits_times
from router.voice.call_so_far import CallSoFar, Place, Surroundings, Visit, Wanted
from router.voice.state import is_bridged

SORRY = "We are sorry, this number cannot be reached at the moment. Please call again later."
CALLER_IS_LINE = "You are calling from the line to which calls to this number are forwarded, so there is nobody else to ring. Goodbye."
COMES_BACK = (
    "We are sorry, this call was forwarded here from the line to which it would go, so nobody can be rung."
    " Please call again later."
)
IN_A_CIRCLE = (
    "We are sorry, calls to this number are forwarded in a circle, so nobody can be rung. Please call again later."
)
ACCEPT = "A call is waiting for you. Press 1 to take it."
ACCEPT_KEY = "1"
ACCEPT_SECONDS = 10
GOES_ON = "on"
"""In the address at which the carrier says that a machine has answered: the call is led on then."""
MOST_LETTERS = 3000
"""That one document reads out before the carrier is asked to come again: a document has 64 kB, a letter up to five bytes."""

Elements = tuple[Element, ...]
Way = list[tuple[str, str]]
"""Ids of steps, each with its branch that the call went; empty where it has none."""


@dataclass(frozen=True)
class Program:
    """A version of a flow, made ready to be interpreted: once for each version, not for each request."""

    flow: FlowSchema
    steps: dict[str, AnyStep]
    """By id."""
    follows: dict[str, AnyStep | None]
    """What comes when the step of this id is done; None: the end."""
    first: AnyStep | None


def read_version(document: Mapping[str, Any]) -> Program:
    """A stored version of a flow. Destinations are taken as each release has stored them.

    Raises:
        ValidationError: steps that another release has stored, and this one does not know.
    """
    if document.get("steps"):
        return prepare(FlowSchema.model_validate(document))
    lines = [
        Destination.model_construct(to=line["to"], ring_seconds=int(line.get("ring_seconds") or DEFAULT_RING_SECONDS))
        for line in document.get("destinations", ())
        if line.get("to")
    ]
    return prepare(FlowSchema.model_construct(destinations=lines))


def prepare(flow: FlowSchema) -> Program:
    if flow.destinations is not None:
        lines = [
            RingDestination.model_construct(to=line.to, ring_seconds=line.ring_seconds) for line in flow.destinations
        ]
        ring = RingStep.model_construct(type="ring", destinations=lines)
        return Program(flow, {"": ring}, {"": None}, ring)
    steps: dict[str, AnyStep] = {}
    follows: dict[str, AnyStep | None] = {}

    def read(listed: Sequence[AnyStep], after: AnyStep | None) -> None:
        for place, step in enumerate(listed, 1):
            following = listed[place] if place < len(listed) else after
            steps[step.id], follows[step.id] = step, following
            for _, inner in step.lists():
                read(inner, None if isinstance(step, PressKeyStep) else following)

    read(flow.steps or [], None)
    return Program(flow, steps, follows, next(iter(steps.values()), None))


def next_plan(program: Program, around: Surroundings, so_far: CallSoFar, way: Way | None = None) -> Plan | Wanted:
    """What happens next in the call. Never raises.

    A look-up that is wanted is to be made, and the function asked again with its outcome in `so_far.known`. Each is wanted once.

    Args:
        way: is made the steps that the call goes through by this plan.
    """
    run = _Run(program, around, so_far)
    plan = run.plan_from_place()
    if way is not None:
        way[:] = run.way
    return plan


def is_answered(step: AnyStep | None, result: DialResult, accepted: bool = False) -> bool:
    """Whether somebody of the company has talked to the caller, by how the forwarding of this step ended. Where 1 has to be pressed, an
    answer alone says nothing: a voicemail answers too."""
    if result.bridged is None and needs_acceptance(step):
        return accepted
    return is_bridged(result.bridged, result.status)


def needs_acceptance(step: AnyStep | None) -> bool:
    """Whether a leg of this step that has answered is not connected yet."""
    return isinstance(step, RingStep) and step.accept


def screening_of(step: AnyStep) -> Literal["accept", "machine", "whisper", ""]:
    """What comes between the answer of a line and the talk; empty: nothing."""
    if not isinstance(step, RingStep):
        return ""
    return "accept" if step.accept else "machine" if step.detect_machines else "whisper" if step.whisper else ""


def whisper_plan(program: Program, around: Surroundings, so_far: CallSoFar) -> Plan:
    """What the one who answered hears before he is connected, and after he has pressed a key; an empty plan connects him. What has to be
    looked up for it was looked up before his line rang. Never raises."""
    step = program.steps.get(so_far.place.step) if so_far.place else None
    if not isinstance(step, RingStep):
        return ()
    if step.detect_machines and so_far.is_machine:
        return (HangUp(),)
    if step.accept and so_far.digits is not None:
        return () if so_far.digits == ACCEPT_KEY else (HangUp(),)
    run = _Run(program, around, so_far)
    spoken = tuple(run.whispered(step.whisper))
    if not step.accept:
        return spoken
    address = run.whisper_address(so_far.place or Place(step.id))
    return Gather(spoken or (Say(ACCEPT),), address, ACCEPT_SECONDS), HangUp()


class _Run:
    """One answer."""

    def __init__(self, program: Program, around: Surroundings, so_far: CallSoFar) -> None:
        self._program, self._around, self._so_far = program, around, so_far
        self._call, self._known = so_far.call, so_far.known
        comes_from = (
            (self._call.number_e164, IN_A_CIRCLE),
            (so_far.number, IN_A_CIRCLE),
            (self._call.forwarded_from, COMES_BACK),
            (self._call.caller.e164, CALLER_IS_LINE),
        )
        self._circles = {line_of(number): sentence for number, sentence in comes_from if number}
        """By the line that the call comes from: what a caller hears whom nobody else can talk to."""
        self._plan: list[Element] = []
        self.way: Way = []
        self._own_id = False
        """The destinations see our number, because the carrier has failed over the caller's."""
        self._passed_over = ""
        """What a caller hears whom the flow leaves with nobody: why no destination of a step was rung."""

    def plan_from_place(self) -> Elements | Wanted:
        so_far, place, step, turn = self._so_far, self._so_far.place, self._program.first, 0
        if place is None and so_far.announcement:
            self._plan.append(Say(so_far.announcement))
        elif place is not None:
            reached, turn = self._program.steps.get(place.step), place.turn
            if so_far.result is not None:
                if so_far.showed_caller and so_far.result.status == "failed" and not so_far.result.bridged:
                    self._own_id, turn = True, max(turn - 1, 0)
                elif is_answered(reached, so_far.result, so_far.accepted):
                    return (HangUp(),)
            # a version that lacks the step: from its beginning, which is better than to hang up
            step, turn = (reached, turn) if reached is not None else (step, 0)
        while step is not None:
            self.way.append((step.id, ""))
            outcome = self._do(step, turn)
            if isinstance(outcome, tuple | Wanted):
                return outcome
            step, turn = outcome, 0
        return self._ended()

    def _do(self, step: AnyStep, turn: int) -> AnyStep | Elements | Wanted | None:
        """Does the step: the whole plan, when the caller or a destination has to do something now; else the step that is next, None at the
        end of the flow."""
        following = self._program.follows[step.id]
        match step:
            case SayStep():
                return self._hear(step, turn, [self.speech(step, step.text)]) or following
            case PlayStep():
                return self._hear(step, turn, self._sound(step.sound)) or following
            case RingStep():
                return self._ring(step, turn, step.destinations) or following
            case PressKeyStep():
                if turn and self._key() == step.key:
                    return following
                if turn < step.tries:
                    return self._ask_for_key(step, turn)
                self.way[-1] = (step.id, "otherwise")
                return step.otherwise[0] if step.otherwise else None
            case VoicemailStep():
                return self._voicemail(step, turn)
            case HangUpStep():
                return self._hang_up(step, turn)
        branch = self._branch(step, turn)
        if isinstance(branch, tuple | Wanted):
            return branch
        self.way[-1] = (step.id, next((name for name, steps in step.lists() if steps is branch), ""))
        return branch[0] if branch else following

    def _branch(
        self, step: MenuStep | HoursStep | SourceStep | CallerStep | AreaStep | AskStep, turn: int
    ) -> list[AnyStep] | Elements | Wanted:
        """The branch that the call goes, or the plan or look-up by whose outcome it will be known."""
        match step:
            case MenuStep():
                key = self._key()
                if turn and key in step.keys:
                    return step.keys[key]
                if turn < step.tries:
                    return self._ask_for_key(step, turn)
                return step.wrong_key if key else step.no_input
            case HoursStep():
                at, zone = self._so_far.started_at, self._around.zone
                holidays = self._around.holidays if step.holidays is not None else frozenset()
                if step.holidays is not None and at.astimezone(zone).date() in holidays:
                    return step.holidays
                fitting = (branch.steps for branch in step.branches if fits_times(branch.times, at, zone, holidays))
                return next(fitting, step.otherwise)
            case SourceStep():
                return self._source_branch(step)
            case CallerStep():
                if self._call.caller.withheld:
                    return step.otherwise
                if self._known.caller is None:
                    return Wanted("caller", step.id)
                return {"first": step.first, "repeat": step.repeat}.get(self._known.caller, step.otherwise)
            case AreaStep():
                caller = self._call.caller.e164 or ""
                starting = (branch.steps for branch in step.branches if caller.startswith(tuple(branch.prefixes)))
                return next(starting, step.otherwise)
            case AskStep():
                return self._ask_address(step, turn)

    def _ended(self) -> Elements:
        """The flow has come to its end. A caller whom nobody talks to hears why."""
        if self._so_far.announcement and self._so_far.place is None:
            return (*self._plan, HangUp())  # which says it too
        if self._passed_over:
            return (*self._plan, Say(self._passed_over), HangUp())
        if self._so_far.place is None and not self._plan:
            return Say(SORRY), HangUp()
        return (*self._plan, HangUp())

    def _hear(self, step: AnyStep, turn: int, spoken: Sequence[Spoken]) -> Elements | None:
        """Adds what the caller hears; the plan so far when that is as much as a document should hold, and this comes with the next one."""
        letters = sum(len(each.sentence) for each in (*self._plan, *spoken) if isinstance(each, Say))
        if self._plan and letters > MOST_LETTERS:
            return (*self._plan, GoOn(self.address("gather", Place(step.id, turn))))
        self._plan += spoken
        return None

    def _ask_for_key(self, step: MenuStep | PressKeyStep, turn: int) -> Elements:
        prompt = self._prompt(step.prompt)
        room = len(self._plan)
        if plan := self._hear(step, turn, prompt):
            return plan
        address = self.address("gather", Place(step.id, turn + 1))
        return (*self._plan[:room], Gather(tuple(prompt), address, step.seconds), GoOn(address))

    def _voicemail(self, step: VoicemailStep, turn: int) -> Elements:
        if turn:
            return (HangUp(),)
        if plan := self._hear(step, turn, self._prompt(step.prompt)):
            return plan
        address = self.address("gather", Place(step.id, 1))
        record = Record(
            address,
            self._told("recording", step),
            step.longest_seconds,
            step.silence_seconds,
        )
        # of a caller who stays silent the carrier says nothing but that it goes on
        return (*self._plan, record, GoOn(address))

    def _source_branch(self, step: SourceStep) -> list[AnyStep] | Wanted:
        visit = self._known.visit
        if visit is None:
            return Wanted("visit", step.id)
        if not visit.source:
            return step.otherwise
        source = SourceParts(visit.source, visit.medium, visit.campaign)
        for branch in step.branches:
            match = branch.match
            if source_fits(SourceParts(match.source or "*", match.medium or "*", match.campaign or "*"), source):
                return branch.steps
        return step.otherwise

    def _ask_address(self, step: AskStep, turn: int) -> list[AnyStep] | Elements | Wanted:
        """A line that was answered with rings once; then the call goes on with what follows. One that nobody could save in a flow, because
        calls to it cost more or its country is not allowed, is none."""
        answer = dict(self._known.answers).get(step.id)
        if answer is None:
            return Wanted("answer", step.id, step.url)
        if answer in step.answers:
            return step.answers[answer]
        line = _line_of_answer(answer, step.ring_seconds)
        if line is None or refusal_of({"to": line.to}, self._around.countries) or not self._allowed([line]):
            return step.otherwise
        return self._ring(step, turn, [line]) or []

    def _hang_up(self, step: HangUpStep, turn: int) -> Elements:
        spoken = self._prompt(step.prompt)
        if step.busy and not spoken and not self._plan:
            return (Reject(),)
        return self._hear(step, turn, spoken) or (*self._plan, HangUp())

    def _key(self) -> str:
        return (self._so_far.digits or "")[:1]

    def _ring(
        self, step: RingStep | AskStep, turn: int, destinations: Sequence[RingDestination]
    ) -> Elements | Wanted | None:
        """Rings the destinations of this turn; None when there is no such turn."""
        lines = self._allowed(destinations)
        groups = [[line] for line in lines]
        if isinstance(step, RingStep) and len(lines) > 1:
            if step.order == "round_robin":
                groups = [[line] for line in self._in_drawn_order(step.id, lines)]
            first = None
            if step.returning_first and not self._call.caller.withheld:
                if self._known.answerer is None:
                    return Wanted("answerer", step.id)
                answerer = self._known.answerer
                first = next((line for line in lines if _is_line(line.to, answerer)), None)
            if step.order == "at_once":
                groups = [lines] if first is None else [[first], [line for line in lines if line is not first]]
            elif first is not None:
                groups = [[first], *(group for group in groups if group != [first])]
        if turn >= len(groups):
            return None
        group = groups[turn]
        if self._known.visit is None:
            texts = [text for line in group if line.headers for text in line.headers.values()]
            texts += [step.whisper.text or ""] if isinstance(step, RingStep) and step.whisper else []
            if any(name in VISIT_PLACEHOLDERS for text in texts for name in PLACEHOLDER.findall(text)):
                return Wanted("visit", step.id)
        screen = screening_of(step)
        recording = step.recording if isinstance(step, RingStep) else None
        announced = self._prompt(recording.announcement) if recording else []
        if recording and recording.announcement and not announced:
            recording = None  # its sound is lost, and nobody is recorded without being told
        announced = announced if turn == 0 and not self._own_id else []
        if plan := self._hear(step, turn, announced):
            return plan
        goes_on = turn + 1 < len(groups) or self._program.follows[step.id] is not None
        forward = Forward(
            tuple(self._target(step, turn, line, screen, goes_on) for line in group),
            max(line.ring_seconds for line in group),
            self._shown_number(),
            self._dial_address(Place(step.id, turn + 1), screen),
            recorded=recording.channels if recording else "off",
            recording_address=self._told("recording", step) if recording else "",
        )
        return (*self._plan, forward)

    def _target(self, step: RingStep | AskStep, turn: int, line: RingDestination, screen: str, goes_on: bool) -> Target:
        """`goes_on`: somebody else can be rung, or something follows, when a machine answers here."""
        place = Place(step.id, turn)
        leg_address = f"{self._around.base_url}/voice/leg/{self._call.sid}"
        if isinstance(step, AskStep) or not step.id:
            query = self._step_query(place) if step.id else self._of_account.removeprefix("&")
            return Target(line.to, f"{leg_address}?{query}" if query else leg_address)
        headers = ((name, self.filled(text)) for name, text in line.headers.items())
        return Target(
            line.to,
            f"{leg_address}?{self._step_query(place)}{f'&screen={screen}' if screen else ''}",
            self.whisper_address(place) if screen else "",
            self._machine_address(step, turn, goes_on) if step.detect_machines else "",
            line.extension,
            tuple(headers),
            line.transport,
            line.region,
        )

    def _allowed(self, destinations: Sequence[RingDestination]) -> list[RingDestination]:
        """Without those from which the call would come back. When none is left, the caller may hear why."""
        reasons = [self._circle(line.to) for line in destinations]
        if reasons and all(reasons):
            self._passed_over = self._passed_over or reasons[0]
        return [line for line, reason in zip(destinations, reasons, strict=True) if not reason]

    def _circle(self, to: str) -> str:
        """Why a call would come back from this destination; empty when it would not."""
        call = self._call
        if to[:3].lower() == "sip":
            return CALLER_IS_LINE if _same_sip(to, call.caller.raw) else IN_A_CIRCLE if _same_sip(to, call.to) else ""
        line = line_of(to)
        return self._circles.get(line) or (IN_A_CIRCLE if line in self._around.own_lines else "")

    def _in_drawn_order(self, step_id: str, lines: Sequence[RingDestination]) -> list[RingDestination]:
        """One after the other is drawn, each with its weight as its share, by a hash instead of chance."""
        left = list(lines)
        drawn: list[RingDestination] = []
        while len(left) > 1:
            key = f"{self._call.sid}\n{self._so_far.flow_id or 0}\n{step_id}\n{len(drawn)}"
            ticket = int.from_bytes(blake2b(key.encode(errors="replace"), digest_size=8).digest(), "big")
            ticket %= sum(line.weight for line in left)
            place = 0
            while ticket >= left[place].weight:
                ticket -= left[place].weight
                place += 1
            drawn.append(left.pop(place))
        return drawn + left

    def _shown_number(self) -> str | None:
        """The caller's where the carrier lets destinations see it, else the dialled one. A carrier shows no number that it does not know:
        not the one that was only forwarded to a number of ours."""
        call, number = self._call, self._so_far.number
        own = (call.number_e164 or number) if number == call.forwarded_from else number
        return own if self._own_id or call.caller_id == "refused" else call.caller.e164 or own

    def speech(self, how: Speech | SayStep, text: str) -> Say:
        flow = self._program.flow
        return Say(text, how.language or flow.language, how.voice or flow.voice)

    def _sound(self, name: str) -> list[Spoken]:
        """Nothing when it was deleted."""
        address = self._around.sounds.get(name)
        return [Play(address)] if address else []

    def _prompt(self, prompt: Prompt | None) -> list[Spoken]:
        if prompt is None:
            return []
        if prompt.text is not None:
            return [self.speech(prompt, prompt.text)]
        return self._sound(prompt.sound or "")

    def whispered(self, whisper: Whisper | None) -> list[Spoken]:
        """What the one who answered hears."""
        if whisper is None or whisper.text is None:
            return self._prompt(whisper)
        return [self.speech(whisper, " ".join(self.filled(whisper.text).split()))]

    def filled(self, text: str) -> str:
        """The text with its placeholders filled in; what is not known is left out."""
        visit = self._known.visit or Visit()
        values = {
            "visit": str(visit.number or ""),
            "source": visit.source,
            "medium": visit.medium,
            "campaign": visit.campaign,
            "caller": self._call.caller.e164 or "",
            "number": self._so_far.number,
        }
        return PLACEHOLDER.sub(lambda found: values.get(found[1], ""), text)

    def address(self, what: str, place: Place) -> str:
        """Where the carrier asks what happens next, with all that the answer goes by."""
        query = self._so_far.query(**self._known.query(place.step))
        return f"{self._around.base_url}/voice/{what}/{self._call.sid}/{place}?{query}"

    def whisper_address(self, place: Place) -> str:
        """What the carrier says of a leg does not name the number that was dialled."""
        return f"{self.address('whisper', place)}&number={quote(self._so_far.number)}{self._of_account}"

    def _dial_address(self, place: Place, screen: str) -> str:
        """Of a forwarding. A number over which the carrier may fail the leg is tried once: the address says that it was shown."""
        doubtful = {"caller_id": "caller"} if self._call.caller_id == "doubtful" and not self._own_id else {}
        query = self._so_far.query(**self._known.query(place.step), **doubtful)
        screened = f"&screen={screen}" if screen else ""
        return f"{self._around.base_url}/voice/dial/{self._call.sid}/{place}?{query}{screened}"

    def _machine_address(self, step: RingStep, turn: int, goes_on: bool) -> str:
        """With all by which the call is led on, where something follows."""
        told = self._told(f"machine/{self._call.sid}", step, turn)
        if not goes_on:
            return told
        start = round(self._so_far.started_at.timestamp() * 1000)
        return f"{told}&{urlencode({GOES_ON: 1, 'start': start, **self._known.query(step.id)})}"

    def _told(self, what: str, step: AnyStep, turn: int = 0) -> str:
        """Where the carrier says something of a step, which leads to nothing."""
        return f"{self._around.base_url}/voice/{what}?{self._step_query(Place(step.id, turn))}"

    def _step_query(self, place: Place) -> str:
        return f"flow={self._so_far.flow_id or 0}&step={place}{self._of_account}"

    @property
    def _of_account(self) -> str:
        return f"&account={self._around.account}" if self._around.account else ""


SIP_USER_AND_HOST = re.compile(r"sips?:([^@;?>]+)@([^;?>:]+)", re.IGNORECASE)


def _is_line(to: str, other: str) -> bool:
    """Whether both are one line; SIP addresses of different parameters are."""
    return to == other or same_line(to, other) or _same_sip(to, other)


def _same_sip(to: str, other: str) -> bool:
    """Whether both are SIP addresses of one user of one host."""
    this, that = SIP_USER_AND_HOST.search(to), SIP_USER_AND_HOST.search(other)
    return this is not None and that is not None and this[1] == that[1] and this[2].casefold() == that[2].casefold()


def _line_of_answer(answer: str, ring_seconds: int) -> RingDestination | None:
    """The destination that an address of the company has answered with; None: it is none."""
    try:
        to = read_destination(answer)
    except BadPhone:
        return None
    return RingDestination(to=to, ring_seconds=ring_seconds)
