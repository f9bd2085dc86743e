"""R12: a change costs what it changed: after any changes the snapshot that followed them is the one that a whole load gives."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.db import Database
from router.scenarios.models import CallFlow, Scenario, TrackingNumber
from router.voice import loading
from router.voice import snapshot as module
from router.voice.models import RoutingChange, RoutingVersion
from router.voice.routing import find_route
from router.voice.snapshot import FLOW_KEPT, Snapshot, refresh
from tests.factories import NOON, make_flow, make_number, make_project, make_scenario
from tests.properties import examples
from tests.voice.test_snapshot import put_back

DIGITS = [f"+4930901820{i:02d}" for i in range(5)]
STAYING = "+493090182099"
"""Without it a state could be that of a database that has lost its numbers."""


@pytest.fixture
def world(database: Database) -> Database:
    """Two companies, the first with two scenarios."""
    with database.writing() as session:
        shop, other = make_project(session), make_project(session, key="k-other", name="Other")
        make_scenario(session, shop, DIGITS[:2])
        make_scenario(session, shop, [DIGITS[2]], title="Second")
        make_scenario(session, other, [DIGITS[3]], title="Others")
    return database


def changed(database: Database, work: Callable[[Session], Any]) -> None:
    with database.writing() as session:
        work(session)


def row_of(session: Session, at: int) -> TrackingNumber | None:
    """One of all rows of numbers, also of released ones, but the one that stays."""
    rows = session.scalars(
        select(TrackingNumber).where(TrackingNumber.e164 != STAYING).order_by(TrackingNumber.id)
    ).all()
    return rows[at % len(rows)] if rows else None


def scenario_of(session: Session, at: int) -> Scenario:
    scenarios = session.scalars(select(Scenario).order_by(Scenario.id)).all()
    return scenarios[at % len(scenarios)]


def project_of(session: Session, at: int) -> Project:
    return session.scalars(select(Project).order_by(Project.id)).all()[at % 2]


def is_here(session: Session, e164: str) -> bool:
    here = select(TrackingNumber).where(TrackingNumber.e164 == e164, TrackingNumber.released_at.is_(None))
    return session.scalars(here).first() is not None


def buy(session: Session, what: int, where: int) -> None:
    if not is_here(session, DIGITS[what % 5]):
        make_number(session, project_of(session, where), DIGITS[what % 5])


def release(session: Session, what: int, where: int) -> None:
    if number := row_of(session, what):
        number.scenario_id, number.released_at = None, NOON + timedelta(hours=where)


def rent_again(session: Session, what: int, _: int) -> None:
    number = row_of(session, what)
    if number and not is_here(session, number.e164):
        number.released_at = None


def move(session: Session, what: int, where: int) -> None:
    number, scenario = row_of(session, what), scenario_of(session, where)
    if number and number.released_at is None and number.project_id == scenario.project_id:
        number.scenario_id = None if number.scenario_id == scenario.id else scenario.id
        number.last_flow_id = scenario.call_flow_id


def become_static(session: Session, what: int, where: int) -> None:
    if number := row_of(session, what):
        static = {"source": "radio", "medium": "audio", "campaign": str(where)}
        number.static_source, number.overflow = static if where % 2 else None, bool(where % 3)


def write_otherwise(session: Session, what: int, where: int) -> None:
    """The digits of a number are corrected."""
    number, digits = row_of(session, what), DIGITS[where % 5]
    if number and (number.released_at is not None or not is_here(session, digits)):
        number.e164 = digits


def lose(session: Session, what: int, _: int) -> None:
    if number := row_of(session, what):
        session.delete(number)


def switch(session: Session, what: int, where: int) -> None:
    scenario = scenario_of(session, what)
    scenario.enabled, scenario.title, scenario.hold_seconds = not scenario.enabled, f"Title {where}", 60 + where


def delete_scenario(session: Session, what: int, _: int) -> None:
    scenario = scenario_of(session, what)
    scenario.enabled, scenario.deleted_at = False, NOON
    leaving = update(TrackingNumber).where(TrackingNumber.scenario_id == scenario.id)
    session.execute(leaving.values(scenario_id=None, last_flow_id=scenario.call_flow_id))


def new_flow(session: Session, what: int, where: int) -> None:
    scenario = scenario_of(session, what)
    present = session.scalar(select(func.count()).where(CallFlow.scenario_id == scenario.id)) or 0
    make_flow(session, scenario, [f"+1415555{present + 1:04d}"] if where % 4 else [])


def change_project(session: Session, what: int, where: int) -> None:
    project = project_of(session, what)
    if where % 3 == 0:
        project.fallback_destination = f"+141555501{where:02d}"
    elif where % 3 == 1:
        project.own_numbers = [{"number": f"+141555502{where:02d}", "remark": ""}]
    else:
        project.destination_numbers, project.repeat_credit = [f"+141555503{where:02d}"], "own_visit"


WORK = [
    *(buy, release, rent_again, move, become_static, write_otherwise, lose),
    *(switch, delete_scenario, new_flow, change_project),
]
STEPS = st.lists(st.tuples(st.sampled_from(WORK), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=4)


def equals_a_whole_load(database: Database, followed: Snapshot) -> None:
    whole = refresh(database, None, NOON)
    assert followed.version == whole.version
    assert followed.routes == whole.routes
    with database.reading() as session:
        assert all(find_route(session, number) == route for number, route in followed.routes.items())
    assert {flow_id: followed.flows[flow_id] for flow_id in whole.flows} == whole.flows
    assert not followed.replaced.keys() - followed.flows.keys()


@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(polls=st.lists(st.tuples(STEPS, st.integers(0, 30)), min_size=1, max_size=5), page=st.sampled_from([1, 2, 1000]))
def test_r12_after_any_changes_the_snapshot_that_followed_them_is_that_of_a_whole_load(
    world: Database, polls: list[tuple[list[tuple[Callable[..., None], int, int]], int]], page: int
) -> None:
    with world.writing() as session:
        if not is_here(session, STAYING):
            make_number(session, project_of(session, 0), STAYING)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loading, "PAGE", page)
        now = NOON
        followed = refresh(world, None, now)
        patched.setattr(module, "load_all", never)
        had: dict[int, tuple[Any, Any]] = {}
        for steps, hours in polls:
            for work, what, where in steps:
                changed(world, lambda session, work=work, what=what, where=where: work(session, what, where))
            now += timedelta(hours=hours)
            before, followed = followed, refresh(world, followed, now)
            had |= {route.flow_id: (now, route.flow) for route in before.routes.values() if route.flow_id is not None}
            for flow_id, (seen_at, _) in had.items():
                assert flow_id in followed.flows or now - seen_at >= FLOW_KEPT
        patched.undo()
    equals_a_whole_load(world, followed)


def test_r12_whoever_follows_while_many_change_misses_nothing(world: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    followed = refresh(world, None, NOON)
    monkeypatch.setattr(module, "load_all", never)
    errors: list[Exception] = []

    def change(seed: int) -> None:
        try:
            for turn in range(12):
                work = (switch, change_project, become_static, new_flow)[(seed + turn) % 4]
                # each thread has a scenario, or a number, of its own
                changed(world, lambda session, work=work, turn=turn: work(session, seed, turn))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=change, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        followed = refresh(world, followed, NOON)
    followed = refresh(world, followed, NOON)
    monkeypatch.undo()
    assert not errors
    equals_a_whole_load(world, followed)


def never(*_: Any) -> Any:
    raise AssertionError("all numbers were loaded")


def test_r12_only_the_numbers_that_a_change_concerns_are_loaded(
    world: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[set[str]] = []

    def load_some(session: Session, numbers: set[str], *rest: Any) -> loading.Loaded:
        loaded.append(set(numbers))
        return loading.load_some(session, numbers, *rest)

    followed = refresh(world, None, NOON)
    monkeypatch.setattr(module, "load_some", load_some)
    monkeypatch.setattr(module, "load_all", never)
    for work, numbers in (
        (lambda session: switch(session, 0, 1), set(DIGITS[:2])),
        (lambda session: change_project(session, 0, 0), set(DIGITS[:3])),
        (lambda session: change_project(session, 1, 0), {DIGITS[3]}),
        (lambda session: buy(session, 4, 0), {DIGITS[4]}),
        (lambda session: release(session, 4, 0), {DIGITS[4]}),
        (lambda session: make_project(session, key="k-third"), set()),
    ):
        changed(world, work)
        before, followed = followed, refresh(world, followed, NOON)
        assert loaded.pop() == numbers
        for number in before.routes.keys() - numbers:
            assert followed.routes[number] is before.routes[number]
    monkeypatch.undo()
    equals_a_whole_load(world, followed)


def test_r12_numbers_go_on_sharing_what_they_have_in_common(world: Database) -> None:
    followed = refresh(world, None, NOON)
    changed(world, lambda session: become_static(session, 1, 1))
    followed = refresh(world, followed, NOON)
    first, second = (followed.routes[number] for number in DIGITS[:2])
    assert second.static_source is not None
    assert first.flow is second.flow
    assert first.own_lines is second.own_lines


def test_r12_a_flow_that_one_number_has_left_stays_for_the_others_for_as_long_as_they_have_it(world: Database) -> None:
    followed = refresh(world, None, NOON)
    flow_id = followed.routes[DIGITS[0]].flow_id
    assert flow_id is not None
    changed(world, lambda session: release(session, 0, 0))
    followed = refresh(world, followed, NOON)
    assert followed.routes[DIGITS[0]].flow_id is None
    assert followed.routes[DIGITS[1]].flow_id == flow_id
    for days in (2, 4):
        changed(world, lambda session: switch(session, 2, 1))
        followed = refresh(world, followed, NOON + timedelta(days=days))
        assert followed.flows[flow_id] is followed.routes[DIGITS[1]].flow
    changed(world, lambda session: new_flow(session, 0, 1))
    followed = refresh(world, followed, NOON + timedelta(days=6))
    assert flow_id in followed.flows
    changed(world, lambda session: switch(session, 2, 1))
    followed = refresh(world, followed, NOON + timedelta(days=7))
    assert flow_id not in followed.flows


def test_r12_a_flow_that_all_numbers_have_left_stays_a_day_also_when_all_are_loaded(world: Database) -> None:
    first = refresh(world, None, NOON)
    flow_id = first.routes[DIGITS[0]].flow_id
    assert flow_id is not None
    changed(world, lambda session: release(session, 0, 0))
    followed = refresh(world, first, NOON)
    changed(world, lambda session: new_flow(session, 0, 1))
    for hours, is_kept in ((23, True), (46, True), (47, False)):
        changed(world, lambda session: session.execute(delete(RoutingChange)))
        changed(world, lambda session: switch(session, 2, 1))
        followed = refresh(world, followed, NOON + timedelta(hours=hours))
        assert (flow_id in followed.flows) is is_kept


def test_r12_of_two_companies_that_had_a_number_the_last_one_is_rung(world: Database) -> None:
    """Its row may be the older one."""
    followed = refresh(world, None, NOON)
    changed(world, lambda session: release(session, 0, 5))
    changed(world, lambda session: buy(session, 0, 1))
    followed = refresh(world, followed, NOON)
    equals_a_whole_load(world, followed)
    changed(world, lambda session: release(session, 4, 1))
    followed = refresh(world, followed, NOON)
    equals_a_whole_load(world, followed)
    with world.reading() as session:
        assert followed.routes[DIGITS[0]].project_id == project_of(session, 0).id


LOST_TRACK: dict[str, Callable[[Session], Any]] = {
    "the notes do not reach back": lambda session: session.execute(
        delete(RoutingChange).where(
            RoutingChange.version <= select(func.max(RoutingVersion.version)).scalar_subquery() - 1
        )
    ),
    "a change was not noted": lambda session: session.execute(
        update(RoutingVersion).values(version=RoutingVersion.version + 1)
    ),
    "a later program noted what this one does not know": lambda session: session.execute(
        insert(RoutingChange).values(
            version=select(func.max(RoutingVersion.version)).scalar_subquery(), kind="x", key="1", token=""
        )
    ),
}


@pytest.mark.parametrize("how", sorted(LOST_TRACK))
def test_r12_whoever_cannot_know_what_has_changed_loads_all(
    world: Database, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = refresh(world, None, NOON)
    changed(world, lambda session: switch(session, 0, 1))
    changed(world, lambda session: switch(session, 1, 1))
    changed(world, LOST_TRACK[how])
    equals_a_whole_load(world, refresh(world, followed, NOON))
    monkeypatch.setattr(module, "load_all", never)
    with pytest.raises(AssertionError, match="all numbers"):
        refresh(world, followed, NOON)


def test_r12_after_a_restore_also_what_the_lost_versions_had_changed_is_loaded(
    world: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database has gone on beyond the lost versions: what it notes since them is not all that differs."""
    before = refresh(world, None, NOON)
    changed(world, lambda session: become_static(session, 3, 1))
    lost = refresh(world, before, NOON)
    put_back(world, before.version, before.token)
    changed(world, lambda session: become_static(session, 3, 0))  # as it was
    for title in range(3):
        changed(world, lambda session, title=title: switch(session, 0, title))
    equals_a_whole_load(world, refresh(world, lost, NOON))
    monkeypatch.setattr(module, "load_all", never)
    with pytest.raises(AssertionError, match="all numbers"):
        refresh(world, lost, NOON)


def test_r12_many_changes_are_read_at_once(world: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "MOST_CHANGES", 2)
    followed = refresh(world, None, NOON)
    for title in range(4):
        changed(world, lambda session, title=title: switch(session, 0, title))
    equals_a_whole_load(world, refresh(world, followed, NOON))
    monkeypatch.setattr(module, "load_all", never)
    with pytest.raises(AssertionError, match="all numbers"):
        refresh(world, followed, NOON)


def test_r12_what_was_noted_long_ago_is_removed(world: Database) -> None:
    with world.writing() as session:
        session.execute(update(RoutingVersion).values(version=100_000))
        session.execute(insert(RoutingChange).values(version=20_000, kind="scenario", key="1", token=""))
        session.execute(insert(RoutingChange).values(version=99_900, kind="scenario", key="1", token=""))
    changed(world, lambda session: switch(session, 0, 1))
    with world.reading() as session:
        versions = session.scalars(select(RoutingChange.version).order_by(RoutingChange.version)).all()
    assert versions[0] == 99_900
    assert versions[-1] > 100_000


def test_r12_an_admin_changes_scenarios_also_while_the_version_is_lost(world: Database) -> None:
    changed(world, lambda session: session.execute(delete(RoutingVersion)))
    changed(world, lambda session: switch(session, 0, 1))
    changed(world, lambda session: buy(session, 4, 0))


def test_r12_pages_are_loaded_with_pauses_between_them(world: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "PAGE", 1)
    pauses: list[None] = []
    refresh(world, None, NOON, lambda: pauses.append(None))
    assert len(pauses) >= 2 * len(DIGITS[:4]), "for each number when it is read and when its route is made"
