"""The wizard's six steps (R2) and their forms, which are made from a scenario's schema.

What was typed comes back as it was typed, from a draft too; `document_of_values` says what it stands for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from werkzeug.datastructures import MultiDict
from wtforms import Field, FormField

from router.lib.formats import parse_int, parse_money, plain_money
from router.scenarios.documents import ScenarioPart
from router.scenarios.fields import OnStep
from router.scenarios.flows import steps_in
from router.scenarios.schema import ScenarioSchema, Tagging, Terms, ToBuy, Upkeep
from router.scenarios.wizard.flow_forms import (
    ChosenField,
    DestinationForm,
    StepRows,
    doubled_names,
    lines_alone,
    rows_at,
    steps_around,
    typed_step,
)
from router.web.forms import Form, LinesField, NumberField, Part, Rows, SchemaForm, TextField, nearest

Values = dict[str, Any]
"""`{title, <step>: what was typed in it}`: texts as they were typed, rows with the empty ones among them."""

TERMS = tuple(Terms.model_fields)
MATCH = ("source", "medium", "campaign")
DYNAMIC = "dynamic"
"""What a row of channels gets, if not a number."""


FLOW_MEMBERS = ("destinations", "steps", "language", "voice")

CONFIRM_HERE = "Calls to this number cost more. Tick the box if they may be forwarded there all the same."


class ChannelForm(Form):
    PATHS: ClassVar[Mapping[str, str]] = {name: f"match.{name}" for name in MATCH} | {"gets": "number"}
    source = TextField()
    medium = TextField()
    campaign = TextField()
    gets = TextField()

    def is_used(self) -> bool:
        """The choice that every row has does not count."""
        return any(value not in ("", DYNAMIC) for value in self.data.values())

    def document(self) -> dict[str, Any]:
        match = {name: self[name].data for name in MATCH if self[name].data}
        if self.gets.data in ("", DYNAMIC):
            return {"match": match, "kind": "dynamic"}
        return {"match": match, "kind": "static", "number": self.gets.data}


class ToBuyForm(SchemaForm):
    schema = ToBuy
    count = NumberField(empty=0)
    numbers = ChosenField()

    def document(self) -> dict[str, Any]:
        """Nothing at all when nothing is to be bought: the search alone is not kept."""
        document = super().document()
        return document if document["numbers"] or document["count"] != 0 else {}


class UpkeepForm(SchemaForm):
    PATHS: ClassVar[Mapping[str, str]] = {"spending_limit": "spending_limit_minor"}
    schema = Upkeep
    members = ("on", "max_numbers")
    spending_limit = TextField()


class TaggingForm(SchemaForm):
    schema = Tagging
    sample = TextField()
    """A piece of a page to try it on."""


class TermsForm(SchemaForm):
    schema = Terms


@dataclass(frozen=True)
class Step:
    """`decides` is the one sentence of the step; `default` says what holds when an optional one is left alone."""

    name: str
    title: str
    decides: str
    default: str = ""

    @property
    def optional(self) -> bool:
        return bool(self.default)

    @property
    def place(self) -> int:
        """1 to 6."""
        return NAMES.index(self.name) + 1

    @property
    def before(self) -> "Step | None":
        return STEPS[self.place - 2] if self.place > 1 else None

    @property
    def following(self) -> "Step | None":
        return STEPS[self.place] if self.place < len(STEPS) else None


STEPS = (
    Step("numbers", "Numbers", "Which numbers visitors are shown, and how many there are."),
    Step("forwarding", "Forwarding", "Where calls to these numbers ring."),
    Step("tagging", "Tagging", "What is replaced on your pages, and how the number is written there."),
    Step(
        "channels",
        "Channels",
        "Which marketing sources get a number of each visit, and which one that never changes.",
        "Left as it is, every source gets dynamic numbers.",
    ),
    Step(
        "integrations",
        "Integrations",
        "Who is told about calls: your systems, analytics, the CRM.",
        "Left empty, calls are listed here and nobody is told.",
    ),
    Step(
        "terms",
        "Terms",
        "Which visitors are shown a number at all.",
        "Left empty, every visitor is.",
    ),
)
NAMES = [step.name for step in STEPS]
BY_NAME = {step.name: step for step in STEPS}
ANY = f"any({','.join(NAMES)})"
"""The URL converter of a step's name."""

STEP_OF_MEMBER = {
    name: next((mark.name for mark in member.metadata if isinstance(mark, OnStep)), "numbers")
    for name, member in ScenarioSchema.model_fields.items()
} | {"integrations": "integrations"}


def step_of(field: str) -> Step:
    """The step where a dotted field (`flow.destinations.0.to`) is typed; whatever stands on every step counts to the first."""
    return BY_NAME[STEP_OF_MEMBER.get(field.split(".")[0], "numbers")]


class TitleForm(SchemaForm):
    schema = ScenarioSchema
    members = ("title",)


class StepForm(SchemaForm):
    """The members that the schema puts on one step."""

    schema = ScenarioSchema
    members: ClassVar[Iterable[str] | None] = ()
    step: ClassVar[str] = ""
    nested: ClassVar[str] = ""
    """The member whose own members a draft keeps as if they were the step's."""

    def __init_subclass__(cls) -> None:
        elsewhere = ("title", "enabled", "static", "flow")
        cls.members = [
            name for name in ScenarioSchema.model_fields if STEP_OF_MEMBER[name] == cls.step and name not in elsewhere
        ]
        super().__init_subclass__()

    @classmethod
    def of(cls, values: Values) -> "StepForm":
        return cls(data=values | {cls.nested: values} if cls.nested else values)

    def typed(self) -> Values:
        typed: Values = self.data
        return {**typed.pop(self.nested, {}), **typed}


class NumbersStep(StepForm):
    step = "numbers"
    numbers = ChosenField()
    own = LinesField()
    to_buy = Part(ToBuyForm)
    upkeep = Part(UpkeepForm)


class ForwardingStep(StepForm):
    """Lines that ring in turn, or, as soon as there is one, steps."""

    PATHS: ClassVar[Mapping[str, str]] = {name: f"flow.{name}" for name in FLOW_MEMBERS}
    step = "forwarding"
    destinations = Rows(FormField(DestinationForm, separator="."), max_entries=10, default=({}, {}))
    steps = StepRows()
    language = TextField()
    voice = TextField()

    def document(self) -> dict[str, Any]:
        flow: dict[str, Any] | None = None
        if self.steps.entries:
            speech = {name: self[name].data for name in ("language", "voice") if self[name].data}
            flow = {"steps": self.steps.member(), **speech}
        elif destinations := self.destinations.member():
            flow = {"destinations": destinations}
        return super().document() | {"flow": flow}


class TaggingStep(StepForm):
    step = nested = "tagging"
    tagging = Part(TaggingForm)


class ChannelsStep(StepForm):
    step = "channels"
    channels = Rows(FormField(ChannelForm, separator="."), max_entries=200, default=({},))


class IntegrationsStep(StepForm):
    step = "integrations"


class TermsStep(StepForm):
    step = nested = "terms"
    terms = Part(TermsForm)


FORMS: dict[str, type[StepForm]] = {
    form.step: form for form in (NumbersStep, ForwardingStep, TaggingStep, ChannelsStep, IntegrationsStep, TermsStep)
}


def clean_form(form: MultiDict[str, str]) -> MultiDict[str, str]:
    """What was sent, without what no database stores and without white space around it."""
    return MultiDict((name, value.replace("\0", "").strip()) for name, value in form.items(multi=True))


def read_step(step: str, form: MultiDict[str, str], parts: Iterable[ScenarioPart], before: Values) -> Values:
    """What was typed in a step, its rows changed as the button asks (`add.channels`, `remove.channels.2`, `up.channels.2`,
    `add.steps.0.otherwise.voicemail`, `undo.steps`).

    Args:
        before: what the draft holds of it: secrets that are not typed again stay.
    """
    read = FORMS[step](form)
    verb, _, argument = form.get("do", "").partition(".")
    name, index = list_and_row(read, argument)
    begins = verb == "add" and name == "steps" and isinstance(read, ForwardingStep) and not read.steps.entries
    was = read.typed()
    if (rows := rows_at(read, name)) is not None:
        rows.change(verb, index)
    typed = read.typed()
    if isinstance(read, ForwardingStep) and "steps" not in form:  # a page of a release that could not show them
        typed["steps"] = before.get("steps", [])
    if begins and typed["steps"]:
        lines = [row.data for row in read._fields["destinations"].used()]
        typed |= {"steps": steps_around(lines, index), "destinations": []}
    if step == "forwarding":
        typed |= with_removed(verb, was, typed, before)
    if verb == "remove" and name == "steps" and (lines_left := lines_alone(typed["steps"])) is not None:
        typed |= {"steps": [], "destinations": lines_left}
    if step == "integrations":
        kept = before.get("parts", {})
        typed["parts"] = {part.name: part.read_form(form, kept.get(part.name)) for part in parts}
    return typed


def with_removed(verb: str, was: Values, typed: Values, before: Values) -> Values:
    """What is to be typed all the same: after `undo` what was there before steps were removed, else that it can be brought back, as
    `{removed: {amount: of the steps that are gone, typed}}`. It can until the flow is changed again."""
    removed = before.get("removed")
    if verb == "undo" and removed:
        return dict(removed["typed"])
    amount = sum(1 for _ in steps_in(was)) - sum(1 for _ in steps_in(typed))
    if verb == "remove" and amount > 0:
        return {"removed": {"amount": amount, "typed": {name: was[name] for name in FLOW_MEMBERS}}}
    is_same = all(typed[name] == before.get(name) for name in FLOW_MEMBERS)
    return {"removed": removed} if removed and is_same else {}


def list_and_row(form: Form, argument: str) -> tuple[str, str]:
    """What a button names: the list that it changes, and the row in it; empty where it names the list alone."""
    if rows_at(form, argument) is not None:
        return argument, ""
    name, _, index = argument.rpartition(".")
    return name, index


def field_after(form: StepForm, verb: str, argument: str) -> str:
    """Where whoever has pressed a button of rows goes on, as in `wizard.js`: the id of the first field of the row that is new, was moved,
    or came in the place of one that left; of the list where it has none."""
    name, index = list_and_row(form, argument)
    rows = rows_at(form, name)
    if rows is None:
        return form.step
    if not rows.entries:
        return "flow" if name == "steps" else name
    at = (parse_int(index) or 0) + {"up": -1, "down": 1}.get(verb, 0)
    if verb == "add":
        kinds = [row.data.get("type") for row in rows.entries]
        at = max((place for place, kind in enumerate(kinds) if kind == index), default=len(kinds) - 1)
    row = rows.entries[max(0, min(at, len(rows.entries) - 1))]
    return str(next(iter(row.form.by_path().values())).id)


def values_of_document(
    document: Mapping[str, Any], parts: Iterable[ScenarioPart], currency: str, country: str = ""
) -> Values:
    """What the steps show of a stored scenario (of `{}` for a new one). Numbers are searched in `country`, if no other was named."""
    flow, upkeep = document.get("flow") or {}, document.get("upkeep") or {}
    limit = upkeep.get("spending_limit_minor")
    shown = {
        **document,
        "destinations": [DestinationForm.typed_of(line) for line in flow.get("destinations") or ()],
        "steps": [typed_step(step) for step in flow.get("steps") or ()],
        "language": flow.get("language"),
        "voice": flow.get("voice"),
        "channels": [
            dict(channel.get("match") or {}) | {"gets": channel.get("number") or DYNAMIC}
            for channel in document.get("channels") or []
        ],
        "upkeep": upkeep | {"spending_limit": None if limit is None else plain_money(limit, currency)},
    }
    values: Values = {"title": document.get("title", "")}
    values |= {step: form(data=shown).typed() for step, form in FORMS.items()}
    values["numbers"]["to_buy"]["country"] = values["numbers"]["to_buy"]["country"] or country
    values["integrations"]["parts"] = {part.name: document.get(part.name) or {} for part in parts}
    return values


def rows_in_use(values: Values, name: str) -> list[dict[str, str]]:
    """The rows of `destinations` or `channels` into which something was typed."""
    step = "forwarding" if name == "destinations" else name
    return [row.data for row in FORMS[step].of(values.get(step, {}))[name].used()]


class ScenarioForms:
    def __init__(self, values: Values) -> None:
        self.title = TitleForm(data={"title": values.get("title")})
        self.steps = {step: form.of(values.get(step, {})) for step, form in FORMS.items()}
        self.paths: dict[str, Field] = {}
        """The fields by the paths of the document."""
        for form in (self.title, *self.steps.values()):
            self.paths |= form.by_path()

    def document(self) -> dict[str, Any]:
        document = self.title.document()
        for form in self.steps.values():
            document |= form.document()
        return document

    def field_at(self, path: str) -> Field | None:
        return nearest(self.paths, path)

    def element_of(self, path: str) -> str:
        """The id of the page's element that `field_at` finds; the fields of sections are called as their paths."""
        field = self.field_at(path)
        return path if field is None else str(field.id)

    def place(self, errors: Mapping[str, str]) -> list[tuple[Step, str, str]]:
        """Gives each field its errors; returns them all with their steps and elements."""
        here = {path: CONFIRM_HERE if path.endswith(".costs_confirmed") else said for path, said in errors.items()}
        for path, sentence in here.items():
            if (field := self.field_at(path)) is not None:
                field.errors = [*field.errors, sentence]
        return [(step_of(path), self.element_of(path), sentence) for path, sentence in here.items()]


def document_of_values(
    values: Values, parts: Iterable[ScenarioPart], currency: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """The document that the steps describe, without the numbers that are yet to be added, and errors by its dotted fields."""
    forms = ScenarioForms(values)
    document, errors = forms.document(), doubled_names(forms.paths)
    limit, document["upkeep"]["spending_limit_minor"] = values["numbers"]["upkeep"]["spending_limit"], None
    if limit:
        try:
            document["upkeep"]["spending_limit_minor"] = parse_money(limit, currency)
        except ValueError:
            example = plain_money(parse_money("25", currency), currency)
            errors["upkeep.spending_limit_minor"] = f"Write an amount of {currency}, like {example}."
    typed = values["integrations"].get("parts", {})
    return document | {part.name: part.member(typed.get(part.name)) for part in parts}, errors
