"""A scenario's members are declared once: whatever stands in the schema is stored, shown, compared, copied and typed in the wizard."""

import json
from typing import Any, get_args

from pydantic.fields import FieldInfo
from sqlalchemy import select

from router.accounts.audit import Change
from router.accounts.models import AuditEntry, Project
from router.scenarios.documents import COLUMNS, READ_ONLY, scenario_document
from router.scenarios.models import Scenario
from router.scenarios.schema import ScenarioDocument, ScenarioSchema
from router.scenarios.service import change_scenario, create_scenario, delete_scenario, duplicate_scenario
from router.scenarios.wizard.forms import ScenarioForms, document_of_values, values_of_document
from router.server import Server
from tests.factories import NOON
from tests.scenarios.names import ALICE, FIRST, LINE, SECOND, THIRD

FLYER = {"source": "flyer", "medium": "print", "campaign": ""}
COMPOUND: dict[str, Any] = {
    "title": "Summer",
    "numbers": [FIRST, SECOND],
    "channels": [{"match": {"source": "google"}, "kind": "dynamic"}],
    "static": {FIRST: FLYER},
    "flow": {"destinations": [{"to": LINE, "ring_seconds": 35}]},
    "tagging": {"selectors": [".phone"], "replace": ["(415) 555-0100"], "format": "XXX-XXX"},
    "overflow": THIRD,
    "terms": {"only_sources": ["google/cpc"], "excluded_landing_pages": ["/jobs/*"]},
    "upkeep": {"on": True, "spending_limit_minor": 2550, "max_numbers": 9},
    "to_buy": {"numbers": ["+14155557731"], "count": 2, "country": "US", "area_code": "415", "contains": "77"},
}


def another(name: str, member: FieldInfo) -> Any:
    """A value that is not the member's default."""
    if name in COMPOUND:
        return COMPOUND[name]
    if choices := [one for one in get_args(member.annotation) if isinstance(one, str)]:
        return next(one for one in choices if one != member.default)
    return {bool: not member.default, int: (member.default or 59) + 1, str: "Something else"}[member.annotation]


MEMBERS = {name: another(name, member) for name, member in ScenarioSchema.model_fields.items()}
NOT_IN_THE_WIZARD = {"enabled", "static"}
"""Switched elsewhere; the short form of channels."""


def create(server: Server, project: Project, **members: Any) -> int:
    with server.database.writing() as session:
        document = {"title": "Spring", "numbers": [FIRST]} | members
        return create_scenario(Change(session, server, project, ALICE, NOON), document)[0].id


def change(server: Server, project: Project, scenario_id: int, members: dict[str, Any]) -> dict[str, Any]:
    with server.database.writing() as session:
        scenario, _ = change_scenario(
            Change(session, server, project, ALICE, NOON), scenario_id, lambda present: present | members, None
        )
        return scenario_document(session, server, scenario)


def shown(server: Server, scenario_id: int) -> dict[str, Any]:
    with server.database.reading() as session:
        return scenario_document(session, server, session.get_one(Scenario, scenario_id))


def test_each_member_is_stored_and_shown_and_its_change_is_in_the_audit_trail(server: Server, project: Project) -> None:
    for name, value in MEMBERS.items():
        scenario_id = create(server, project)
        changed = change(server, project, scenario_id, {name: value})[name]
        assert changed == value or value.items() <= changed.items(), name
        with server.database.writing() as session:
            entry = session.scalars(select(AuditEntry).order_by(AuditEntry.id.desc()).limit(1)).one()
            assert name in entry.detail["fields"]
            delete_scenario(
                Change(session, server, project, ALICE, NOON), scenario_id
            )  # so that its numbers are free again


def test_each_member_is_described(server: Server, project: Project) -> None:
    assert set(shown(server, create(server, project))) == {*MEMBERS, *READ_ONLY}
    assert {*MEMBERS, *READ_ONLY} < set(ScenarioDocument.model_fields)


def test_each_rule_is_copied(server: Server, project: Project) -> None:
    rules = {name: value for name, value in MEMBERS.items() if name not in {"enabled", "static", "overflow"}}
    scenario_id = create(server, project, **rules)
    with server.database.writing() as session:
        copy = duplicate_scenario(Change(session, server, project, ALICE, NOON), scenario_id)
        copied = scenario_document(session, server, copy)
    original = shown(server, scenario_id)
    own = {"title": "Summer (copy)", "to_buy": copied["to_buy"], "upkeep": original["upkeep"] | {"on": False}}
    for name in (*COLUMNS, "flow", "upkeep"):
        assert copied[name] == own.get(name, original[name]), name
        assert original[name] != shown(server, create(server, project, numbers=[]))[name], "the test has another value"


def test_each_member_survives_a_draft_of_the_wizard() -> None:
    document = {name: value for name, value in MEMBERS.items() if name not in NOT_IN_THE_WIZARD}
    whole = json.loads(ScenarioSchema.model_validate(document).model_dump_json())
    values = json.loads(json.dumps(values_of_document(document, [], "EUR")))
    again, errors = document_of_values(values, [], "EUR")
    assert errors == {}
    for name in document:
        assert ScenarioSchema.model_validate(again).model_dump(mode="json")[name] == whole[name], name
    assert set(ScenarioForms(values).document()) == set(document)
