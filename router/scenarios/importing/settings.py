"""What an import of old settings would do (R13): which scenarios, which numbers, and what cannot be brought over, line by line.

Brings old settings over (R13): all or nothing, and a second time nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.audit import Actor, record
from router.accounts.models import Project
from router.lib.formats import format_count
from router.lib.phones import international
from router.scenarios.documents import scenario_documents
from router.scenarios.flows import destinations_of, tracking_among
from router.scenarios.importing.files import LONGEST_TITLE, OldFile, OldNumber, OldSettings
from router.scenarios.importing.two_readings import Questions
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.numbers.inventory import add_numbers
from router.scenarios.service import change_scenario, create_scenario
from router.server import Server
from router.web.errors import Refused

ELSEWHERE = "{number} belongs to another project of this server. It has to be removed there first."
IN_ANOTHER = "{number} is in the scenario “{title}”, which has other settings. Take it out there, or out of this file."
GOING = "{number} is being given back to the carrier."
FORWARDED_TO = "{number}: calls are forwarded to it, so it cannot be a tracking number as well."
IN_CIRCLES = "destination: {number} is a tracking number of this server, so calls would go round in circles."


@dataclass
class PlannedScenario:
    """Numbers with the same settings. `scenario`: the one that has some of them already; None: it is to be made."""

    settings: OldSettings
    title: str
    numbers: list[OldNumber]
    scenario: Scenario | None = None
    to_add: list[str] = field(default_factory=list)
    """Numbers that this server does not know yet: they become own numbers."""
    free: list[str] = field(default_factory=list)
    """Numbers of the project that are in no scenario."""
    done: list[str] = field(default_factory=list)
    """Numbers that are in it already."""

    @property
    def moving(self) -> list[str]:
        """Those that are to be put in, in the order of the file."""
        wanted = {*self.to_add, *self.free}
        return [number.e164 for number in self.numbers if number.e164 in wanted]

    def say(self) -> str:
        """What is done, in one sentence."""
        if self.scenario is None:
            return f"A new scenario with {self._count(self.numbers)}, switched off."
        if not self.moving:
            return f"Here already with {self._count(self.numbers)}: nothing changes."
        return f"Here already with {len(self.done)} of {self._count(self.numbers)}; the others go into it."

    def notes(self) -> list[str]:
        """What a reader of the file may not expect."""
        settings, said = self.settings, []
        if not settings.destination:
            said.append("Calls go to the project's fallback destination.")
        if settings.type == "dynamic" and settings.source_pattern:
            said.append(f"Shown only to visitors from {settings.source_pattern}.")
        elif settings.type == "static" and not settings.source_pattern:
            said.append("Shown to nobody, like a number on a billboard; its calls count as offline.")
        elif settings.type == "static" and len(self.numbers) > 1:
            said.append(
                f"Visitors from {settings.source_pattern} are shown the first of them; calls to each count for it."
            )
        return said

    def what_becomes_of(self, e164: str) -> str:
        if e164 in self.to_add:
            return "added as an own number"
        return "a free number here" if e164 in self.free else "here already"

    def _count(self, numbers: Sequence[OldNumber]) -> str:
        return format_count(len(numbers), f"{self.settings.type} number")


@dataclass
class ImportPlan:
    scenarios: list[PlannedScenario]
    problems: dict[int, str]
    """By line."""
    questions: Questions = field(default_factory=Questions)
    """While one is open, nothing is brought over."""

    @property
    def ready(self) -> bool:
        """Whether it can be applied, and changes anything."""
        return self.changes and not self.problems and not self.questions

    @property
    def changes(self) -> bool:
        return any(one.moving for one in self.scenarios)

    @property
    def numbers(self) -> int:
        return sum(len(one.numbers) for one in self.scenarios)

    @property
    def new(self) -> list[PlannedScenario]:
        return [one for one in self.scenarios if one.scenario is None]


def make_plan(session: Session, server: Server, project: Project, file: OldFile) -> ImportPlan:
    """Nothing is written. The number of statements does not depend on the size of the file."""
    here = _numbers_here(session, file.numbers)
    scenarios = _scenarios_of(session, server, project, here.values())
    problems = _destination_problems(session, file) | _number_problems(session, project, file, here) | file.problems
    planned = []
    for settings, numbers in file.groups():
        one = PlannedScenario(settings, settings.title(), numbers)
        for number in numbers:
            if number.line not in problems and (problem := _place(one, number, here.get(number.e164), scenarios)):
                problems[number.line] = problem
        planned.append(one)
    _tell_apart(planned)
    return ImportPlan(planned, dict(sorted(problems.items())), file.questions)


def _place(
    planned: PlannedScenario,
    number: OldNumber,
    row: TrackingNumber | None,
    scenarios: dict[int, tuple[Scenario, dict[str, Any]]],
) -> str | None:
    """Notes what is to be done with a number; returns why nothing can be."""
    if row is None:
        planned.to_add.append(number.e164)
    elif row.scenario_id is None:
        planned.free.append(number.e164)
    else:
        scenario, document = scenarios[row.scenario_id]
        if settings_in(document, number) != number.settings:
            return IN_ANOTHER.format(number=international(number.e164), title=scenario.title)
        planned.done.append(number.e164)
        planned.scenario = planned.scenario or scenario
        planned.title = planned.scenario.title
    return None


def settings_in(document: dict[str, Any], number: OldNumber) -> OldSettings | None:
    """What a scenario says of its number, as the file would say it; None when no file could."""
    flow = document["flow"] or {"destinations": []}
    to = [one["to"] for one in flow["destinations"]]
    static = next((one for one in document["channels"] if one.get("number") == number.e164), None)
    match = static["match"] if static else {}
    only = document["terms"].get("only_sources") or []
    if len(to) > 1 or len(only) > 1 or (static and only):
        return None
    parts = only[0].split("/", 2) if only else [match.get(name, "") for name in ("source", "medium", "campaign")]
    source, medium, campaign = [*parts, "", ""][:3]
    return OldSettings(
        destination=to[0] if to else "",
        prefix=number.settings.prefix,
        selectors=tuple(sorted(document["tagging"].get("selectors") or [])),
        format=document["tagging"].get("format") or "",
        type="static" if static else "dynamic",
        channel=(source.casefold(), medium.casefold(), campaign.casefold()),
    )


def _tell_apart(planned: Sequence[PlannedScenario]) -> None:
    """New scenarios of one name get a figure behind it."""
    seen: dict[str, int] = {}
    for one in planned:
        seen[one.title] = seen.get(one.title, 0) + 1
        if one.scenario is None and seen[one.title] > 1:
            figure = f" ({seen[one.title]})"
            one.title = one.title[: LONGEST_TITLE - len(figure)] + figure


def _numbers_here(session: Session, numbers: Sequence[OldNumber]) -> dict[str, TrackingNumber]:
    here = select(TrackingNumber).where(
        TrackingNumber.e164.in_([one.e164 for one in numbers]), TrackingNumber.released_at.is_(None)
    )
    return {row.e164: row for row in session.scalars(here)}


def _scenarios_of(
    session: Session, server: Server, project: Project, rows: Any
) -> dict[int, tuple[Scenario, dict[str, Any]]]:
    ids = {row.scenario_id for row in rows if row.scenario_id is not None and row.project_id == project.id}
    scenarios = session.scalars(select(Scenario).where(Scenario.id.in_(ids)).order_by(Scenario.id)).all()
    documents = scenario_documents(session, server, scenarios)
    return {one.id: (one, document) for one, document in zip(scenarios, documents, strict=True)}


def _number_problems(
    session: Session, project: Project, file: OldFile, here: dict[str, TrackingNumber]
) -> dict[int, str]:
    forwarded_to = destinations_of(session, project.id) | {project.fallback_destination}
    problems = {}
    for number in file.numbers:
        row = here.get(number.e164)
        sentence = ""
        if row is None:
            sentence = FORWARDED_TO if number.e164 in forwarded_to else ""
        elif row.project_id != project.id:
            sentence = ELSEWHERE
        elif row.releasing_at is not None:
            sentence = GOING
        if sentence:
            problems[number.line] = sentence.format(number=international(number.e164))
    return problems


def _destination_problems(session: Session, file: OldFile) -> dict[int, str]:
    tracking = tracking_among(session, {one.settings.destination for one in file.numbers})
    return {
        one.line: IN_CIRCLES.format(number=international(one.settings.destination))
        for one in file.numbers
        if one.settings.destination in tracking
    }


@dataclass(frozen=True)
class Imported:
    """Ids and titles of the scenarios of the file, in its order, for `roistatCalltrackingScripts`; and how many were made."""

    scenarios: list[tuple[int, str]]
    made: int
    numbers: int

    def say(self) -> str:
        if not self.numbers:
            return "All of it is here already: nothing was changed."
        return f"{format_count(self.made, 'scenario')} made, {format_count(self.numbers, 'number')} put in."

    def page_variable(self) -> str:
        """What limits a page to these scenarios."""
        return f"window.roistatCalltrackingScripts = {[one[0] for one in self.scenarios]};"


def apply_old_settings(
    session: Session, server: Server, project: Project, actor: Actor, file: OldFile, now: datetime
) -> Imported:
    """Adds the numbers that are not here yet as own ones, makes the scenarios, switched off, and puts the numbers in.

    Raises:
        Refused: `errors` by `lines.<line>`, and by `numbers.<column>` for a question that is open; nothing may be stored.
        Problem: 409, somebody took a number meanwhile.
    """
    plan = make_plan(session, server, project, file)
    if plan.problems or plan.questions:
        open_questions = {f"numbers.{column}": question.say() for column, question in plan.questions.items()}
        raise Refused({f"lines.{line}": sentence for line, sentence in plan.problems.items()} | open_questions)
    if not plan.changes:
        return _imported(plan, [(one.scenario.id, one.title) for one in plan.scenarios if one.scenario], 0)
    there = select(Scenario.id).where(Scenario.id.in_([one.scenario.id for one in plan.scenarios if one.scenario]))
    session.execute(there.order_by(Scenario.id).with_for_update())  # scenarios before numbers, as everywhere
    add_numbers(session, project, actor, [e164 for one in plan.scenarios for e164 in one.to_add], now)
    scenarios = [_store(session, server, project, actor, one, now) for one in plan.scenarios]
    made = len(plan.new)
    subject = f"{format_count(made, 'scenario')} and {format_count(len(file.numbers), 'number')}"
    record(session, actor, now, "settings.imported", subject, project.id, scenarios=[one[0] for one in scenarios])
    return _imported(plan, scenarios, made)


def _imported(plan: ImportPlan, scenarios: list[tuple[int, str]], made: int) -> Imported:
    return Imported(scenarios, made, sum(len(one.moving) for one in plan.scenarios))


def _store(
    session: Session, server: Server, project: Project, actor: Actor, planned: PlannedScenario, now: datetime
) -> tuple[int, str]:
    numbers = planned.moving
    try:
        if planned.scenario is None:
            document = planned.settings.document(planned.title, numbers)
            scenario, _ = create_scenario(session, server, project, actor, document, now)
        elif numbers:
            edit = _with_numbers(planned, numbers)
            scenario, _ = change_scenario(
                session, server, project, actor, planned.scenario.id, edit, planned.scenario.version, now
            )
        else:
            scenario = planned.scenario
    except Refused as refusal:
        first = planned.numbers[0].line
        raise Refused({f"lines.{first}": sentence for sentence in refusal.errors.values()}) from None
    return scenario.id, scenario.title


def _with_numbers(planned: PlannedScenario, numbers: list[str]) -> Any:
    def edit(present: dict[str, Any]) -> dict[str, Any]:
        return present | {
            "numbers": [*present["numbers"], *numbers],
            "channels": [*present["channels"], *planned.settings.channels(numbers)],
        }

    return edit
