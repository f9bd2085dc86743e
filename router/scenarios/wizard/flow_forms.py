"""Forms of the steps of a call flow, which stand in lists within each other as the steps do. Each is made from the schema of its step.

What was typed is kept as it was typed: `typed_of` says how a stored step is shown, `document` what was typed stands for."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel
from wtforms import Field, FormField
from wtforms.utils import unset_value

from router.scenarios.fields import Match, StrictSchema
from router.scenarios.flow_steps import (
    DEEPEST,
    MOST_IN_ONE_LIST,
    AreaBranch,
    AreaStep,
    AskStep,
    CallerStep,
    Destination,
    HangUpStep,
    HoursBranch,
    HoursStep,
    MenuStep,
    PlayStep,
    PressKeyStep,
    Prompt,
    Recording,
    RingDestination,
    RingStep,
    SayStep,
    SourceBranch,
    SourceStep,
    Step,
    VoicemailStep,
    Whisper,
)
from router.scenarios.opening_hours import OpeningTimes
from router.web.forms import Form, LinesField, Part, Rows, SchemaForm, SwitchField, TextField

Typed = dict[str, Any]
"""What the form of a step shows: texts, and lists of them."""

DOUBLED = "\0"
"""Behind the path of a row whose name another row has; nobody can type it."""
DEEPEST_NAME = 4 * DEEPEST
"""Parts of a field's name before lists of steps in it are not read: nobody can store them."""
PLAIN_ORDER = ("", "in_turn")


class ChosenField(Field):  # type: ignore[misc]  # WTForms has no types
    """Some of several choices, of which each has a check box."""

    def process_data(self, value: Any) -> None:
        self.data = list(value or [])

    def process_formdata(self, valuelist: list[str]) -> None:
        self.data = list(dict.fromkeys(valuelist))

    def member(self) -> list[str]:
        return list(self.data)


class FlowForm(SchemaForm):
    schema: ClassVar[type[BaseModel]] = StrictSchema

    @classmethod
    def typed_of(cls, document: Mapping[str, Any]) -> Typed:
        typed = dict(document)
        for name, value in document.items():
            declared: Any = getattr(cls, name, None)
            kind = getattr(declared, "field_class", None)
            if kind is StepRows:
                typed[name] = [typed_step(step) for step in value or ()]
            elif kind is NamedRows:
                row: type[NamedForm] = declared.args[0].args[0]
                typed[name] = [row.typed_of({"name": key, row.VALUE: inner}) for key, inner in value.items()]
            elif kind is Rows:
                typed[name] = [declared.args[0].args[0].typed_of(row) for row in value]
            elif kind is Part:
                typed[name] = declared.args[0].typed_of(value) if value else {}
        return typed

    def document(self) -> dict[str, Any]:
        """Without what the schema takes when it is not said: a flow is as large as whoever sends it writes it."""
        members = self.schema.model_fields
        return {
            name: value
            for name, value in super().document().items()
            if members[name].is_required() or (value is not None and value != members[name].get_default())
        }


class StepField(FormField):  # type: ignore[misc]  # WTForms has no types
    """A step. Its type says which form it has; one that nobody knows is refused by the schema, and kept as it is until then."""

    def __init__(self, **options: Any) -> None:
        super().__init__(FlowForm, separator=".", **options)

    def process(self, formdata: Any, data: Any = unset_value, extra_filters: Any = None) -> None:
        typed = formdata.get(f"{self.name}.type") if formdata else None
        kind = typed or (data.get("type", "") if isinstance(data, Mapping) else "")
        self.form_class = STEP_FORMS.get(kind, SayForm)
        super().process(formdata, data, extra_filters)


class StepRows(Rows):
    """Steps that are done in turn."""

    def __init__(self, **options: Any) -> None:
        super().__init__(StepField(), max_entries=MOST_IN_ONE_LIST, **options)

    def process(self, formdata: Any, data: Any = unset_value, extra_filters: Any = None) -> None:
        if self.name.count(".") > DEEPEST_NAME:
            formdata, data = None, []
        super().process(formdata, data, extra_filters)

    def change(self, verb: str, index: str) -> None:
        """To `add`, `index` is the type of the step."""
        if verb != "add":
            super().change(verb, index)
        elif index in STEP_FORMS and len(self.entries) < self.max_entries:
            self.append_entry(new_step(index))


class NamedRows(Rows):
    """The members of an object: the name of each is typed in its row."""

    def member(self) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for row in self.used():
            members.setdefault(row.form.name.data, row.form.document()[row.form.VALUE])
        return members

    def by_path(self, path: str) -> dict[str, Field]:
        fields: dict[str, Field] = {}
        for row in self.used():
            of = f"{path}.{row.form.name.data}"
            of += DOUBLED if of in fields else ""
            value = row.form[row.form.VALUE]
            fields |= {of: row.form.name} | (value.by_path(of) if isinstance(value, Rows) else {})
        return fields or ({f"{path}.": self.entries[0].form.name} if self.entries else {})


class NamedForm(FlowForm):
    """A member of an object, by the `VALUE` of its row."""

    VALUE: ClassVar[str] = ""
    name = TextField()

    def is_used(self) -> bool:
        return bool(self.name.data or self[self.VALUE].data)

    def document(self) -> dict[str, Any]:
        """The name is not in it."""
        return {self.VALUE: self[self.VALUE].member()}


class HeaderForm(NamedForm):
    VALUE = "value"
    value = TextField()


class BranchForm(NamedForm):
    VALUE = "steps"
    steps = StepRows()


class PromptForm(FlowForm):
    schema = Prompt
    text = TextField()

    def document(self) -> dict[str, Any]:
        return {name: value for name, value in super().document().items() if value}


class WhisperForm(PromptForm):
    schema = Whisper


class DestinationForm(FlowForm):
    schema = Destination
    to = TextField()  # the first field, where errors of the whole row are told
    costs_confirmed = TextField()
    """What stood in `to` when the box was ticked: another number is not confirmed by it."""

    @classmethod
    def typed_of(cls, document: Mapping[str, Any]) -> Typed:
        return super().typed_of(document) | {
            "costs_confirmed": document["to"] if document.get("costs_confirmed") else ""
        }

    def is_used(self) -> bool:
        return bool(self.to.data or self["ring_seconds"].data)

    def document(self) -> dict[str, Any]:
        document = super().document()
        document.pop("costs_confirmed", None)
        return document | ({"costs_confirmed": True} if self.costs_confirmed.data == self.to.data else {})


class RingDestinationForm(DestinationForm):
    schema = RingDestination
    headers = NamedRows(FormField(HeaderForm, separator="."), max_entries=20, default=({},))

    def is_used(self) -> bool:
        return bool(super().is_used() or self["extension"].data or self.headers.used())


class RecordingForm(FlowForm):
    """`channels`: empty where nothing is recorded."""

    schema = Recording
    announcement = Part(PromptForm, optional=True)

    def is_used(self) -> bool:
        return bool(self["channels"].data)


class FlowStepForm(FlowForm):
    schema: ClassVar[type[BaseModel]] = Step

    def by_path(self, within: str = "") -> dict[str, Field]:
        """Without what nobody sees, as long as there is anything else."""
        fields = super().by_path(within)
        hidden = {f"{within}id", f"{within}type"}
        return {path: field for path, field in fields.items() if path not in hidden} or fields

    def is_used(self) -> bool:
        return True


class SayForm(FlowStepForm):
    schema = SayStep
    text = TextField()


class PlayForm(FlowStepForm):
    schema = PlayStep


class RingForm(FlowStepForm):
    """`answer`: what has to happen before a line that answers is connected."""

    ANSWERS: ClassVar[Mapping[str, str]] = {"accept": "accept", "machines": "detect_machines"}
    PATHS: ClassVar[Mapping[str, str]] = {"answer": "detect_machines"}
    schema = RingStep
    members: ClassVar[Iterable[str]] = [
        name for name in RingStep.model_fields if name not in ("accept", "detect_machines")
    ]
    destinations = Rows(FormField(RingDestinationForm, separator="."), max_entries=10, default=({},))
    answer = TextField()
    whisper = Part(WhisperForm, optional=True)
    recording = Part(RecordingForm, optional=True)

    @classmethod
    def typed_of(cls, document: Mapping[str, Any]) -> Typed:
        answer = next((answer for answer, name in cls.ANSWERS.items() if document.get(name)), "")
        return super().typed_of(document) | {"answer": answer}

    def document(self) -> dict[str, Any]:
        name = self.ANSWERS.get(self.answer.data)
        return super().document() | ({name: True} if name else {})


class MenuForm(FlowStepForm):
    schema = MenuStep
    prompt = Part(PromptForm)
    keys = NamedRows(FormField(BranchForm, separator="."), max_entries=12, default=({},))
    no_input = StepRows()
    wrong_key = StepRows()


class PressKeyForm(FlowStepForm):
    schema = PressKeyStep
    prompt = Part(PromptForm)
    otherwise = StepRows()


class VoicemailForm(FlowStepForm):
    schema = VoicemailStep
    prompt = Part(PromptForm, optional=True)


class TimesForm(FlowForm):
    schema = OpeningTimes
    days = ChosenField()


class HoursBranchForm(FlowForm):
    schema = HoursBranch
    times = Rows(FormField(TimesForm, separator="."), max_entries=20, default=({},))
    steps = StepRows()

    def is_used(self) -> bool:
        return True


class HoursForm(FlowStepForm):
    """`has_holidays`: holidays go a way of their own, be it one without steps."""

    PATHS: ClassVar[Mapping[str, str]] = {"has_holidays": "holidays"}
    schema = HoursStep
    branches = Rows(FormField(HoursBranchForm, separator="."), max_entries=20, default=({},))
    has_holidays = SwitchField()
    holidays = StepRows()
    otherwise = StepRows()

    @classmethod
    def typed_of(cls, document: Mapping[str, Any]) -> Typed:
        return super().typed_of(document) | {"has_holidays": document.get("holidays") is not None}

    def document(self) -> dict[str, Any]:
        document = super().document()
        if not self.has_holidays.data and not document["holidays"]:
            del document["holidays"]
        return document


class MatchForm(FlowForm):
    schema = Match


class SourceBranchForm(FlowForm):
    schema = SourceBranch
    match = Part(MatchForm)
    steps = StepRows()

    def is_used(self) -> bool:
        return True


class SourceForm(FlowStepForm):
    schema = SourceStep
    branches = Rows(FormField(SourceBranchForm, separator="."), max_entries=20, default=({},))
    otherwise = StepRows()


class CallerForm(FlowStepForm):
    schema = CallerStep
    first = StepRows()
    repeat = StepRows()
    otherwise = StepRows()


class AreaBranchForm(FlowForm):
    schema = AreaBranch
    prefixes = LinesField()
    steps = StepRows()

    def is_used(self) -> bool:
        return True


class AreaForm(FlowStepForm):
    schema = AreaStep
    branches = Rows(FormField(AreaBranchForm, separator="."), max_entries=20, default=({},))
    otherwise = StepRows()


class AskForm(FlowStepForm):
    schema = AskStep
    url = TextField()
    answers = NamedRows(FormField(BranchForm, separator="."), max_entries=20, default=({},))
    otherwise = StepRows()


class HangUpForm(FlowStepForm):
    schema = HangUpStep
    prompt = Part(PromptForm, optional=True)


STEP_FORMS: dict[str, type[FlowStepForm]] = {
    "ring": RingForm,
    "hours": HoursForm,
    "menu": MenuForm,
    "say": SayForm,
    "play": PlayForm,
    "voicemail": VoicemailForm,
    "press_key": PressKeyForm,
    "by_source": SourceForm,
    "by_caller": CallerForm,
    "by_area": AreaForm,
    "ask": AskForm,
    "hang_up": HangUpForm,
}
"""By type, in the order in which they are offered."""

WORKDAYS = {"days": ["mon", "tue", "wed", "thu", "fri"], "opens": "09:00", "closes": "17:00"}
BEGINNINGS: dict[str, Typed] = {
    "hours": {"branches": [{"times": [WORKDAYS]}]},
    "menu": {"keys": [{"name": "1"}, {"name": "2"}]},
    "press_key": {"key": "1"},
}


def typed_step(step: Mapping[str, Any]) -> Typed:
    """How a stored step is shown."""
    return STEP_FORMS.get(step["type"], SayForm).typed_of(step)


def new_step(kind: str) -> Typed:
    return {"type": kind, **BEGINNINGS.get(kind, {})}


def steps_around(lines: list[Typed], kind: str) -> list[Typed]:
    """The steps with which a flow begins when the first is added to lines that ring in turn: callers go on ringing them."""
    step = new_step(kind)
    if not lines:
        return [step]
    ring = {"type": "ring", "destinations": lines}
    if kind == "hours":
        return [step | {"branches": [{"times": [WORKDAYS], "steps": [ring]}]}]
    if kind == "menu":
        return [step | {"keys": [{"name": "1", "steps": [ring]}, {"name": "2"}]}]
    return [ring, step] if kind in ("ring", "voicemail", "hang_up") else [step, ring]


def lines_alone(steps: list[Typed]) -> list[Typed] | None:
    """The lines that ring in turn, when steps have nothing but them; else None."""
    if len(steps) != 1 or steps[0].get("type") != "ring":
        return None
    (ring,) = steps
    lines: list[Typed] = ring["destinations"]
    plain = ring["order"] in PLAIN_ORDER and not (
        ring["returning_first"] or ring["answer"] or any(ring["whisper"].values()) or ring["recording"]["channels"]
    )
    for line in lines:
        headers = any(header["name"] or header["value"] for header in line["headers"])
        plain = plain and line["weight"] in ("", "1")
        plain = plain and not (line["extension"] or line["transport"] or line["region"] or headers)
    return lines if plain else None


def rows_at(form: Form, path: str) -> Rows | None:
    """The list at a dotted path of fields and rows, like `steps.0.branches`."""
    here: Any = form
    for name in path.split("."):
        if isinstance(here, Rows):
            here = here.entries[int(name)].form if name.isdecimal() and int(name) < len(here.entries) else None
        elif isinstance(here, Form):
            here = here._fields.get(name)
            here = here.form if isinstance(here, FormField) else here
        else:
            return None
    return here if isinstance(here, Rows) else None


def doubled_names(paths: Iterable[str]) -> dict[str, str]:
    """A sentence for each row whose name another row has already, by its path of `by_path`."""
    return {path: "Another line says this already." for path in paths if path.endswith(DOUBLED)}
