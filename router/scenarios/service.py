"""Scenarios: create, change, switch, connect, copy and delete one. Each change is in the audit trail, and none is overwritten (R1, R3)."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from router.accounts.audit import Change
from router.accounts.models import Project
from router.scenarios.channels import static_sources, without_numbers
from router.scenarios.documents import (
    COLUMNS,
    UPKEEP_COLUMNS,
    Document,
    editable,
    numbers_by_scenario,
    read_scenario,
    scenario_document,
)
from router.scenarios.enable import connect, enabling_of, lock_purse, stay_disabled
from router.scenarios.flows import lines_in, refusal_of, store_flow, stored_flow
from router.scenarios.models import Scenario, ScenarioDraft, TrackingNumber, free_numbers_changed
from router.scenarios.numbers.inventory import place_numbers
from router.scenarios.numbers.release import begin_release
from router.scenarios.schema import BuyingDocument
from router.scenarios.sounds import sound_names, sounds_in
from router.web.errors import Problem, Refused

Secrets = dict[str, Any]
Found = Sequence[str] | None
"""Numbers for sale that were searched before the transaction; None: they were not."""


def create_scenario(change: Change, document: Document, found: Found = None) -> tuple[Scenario, Secrets]:
    """The new scenario, and the secrets that were made for it, which can be shown this once.

    A document with `enabled` connects it as well; `found` are the numbers for sale that it needs for that.

    Raises:
        Refused: something of the document cannot be used; nothing may be stored.
        Problem, SearchNeeded: as `connect`.
    """
    session, project = change.session, change.project
    read, sections = _read(change, None, document)
    if read["enabled"]:
        lock_purse(session, project)
    scenario = Scenario(project_id=project.id, created_at=change.now, title=read["title"], tagging=read["tagging"])
    session.add(scenario)
    session.flush()
    secrets = _store(change, scenario, read, sections, found)
    free_numbers_changed.send(change.server, session=session, project_id=project.id)
    _record(change, "scenario.created", scenario, enabled=scenario.enabled)
    return scenario, secrets


def change_scenario(
    change: Change,
    scenario_id: int,
    edit: Callable[[Document], Document],
    version: int | None = None,
    found: Found = None,
) -> tuple[Scenario, Secrets]:
    """Stores what `edit` makes of the scenario's present document; when that enables the scenario, it is connected.

    Raises:
        Problem: 404; 409 when `version` is given and no longer the present one, and as `connect`.
        Refused: something of the document cannot be used; nothing may be stored.
        SearchNeeded: `found` is needed.
    """
    session, server = change.session, change.server
    scenario = _locked(change, scenario_id, version)
    before = editable(scenario_document(session, server, scenario))
    read, sections = _read(change, scenario, edit(before))
    if read["enabled"] and not scenario.enabled:
        lock_purse(session, change.project)
    secrets = _store(change, scenario, read, sections, found)
    after = editable(scenario_document(session, server, scenario))
    scenario.mark_changed(change.actor.name, change.now)
    changed = sorted(name for name in before if before[name] != after[name])
    _record(change, "scenario.changed", scenario, fields=changed)
    return scenario, secrets


def switch_scenario(change: Change, scenario_id: int, enabled: bool) -> Scenario:
    """Enables or disables it, and buys nothing; disabling keeps everything (R3).

    Raises:
        Problem: 404; 409 with `missing_minor` when the balance does not cover what has to be paid before it is enabled (R4); 422 as
            `_check_destinations`.
    """
    scenario = _locked(change, scenario_id)
    if not enabled:
        stay_disabled(change.session, scenario)
    if scenario.enabled != enabled:
        if enabled:
            _check_destinations(change, scenario)
            enabling_of(change.session, change.server, change.project, scenario, change.now).check()
        scenario.enabled = enabled
        scenario.mark_changed(change.actor.name, change.now)
        _record(change, "scenario.enabled" if enabled else "scenario.disabled", scenario)
    return scenario


def connect_scenario(
    change: Change, scenario_id: int, found: Found, version: int | None = None
) -> tuple[Scenario, BuyingDocument | None]:
    """Enables it and orders what it is to buy, all in this transaction (R2).

    Raises:
        Problem: 404; 409 when `version` is given and no longer the present one; as `connect` and, when it is off, `_check_destinations`.
        SearchNeeded: `found` is needed.
    """
    scenario = _locked(change, scenario_id, version)
    before = (scenario.enabled, scenario.to_buy)
    if not scenario.enabled:
        _check_destinations(change, scenario)
    buying = connect(change, scenario, found)
    if before != (scenario.enabled, scenario.to_buy):
        scenario.mark_changed(change.actor.name, change.now)
        action = "scenario.enabled" if scenario.enabled and not before[0] else "scenario.connected"
        _record(change, action, scenario, **({"batch": buying.batch} if buying else {}))
    change.session.flush()
    return scenario, buying


def _check_destinations(change: Change, scenario: Scenario) -> None:
    """
    Raises:
        Problem: 422, a stored destination is of a country that the operator does not allow, or nobody confirmed what calls to it cost.
    """
    for place, line, _ in lines_in(stored_flow(change.session, scenario)):
        if refusal := refusal_of(line, change.server.settings.destination_countries):
            member, sentence = refusal
            raise Problem(422, sentence, f"flow.{place}.{member}")


def delete_scenario(change: Change, scenario_id: int) -> tuple[Scenario, int]:
    """Hides the scenario and keeps its calls; its numbers become free, and drafts of it are forgotten. Returns also how many numbers are
    free again."""
    session, scenario = change.session, _locked(change, scenario_id)
    freed = len(place_numbers(session, change.server, scenario, {}))
    scenario.enabled = False
    scenario.deleted_at = change.now
    scenario.mark_changed(change.actor.name, change.now)
    stay_disabled(session, scenario)
    session.execute(delete(ScenarioDraft).where(ScenarioDraft.scenario_id == scenario.id))
    free_numbers_changed.send(change.server, session=session, project_id=scenario.project_id)
    _record(change, "scenario.deleted", scenario, numbers_freed=freed)
    return scenario, freed


def find_scenario(session: Session, project: Project, scenario_id: int, lock: bool = False) -> Scenario:
    """
    Raises:
        Problem: 404 when the project has no such scenario (any more).
    """
    scenario = session.get(Scenario, scenario_id, with_for_update=lock or None, populate_existing=lock)
    if scenario is None or scenario.project_id != project.id or scenario.deleted_at is not None:
        raise Problem(404, "There is no such scenario.")
    return scenario


def _locked(change: Change, scenario_id: int, version: int | None = None) -> Scenario:
    """
    Raises:
        Problem: 404; 409 when `version` is given and no longer the present one.
    """
    scenario = find_scenario(change.session, change.project, scenario_id, lock=True)
    if version not in (None, scenario.version):
        raise Problem(
            409,
            "Somebody else changed this scenario meanwhile. Read it again and repeat your change.",
            "version",
            version=scenario.version,
        )
    return scenario


def _read(change: Change, scenario: Scenario | None, document: Document) -> tuple[Document, dict[str, Any]]:
    """The document in its normal form, and what each section is to store.

    Raises:
        Refused: every field that cannot be used.
    """
    session, project, sections = change.session, change.project, change.server.scenario_parts
    names = [section.name for section in sections]
    own = {name: value for name, value in document.items() if name not in names}
    read, errors = read_scenario(session, change.server, project, scenario, own)
    checked = {}
    for section in sections:
        value = document.get(section.name)
        try:
            checked[section.name] = section.check(
                session, project, scenario.id if scenario else None, {} if value is None else value
            )
        except Problem as problem:
            errors |= problem.more.get("errors") or {problem.field or section.name: problem.detail}
    if errors:
        raise Refused(errors)
    return read, checked


def _store(change: Change, scenario: Scenario, document: Document, sections: dict[str, Any], found: Found) -> Secrets:
    """Stores the document, and enables or disables the scenario. A scenario that is enabled already buys nothing before somebody connects
    it, and one that waits for its first numbers goes on waiting."""
    session, now = change.session, change.now
    upkeep, to_buy, static = document["upkeep"], document["to_buy"], static_sources(document["channels"])
    if upkeep["on"] and not scenario.upkeep_on:
        dynamic = sum(number not in static for number in document["numbers"])
        scenario.upkeep_began_with = dynamic + len(to_buy["numbers"]) + to_buy["count"]
    for name in COLUMNS:
        setattr(scenario, name, document[name])
    for name, column in UPKEEP_COLUMNS.items():
        setattr(scenario, column, upkeep[name])
    store_flow(session, scenario, document["flow"], now)
    if lost := sounds_in(document["flow"]) - set(sound_names(session, change.project.id)):
        raise Problem(409, f"The sound “{min(lost)}” was removed meanwhile. Choose another one.")
    placed = {number: static.get(number) for number in document["numbers"]}
    place_numbers(session, change.server, scenario, placed, document["overflow"])
    secrets: Secrets = {}
    for section in change.server.scenario_parts:
        secrets |= section.save(session, change.project, scenario.id, sections[section.name], now)
    session.flush()
    if document["enabled"] and not scenario.enabled:
        connect(change, scenario, found)
    elif scenario.enabled and not document["enabled"]:
        scenario.enabled = False
        stay_disabled(session, scenario)
    return secrets


def _record(change: Change, action: str, scenario: Scenario, **detail: Any) -> None:
    change.record(action, f"scenario {scenario.id} “{scenario.title}”", **detail)


def scenario_titles(session: Session, project_id: int) -> dict[int, tuple[str, bool]]:
    """Title and whether it is deleted (deleted scenarios keep their calls and ledger entries), by id; in the order of the alphabet, deleted
    ones last."""
    scenarios = (
        select(Scenario.id, Scenario.title, Scenario.deleted_at)
        .where(Scenario.project_id == project_id)
        .order_by(Scenario.deleted_at.is_not(None), func.lower(Scenario.title), Scenario.id)
    )
    return {row.id: (row.title, row.deleted_at is not None) for row in session.execute(scenarios)}


COPY = " (copy)"
LONGEST_TITLE = 120


def duplicate_scenario(change: Change, scenario_id: int) -> Scenario:
    """The copy. Static channels stay behind with their numbers; upkeep, which spends money, is off and keeps its limits.

    Raises:
        Problem: 404.
    """
    session, project, now = change.session, change.project, change.now
    original = find_scenario(session, project, scenario_id)
    rules = {name: getattr(original, name) for name in (*COLUMNS, *UPKEEP_COLUMNS.values())}
    copy = Scenario(
        **rules
        | {
            "title": original.title[: LONGEST_TITLE - len(COPY)] + COPY,
            "channels": without_numbers(original.channels, ()),
            "to_buy": {},
            "upkeep_on": False,
        },
        project_id=project.id,
        created_at=now,
    )
    session.add(copy)
    session.flush()
    store_flow(session, copy, stored_flow(session, original), now)
    for part in change.server.scenario_parts:
        part.copy(session, project, original.id, copy.id, now)
    _record(change, "scenario.created", copy, enabled=False, copy_of=original.id)
    session.flush()
    return copy


def switch_upkeep(change: Change, scenario_id: int, on: bool) -> Scenario:
    """Switches upkeep on or off; on remembers how many dynamic numbers it began with, of which the limit is twice as many (R9).

    Raises:
        Problem: 404; 409, it is to be switched on and the scenario has no dynamic numbers.
    """
    scenario = _locked(change, scenario_id)
    if scenario.upkeep_on == on:
        return scenario
    began_with = scenario.upkeep_began_with
    if on:
        counted = select(func.count(TrackingNumber.id)).where(
            TrackingNumber.scenario_id == scenario.id, TrackingNumber.is_dynamic
        )
        began_with = (change.session.scalar(counted) or 0) + scenario.wanted_numbers
        if not began_with:
            raise Problem(
                409, "This scenario has no dynamic numbers, so there is nothing that upkeep could buy or give back."
            )
    scenario.upkeep_on, scenario.upkeep_began_with = on, began_with
    scenario.mark_changed(change.actor.name, change.now)
    _record(change, "upkeep.on" if on else "upkeep.off", scenario)
    return scenario


def delete_with_numbers(change: Change, scenario_id: int, give_back: bool) -> tuple[Scenario, int, int]:
    """Hides the scenario; returns it, how many numbers are free again, and how many are being given back.

    Raises:
        Problem: 404.
    """
    numbers = numbers_by_scenario(change.session, [scenario_id])[scenario_id]
    scenario, freed = delete_scenario(change, scenario_id)
    leaving = [number for number in numbers if give_back and number.is_returnable]
    for number in leaving:
        begin_release(change, number)
    return scenario, freed - len(leaving), len(leaving)
