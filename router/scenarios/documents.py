"""Documents of scenarios and numbers: what programs see, and how a document is checked against the database. Every error is found.

Sections of packages above, like the integrations, register here and have members of their own in the document."""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from router.accounts.models import Project
from router.scenarios.channels import (
    ChannelRow,
    read_channels,
    short_form,
    static_sources,
    with_static,
    without_numbers,
)
from router.scenarios.fields import Context
from router.scenarios.flows import IS_TRACKING, lines_in, stored_flow, tracking_among
from router.scenarios.models import GRACE, OPEN, CallFlow, NumberBatch, NumberOrder, Scenario, TrackingNumber
from router.scenarios.schema import (
    MOST_TO_BUY,
    NumberDocument,
    ScenarioBody,
    ScenarioDocument,
    ScenarioSchema,
    Upkeep,
    parse_scenario,
)
from router.scenarios.sounds import sound_names
from router.server import Server
from router.web.errors import iso

Result = TypeVar("Result")


class AskFirst(Exception):
    """A part cannot judge a document before it has asked somebody outside, for which no transaction waits: call `ask`, then try again."""

    def __init__(self, ask: Callable[[], None]) -> None:
        super().__init__()
        self.ask = ask


def asking(attempt: Callable[[], Result]) -> Result:
    """The result of the transaction `attempt`, which is tried once more after it raised AskFirst."""
    try:
        return attempt()
    except AskFirst as first:
        first.ask()
    return attempt()


@dataclass
class Pressed:
    """What a button of a part did."""

    said: list[str] = dataclasses.field(default_factory=list)
    """Sentences for people: what was found or done."""
    problems: list[str] = dataclasses.field(default_factory=list)
    """What is missing, in sentences."""
    errors: dict[str, str] = dataclasses.field(default_factory=dict)
    """By dotted field: why nothing was done."""
    typed: Any = None
    """What the draft holds from now on; None: what it held."""
    whose: str = ""
    """The part of the form that the button belongs to."""
    text: str = ""
    """Shown as it stands: an answer, a message, a secret that is shown this once."""


class ScenarioPart(Protocol):
    """One member of a scenario's API document, with its fields in the form."""

    name: str
    """The member's name in the API, e.g. `integrations`."""
    form_template: str
    """A Jinja template with the fields; it gets `value` (veiled), `typed` (the secrets that the draft holds), `stored` (the member
    that is stored), `errors` (`errors.at(name)`) and `disabled`."""

    def check(self, session: Session, project: Project, scenario_id: int | None, value: Any) -> Any:
        """The clean form of what came in (the whole member, after any merge), to be passed to `save`; nothing is written.

        An absent secret means: the stored one is kept. Raises Problem(422, field="integrations.ga4.measurement_id"), AskFirst.
        """

    def save(self, session: Session, project: Project, scenario_id: int, clean: Any, now: datetime) -> dict[str, Any]:
        """Stores it; returns what can be shown this once only (secrets that were made), by dotted field name."""

    def show(self, session: Session, scenario_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
        """The member of each scenario, without secrets."""

    def copy(self, session: Session, project: Project, original_id: int, copy_id: int, now: datetime) -> None:
        """Gives a new scenario what another one has, its sealed secrets too."""

    def read_form(self, form: MultiDict[str, str], before: Any) -> Any:
        """All that was typed, for a draft; a secret that is not typed again is kept from `before`."""

    def member(self, typed: Any) -> Any:
        """The member of the document that a draft's value (or None) stands for."""

    def veiled(self, typed: Any) -> tuple[Any, set[str]]:
        """A draft's value without its secrets, and the dotted names of those that it holds."""

    def beside(self, session: Session, project: Project, typed: Any) -> Mapping[str, Any]:
        """What the form template shows beside what was typed."""

    def press(self, project: Project, scenario_id: int | None, manager: str, typed: Any, action: str) -> Pressed:
        """What the button `part.<name>.<action>` of the form does with what was typed; it may talk to others and runs in no transaction.

        manager: whom the scenario itself names.
        """

    def json_schema(self) -> dict[str, Any]:
        """Of the member, for the API's description."""

    def preview(self, typed: Any) -> list[str]:
        """What happens after a call, a sentence for each who is told."""


Document = dict[str, Any]
"""A scenario as programs read and write it: the members of `ScenarioDocument`."""

COLUMNS = tuple(
    name for name in ScenarioSchema.model_fields if name in Scenario.__table__.columns and name != "enabled"
)
"""The members of a document that are stored in a column of their name. *Enabled* is one as well, but takes more than to be written."""
UPKEEP_COLUMNS = {name: f"upkeep_{name}" for name in Upkeep.model_fields}
READ_ONLY = tuple(ScenarioDocument.model_fields.keys() - ScenarioBody.model_fields.keys() - {"secrets", "buying"})
"""The members that the server alone decides."""
DEFAULTS = {
    name: field.default.model_dump()
    for name, field in ScenarioSchema.model_fields.items()
    if isinstance(field.default, BaseModel)
}


def present_scenarios(project_id: int) -> Any:
    """SELECT of the scenarios of a project that are not deleted."""
    return select(Scenario).where(Scenario.project_id == project_id, Scenario.deleted_at.is_(None))


def editable(document: Document) -> Document:
    """A scenario's document without what the server alone decides."""
    return {name: value for name, value in document.items() if name not in READ_ONLY}


def stored_members(scenario: Scenario) -> Document:
    """The members of a document that are stored in the scenario's own row. Members of members that are newer than the row have their
    defaults."""
    stored = {name: getattr(scenario, name) for name in ("enabled", *COLUMNS)}
    stored |= {name: DEFAULTS[name] | value for name, value in stored.items() if name in DEFAULTS}
    return stored | {"upkeep": {name: getattr(scenario, column) for name, column in UPKEEP_COLUMNS.items()}}


def scenario_document(session: Session, server: Server, scenario: Scenario) -> Document:
    return scenario_documents(session, server, [scenario])[0]


def scenario_documents(session: Session, server: Server, scenarios: Sequence[Scenario]) -> list[dict[str, Any]]:
    """One document for each, in the same order; the number of statements does not depend on how many."""
    ids = [scenario.id for scenario in scenarios]
    numbers = numbers_by_scenario(session, ids)
    channels = shown_channels(session, scenarios, numbers)
    flow_ids = [scenario.call_flow_id for scenario in scenarios if scenario.call_flow_id]
    flows = {flow.id: flow.document for flow in session.scalars(select(CallFlow).where(CallFlow.id.in_(flow_ids)))}
    parts = {part.name: part.show(session, ids) for part in server.scenario_parts}
    documents: list[Document] = []
    for scenario in scenarios:
        own = numbers[scenario.id]
        documents.append(
            {name: getattr(scenario, name) for name in READ_ONLY}
            | stored_members(scenario)
            | {
                "numbers": [number.e164 for number in own if not number.overflow],
                "channels": channels[scenario.id],
                "static": short_form(channels[scenario.id]),
                "flow": flows.get(scenario.call_flow_id or 0),
                "overflow": next((number.e164 for number in own if number.overflow), None),
                "created_at": iso(scenario.created_at),
            }
            | {name: shown.get(scenario.id, {}) for name, shown in parts.items()}
        )
    return documents


def numbers_by_scenario(session: Session, scenario_ids: Sequence[int]) -> dict[int, list[TrackingNumber]]:
    by_scenario: dict[int, list[TrackingNumber]] = defaultdict(list)
    numbers = select(TrackingNumber).where(TrackingNumber.scenario_id.in_(scenario_ids))
    for number in session.scalars(numbers.order_by(TrackingNumber.id)):
        by_scenario[number.scenario_id or 0].append(number)
    return by_scenario


def shown_channels(
    session: Session, scenarios: Sequence[Scenario], numbers: Mapping[int, Sequence[TrackingNumber]] | None = None
) -> dict[int, list[ChannelRow]]:
    """The channels of each scenario without those of static numbers that left, and with a channel for each static number that is in it.

    The number of statements does not depend on how many scenarios there are."""
    ids = [scenario.id for scenario in scenarios]
    if numbers is None:
        numbers = numbers_by_scenario(session, ids)
    has_static = any(channel["kind"] == "static" for scenario in scenarios for channel in scenario.channels)
    coming = coming_numbers(session, ids) if has_static else {}
    shown: dict[int, list[ChannelRow]] = {}
    for scenario in scenarios:
        own = numbers.get(scenario.id, [])
        present = {number.e164 for number in own} | coming.get(scenario.id, set())
        channels = without_numbers(scenario.channels, present | set(scenario.to_buy.get("numbers", [])))
        missing = {number.e164: number.static_source for number in own if number.static_source}
        for channel in channels:
            missing.pop(channel.get("number", ""), None)
        shown[scenario.id] = with_static(channels, short_form(channels) | missing) if missing else channels
    return shown


def coming_numbers(session: Session, scenario_ids: Sequence[int]) -> dict[int, set[str]]:
    orders = (
        select(NumberBatch.scenario_id, NumberOrder.e164)
        .join(NumberOrder, NumberOrder.batch_id == NumberBatch.id)
        .where(NumberBatch.scenario_id.in_(scenario_ids), OPEN)
    )
    coming: dict[int, set[str]] = defaultdict(set)
    for scenario_id, e164 in session.execute(orders):
        coming[scenario_id or 0].add(e164)
    return coming


def number_document(number: TrackingNumber, now: datetime) -> dict[str, Any]:
    state = state_of(number, now)
    document = {name: getattr(number, name, None) for name in NumberDocument.model_fields} | {
        "scenario": number.scenario_id,
        "static": number.static_source,
        "kind": kind_of(number),
        "state": state,
        "grace_until": number.paid_until + GRACE if number.paid_until and state == "grace" else None,
    }
    return {name: iso(value) if isinstance(value, datetime) else value for name, value in document.items()}


def kind_of(number: TrackingNumber) -> str | None:
    """dynamic, static or overflow; None for a number in no scenario."""
    if number.scenario_id is None:
        return None
    return "overflow" if number.overflow else "static" if number.static_source is not None else "dynamic"


def state_of(number: TrackingNumber, now: datetime) -> str:
    if number.releasing_at is not None:
        return "releasing"
    if not number.owned_elsewhere and number.paid_until is not None and number.paid_until <= now:
        return "grace"
    return "in_use" if number.scenario_id is not None else "free"


def read_scenario(
    session: Session, server: Server, project: Project, scenario: Scenario | None, document: Mapping[str, Any]
) -> tuple[Document, dict[str, str]]:
    """The document in its normal form, with every member and with numbers and destinations in E.164, and a sentence for each field that
    cannot be used.

    Args:
        scenario: the present row; None: a new scenario.
        document: without sections.
    """
    knows_regions = server.settings.geoip is not None
    enabling = scenario is None or (document.get("enabled") is True and not scenario.enabled)
    stored = None if enabling or scenario is None else stored_flow(session, scenario)
    kept = {line["to"]: bool(line.get("costs_confirmed")) for _, line, _ in lines_in(stored)}
    context = Context(
        project.country,
        knows_regions,
        sounds=sound_names(session, project.id),
        countries=server.settings.destination_countries,
        kept=kept,
        may_record_silently=server.settings.record_silently,
    )
    read, errors = parse_scenario(document, context)
    to_buy = read.to_buy
    for field, numbers in (("numbers", read.numbers), ("to_buy.numbers", to_buy.numbers)):
        named: set[str] = set()
        for index, number in enumerate(numbers):
            if number in named:
                errors[f"{field}.{index}"] = f"{number} is named twice."
            named.add(number)
    if to_buy.count and not to_buy.country:
        errors["to_buy.country"] = "Say in which country the numbers are to be bought, like DE."
    if len(to_buy.numbers) + to_buy.count > MOST_TO_BUY:
        errors["to_buy.count"] = f"At most {MOST_TO_BUY} numbers can be bought at once."

    coming = coming_numbers(session, [scenario.id])[scenario.id] if scenario else set()
    present = shown_channels(session, [scenario])[scenario.id] if scenario else []
    expected = {*read.numbers, *to_buy.numbers, *coming}
    channels = read_channels(read, present, expected, project.country, errors)
    if read.overflow and "overflow" not in errors:
        if read.overflow in static_sources(channels):
            errors["overflow"] = (
                f"{read.overflow} is a static number. Choose another one, or take it out of the channels."
            )
        elif read.overflow in {*read.numbers, *to_buy.numbers}:
            errors["overflow"] = (
                f"{read.overflow} is among the numbers that are lent to visitors. Take it out there, or choose another."
            )
    placed = {f"numbers.{index}": number for index, number in enumerate(read.numbers)}
    placed |= {"overflow": read.overflow} if read.overflow else {}
    errors = _placement_errors(session, project, scenario, placed) | errors

    flow = read.flow.document() if read.flow else None
    tracking = tracking_among(session, [line["to"] for _, line, _ in lines_in(flow)])
    errors |= {f"flow.{place}.to": IS_TRACKING for place, line, _ in lines_in(flow) if line["to"] in tracking}
    return read.model_dump() | {"channels": channels, "static": short_form(channels), "flow": flow}, errors


def _placement_errors(
    session: Session, project: Project, scenario: Scenario | None, numbers: Mapping[str, str]
) -> dict[str, str]:
    """Why numbers cannot be in this scenario, by the field that names each: another project's are as unknown here as none at all."""
    owned = select(TrackingNumber.e164, TrackingNumber.scenario_id, Scenario.title)
    owned = owned.outerjoin(Scenario, Scenario.id == TrackingNumber.scenario_id)
    usable = (TrackingNumber.project_id == project.id, TrackingNumber.releasing_at.is_(None))
    rows = session.execute(owned.where(*usable, TrackingNumber.e164.in_(list(numbers.values()))))
    by_number = {row.e164: row for row in rows}
    errors: dict[str, str] = {}
    for field, number in numbers.items():
        row = by_number.get(number)
        if row is None:
            errors[field] = f"{number} is not a number of this project. Add it to the numbers first."
        elif row.scenario_id not in (None, scenario.id if scenario else None):
            errors[field] = f"{number} is in the scenario “{row.title}”. Take it out there first."
    return errors
