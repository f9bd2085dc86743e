"""The import of old settings (R13): which scenarios follow from a table of numbers with their settings; then a plan of these scenarios and
numbers with what cannot be brought over, line by line; then all of it or nothing, and a second time nothing."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.audit import Change
from router.accounts.models import Project
from router.lib.formats import format_count
from router.lib.phones import (
    AmbiguousPhone,
    BadPhone,
    cost_warning,
    country_refusal,
    digit_forms,
    international,
    read_destination,
)
from router.scenarios.documents import scenario_documents
from router.scenarios.flows import destinations_of, is_full, numbers_here, tracking_among
from router.scenarios.importing.files import Choice, Questions, read_file_phone
from router.scenarios.importing.tables import Row, UnreadableFile, cell_error, plain, read_table
from router.scenarios.matching import format_error, selector_error
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.numbers.inventory import ELSEWHERE, add_numbers
from router.scenarios.service import change_scenario, create_scenario
from router.server import Server
from router.web.errors import Refused

COLUMNS = ("number", "destination", "prefix", "selectors", "format", "type", "channel")
NEEDED = ("number", "destination")
PHONES = ("number", "destination")
MOST_ROWS, MOST_SCENARIOS = 1000, 200
"""As many as one transaction may write: calls wait for it on SQLite."""
MOST_STATIC = 500
MOST_SELECTORS, LONGEST_SELECTOR, LONGEST_FORMAT, LONGEST_TITLE = 50, 300, 60, 120
OLD_CLASS = re.compile(r"roistat-phone[\w-]*")
"""Elements of the old logic were named by class."""


@dataclass(frozen=True, slots=True)
class OldSettings:
    """What numbers must have in common to be one scenario."""

    destination: str
    prefix: str
    selectors: tuple[str, ...]
    format: str
    type: str
    channel: tuple[str, str, str]
    """Source, medium, campaign; all empty for every source."""

    def document(self, title: str, numbers: Iterable[str]) -> dict[str, Any]:
        return {
            "title": title,
            "enabled": False,
            "numbers": list(numbers),
            "flow": {"destinations": [{"to": self.destination}]} if self.destination else None,
            "tagging": {"selectors": list(self.selectors), "replace": [], "format": self.format},
            "channels": self.channels(numbers),
            "terms": {"only_sources": [self.source_pattern]} if self.source_pattern and self.type == "dynamic" else {},
        }

    def channels(self, numbers: Iterable[str]) -> list[dict[str, Any]]:
        match = {name: part for name, part in zip(("source", "medium", "campaign"), self.channel, strict=True) if part}
        kind = {"match": match, "kind": "static"}
        return [kind | {"number": number} for number in numbers] if self.type == "static" else []

    @property
    def source_pattern(self) -> str:
        return "/".join(self.channel).rstrip("/")

    def title(self) -> str:
        """`Dynamic to +1 415-555-0100 · google/cpc · .phone · 495`"""
        where = international(self.destination) if self.destination else "the fallback destination"
        tags = " ".join(self.selectors)
        parts = [f"{self.type.capitalize()} to {where}", self.source_pattern, tags, self.format, self.prefix]
        return " · ".join(part for part in parts if part)[:LONGEST_TITLE].strip()


@dataclass(frozen=True, slots=True)
class OldNumber:
    line: int
    e164: str
    settings: OldSettings


@dataclass
class OldFile:
    """A file, read: its numbers, a sentence for each line that cannot be used, and the numbers that somebody has to say how to read:
    their lines are among neither."""

    numbers: list[OldNumber] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)
    questions: Questions = field(default_factory=Questions)

    def groups(self) -> list[tuple[OldSettings, list[OldNumber]]]:
        """Numbers with identical settings together, in the order of the file (R13)."""
        groups: dict[OldSettings, list[OldNumber]] = {}
        for number in self.numbers:
            groups.setdefault(number.settings, []).append(number)
        return list(groups.items())


class _BadCell(ValueError):
    """The message names the column."""


def read_old_file(data: bytes, country: str, choices: Mapping[str, Choice] | None = None) -> OldFile:
    """
    Args:
        choices: how numbers without a plus are to be read that have two readings, by column; the empty one stands for all.

    Raises:
        UnreadableFile: nothing of it can be used.
    """
    file = OldFile()
    rows = read_table(data, NEEDED, [name for name in COLUMNS if name not in NEEDED], MOST_ROWS)
    lines: dict[str, int] = {}
    for row in rows:
        try:
            phones = _phones(row, country, choices or {}, file.questions)
            if phones is None:
                continue
            number = OldNumber(row.line, phones["number"], _settings(row, phones))
        except _BadCell as error:
            file.problems[row.line] = str(error)
            continue
        if number.e164 in lines:
            file.problems[row.line] = f"{international(number.e164)} is in line {lines[number.e164]} already."
            continue
        lines[number.e164] = row.line
        file.numbers.append(number)
    file.questions = Questions({column: file.questions[column] for column in PHONES if column in file.questions})
    for number in file.numbers:
        if line := lines.get(number.settings.destination):
            circle = f"destination: it is the tracking number of line {line}, so calls would go round in circles."
            file.problems[number.line] = circle
    groups = file.groups()
    if len(groups) > MOST_SCENARIOS:
        raise UnreadableFile(f"The file would make more than {MOST_SCENARIOS} scenarios. Split it.")
    for settings, numbers in groups:
        for number in numbers[MOST_STATIC:] if settings.type == "static" else ():
            file.problems[number.line] = f"At most {MOST_STATIC} static numbers can be in one scenario."
    return file


def _phones(row: Row, country: str, choices: Mapping[str, Choice], questions: Questions) -> dict[str, str] | None:
    """Number and destination; None when the person has to choose a reading of one of them first."""
    read: dict[str, str] = {}
    for column in PHONES:
        text = plain(row.cells[column])
        if problem := cell_error(text):
            raise _BadCell(f"{column}: {problem}")
        is_sip = text.lower().startswith(("sip:", "sips:"))
        try:
            if column == "destination" and not text:
                read[column] = ""
            elif column == "destination" and ("@" in text or is_sip):
                read[column] = read_destination(text if is_sip else f"sip:{text}")
            else:
                read[column] = read_file_phone(text, country, choices.get(column) or choices.get(""))
        except AmbiguousPhone as error:
            questions.ask(column, row.line, text, error.readings)
        except BadPhone as error:
            raise _BadCell(f"{column}: {error}") from None
    return read if len(read) == len(PHONES) else None


def _settings(row: Row, phones: Mapping[str, str]) -> OldSettings:
    cells = {name: plain(text) for name, text in row.cells.items()}
    for name, text in cells.items():
        if name not in PHONES and (problem := cell_error(text)):
            raise _BadCell(f"{name}: {problem}")
    selectors = {
        f".{selector}" if OLD_CLASS.fullmatch(selector) else selector
        for selector in re.split(r"[\s,;]+", cells["selectors"])
        if selector
    }
    for selector in sorted(selectors):
        if problem := selector_error(selector):
            raise _BadCell(f"selectors: {problem}")
        if len(selector) > LONGEST_SELECTOR:
            raise _BadCell(f"selectors: “{selector[:40]}…” is too long.")
    if len(selectors) > MOST_SELECTORS:
        raise _BadCell(f"selectors: at most {MOST_SELECTORS} can be kept.")
    mask = " ".join(cells["format"].split())
    if len(mask) > LONGEST_FORMAT:
        raise _BadCell(f"format: at most {LONGEST_FORMAT} characters.")
    if problem := format_error(mask):
        raise _BadCell(f"format: {problem}")
    kind = cells["type"].casefold() or "dynamic"
    if kind not in ("dynamic", "static"):
        raise _BadCell(f"type: “{cells['type'][:40]}” is neither dynamic nor static.")
    return OldSettings(
        destination=phones["destination"],
        prefix=_prefix(cells["prefix"], phones["number"]),
        selectors=tuple(sorted(selectors)),
        format=mask,
        type=kind,
        channel=read_channel(cells["channel"]),
    )


def _prefix(text: str, e164: str) -> str:
    """The digits with which a number begins: `+49711`, `0049 711`, `49711` and `0711` are one prefix of a German number."""
    digits, whole = re.sub(r"\D", "", text), e164.removeprefix("+")
    for exit_code in ("", "00", "011"):
        if digits.startswith(exit_code) and whole.startswith(digits.removeprefix(exit_code)):
            return digits.removeprefix(exit_code)
    *_, national = spelled = digit_forms(e164)
    for form in spelled:
        if form.startswith(digits):
            before = len(form) - len(national)  # country code, trunk prefix
            return whole.removesuffix(national) + national[: max(0, len(digits) - before)]
    return digits


def read_channel(text: str) -> tuple[str, str, str]:
    """Source, medium and campaign, case-folded, as they are compared; a campaign may hold slashes."""
    parts = [part.strip() for part in text.split("/", 2)]
    source, medium, campaign = [part.casefold() for part in [*parts, "", ""][:3]]
    if (medium or campaign) and not source:
        raise _BadCell("channel: write it as source, source/medium or source/medium/campaign.")
    if max(len(source), len(medium), len(campaign)) > 200:
        raise _BadCell("channel: at most 200 characters each.")
    return source, medium, campaign


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

    @property
    def moving(self) -> list[str]:
        missing = {*self.to_add, *self.free}
        return [number.e164 for number in self.numbers if number.e164 in missing]

    def say(self) -> str:
        if self.scenario is None:
            return f"A new scenario with {self._count(self.numbers)}, switched off."
        if not self.moving:
            return f"Here already with {self._count(self.numbers)}: nothing changes."
        return f"Here already with {len(self.done)} of {self._count(self.numbers)}; the others go into it."

    def notes(self) -> list[str]:
        settings, notes = self.settings, []
        if not settings.destination:
            notes.append("Calls go to the project's fallback destination.")
        if settings.type == "dynamic" and settings.source_pattern:
            notes.append(f"Shown only to visitors from {settings.source_pattern}.")
        elif settings.type == "static" and not settings.source_pattern:
            notes.append("Shown to nobody, like a number on a billboard; its calls count as offline.")
        elif settings.type == "static" and len(self.numbers) > 1:
            notes.append(
                f"Visitors from {settings.source_pattern} are shown the first of them; calls to each count for it."
            )
        return notes

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
    questions: Questions = field(default_factory=Questions)
    """While one is open, nothing is brought over."""

    @property
    def ready(self) -> bool:
        return self.changes and not self.problems and not self.questions

    @property
    def changes(self) -> bool:
        return any(planned.moving for planned in self.scenarios)

    @property
    def numbers(self) -> int:
        return sum(len(planned.numbers) for planned in self.scenarios)

    @property
    def new(self) -> list[PlannedScenario]:
        return [planned for planned in self.scenarios if planned.scenario is None]


def make_plan(session: Session, server: Server, project: Project, file: OldFile) -> ImportPlan:
    """Nothing is written. The number of statements does not depend on the size of the file."""
    here = {row.e164: row for row in session.scalars(numbers_here(number.e164 for number in file.numbers))}
    ids = {row.scenario_id for row in here.values() if row.scenario_id is not None and row.project_id == project.id}
    scenarios = session.scalars(select(Scenario).where(Scenario.id.in_(ids)).order_by(Scenario.id)).all()
    present = {scenario.id: scenario for scenario in scenarios}
    documents = dict(zip(present, scenario_documents(session, server, scenarios), strict=True))
    problems = _problems(session, server, project, file, here)
    plan = []
    titles = Counter[str]()
    for settings, numbers in file.groups():
        planned = PlannedScenario(settings, settings.title(), numbers)
        plan.append(planned)
        for number in numbers:
            row = here.get(number.e164)
            if number.line in problems:
                continue
            if row is None:
                planned.to_add.append(number.e164)
            elif row.scenario_id is None:
                planned.free.append(number.e164)
            elif settings_in(documents[row.scenario_id], number) == settings:
                planned.done.append(number.e164)
                planned.scenario = planned.scenario or present[row.scenario_id]
                planned.title = planned.scenario.title
            else:
                place = f"in the scenario “{present[row.scenario_id].title}”, which has other settings"
                advice = "Take it out there, or out of this file."
                problems[number.line] = f"{international(number.e164)} is {place}. {advice}"
        titles[planned.title] += 1
        if planned.scenario is None and titles[planned.title] > 1:  # new scenarios of one name get a figure behind it
            figure = f" ({titles[planned.title]})"
            planned.title = planned.title[: LONGEST_TITLE - len(figure)] + figure
    return ImportPlan(plan, dict(sorted(problems.items())), file.questions)


def _problems(
    session: Session, server: Server, project: Project, file: OldFile, here: dict[str, TrackingNumber]
) -> dict[int, str]:
    """What keeps lines out, whatever scenario they belong to; what the file's reader found goes first."""
    forwarded_to = destinations_of(session, project.id) | {project.fallback_destination}
    tracking = tracking_among(session, {number.settings.destination for number in file.numbers})
    problems = {}
    for number in file.numbers:
        row, shown = here.get(number.e164), international(number.e164)
        if row is None and number.e164 in forwarded_to:
            problems[number.line] = f"{shown}: calls are forwarded to it, so it cannot be a tracking number as well."
        elif row is not None and row.project_id != project.id:
            problems[number.line] = ELSEWHERE.format(number=shown)
        elif row is not None and row.releasing_at is not None:
            problems[number.line] = f"{shown} is being given back to the carrier."
        elif (to := number.settings.destination) in tracking:
            circle = f"{international(to)} is a tracking number of this server, so calls would go round in circles."
            problems[number.line] = f"destination: {circle}"
        elif row is not None and row.scenario_id is not None:
            continue  # in a scenario: nobody is asked again about its destinations
        elif refusal := country_refusal(to, server.settings.destination_countries):
            problems[number.line] = f"destination: {refusal}"
        elif warning := cost_warning(to):
            advice = "Make this scenario by hand, where that can be confirmed, and leave the line out."
            problems[number.line] = f"destination: {warning} {advice}"
    return problems | file.problems


def settings_in(document: dict[str, Any], number: OldNumber) -> OldSettings | None:
    """What a scenario says of its number, as a file would say it; None when no file could."""
    flow = document["flow"] or {"destinations": []}
    to = [line["to"] for line in flow.get("destinations", ())]
    static = next((channel for channel in document["channels"] if channel.get("number") == number.e164), None)
    match = static["match"] if static else {}
    only = document["terms"].get("only_sources") or []
    if is_full(flow) or len(to) > 1 or len(only) > 1 or (static and only):
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
        return f"window.roistatCalltrackingScripts = {[scenario_id for scenario_id, _ in self.scenarios]};"


def apply_old_settings(change: Change, file: OldFile) -> Imported:
    """Adds the numbers that are not here yet as own ones, makes the scenarios, switched off, and puts the numbers in.

    Raises:
        Refused: `errors` by `lines.<line>`, and by `numbers.<column>` for a question that is open; nothing may be stored.
        Problem: 409, somebody took a number meanwhile.
    """
    session = change.session
    plan = make_plan(session, change.server, change.project, file)
    if plan.problems or plan.questions:
        open_questions = {f"numbers.{column}": question.say() for column, question in plan.questions.items()}
        raise Refused({f"lines.{line}": sentence for line, sentence in plan.problems.items()} | open_questions)
    scenarios = [(planned.scenario.id, planned.title) for planned in plan.scenarios if planned.scenario]
    if not plan.changes:
        return Imported(scenarios, made=0, numbers=0)
    present = select(Scenario.id).where(Scenario.id.in_([scenario_id for scenario_id, _ in scenarios]))
    session.execute(present.order_by(Scenario.id).with_for_update())  # scenarios before numbers, as everywhere
    add_numbers(change, [e164 for planned in plan.scenarios for e164 in planned.to_add])
    scenarios = [_store(change, planned) for planned in plan.scenarios]
    subject = f"{format_count(len(plan.new), 'scenario')} and {format_count(len(file.numbers), 'number')}"
    change.record("settings.imported", subject, scenarios=[scenario_id for scenario_id, _ in scenarios])
    return Imported(scenarios, len(plan.new), sum(len(planned.moving) for planned in plan.scenarios))


def _store(change: Change, planned: PlannedScenario) -> tuple[int, str]:
    numbers = planned.moving

    def with_numbers(present: dict[str, Any]) -> dict[str, Any]:
        return present | {
            "numbers": [*present["numbers"], *numbers],
            "channels": [*present["channels"], *planned.settings.channels(numbers)],
        }

    try:
        if planned.scenario is None:
            scenario, _ = create_scenario(change, planned.settings.document(planned.title, numbers))
        elif numbers:
            scenario, _ = change_scenario(change, planned.scenario.id, with_numbers, planned.scenario.version)
        else:
            scenario = planned.scenario
    except Refused as refusal:
        first = planned.numbers[0].line
        raise Refused({f"lines.{first}": sentence for sentence in refusal.errors.values()}) from None
    return scenario.id, scenario.title
