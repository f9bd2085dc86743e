"""R6: a scenario's overflow number is one of its numbers, and none of its pool."""

from datetime import timedelta
from typing import Any

from sqlalchemy import select, update

from router.accounts.audit import Change
from router.accounts.models import Project
from router.attribution.models import PoolNumber
from router.attribution.pool.numbers import follow_numbers
from router.attribution.upkeep.service import pool_size
from router.scenarios.billing.rent import keep_grace
from router.scenarios.documents import number_document, scenario_document
from router.scenarios.lint import lint, lint_stored
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.numbers.inventory import move_numbers
from router.scenarios.service import (
    change_scenario,
    create_scenario,
    delete_scenario,
    duplicate_scenario,
    switch_upkeep,
)
from router.scenarios.views import TableQuery, table_rows
from router.server import Server
from tests.factories import NOON
from tests.scenarios.names import FIRST, LINE, SECOND, THIRD
from tests.scenarios.test_scenarios import ALICE

SHOP: dict[str, Any] = {
    "title": "Shop",
    "numbers": [FIRST, SECOND],
    "flow": {"destinations": [{"to": LINE}]},
    "exhausted": "overflow",
    "overflow": THIRD,
}


def create(server: Server, project: Project, **values: Any) -> int:
    with server.database.writing() as session:
        return create_scenario(Change(session, server, project, ALICE, NOON), SHOP | values)[0].id


def change(server: Server, project: Project, scenario_id: int, **values: Any) -> dict[str, Any]:
    with server.database.writing() as session:
        scenario, _ = change_scenario(
            Change(session, server, project, ALICE, NOON), scenario_id, lambda present: present | values, None
        )
        return scenario_document(session, server, scenario)


def kinds(server: Server) -> dict[str, str | None]:
    with server.database.reading() as session:
        return {one.e164: number_document(one, NOON)["kind"] for one in session.scalars(select(TrackingNumber))}


def pooled(server: Server) -> set[str]:
    """The pool as it has to be; the signal that keeps it so is connected where the server is put together."""
    with server.database.writing() as session:
        follow_numbers(session, session.scalars(select(TrackingNumber.id)).all())
        return set(session.scalars(select(PoolNumber.e164).where(PoolNumber.scenario_id > 0)))


def test_r6_it_is_not_in_the_pool_and_counts_neither_as_dynamic_nor_as_static(server: Server, project: Project) -> None:
    scenario_id = create(server, project)
    assert kinds(server) == {FIRST: "dynamic", SECOND: "dynamic", THIRD: "overflow"}
    assert pooled(server) == {FIRST, SECOND}
    with server.database.writing() as session:
        [row], _ = table_rows(session, server, project, TableQuery(), NOON)
        assert (row.kind, row.dynamic, row.static, row.numbers) == ("dynamic", 2, 0, 3)
        assert table_rows(session, server, project, TableQuery(kind="dynamic", order="numbers"), NOON)[0]
        assert not table_rows(session, server, project, TableQuery(kind="mixed"), NOON)[0]
        assert pool_size(session, session.get_one(Scenario, scenario_id)) == 2
        assert switch_upkeep(Change(session, server, project, ALICE, NOON), scenario_id, True).upkeep_began_with == 2


def test_r6_a_number_can_become_it_and_be_lent_again(server: Server, project: Project) -> None:
    scenario_id = create(server, project)
    change(server, project, scenario_id, numbers=[SECOND, THIRD], overflow=FIRST)
    assert kinds(server) == {FIRST: "overflow", SECOND: "dynamic", THIRD: "dynamic"}
    assert pooled(server) == {SECOND, THIRD}
    document = change(server, project, scenario_id, overflow=None)
    assert (document["overflow"], document["numbers"]) == (None, [SECOND, THIRD])
    assert kinds(server)[FIRST] is None


def test_r6_moved_copied_and_deleted_it_is_an_ordinary_number_again(server: Server, project: Project) -> None:
    scenario_id, other_id = create(server, project), create(server, project, numbers=[], overflow=None, title="Other")
    with server.database.writing() as session:
        number = session.scalars(select(TrackingNumber).where(TrackingNumber.e164 == THIRD)).one()
        move_numbers(Change(session, server, project, ALICE, NOON), [number.id], other_id)
    assert kinds(server)[THIRD] == "dynamic"
    change(server, project, other_id, numbers=[], overflow=THIRD)
    with server.database.writing() as session:
        copy = duplicate_scenario(Change(session, server, project, ALICE, NOON), other_id)
        document = scenario_document(session, server, copy)
        assert (document["exhausted"], document["overflow"]) == ("overflow", None)
        delete_scenario(Change(session, server, project, ALICE, NOON), other_id)
    assert kinds(server)[THIRD] is None
    assert create(server, project, numbers=[THIRD], overflow=None) > scenario_id


def test_r4_its_grace_never_ends_with_being_given_back(server: Server, project: Project) -> None:
    create(server, project)
    with server.database.writing() as session:
        session.execute(update(Project).values(number_price_minor=100))
        session.execute(
            update(TrackingNumber)
            .where(TrackingNumber.e164.in_([SECOND, THIRD]))
            .values(owned_elsewhere=False, paid_until=NOON - timedelta(days=20))
        )
    keep_grace(server, project.id, NOON)
    with server.database.reading() as session:
        leaving = set(session.scalars(select(TrackingNumber.e164).where(TrackingNumber.releasing_at.is_not(None))))
    assert leaving == {SECOND}


def test_r2_an_overflow_that_is_missing_or_never_shown_is_pointed_out(server: Server, project: Project) -> None:
    scenario_id = create(server, project)

    def found(**values: Any) -> set[str]:
        document = change(server, project, scenario_id, **values)
        with server.database.writing() as session:
            stored = {one.code for one in lint_stored(session, server, project, [scenario_id])[scenario_id]}
            assert stored == {one.code for one in lint(session, server, project, scenario_id, document)}
        return stored & {"no_overflow", "unused_overflow", "no_numbers"}

    assert found() == set()
    assert found(overflow=None) == {"no_overflow"}
    assert found(overflow=THIRD, exhausted="share") == {"unused_overflow"}
    assert found(numbers=[], exhausted="overflow") == {"no_numbers"}
