"""Scenarios as an admin and a program change them (R1, R3)."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.audit import Change
from router.accounts.models import AuditEntry, Project
from router.scenarios.documents import scenario_document
from router.scenarios.models import CallFlow, Scenario
from router.scenarios.numbers.inventory import free_numbers
from router.scenarios.service import change_scenario, create_scenario, delete_scenario, find_scenario, switch_scenario
from router.server import Server
from router.web.errors import Problem, Refused
from tests.factories import NOON, make_project
from tests.scenarios.names import ALICE, FIRST, LINE, SECOND, THIRD

TERMS = [f"{which}_{what}" for what in ("sources", "landing_pages", "regions") for which in ("only", "excluded")]
SPRING: dict[str, Any] = {
    "title": "  Spring   sale ",
    "enabled": True,
    "numbers": ["415 555 0121", SECOND],
    "static": {SECOND: {"source": "flyer", "medium": "print"}},
    "flow": {"destinations": [{"to": "(415) 555-0111"}, {"to": "sip:desk@pbx.example.com", "ring_seconds": 30}]},
    "tagging": {"selectors": [".phone", "#top a"], "replace": ["(415) 555-0100"], "format": "+1 (XXX) XXX-XXXX"},
    "aim": "source",
}
EXTRA = {"exhausted": "overflow", "overflow": "415-555-0123", "hold_seconds": 60}


class Notes:
    """A part of an upper floor, as the tests see it."""

    name = "notes"
    form_template = ""

    def __init__(self) -> None:
        self.kept: dict[int, Any] = {}

    def check(self, session: Session, project: Project, scenario_id: int | None, value: Any) -> Any:
        if "bad" in value:
            raise Problem(422, "This is bad.", "notes.bad")
        return value

    def save(self, session: Session, project: Project, scenario_id: int, clean: Any, now: datetime) -> dict[str, Any]:
        self.kept[scenario_id] = clean
        return {"notes.secret": "shown once"} if clean else {}

    def show(self, session: Session, scenario_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
        return {one: self.kept[one] for one in scenario_ids if one in self.kept}

    def copy(self, session: Session, project: Project, original_id: int, copy_id: int, now: datetime) -> None:
        self.kept[copy_id] = self.kept[original_id]

    def read_form(self, form: Mapping[str, str], before: Any) -> Any:
        return {}

    def member(self, typed: Any) -> Any:
        return typed

    def veiled(self, typed: Any) -> tuple[Any, set[str]]:
        return typed, set()

    def preview(self, typed: Any) -> list[str]:
        return []


def create(server: Server, project: Project, document: dict[str, Any]) -> Scenario:
    with server.database.writing() as session:
        return create_scenario(Change(session, server, project, ALICE, NOON), document)[0]


def document_of(server: Server, scenario: Scenario) -> dict[str, Any]:
    with server.database.reading() as session:
        return scenario_document(session, server, session.get_one(Scenario, scenario.id))


def change(server: Server, project: Project, scenario: Scenario, version: int | None = None, **values: Any) -> Scenario:
    with server.database.writing() as session:
        edited = change_scenario(
            Change(session, server, project, ALICE, NOON), scenario.id, lambda present: present | values, version
        )
        return edited[0]


def test_r1_a_scenario_keeps_all_that_was_said_of_it(server: Server, project: Project) -> None:
    document = document_of(server, create(server, project, SPRING | EXTRA))
    assert document == {
        "id": document["id"],
        "title": "Spring sale",
        "enabled": True,
        "numbers": [FIRST, SECOND],
        "channels": [{"match": {"source": "flyer", "medium": "print"}, "kind": "static", "number": SECOND}],
        "static": {SECOND: {"source": "flyer", "medium": "print", "campaign": ""}},
        "flow": {
            "destinations": [
                {"to": LINE, "ring_seconds": 20},
                {"to": "sip:desk@pbx.example.com", "ring_seconds": 30},
            ]
        },
        "tagging": SPRING["tagging"],
        "aim": "source",
        "exhausted": "overflow",
        "overflow": THIRD,
        "hold_seconds": 60,
        "terms": {name: [] for name in TERMS},
        "upkeep": {"on": False, "spending_limit_minor": None, "max_numbers": None},
        "manager": "",
        "to_buy": {"numbers": [], "count": 0, "country": "", "area_code": "", "contains": ""},
        "version": 1,
        "created_at": "2026-11-23T12:00:00.000Z",
        "calls": 0,
        "accuracy": None,
    }


def test_r1_a_title_is_enough_to_begin_with(server: Server, project: Project) -> None:
    document = document_of(server, create(server, project, {"title": "Later"}))
    assert (document["enabled"], document["numbers"], document["flow"]) == (False, [], None)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"title": " "}, "title"),
    ({"title": "x" * 121}, "title"),
    ({"title": None}, "title"),
    ({"colour": "red"}, "colour"),
    ({"enabled": "yes"}, "enabled"),
    ({"numbers": ["nonsense"]}, "numbers.0"),
    ({"numbers": [FIRST, FIRST]}, "numbers.1"),
    ({"numbers": [7]}, "numbers.0"),
    ({"numbers": FIRST}, "numbers"),
    ({"numbers": ["+14155550999"]}, "numbers.0"),
    ({"static": {THIRD: {"source": "flyer"}}}, f"static.{THIRD}"),
    ({"static": {FIRST: {"source": ""}}}, f"static.{FIRST}.source"),
    ({"static": {FIRST: {"source": "x", "color": ""}}}, f"static.{FIRST}.color"),
    ({"flow": {"destinations": []}}, "flow.destinations"),
    ({"flow": {"destinations": [{"to": LINE}] * 11}}, "flow.destinations"),
    ({"flow": {"destinations": [{"to": "the boss"}]}}, "flow.destinations.0.to"),
    ({"flow": {"destinations": [{"to": LINE}, {"to": THIRD}]}}, "flow.destinations.1.to"),
    ({"flow": {"destinations": [{"to": LINE, "ring_seconds": 4}]}}, "flow.destinations.0.ring_seconds"),
    ({"flow": {"destinations": [{"to": LINE, "ring_seconds": 601}]}}, "flow.destinations.0.ring_seconds"),
    ({"flow": {"destinations": [{"to": LINE, "ring_seconds": True}]}}, "flow.destinations.0.ring_seconds"),
    ({"flow": []}, "flow"),
    ({"tagging": {"selectors": ["a["]}}, "tagging.selectors.0"),
    ({"tagging": {"selectors": ["p::before"]}}, "tagging.selectors.0"),
    ({"tagging": {"replace": ["call us"]}}, "tagging.replace.0"),
    ({"tagging": {"format": "our number"}}, "tagging.format"),
    ({"tagging": {"style": "x"}}, "tagging.style"),
    ({"aim": "money"}, "aim"),
    ({"exhausted": "queue"}, "exhausted"),
    ({"overflow": "nonsense"}, "overflow"),
    ({"overflow": FIRST}, "overflow"),
    ({"overflow": "+14155550999"}, "overflow"),
    ({"overflow": 7}, "overflow"),
    ({"overflow": THIRD, "to_buy": {"numbers": [THIRD]}}, "overflow"),
    ({"hold_seconds": 29}, "hold_seconds"),
    ({"hold_seconds": 3601}, "hold_seconds"),
    ({"hold_seconds": 60.5}, "hold_seconds"),
]


def test_r1_what_cannot_be_used_is_refused_with_its_field_and_nothing_is_stored(
    server: Server, project: Project
) -> None:
    for values, field in REFUSED:
        with pytest.raises(Refused) as refusal:
            create(server, project, {"title": "Spring", "numbers": [FIRST]} | values)
        assert list(refusal.value.errors) == [field]
        assert refusal.value.errors[field].endswith("."), refusal.value.errors
    with server.database.reading() as session:
        assert session.scalars(select(Scenario)).all() == []
        assert len(free_numbers(session, project.id)) == 3


def test_every_error_is_named_at_once(server: Server, project: Project) -> None:
    server.scenario_parts.append(Notes())
    wrong = {
        "title": "",
        "numbers": ["junk", FIRST],
        "flow": {"destinations": [{"to": THIRD}]},
        "tagging": {"format": "none"},
        "notes": {"bad": 1},
    }
    with pytest.raises(Refused) as refusal:
        create(server, project, wrong)
    expected = {"title", "numbers.0", "flow.destinations.0.to", "tagging.format", "notes.bad"}
    assert set(refusal.value.errors) == expected


def test_a_number_of_another_project_is_as_unknown_as_none(server: Server, project: Project) -> None:
    with server.database.writing() as session:
        make_project(session, name="Zebra Windows", numbers=("+14155550144",))
    with pytest.raises(Refused, match="not a number of this project"):
        create(server, project, {"title": "Spring", "numbers": ["+14155550144"]})


def test_r2_a_destination_may_not_be_a_tracking_number_of_any_project(server: Server, project: Project) -> None:
    with server.database.writing() as session:
        make_project(session, name="Zebra Windows", numbers=("+14155550144",))
    with pytest.raises(Refused, match="tracking number"):
        create(server, project, {"title": "Spring", "flow": {"destinations": [{"to": "+14155550144"}]}})


def test_r1_a_number_in_another_scenario_is_refused_and_says_where_it_is(server: Server, project: Project) -> None:
    create(server, project, SPRING)
    with pytest.raises(Refused, match="in the scenario “Spring sale”") as refusal:
        create(server, project, {"title": "Autumn", "numbers": [THIRD, FIRST]})
    assert list(refusal.value.errors) == ["numbers.1"]


def test_r1_call_flows_are_immutable_versions_and_a_new_one_is_made_only_when_it_changed(
    server: Server, project: Project
) -> None:
    scenario = create(server, project, SPRING)
    before = scenario.call_flow_id
    same = change(server, project, scenario, title="Summer")
    assert same.call_flow_id == before
    other = change(server, project, scenario, flow={"destinations": [{"to": LINE, "ring_seconds": 40}]})
    assert other.call_flow_id != before
    with server.database.reading() as session:
        flows = session.scalars(select(CallFlow).order_by(CallFlow.number)).all()
    assert [flow.number for flow in flows] == [1, 2]
    assert flows[0].document["destinations"][1]["to"] == "sip:desk@pbx.example.com"


def test_r2_two_admins_who_edit_at_once_do_not_overwrite_each_other(server: Server, project: Project) -> None:
    scenario = create(server, project, SPRING)
    change(server, project, scenario, version=1, title="Alice was here")
    with pytest.raises(Problem) as problem:
        change(server, project, scenario, version=1, title="Bob was here")
    assert problem.value.status == 409
    assert document_of(server, scenario)["title"] == "Alice was here"


def test_r3_a_switch_keeps_everything_else(server: Server, project: Project) -> None:
    scenario = create(server, project, SPRING)
    before = document_of(server, scenario)
    with server.database.writing() as session:
        switch_scenario(Change(session, server, project, ALICE, NOON), scenario.id, False)
        switch_scenario(Change(session, server, project, ALICE, NOON), scenario.id, False)
    assert document_of(server, scenario) == before | {"enabled": False, "version": 2}


def test_r3_delete_hides_the_scenario_and_gives_its_numbers_back(server: Server, project: Project) -> None:
    scenario = create(server, project, SPRING)
    with server.database.writing() as session:
        _, freed = delete_scenario(Change(session, server, project, ALICE, NOON), scenario.id)
    assert freed == 2
    with server.database.reading() as session:
        kept = session.get_one(Scenario, scenario.id)
        assert (kept.deleted_at, kept.enabled) == (NOON, False)
        assert {one.last_flow_id for one in free_numbers(session, project.id)} == {None, kept.call_flow_id}
        with pytest.raises(Problem, match="no such scenario"):
            find_scenario(session, project, scenario.id)


def test_another_projects_scenario_does_not_exist(server: Server, project: Project) -> None:
    scenario = create(server, project, SPRING)
    with server.database.writing() as session:
        stranger = make_project(session, name="Zebra Windows")
    with pytest.raises(Problem) as problem:
        change(server, stranger, scenario, title="Mine now")
    assert problem.value.status == 404


def test_parts_of_upper_floors_are_stored_with_the_scenario_and_show_secrets_once(
    server: Server, project: Project
) -> None:
    server.scenario_parts.append(Notes())
    with server.database.writing() as session:
        scenario, secrets = create_scenario(
            Change(session, server, project, ALICE, NOON), {"title": "Spring", "notes": {"to": "us"}}
        )
    assert secrets == {"notes.secret": "shown once"}
    assert document_of(server, scenario)["notes"] == {"to": "us"}


def test_every_change_is_in_the_audit_trail(server: Server, project: Project) -> None:
    scenario = create(server, project, SPRING)
    change(server, project, scenario, title="Summer", aim="visit")
    with server.database.writing() as session:
        switch_scenario(Change(session, server, project, ALICE, NOON), scenario.id, False)
        delete_scenario(Change(session, server, project, ALICE, NOON), scenario.id)
    with server.database.reading() as session:
        entries = session.scalars(
            select(AuditEntry).where(AuditEntry.action.like("scenario.%")).order_by(AuditEntry.id)
        )
        trail = [(entry.actor, entry.action, entry.detail) for entry in entries]
    assert trail == [
        (ALICE.name, "scenario.created", {"enabled": True}),
        (ALICE.name, "scenario.changed", {"fields": ["aim", "title"]}),
        (ALICE.name, "scenario.disabled", {}),
        (ALICE.name, "scenario.deleted", {"numbers_freed": 2}),
    ]
