"""Tracking numbers: in one project, in at most one scenario (R5)."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from router.accounts.audit import Change
from router.accounts.models import AuditEntry, Project
from router.db import Database
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.numbers.inventory import add_number, add_numbers, free_numbers, place_numbers, remove_number
from router.scenarios.service import create_scenario
from router.server import Server
from router.web.errors import Problem, Refused
from tests.factories import NOON, make_project
from tests.scenarios.names import ALICE, FIRST, LINE, SECOND, THIRD, number

SHOP = {"source": "shop window", "medium": "print", "campaign": ""}


def test_r5_a_number_is_read_with_the_projects_country(database: Database, server: Server, project: Project) -> None:
    with database.writing() as session:
        added = add_number(Change(session, server, project, ALICE, NOON), "(415) 555-0177")
    assert (added.e164, added.owned_elsewhere, added.scenario_id) == ("+14155550177", True, None)
    with database.reading() as session:
        assert session.scalars(select(AuditEntry.subject).order_by(AuditEntry.id)).all()[-1] == "+14155550177"


def test_junk_is_no_number(database: Database, server: Server, project: Project) -> None:
    with pytest.raises(Refused) as refusal, database.writing() as session:
        add_number(Change(session, server, project, ALICE, NOON), "call us")
    assert refusal.value.field == "e164"


def test_a_number_that_is_here_already_or_in_another_project_is_a_conflict(
    database: Database, server: Server, project: Project
) -> None:
    with database.writing() as session:
        make_project(session, name="Zebra Windows", numbers=("+14155550144",))
    for text, expected in ((FIRST, "of this project already"), ("+14155550144", "another project")):
        with pytest.raises(Problem, match=expected) as problem, database.writing() as session:
            add_number(Change(session, server, project, ALICE, NOON), text)
        assert problem.value.status == 409
        assert "Zebra" not in problem.value.detail, "one project never hears another's name"


def test_r5_a_line_that_calls_are_forwarded_to_cannot_become_a_tracking_number(
    server: Server, database: Database, project: Project
) -> None:
    flow = {"destinations": [{"to": LINE}]}
    with database.writing() as session:
        create_scenario(Change(session, server, project, ALICE, NOON), {"title": "Spring", "flow": flow})
    for line in (LINE, project.fallback_destination):
        with pytest.raises(Refused, match="Calls are forwarded"), database.writing() as session:
            add_number(Change(session, server, project, ALICE, NOON), line)


def test_r5_of_pasted_numbers_all_are_added_or_none_and_each_bad_line_is_named(
    database: Database, server: Server, project: Project
) -> None:
    lines = ["+14155550151", "nonsense", "+14155550151", FIRST, "+14155550152"]
    with pytest.raises(Refused) as refusal, database.writing() as session:
        add_numbers(Change(session, server, project, ALICE, NOON), lines)
    assert sorted(refusal.value.errors) == ["1", "2", "3"]
    with database.writing() as session:
        assert session.scalar(select(func.count(TrackingNumber.id))) == 3
        add_numbers(Change(session, server, project, ALICE, NOON), ["+14155550151", "415-555-0152"])
        assert session.scalar(select(func.count(TrackingNumber.id))) == 5


def test_r5_numbers_move_into_and_out_of_a_scenario_and_the_floors_above_hear_of_each_change(
    server: Server, database: Database, project: Project, changed: list[list[int]]
) -> None:
    with database.writing() as session:
        wanted = {"title": "Spring", "numbers": [FIRST, SECOND], "flow": {"destinations": [{"to": LINE}]}}
        scenario, _ = create_scenario(Change(session, server, project, ALICE, NOON), wanted)
        first, second, third = (number(session, e164).id for e164 in (FIRST, SECOND, THIRD))
        assert changed == [[first, second]]

        place_numbers(session, server, scenario, {FIRST: None, SECOND: None})
        assert len(changed) == 1, "nothing changed, so nothing is said"

        place_numbers(session, server, scenario, {FIRST: SHOP, SECOND: None})
        assert changed[1:] == [[first]], "a switch from dynamic to static changes the pool"

        place_numbers(session, server, scenario, {THIRD: None, SECOND: None})
        assert changed[2:] == [[first, third]]
        assert [free.e164 for free in free_numbers(session, project.id)] == [FIRST]


def test_r5_a_number_that_leaves_remembers_where_its_calls_went(
    server: Server, database: Database, project: Project
) -> None:
    """R12: a number in no scenario goes to its last destination."""
    with database.writing() as session:
        wanted = {"title": "Spring", "numbers": [FIRST], "flow": {"destinations": [{"to": LINE}]}}
        scenario, _ = create_scenario(
            Change(session, server, project, ALICE, NOON), wanted | {"static": {FIRST: {"source": "print"}}}
        )
        place_numbers(session, server, scenario, {})
        left = number(session, FIRST)
        assert (left.last_flow_id, left.static_source) == (scenario.call_flow_id, None)
        bare, _ = create_scenario(Change(session, server, project, ALICE, NOON), {"title": "Bare", "numbers": [FIRST]})
        place_numbers(session, server, bare, {})
        assert number(session, FIRST).last_flow_id == scenario.call_flow_id, "a scenario without flow forgets nothing"


def test_a_number_that_another_scenario_took_meanwhile_is_a_conflict(
    server: Server, database: Database, project: Project
) -> None:
    with database.writing() as session:
        create_scenario(Change(session, server, project, ALICE, NOON), {"title": "One", "numbers": [FIRST]})
        other, _ = create_scenario(Change(session, server, project, ALICE, NOON), {"title": "Two"})
    with pytest.raises(Problem) as problem, database.writing() as session:
        place_numbers(session, server, other, {FIRST: None})
    assert problem.value.status == 409


def test_r5_only_a_number_without_a_history_can_be_removed(
    server: Server, database: Database, project: Project
) -> None:
    def removal(e164: str, owner: Project = project) -> None:
        with database.writing() as session:
            remove_number(Change(session, server, owner, ALICE, NOON), number(session, e164).id)

    with database.writing() as session:
        stranger = make_project(session, name="Zebra Windows")
        create_scenario(Change(session, server, project, ALICE, NOON), {"title": "One", "numbers": [FIRST]})
        number(session, SECOND).calls = 1
    for e164, owner, status in ((FIRST, project, 409), (SECOND, project, 409), (THIRD, stranger, 404)):
        with pytest.raises(Problem) as problem:
            removal(e164, owner)
        assert problem.value.status == status
    removal(THIRD)
    with database.reading() as session:
        assert session.scalars(select(TrackingNumber.e164).order_by(TrackingNumber.id)).all() == [FIRST, SECOND]


def test_of_scenarios_that_reach_for_one_number_at_once_only_one_gets_it(
    server: Server, database: Database, project: Project
) -> None:
    def reach(index: int) -> bool:
        try:
            with database.writing() as session:
                wanted = {"title": f"Scenario {index}", "numbers": [FIRST, SECOND]}
                create_scenario(Change(session, server, project, ALICE, NOON), wanted)
        except (Refused, Problem):
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(reach, range(4))).count(True) == 1
    with database.reading() as session:
        assert len({number(session, e164).scenario_id for e164 in (FIRST, SECOND)}) == 1
        assert session.scalar(select(func.count(Scenario.id))) == 1, "who was refused left nothing behind"
