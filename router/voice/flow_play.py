"""*Play this flow*: a call through a flow, as somebody says that it goes on, told in words. Pure: nobody is rung and nothing is asked.

Everything comes from the interpreter, by the addresses that it gives to the carrier; so a call that is played goes as a call does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

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
    Target,
)
from router.lib.phones import international
from router.scenarios.flow_steps import AskStep, MenuStep, PlayStep, PressKeyStep, RingStep, SayStep
from router.scenarios.flow_words import ToldStep, told
from router.voice.blocking.rules import Blocked, CallGuard, because_words, blocked_plan, shown_pattern
from router.voice.call_so_far import CallSoFar, Surroundings, Visit, Wanted, read_known, read_place
from router.voice.interpreter import GOES_ON, Program, Way, next_plan, whisper_plan

MOST_EVENTS = 200
"""More than these are not played: a flow of this many turns nobody follows."""
HANGS_UP = "hang_up"
NOBODY = "nobody"
KEYS = "1234567890*#"
DECIDED_UNSEEN = ("hours", "by_source", "by_caller", "by_area")
"""Types of steps at which nobody says which branch a call goes."""
TALK = "They talk. When the talk is over, the call ends."


@dataclass(frozen=True)
class Entry:
    """What happens. `kind`: heard, rings, line (what the company hears), way (which branch is gone), done, blocked, ended."""

    kind: Literal["heard", "rings", "line", "way", "done", "blocked", "ended"]
    text: str


@dataclass(frozen=True)
class Choice:
    """What may happen next."""

    value: str
    label: str


@dataclass
class Scene:
    """A call until now."""

    entries: list[Entry] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    """Empty: the call has ended."""
    heard: list[str] = field(default_factory=list)
    """By the caller: sentences, addresses of sounds, `beep`."""
    rung: list[str] = field(default_factory=list)
    talked_to: str | None = None
    asking: tuple[CallSoFar, Wanted] | None = None
    """The call waits for what an address answers."""


@dataclass(frozen=True)
class Known:
    """What the look-ups of a played call find."""

    visit: Visit
    caller: Literal["first", "repeat"]


def play_flow(program: Program, around: Surroundings, so_far: CallSoFar, known: Known, events: Sequence[str]) -> Scene:
    """Plays a call from its beginning through the events, each a value of the choices that were there; what was no choice ends the list."""
    return _Player(program, around, known, list(events[:MOST_EVENTS])).play(so_far)


def play_blocked(guard: CallGuard, blocked: Blocked) -> Scene:
    """A call that is not put through."""
    why = because_words(blocked.because, shown_pattern(blocked.entry))
    scene = Scene([Entry("blocked", f"The call is not put through: {why}.")])
    for element in blocked_plan(guard.blocked_flow(blocked)):
        match element:
            case Say():
                scene.heard.append(element.sentence)
                scene.entries.append(Entry("heard", f"“{element.sentence}”"))
            case Reject():
                scene.entries.append(Entry("ended", _rejection(element)))
            case HangUp():
                scene.entries.append(Entry("ended", "The call ends."))
    return scene


def goes_by(program: Program, around: Surroundings, so_far: CallSoFar, wanted: Wanted, answer: str) -> bool:
    """Whether this answer of an address leads anywhere: it names a branch of the step, or a line that may be rung."""
    way = Way()
    next_plan(program, around, replace(so_far, known=so_far.known.with_outcome(wanted, answer)), way)
    return (wanted.step, "otherwise") not in way


def _rejection(reject: Reject) -> str:
    said = "as busy" if reject.busy else "with the tones of a number that is not in service"
    return f"The call ends {said}: nothing has answered it."


class _Player:
    def __init__(self, program: Program, around: Surroundings, known: Known, events: list[str]) -> None:
        self._program, self._around, self._known, self._events = program, around, known, events
        self._scene = Scene()
        self._told = dict(_by_id(told((program.flow.document()).get("steps") or ())))
        self._sounds = {address: name for name, address in around.sounds.items()}

    def play(self, so_far: CallSoFar) -> Scene:
        following: CallSoFar | None = so_far
        while following is not None:
            following = self._play_plan(following)
        return self._scene

    def _plan(self, so_far: CallSoFar) -> tuple[Plan, CallSoFar] | None:
        """What happens next, with all that was looked up for it; None when an event is waited for."""
        way = Way()
        plan = next_plan(self._program, self._around, so_far, way)
        while isinstance(plan, Wanted):
            if plan.what in ("answer", "answerer"):
                event = self._event(self._outcomes(plan))
                if event is None:
                    if plan.what == "answer" and self._scene.choices:
                        self._scene.asking = so_far, plan
                    return None
                outcome: Visit | str | None = event.partition(".")[2] or None
            else:
                outcome = self._known.visit if plan.what == "visit" else self._known.caller
            so_far = replace(so_far, known=so_far.known.with_outcome(plan, outcome))
            plan = next_plan(self._program, self._around, so_far, way)
        return self._hear_on_the_way(way, plan), so_far

    def _hear_on_the_way(self, way: Way, plan: Plan) -> Plan:
        """Tells the branches that the call goes, each behind what is heard before it; what is left of the plan."""
        left = list(plan)
        for step_id, branch in way:
            heard = isinstance(self._program.steps.get(step_id), SayStep | PlayStep)
            if heard and left and isinstance(left[0], Say | Play):
                self._hear(left.pop(0))
            step = self._told.get(step_id)
            is_unsaid = step is not None and step.kind == "ask" and branch == "otherwise"
            if step is not None and branch and (is_unsaid or step.kind in DECIDED_UNSEEN):
                title = next((each.title for each in step.branches if each.name == branch), "")
                self._add("way", f"{step.title}: {title}")
        return left

    def _play_plan(self, so_far: CallSoFar) -> CallSoFar | None:
        """The carrier's next request; None when the call has ended, or waits for an event."""
        found = self._plan(so_far)
        if found is None:
            return None
        plan, so_far = found
        for element in plan:
            match element:
                case Say() | Play():
                    self._hear(element)
                case Gather():
                    for spoken in element.prompt:
                        self._hear(spoken)
                    key = self._event(self._keys(element))
                    if key is None:
                        return None
                    if key != NOBODY:
                        return self._arriving(element.next_address, so_far, digits=key.partition(".")[2])
                case Record():
                    self._scene.heard.append("beep")
                    self._add("heard", "a tone, and can leave a message")
                    event = self._event(
                        [Choice("message", "The caller leaves a message"), Choice(NOBODY, "The caller says nothing")]
                    )
                    if event is None:
                        return None
                    if event == "message":
                        return self._arriving(element.next_address, so_far, digits="hangup")
                case Forward():
                    return self._forward(element, so_far)
                case GoOn():
                    return self._arriving(element.next_address, so_far)
                case Reject():
                    self._add("ended", _rejection(element))
                    return None
                case HangUp():
                    break
                case _:
                    pass  # a pause
        self._add("ended", "The call ends.")
        return None

    def _forward(self, forward: Forward, so_far: CallSoFar) -> CallSoFar | None:
        names = [_line(target.to) for target in forward.targets]
        self._scene.rung += [target.to for target in forward.targets]
        at_once = " at once" if len(names) > 1 else ""
        self._add("rings", f"{' and '.join(names)} ring{'' if at_once else 's'}{at_once} for {forward.ring_seconds} s")
        event = self._event(self._ends(forward))
        if event is None:
            return None
        what, _, index = event.partition(".")
        if index:
            self._whisper(forward.targets[int(index)], so_far)
        if what == "answers":
            self._scene.talked_to = forward.targets[int(index)].to
            self._add("ended", TALK)
            return None
        if what == "machine" and f"&{GOES_ON}=" not in forward.targets[int(index)].machine_address:
            self._add("ended", "The caller stays with the voicemail: nothing follows where the call could go on.")
            return None
        status: Any = what if what in ("busy", "failed") else "no_answer"
        result = DialResult(so_far.call.sid, None, status, False, None, None)
        return self._arriving(forward.next_address, so_far, result=result)

    def _ends(self, forward: Forward) -> list[Choice]:
        choices: list[Choice] = []
        step = self._step_at(forward.next_address)
        for index, target in enumerate(forward.targets):
            name = _line(target.to)
            if isinstance(step, RingStep) and step.accept:
                choices.append(Choice(f"answers.{index}", f"{name} answers and presses 1"))
                choices.append(Choice(f"declines.{index}", f"{name} answers, and nobody presses 1"))
            elif isinstance(step, RingStep) and step.detect_machines:
                choices.append(Choice(f"answers.{index}", f"Somebody at {name} answers"))
                choices.append(Choice(f"machine.{index}", f"The voicemail of {name} answers"))
            else:
                choices.append(Choice(f"answers.{index}", f"{name} answers"))
        choices += [
            Choice(NOBODY, "Nobody answers"),
            Choice("busy", "It is busy"),
            Choice("failed", "It cannot be reached"),
        ]
        return choices

    def _step_at(self, address: str) -> Any:
        place = read_place(urlsplit(address).path.rpartition("/")[2])
        return self._program.steps.get(place.step) if place else None

    def _whisper(self, target: Target, so_far: CallSoFar) -> None:
        """What the line hears when it answers."""
        if not target.whisper_address:
            return
        for element in whisper_plan(self._program, self._around, self._arriving(target.whisper_address, so_far)):
            for spoken in element.prompt if isinstance(element, Gather) else (element,):
                if isinstance(spoken, Say | Play):
                    self._add("line", f"{_line(target.to)} hears: {self._words(spoken)}")

    def _outcomes(self, wanted: Wanted) -> list[Choice]:
        step = self._program.steps.get(wanted.step)
        if isinstance(step, AskStep):
            named = [Choice(f"answer.{name}", f"{step.url} answers “{name}”") for name in step.answers]
            said = self._events[0].removeprefix("answer.") if self._events else ""
            if self._events[:1] == [f"answer.{said}"] and said not in ("", *step.answers):  # a line, or nonsense
                named.append(Choice(f"answer.{said}", f"{step.url} answers “{said}”"))
            return [*named, Choice("answer.", f"{step.url} does not answer in time")]
        # what is found out here is known at every later step too
        rings = (each for each in self._program.steps.values() if isinstance(each, RingStep) and each.returning_first)
        lines = dict.fromkeys(line.to for ring in rings for line in ring.destinations)
        asked = [Choice(f"answerer.{to}", f"{_line(to)} talked to this caller last") for to in lines]
        return [*asked, Choice("answerer.", "None of them has talked to this caller")]

    def _keys(self, gather: Gather) -> list[Choice]:
        step = self._step_at(gather.next_address)
        keys = list(step.keys) if isinstance(step, MenuStep) else [step.key] if isinstance(step, PressKeyStep) else []
        wrong = next((key for key in KEYS if key not in keys), None)
        choices = [Choice(f"key.{key}", f"The caller presses {key}") for key in keys]
        choices += [Choice(f"key.{wrong}", f"The caller presses another key, {wrong}")] if wrong else []
        return [*choices, Choice(NOBODY, "The caller presses nothing")]

    def _event(self, choices: list[Choice]) -> str | None:
        """What happens of these; None when nobody has said it yet, or the caller hangs up."""
        choices = [*choices, Choice(HANGS_UP, "The caller hangs up")]
        event = self._events.pop(0) if self._events else ""
        chosen = next((choice for choice in choices if choice.value == event), None)
        if chosen is None:
            self._scene.choices = choices
            return None
        if event == HANGS_UP:
            self._add("ended", "The caller hangs up.")
            return None
        self._add("done", chosen.label)
        return event

    def _hear(self, spoken: Element) -> None:
        if isinstance(spoken, Say | Play):
            self._scene.heard.append(spoken.sentence if isinstance(spoken, Say) else spoken.address)
            self._add("heard", self._words(spoken))

    def _words(self, spoken: Say | Play) -> str:
        if isinstance(spoken, Say):
            return f"“{spoken.sentence}”"
        return f"the sound {self._sounds.get(spoken.address, spoken.address)}"

    def _add(self, kind: Any, text: str) -> None:
        self._scene.entries.append(Entry(kind, text))

    def _arriving(self, address: str, before: CallSoFar, **came: Any) -> CallSoFar:
        """The request that an address of ours brings, with what comes along."""
        parts = urlsplit(address)
        args: Mapping[str, str] = dict(parse_qsl(parts.query, keep_blank_values=True))
        place = read_place(parts.path.rpartition("/")[2])
        return CallSoFar(
            before.call,
            before.number,
            datetime.fromtimestamp(int(args["start"]) / 1000, UTC) if "start" in args else before.started_at,
            before.flow_id,
            place,
            read_known(args, place),
            showed_caller=args.get("caller_id") == "caller",
            **came,
        )


def _by_id(steps: Sequence[ToldStep]) -> Iterator[tuple[str, ToldStep]]:
    for step in steps:
        yield step.id, step
        for branch in step.branches:
            yield from _by_id(branch.steps)


def _line(to: str) -> str:
    return international(to) if to.startswith("+") else to
