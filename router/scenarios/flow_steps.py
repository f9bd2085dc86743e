"""The steps of a call flow. Steps stand in lists and are done in turn; a branch is a list inside a step. When a branch is done, the call
goes on with what follows the step."""

import operator
import re
import unicodedata
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

from router.lib.phones import cost_warning, country_refusal, read_destination
from router.scenarios.fields import UNREADABLE, Context, Match, StrictSchema, read_number, refusing, written_as
from router.scenarios.flows import CONFIRM, DEFAULT_RING_SECONDS
from router.scenarios.matching import pattern_error
from router.scenarios.opening_hours import OpeningTimes

DEEPEST = 10
"""Lists of steps within each other."""
MOST_IN_ONE_LIST = 30
LONGEST_SENTENCE = 1000
LONGEST_SOUND_NAME = 40
LONGEST_HEADERS = 1000
"""Of a SIP destination, names and values together, before placeholders are filled; carriers take a little more."""
PLACEHOLDERS = ("visit", "source", "medium", "campaign", "caller", "number")
VISIT_PLACEHOLDERS = ("visit", "source", "medium", "campaign")
"""What has to be looked up before it can be filled in."""
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
HEADER_NAME = re.compile(
    r"X-[A-Za-z0-9-]{1,60}|User-to-User|Remote-Party-ID|P-Preferred-Identity|P-Called-Party-ID", re.IGNORECASE
)
STEP_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,15}")


@dataclass
class Reading:
    """What is known while one flow is validated, from its root inwards."""

    depth: int = 0
    ids: set[str] = field(default_factory=set)


reading: ContextVar[Reading] = ContextVar("flow_reading")


def _one_deeper(steps: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """
    Raises:
        ValueError: the list stands too deep; what is in it is not looked at.
    """
    state = reading.get(Reading())
    if state.depth >= DEEPEST:
        raise ValueError(f"Steps can be nested {DEEPEST} deep, not deeper.")
    state.depth += 1
    try:
        return validate(steps)
    finally:
        state.depth -= 1


def _unique_id(text: str) -> str:
    if not text:
        return text
    if not STEP_ID.fullmatch(text):
        raise ValueError("An id has up to 16 small letters, digits, - and _, like sales-1.")
    ids = reading.get(Reading()).ids
    if text in ids:
        raise ValueError(f"Another step has the id “{text}” already.")
    ids.add(text)
    return text


def _matching(pattern: str, sentence: str) -> AfterValidator:
    """An empty text is taken as well."""
    return written_as(f"(?:{pattern})?", sentence)


def _placeholder_error(text: str) -> str | None:
    unknown = next((name for name in PLACEHOLDER.findall(text) if name not in PLACEHOLDERS), None)
    known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    return None if unknown is None else f"Nobody knows what {{{unknown}}} is. Use {known}."


def _email_error(text: str) -> str | None:
    from router.lib.smtp import is_email_address  # imports a mail client

    return None if is_email_address(text) else f"“{text}” is not an e-mail address."


Seconds = Annotated[int, Field(ge=1, le=30)]
RingSeconds = Annotated[int, Field(ge=5, le=600)]
Key = Annotated[str, _matching("[0-9*#]", "This has to be one key: 0 to 9, * or #."), Field(min_length=1)]
Tries = Annotated[int, Field(ge=1, le=5)]
Sentence = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_SENTENCE),
    AfterValidator(lambda text: re.sub(r"\r\n?", "\n", text)),  # as forms of browsers send what they were given
    written_as(r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*", "Write it without control characters."),
]
FilledSentence = Annotated[Sentence, refusing(_placeholder_error)]
Language = Annotated[
    str, _matching("[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}", "Write a language like de-DE or en-GB."), Field(max_length=20)
]
Voice = Annotated[
    str,
    _matching(
        r"man|woman|alice|(Polly|Google)\.[A-Za-z0-9]+(-[A-Za-z0-9]+)*", "Write man, woman, or a name like Polly.Vicki."
    ),
    Field(max_length=60),
]
Extension = Annotated[
    str, _matching("[0-9A-DwW#*]+", "Write keys, and w for half a second, like ww12."), Field(max_length=32)
]
HeaderValue = Annotated[str, Field(min_length=1, max_length=500), refusing(pattern_error), refusing(_placeholder_error)]
SoundName = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST_SOUND_NAME),
    AfterValidator(lambda name: unicodedata.normalize("NFC", name)),
    _matching(r"\w[\w -]*", "This is no name of a sound: it has letters, digits, blanks, - and _."),
]
Prefix = Annotated[
    str, AfterValidator(lambda text: "".join(text.split())), _matching(r"\+[1-9]\d{0,9}", "Write it like +49 30.")
]
AnswerName = Annotated[
    str, _matching("[A-Za-z0-9_-]+", "An answer has letters, digits, - and _."), Field(min_length=1, max_length=40)
]


class Speech(StrictSchema):
    """How a text is read out; as the flow says, where it is not named."""

    language: Language = ""
    voice: Voice = ""


def _known_sound(name: str, info: ValidationInfo) -> str:
    sounds = info.context.sounds if info.context is not None else None
    if sounds is not None and name not in sounds:
        raise ValueError(f"There is no sound “{name}”. Upload it first.")
    return name


KnownSound = Annotated[SoundName, AfterValidator(_known_sound)]


class Prompt(Speech):
    """A text that is read out, or an uploaded sound by its name."""

    text: Sentence | None = None
    sound: KnownSound | None = None
    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "Guten Tag!"}, {"sound": "welcome"}]})

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.text is None) == (self.sound is None):
            raise ValueError("Write a text, or name a sound.")
        return self


class Whisper(Prompt):
    """What the one who answers hears: a text, in which `{source}` and others are filled in, or an uploaded sound."""

    text: FilledSentence | None = None


Steps = Annotated[list["AnyStep"], Field(max_length=MOST_IN_ONE_LIST), WrapValidator(_one_deeper)]


class Step(StrictSchema):
    """`id` names the step in addresses and stories; one that has none gets one."""

    id: Annotated[str, AfterValidator(_unique_id)] = ""

    def lists(self) -> "list[tuple[str, list[AnyStep]]]":
        """The lists of steps inside this one, each with its place in it, like `keys.1`."""
        return []


class SayStep(Step, Speech):
    """Reads a text out."""

    type: Literal["say"]
    text: Sentence
    model_config = ConfigDict(json_schema_extra={"example": {"type": "say", "text": "Guten Tag!", "language": "de-DE"}})


class PlayStep(Step):
    """Plays an uploaded sound."""

    type: Literal["play"]
    sound: KnownSound
    model_config = ConfigDict(json_schema_extra={"example": {"type": "play", "sound": "welcome"}})


def _in_an_allowed_country(to: str, info: ValidationInfo) -> str:
    """
    Raises:
        PydanticCustomError: the operator lets no calls be forwarded there, and this one was not stored before.
    """
    context: Context | None = info.context
    if context is None or context.lenient or to in context.kept:
        return to
    if refusal := country_refusal(to, context.countries):
        raise PydanticCustomError(UNREADABLE, "{sentence}", {"sentence": refusal})
    return to


class Destination(StrictSchema):
    """A line of the company. `costs_confirmed` has to be true for a number whose calls cost more than an ordinary line's: premium-rate,
    shared-cost, satellite and personal numbers; of others it is not kept."""

    to: Annotated[
        str,
        Field(min_length=1, max_length=200),
        read_number(read_destination, unreadable=lambda _: ""),
        AfterValidator(_in_an_allowed_country),
    ]
    ring_seconds: RingSeconds = DEFAULT_RING_SECONDS
    costs_confirmed: Annotated[bool, Field(validate_default=True, exclude_if=operator.not_)] = False

    @field_validator("costs_confirmed")
    @classmethod
    def _somebody_knows(cls, confirmed: bool, info: ValidationInfo) -> bool:
        context: Context | None = info.context
        to = info.data.get("to", "")
        if context is None or not to:
            return confirmed
        warning = cost_warning(to)
        # one that was stored without it may be stored so again
        if warning and not confirmed and not context.lenient and context.kept.get(to, True):
            raise ValueError(f"{warning} {CONFIRM}")
        return confirmed and warning is not None


class RingDestination(Destination):
    """A line of the company. `weight` is its share in a round robin; an extension is dialled once somebody has answered; headers,
    transport and region are for SIP addresses."""

    weight: Annotated[int, Field(ge=1, le=100)] = 1
    extension: Extension = ""
    headers: dict[str, HeaderValue] = {}
    transport: Literal["", "udp", "tcp", "tls"] = ""
    region: Annotated[str, _matching("[a-z]{2}[0-9]", "Write a region like ie1."), Field(max_length=3)] = ""

    @property
    def is_sip(self) -> bool:
        return self.to.lower().startswith(("sip:", "sips:"))

    @field_validator("extension")
    @classmethod
    def _of_a_number(cls, value: str, info: ValidationInfo) -> str:
        if value and _is_sip(info):
            raise ValueError("A SIP address has no extension: it is part of the address.")
        return value

    @field_validator("headers", "transport", "region")
    @classmethod
    def _of_a_sip_address(cls, value: Any, info: ValidationInfo) -> Any:
        if value and info.data.get("to") and not _is_sip(info):
            raise ValueError("Only a SIP address has this.")
        if isinstance(value, str) and value and f";{info.field_name}=" in info.data.get("to", ""):
            raise ValueError(f"The address says its {info.field_name} already.")
        return value

    @field_validator("headers")
    @classmethod
    def _allowed(cls, headers: dict[str, str]) -> dict[str, str]:
        for name in headers:
            if not HEADER_NAME.fullmatch(name):
                raise ValueError(f"“{name}” is not a header that may be sent: names begin with X-.")
        if sum(len(name) + len(value) + 2 for name, value in headers.items()) > LONGEST_HEADERS:
            raise ValueError(f"Headers can have {LONGEST_HEADERS} letters together.")
        return headers


def _is_sip(info: ValidationInfo) -> bool:
    return str(info.data.get("to", "")).lower().startswith(("sip:", "sips:"))


class Recording(StrictSchema):
    """Both sides of the talk are recorded, each in a channel of its own (`dual`) or mixed. The caller hears the announcement first."""

    channels: Literal["dual", "mixed"] = "dual"
    announcement: Annotated[Prompt | None, Field(validate_default=True)] = None

    @field_validator("announcement")
    @classmethod
    def _is_announced(cls, prompt: Prompt | None, info: ValidationInfo) -> Prompt | None:
        if prompt is None and info.context is not None and not info.context.may_record_silently:
            raise ValueError("Say to callers that the talk is recorded.")
        return prompt


class RingStep(Step):
    """Rings lines of the company. `returning_first`: whoever talked to this caller last rings first. With `accept` a line has answered
    once 1 is pressed there; with `detect_machines` the call leaves a voicemail that has answered, where anything follows."""

    type: Literal["ring"]
    destinations: Annotated[list[RingDestination], Field(min_length=1, max_length=10)]
    order: Literal["in_turn", "at_once", "round_robin"] = "in_turn"
    returning_first: bool = False
    whisper: Whisper | None = None
    accept: bool = False
    detect_machines: bool = False
    recording: Recording | None = None
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "ring",
                "order": "round_robin",
                "destinations": [
                    {"to": "+4930123456", "ring_seconds": 15, "weight": 2, "extension": "ww12"},
                    {"to": "sip:sales@pbx.example.com", "headers": {"X-Source": "{source}"}, "transport": "tls"},
                ],
                "returning_first": True,
                "whisper": {"text": "A call from {source}. Press 1 to take it."},
                "accept": True,
                "recording": {"channels": "dual", "announcement": {"text": "This call is recorded."}},
            }
        }
    )

    @field_validator("detect_machines")
    @classmethod
    def _one_way_to_know(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("accept"):
            raise ValueError("Either a person presses 1 to accept, or machines are listened for.")
        if value and any(line.extension for line in info.data.get("destinations", [])):
            raise ValueError("A machine cannot be told from a person where an extension is dialled.")
        return value


class MenuStep(Step):
    """Asks for a key. A prompt is repeated until a key of the menu is pressed, `tries` times in all."""

    type: Literal["menu"]
    prompt: Prompt
    keys: Annotated[dict[Key, Steps], Field(min_length=1)]
    no_input: Steps = []
    wrong_key: Steps = []
    tries: Tries = 2
    seconds: Seconds = 5
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "menu",
                "prompt": {"text": "For sales press 1, for everything else stay on the line."},
                "keys": {"1": [{"type": "ring", "destinations": [{"to": "+4930123456"}]}]},
                "no_input": [{"type": "ring", "destinations": [{"to": "+4930123457"}]}],
                "wrong_key": [{"type": "hang_up"}],
            }
        }
    )

    def lists(self) -> "list[tuple[str, list[AnyStep]]]":
        keys = [(f"keys.{key}", steps) for key, steps in self.keys.items()]
        return [*keys, ("no_input", self.no_input), ("wrong_key", self.wrong_key)]


class PressKeyStep(Step):
    """Lets those go on who press a key: a robot does not. Others go `otherwise`, and then the call ends."""

    type: Literal["press_key"]
    prompt: Prompt
    key: Key = "1"
    otherwise: Steps = []
    tries: Tries = 2
    seconds: Seconds = 5
    model_config = ConfigDict(
        json_schema_extra={"example": {"type": "press_key", "prompt": {"text": "Press 1 to be connected."}}}
    )

    def lists(self) -> "list[tuple[str, list[AnyStep]]]":
        return [("otherwise", self.otherwise)]


class VoicemailStep(Step):
    """Takes a message after a tone, and mails it; without addresses to the project's own. Then the call ends."""

    type: Literal["voicemail"]
    prompt: Prompt | None = None
    longest_seconds: Annotated[int, Field(ge=5, le=600)] = 120
    silence_seconds: Annotated[int, Field(ge=2, le=30)] = 5
    mail_to: Annotated[list[Annotated[str, refusing(_email_error)]], Field(max_length=10)] = []
    model_config = ConfigDict(
        json_schema_extra={"example": {"type": "voicemail", "prompt": {"text": "Please leave a message."}}}
    )


class HoursBranch(StrictSchema):
    """What happens at these times."""

    times: Annotated[list[OpeningTimes], Field(min_length=1, max_length=20)]
    steps: Steps


class HoursStep(Step):
    """Goes the first branch whose times fit the moment at which the call began, in the project's time zone. `holidays`: on the project's
    holidays the call goes there, whatever the times say; without it they are days like others."""

    type: Literal["hours"]
    branches: Annotated[list[HoursBranch], Field(min_length=1, max_length=20)]
    holidays: Steps | None = None
    otherwise: Steps = []
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "hours",
                "branches": [
                    {
                        "times": [{"days": ["mon", "tue", "wed", "thu", "fri"], "opens": "09:00", "closes": "17:30"}],
                        "steps": [{"type": "ring", "destinations": [{"to": "+4930123456"}]}],
                    }
                ],
                "holidays": [{"type": "say", "text": "We are closed today."}],
                "otherwise": [{"type": "voicemail"}],
            }
        }
    )

    def lists(self) -> "list[tuple[str, list[AnyStep]]]":
        branches = [(f"branches.{place}.steps", branch.steps) for place, branch in enumerate(self.branches)]
        return [*branches, ("holidays", [] if self.holidays is None else self.holidays), ("otherwise", self.otherwise)]


class SourceBranch(StrictSchema):
    """What happens with visitors of these marketing sources."""

    match: Match
    steps: Steps


class SourceStep(Step):
    """Goes the first branch that fits the marketing source of the visit; `otherwise` without a visit, or when it cannot be looked up in
    time."""

    type: Literal["by_source"]
    branches: Annotated[list[SourceBranch], Field(min_length=1, max_length=20)]
    otherwise: Steps = []
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "by_source",
                "branches": [
                    {
                        "match": {"source": "google", "campaign": "brand*"},
                        "steps": [{"type": "ring", "destinations": [{"to": "+4930123456"}]}],
                    }
                ],
            }
        }
    )

    def lists(self) -> "list[tuple[str, list[AnyStep]]]":
        branches = [(f"branches.{place}.steps", branch.steps) for place, branch in enumerate(self.branches)]
        return [*branches, ("otherwise", self.otherwise)]


class CallerStep(Step):
    """Goes apart for those who call for the first time and those who have called before; `otherwise` for withheld numbers, or when it
    cannot be looked up in time."""

    type: Literal["by_caller"]
    first: Steps = []
    repeat: Steps = []
    otherwise: Steps = []
    model_config = ConfigDict(
        json_schema_extra={
            "example": {"type": "by_caller", "first": [{"type": "say", "text": "Welcome! This call costs nothing."}]}
        }
    )

    def lists(self) -> "list[tuple[str, list[AnyStep]]]":
        return [("first", self.first), ("repeat", self.repeat), ("otherwise", self.otherwise)]


class AreaBranch(StrictSchema):
    """What happens with callers whose numbers begin so."""

    prefixes: Annotated[list[Prefix], Field(min_length=1, max_length=200)]
    steps: Steps


class AreaStep(Step):
    """Goes the first branch of which a prefix fits the caller's number, like `+49 30`; `otherwise` for withheld numbers."""

    type: Literal["by_area"]
    branches: Annotated[list[AreaBranch], Field(min_length=1, max_length=20)]
    otherwise: Steps = []
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "by_area",
                "branches": [
                    {
                        "prefixes": ["+49 30", "+49 331"],
                        "steps": [{"type": "ring", "destinations": [{"to": "+4930123456"}]}],
                    }
                ],
            }
        }
    )

    def lists(self) -> "list[tuple[str, list[AnyStep]]]":
        branches = [(f"branches.{place}.steps", branch.steps) for place, branch in enumerate(self.branches)]
        return [*branches, ("otherwise", self.otherwise)]


class AskStep(Step):
    """Asks an address of the company's own systems. It may answer with the name of a branch, or with a line that is rung for
    `ring_seconds`; `otherwise` when it does not, or not in time."""

    type: Literal["ask"]
    url: Annotated[
        str,
        Field(max_length=1000),
        written_as(
            r"https?://[A-Za-z0-9.\-]+(?::\d{1,5})?(?:[/?][!-~]*)?",
            "Write an address like https://crm.example.com/calls.",
        ),
    ]
    answers: Annotated[dict[AnswerName, Steps], Field(max_length=20)] = {}
    ring_seconds: RingSeconds = DEFAULT_RING_SECONDS
    otherwise: Steps = []
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "ask",
                "url": "https://crm.example.com/who-answers",
                "answers": {"vip": [{"type": "ring", "destinations": [{"to": "+4930123456"}]}]},
                "otherwise": [{"type": "voicemail"}],
            }
        }
    )

    def lists(self) -> "list[tuple[str, list[AnyStep]]]":
        answers = [(f"answers.{name}", steps) for name, steps in self.answers.items()]
        return [*answers, ("otherwise", self.otherwise)]


class HangUpStep(Step):
    """Ends the call, after a last sentence; `busy`: one that nothing has answered yet ends as busy."""

    type: Literal["hang_up"]
    prompt: Prompt | None = None
    busy: bool = False
    model_config = ConfigDict(
        json_schema_extra={"example": {"type": "hang_up", "prompt": {"text": "Goodbye, and thank you for calling."}}}
    )


AnyStep = Annotated[
    SayStep
    | PlayStep
    | RingStep
    | MenuStep
    | PressKeyStep
    | VoicemailStep
    | HoursStep
    | SourceStep
    | CallerStep
    | AreaStep
    | AskStep
    | HangUpStep,
    Field(discriminator="type"),
]
