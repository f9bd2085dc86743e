"""The lines that a project's scenarios forward calls to are its own telephones without being typed (R10), and a project knows them."""

import threading
from typing import Any

import pytest

from router.accounts.audit import Change
from router.accounts.models import Project
from router.scenarios.flows import refresh_destination_numbers
from router.scenarios.models import Scenario
from router.scenarios.service import change_scenario, create_scenario, delete_with_numbers, duplicate_scenario
from router.server import Server
from tests.factories import NOON, make_project
from tests.scenarios.names import ALICE, FIRST, SECOND

DESK, MOBILE, SHOP = "+14155550131", "+14155550132", "+14155550133"


@pytest.fixture
def project(server: Server) -> Project:
    with server.database.writing() as session:
        return make_project(session, (FIRST, SECOND))


def known(server: Server, project: Project) -> list[str]:
    with server.database.reading() as session:
        return session.get_one(Project, project.id).destination_numbers


def flow(*destinations: str) -> dict[str, Any]:
    return {"destinations": [{"to": to, "ring_seconds": 20} for to in destinations]}


def create(server: Server, project: Project, *destinations: str, numbers: tuple[str, ...] = ()) -> Scenario:
    document = {"title": "Main line", "numbers": list(numbers)} | (
        {"flow": flow(*destinations)} if destinations else {}
    )
    with server.database.writing() as session:
        return create_scenario(Change(session, server, project, ALICE, NOON), document)[0]


def redirect(server: Server, project: Project, scenario: Scenario, *destinations: str) -> None:
    with server.database.writing() as session:
        change_scenario(
            Change(session, server, project, ALICE, NOON),
            scenario.id,
            lambda before: before | {"flow": flow(*destinations)},
            None,
        )


def test_a_destination_is_known_as_soon_as_its_scenario_is_saved(server: Server, project: Project) -> None:
    scenario = create(server, project, MOBILE, "sip:+14155550131@pbx.example.com", "sip:sales@pbx.example.com")
    assert known(server, project) == [DESK, MOBILE]
    redirect(server, project, scenario, SHOP)
    assert known(server, project) == [SHOP]


def test_scenarios_add_up_and_other_projects_stay_apart(server: Server, project: Project) -> None:
    with server.database.writing() as session:
        other = make_project(session, name="Charlie's Garage")
    create(server, project, DESK)
    create(server, project, MOBILE)
    create(server, other, SHOP)
    assert known(server, project) == [DESK, MOBILE]
    assert known(server, other) == [SHOP]


def test_a_copy_of_a_scenario_and_one_without_destinations_change_nothing(server: Server, project: Project) -> None:
    scenario = create(server, project, DESK)
    create(server, project)
    with server.database.writing() as session:
        duplicate_scenario(Change(session, server, project, ALICE, NOON), scenario.id)
    assert known(server, project) == [DESK]


def test_where_the_numbers_of_a_deleted_scenario_still_ring_is_known_and_all_else_is_forgotten(
    server: Server, project: Project
) -> None:
    kept, gone = create(server, project, DESK, numbers=(FIRST,)), create(server, project, MOBILE)
    for scenario in (kept, gone):
        with server.database.writing() as session:
            delete_with_numbers(Change(session, server, project, ALICE, NOON), scenario.id, False)
    refresh_destination_numbers(server, NOON)
    assert known(server, project) == [DESK]


def test_the_worker_heals_what_was_written_beside_the_rules(server: Server, project: Project) -> None:
    create(server, project, DESK)
    with server.database.writing() as session:
        session.get_one(Project, project.id).destination_numbers = [MOBILE]
    refresh_destination_numbers(server, NOON)
    assert known(server, project) == [DESK]


def test_two_scenarios_that_are_saved_at_once_are_both_known(server: Server, project: Project) -> None:
    first, second = create(server, project, DESK), create(server, project, DESK)
    together = threading.Barrier(2)

    def save(scenario: Scenario, line: str) -> None:
        together.wait()
        redirect(server, project, scenario, line)

    threads = [threading.Thread(target=save, args=one) for one in ((first, MOBILE), (second, SHOP))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert known(server, project) == [MOBILE, SHOP]
