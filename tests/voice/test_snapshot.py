"""R12: the snapshot in memory leads each call where the database would, follows every change, and is never replaced by something worse."""

import fcntl
import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.carriers.base import InboundCall
from router.db import Database
from router.lib.crypto import KeyRing
from router.lib.phones import read_caller
from router.scenarios.models import CallFlow, Holiday, Scenario, TrackingNumber
from router.voice import snapshot as module
from router.voice.blocking.rules import OPEN_TO_ALL
from router.voice.following import RoutingFollower
from router.voice.models import BlockedCaller, RoutingChange, RoutingVersion
from router.voice.routing import find_route_of_call
from router.voice.snapshot import (
    NEWEST,
    OLDER,
    Snapshot,
    SnapshotRefused,
    SnapshotUnreadable,
    parse_snapshot,
    read_snapshot,
    refresh,
    write_snapshot,
)
from tests.factories import NOON, make_blocked_caller, make_flow, make_number, make_project, make_scenario
from tests.properties import examples

KEYS = KeyRing(("first key", "older key"))
DIGITS = [f"+4930901820{i:02d}" for i in range(6)]


def call_to(
    number: str | None, *others: str, anywhere: tuple[str, ...] = (), forwarded: str | None = None
) -> InboundCall:
    caller, dialled = read_caller("+4915112345678"), number or "03090182001"
    return InboundCall("CA1", "AC1", caller, number, dialled, others, anywhere, forwarded_from=forwarded)


def fill(session: Session) -> None:
    """Two companies: a scenario with two numbers, a free number, one without a scenario, one that two companies had."""
    shop = make_project(session)
    scenario = make_scenario(session, shop, DIGITS[:2], destinations=["+493012345678", "sip:desk@shop.example"])
    make_number(session, shop, DIGITS[2]).last_flow_id = scenario.call_flow_id
    make_number(session, shop, DIGITS[3])
    make_number(session, shop, DIGITS[4]).released_at = NOON
    other = make_project(session, key="k-other", name="Other", fallback_destination="+14155550122")
    other.own_numbers = [{"number": "+14155550123", "remark": "desk"}]
    static = {"source": "flyer", "medium": "print", "campaign": ""}
    make_scenario(session, other, [DIGITS[5]], static=static, title="Print", enabled=False)
    make_number(session, other, DIGITS[4]).released_at = NOON + timedelta(days=1)


def changed(database: Database, work: Callable[[Session], Any]) -> None:
    with database.writing() as session:
        work(session)


@pytest.fixture
def world(database: Database) -> Database:
    changed(database, fill)
    return database


CALLS = st.builds(
    lambda first, others, anywhere, forwarded: call_to(first, *others, anywhere=tuple(anywhere), forwarded=forwarded),
    st.sampled_from([None, "+14155550199", *DIGITS]),
    st.lists(st.sampled_from(["+14155550199", *DIGITS]), max_size=2),
    st.lists(st.sampled_from(["+14155550199", "+14155550198", *DIGITS]), max_size=4, unique=True),
    st.sampled_from([None, "+14155550199", *DIGITS]),
)


def moved(session: Session, digits: str, project: int) -> None:
    session.execute(
        update(TrackingNumber).where(TrackingNumber.e164 == digits).values(released_at=NOON, scenario_id=None)
    )
    found = session.scalars(select(Project).order_by(Project.id)).all()[project]
    make_number(session, found, digits)


CHANGES: dict[str, Callable[[Session], Any]] = {
    "a scenario is switched": lambda session: session.execute(update(Scenario).values(enabled=~Scenario.enabled)),
    "a number leaves its scenario": lambda session: session.execute(
        update(TrackingNumber).where(TrackingNumber.e164 == DIGITS[0]).values(scenario_id=None)
    ),
    "a number goes to the other company": lambda session: moved(session, DIGITS[1], 1),
    "a number comes back": lambda session: moved(session, DIGITS[1], 0),
    "a number becomes static": lambda session: session.execute(
        update(TrackingNumber)
        .where(TrackingNumber.e164 == DIGITS[0])
        .values(static_source={"source": "radio", "medium": "audio", "campaign": ""})
    ),
    "a number becomes the overflow": lambda session: session.execute(
        update(TrackingNumber).where(TrackingNumber.e164 == DIGITS[0]).values(overflow=True)
    ),
    "the fallback line is another": lambda session: session.execute(
        update(Project).values(fallback_destination="+14155550177")
    ),
    "repeat calls are credited otherwise": lambda session: session.execute(
        update(Project).values(repeat_credit="own_visit")
    ),
    "own telephones": lambda session: session.execute(
        update(Project).values(own_numbers=[{"number": "+14155550155", "remark": ""}])
    ),
    "forwarded elsewhere": lambda session: session.execute(
        update(Project).values(destination_numbers=["+14155550133"])
    ),
    "withheld numbers are blocked": lambda session: session.execute(update(Project).values(block_withheld=True)),
    "forged numbers are blocked": lambda session: session.execute(
        update(Project).values(block_failed_verification=True)
    ),
    "a blocked caller hears a sentence": lambda session: session.execute(
        update(Project).values(blocked_answer="sentence", blocked_sentence="No.")
    ),
    "fewer calls at a time": lambda session: session.execute(update(Project).values(calls_per_caller=1)),
    "fewer calls to a number": lambda session: session.execute(update(Project).values(calls_per_number=7)),
    "a caller is blocked": lambda session: block_list(session, "+493012345678", "+882*"),
    "a guess is taken back": lambda session: block_list(session, "+4930*", taken_back_at=NOON),
    "another time zone": lambda session: session.execute(update(Project).values(timezone="Asia/Kolkata")),
    "a holiday": lambda session: a_holiday(session),
    "a title": lambda session: session.execute(update(Scenario).values(title="Desk")),
    "a hold": lambda session: session.execute(update(Scenario).values(hold_seconds=77)),
}


def a_holiday(session: Session) -> None:
    project = session.query(Project).order_by(Project.id).limit(1).one()
    if not session.query(Holiday).count():
        session.add(Holiday(project_id=project.id, day="2026-12-25", name="Christmas"))
    project.list_version += 1


def block_list(session: Session, *patterns: str, **fields: Any) -> None:
    """The list of the first company is this, and the snapshot is told as the service does."""
    project = session.query(Project).order_by(Project.id).limit(1).one()
    session.execute(delete(BlockedCaller))
    for pattern in ("*0000", *patterns):
        make_blocked_caller(session, project, pattern, **(fields if pattern in patterns else {}))
    project.list_version += 1


def new_flow(session: Session) -> None:
    scenario = session.query(Scenario).order_by(Scenario.id).limit(1).one()
    present = session.query(CallFlow).filter_by(scenario_id=scenario.id).count()
    make_flow(session, scenario, [f"+1415555{present + 1:04d}"], ring_seconds=25)


CHANGES["a new version of the flow"] = new_flow


def leads_as_the_database(database: Database, snapshot: Snapshot, calls: list[InboundCall]) -> None:
    with database.reading() as session:
        for call in calls:
            assert snapshot.find_route_of_call(call) == find_route_of_call(session, call)


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.sampled_from(sorted(CHANGES)), min_size=1, max_size=4),
    calls=st.lists(CALLS, min_size=1, max_size=8),
)
def test_r12_after_any_changes_each_call_is_led_where_the_database_leads_it(
    world: Database, names: list[str], calls: list[InboundCall]
) -> None:
    before = refresh(world, None, NOON)
    for name in names:
        changed(world, CHANGES[name])
    after = refresh(world, before, NOON)
    leads_as_the_database(world, after, calls)


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_r12_every_change_that_an_answer_depends_on_is_seen(world: Database, name: str) -> None:
    before = refresh(world, None, NOON)
    changed(world, CHANGES[name])
    after = refresh(world, before, NOON)
    assert after.version > before.version
    assert after.routes != before.routes


def test_r12_nothing_is_loaded_again_when_nothing_has_changed(world: Database) -> None:
    before = refresh(world, None, NOON)
    changed(world, lambda session: session.execute(update(TrackingNumber).values(calls=7, last_call_at=NOON)))
    changed(world, lambda session: session.execute(update(Project).values(balance_minor=100)))
    assert refresh(world, before, NOON) is before


def test_r12_a_change_that_is_taken_back_counts_for_nothing(world: Database) -> None:
    before = refresh(world, None, NOON)
    with world.writing() as session:
        session.execute(update(Scenario).values(enabled=False))
        session.flush()
        session.rollback()
    assert refresh(world, before, NOON) is before


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_r12_two_changes_at_once_are_both_seen_and_neither_waits_for_the_other(world: Database) -> None:
    """Both change what answers depend on, and then want what the other one has locked until its end: nothing but their ends meet."""
    before = refresh(world, None, NOON)
    barrier, errors = threading.Barrier(2, timeout=30), []

    def change(first: int, second: int, title: str) -> None:
        try:
            with world.writing() as session:
                projects = session.scalars(select(Project).order_by(Project.id)).all()
                session.execute(update(Scenario).where(Scenario.project_id == projects[first].id).values(title=title))
                barrier.wait()
                session.execute(
                    update(Project).where(Project.id == projects[first].id).values(repeat_credit="own_visit")
                )
                barrier.wait()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=change, args=args) for args in ((0, 1, "one"), (1, 0, "two"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    after = refresh(world, before, NOON)
    assert {route.scenario_title for route in after.routes.values()} >= {"one", "two"}
    assert after.version >= before.version + 2


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_r12_a_transaction_of_many_changes_raises_the_version_once(world: Database) -> None:
    before = refresh(world, None, NOON)

    def many(session: Session) -> None:
        for title in "abcdef":
            session.execute(update(Scenario).values(title=title))

    changed(world, many)
    assert refresh(world, before, NOON).version == before.version + 1


def test_r12_another_installation_an_older_state_and_an_emptied_one_are_refused(world: Database) -> None:
    present = refresh(world, None, NOON)
    for better in (
        replace(present, installation="00000000-0000-0000-0000-000000000000"),
        replace(present, version=present.version + 5),
    ):
        with pytest.raises(SnapshotRefused, match=NEWEST):
            refresh(world, better, NOON)

    def empty(session: Session) -> None:
        session.execute(delete(TrackingNumber))

    changed(world, empty)
    with pytest.raises(SnapshotRefused, match="no numbers"):
        refresh(world, present, NOON)


def put_back(database: Database, version: int, token: str) -> None:
    """As a restore does, which writes rows and triggers anew."""
    if database.is_sqlite:
        changed(database, lambda session: session.execute(text("DROP TRIGGER renew_routing_token")))
        changed(database, lambda session: session.execute(update(RoutingVersion).values(version=version, token=token)))
        with database.writing() as session:
            session.execute(
                text(
                    "CREATE TRIGGER renew_routing_token AFTER UPDATE OF version ON routing_version"
                    " BEGIN UPDATE routing_version SET token = lower(hex(randomblob(16))); END"
                )
            )
        return
    changed(database, lambda session: session.execute(update(RoutingVersion).values(version=version)))
    changed(database, lambda session: session.execute(update(RoutingVersion).values(token=token)))


def titled(database: Database, title: str) -> None:
    changed(database, lambda session: session.execute(update(Scenario).values(title=title)))


def test_r12_each_version_has_a_token_of_its_own(world: Database) -> None:
    states = [refresh(world, None, NOON)]
    for title in "abc":
        titled(world, title)
        states.append(refresh(world, states[-1], NOON))
    assert len({state.token for state in states}) == 4
    versions = {state.version: state.token for state in states}
    assert {version: token for version, token in states[-1].seen.items() if version in versions} == {
        state.version: state.token for state in states[:-1]
    }
    with world.reading() as session:
        noted = dict(session.execute(select(RoutingChange.version, RoutingChange.token)).all())
    assert states[-1].seen == {version: noted[version] for version in range(states[0].version, states[-1].version)}


def test_r12_a_restored_database_is_followed_as_soon_as_it_has_changed_and_a_lagging_replica_is_not(
    world: Database, tmp_path: Path
) -> None:
    states = [refresh(world, None, NOON)]
    for title in "abc":
        titled(world, title)
        states.append(refresh(world, states[-1], NOON))
    write_snapshot(tmp_path, states[-1], KEYS)
    present = read_snapshot(tmp_path, KEYS)
    assert present == states[-1]
    for before in states[:-1]:  # a replica that lags says what was so then
        put_back(world, before.version, before.token)
        with pytest.raises(SnapshotRefused, match="--accept-restore"):
            refresh(world, present, NOON)
    put_back(world, states[0].version, states[0].token)
    titled(world, "restored")
    later = refresh(world, present, NOON)
    assert (later.version, later.goes_back(present)) == (states[1].version, True)
    assert {route.scenario_title for route in later.routes.values() if route.scenario_title} == {"restored"}
    assert refresh(world, later, NOON) is later


def test_r12_another_state_at_the_same_version_is_loaded_and_told(world: Database, tmp_path: Path) -> None:
    follower = RoutingFollower(world, tmp_path, KEYS, lambda: NOON)
    follower.refresh()
    before = follower.snapshot
    assert before is not None
    titled(world, "lost")
    follower.refresh()
    put_back(world, before.version, before.token)
    titled(world, "restored")
    follower.refresh()
    assert follower.snapshot is not None
    assert "restored" in {route.scenario_title for route in follower.snapshot.routes.values()}
    assert follower.fault == ""
    assert f"to another state at version {follower.snapshot.version}" in follower.notice
    assert read_snapshot(tmp_path, KEYS) == follower.snapshot


def test_r12_a_file_of_the_program_before_is_read_and_nobody_says_that_the_database_was_put_back(
    world: Database, tmp_path: Path
) -> None:
    present = refresh(world, None, NOON)
    write_snapshot(tmp_path, present, KEYS)
    head, body = module._parts((tmp_path / NEWEST).read_bytes())
    del head["token"]
    content = json.dumps(head).encode() + b"\n" + body
    (tmp_path / NEWEST).write_bytes(module._checksum(content) + b"\n" + content)
    old = read_snapshot(tmp_path, KEYS)
    assert old == replace(present, token="")
    assert not refresh(world, old, NOON).goes_back(old)
    assert refresh(world, old, NOON).token == present.token


def test_r12_a_file_of_the_format_before_is_read(world: Database, tmp_path: Path) -> None:
    first = refresh(world, None, NOON)
    changed(world, CHANGES["a new version of the flow"])
    snapshot = refresh(world, first, NOON)
    assert write_snapshot(tmp_path, snapshot, KEYS)
    _, head, first_line, *pages = (tmp_path / NEWEST).read_bytes().split(b"\n")
    body = json.loads(first_line)
    del body["guards"], body["holidays"]
    for common in body["common"]:
        del common["guard"], common["holidays"], common["zone"], common["is_released"]
    lines = [json.dumps(json.loads(head) | {"format": 3}).encode(), json.dumps(body).encode(), *pages]
    content = b"\n".join(lines)
    (tmp_path / NEWEST).write_bytes(module._checksum(content) + b"\n" + content)
    assert snapshot.replaced
    unsaid = {"guard": OPEN_TO_ALL, "zone": "UTC", "is_released": False}
    before = {number: replace(route, **unsaid) for number, route in snapshot.routes.items()}
    assert read_snapshot(tmp_path, KEYS) == replace(snapshot, routes=before)
    assert write_snapshot(tmp_path, snapshot, KEYS)
    assert b'"format": 4' in (tmp_path / NEWEST).read_bytes()


def test_r12_a_database_without_numbers_is_a_snapshot_too(database: Database) -> None:
    empty = refresh(database, None, NOON)
    assert not empty.routes
    changed(database, fill)
    assert refresh(database, empty, NOON).routes


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_r12_a_database_without_a_version_says_so(world: Database) -> None:
    changed(world, lambda session: session.execute(delete(RoutingVersion)))
    with pytest.raises(SnapshotRefused, match="routing_version"):
        refresh(world, None, NOON)


def test_r12_the_file_gives_back_the_same_snapshot(world: Database, tmp_path: Path) -> None:
    snapshot = refresh(world, None, NOON)
    write_snapshot(tmp_path / "routing", snapshot, KEYS)
    assert read_snapshot(tmp_path / "routing", KEYS) == snapshot
    assert (tmp_path / "routing" / NEWEST).stat().st_mode & 0o777 == 0o600
    rotated = KeyRing(("newest key", "first key"))
    assert read_snapshot(tmp_path / "routing", rotated) == snapshot
    assert read_snapshot(tmp_path / "elsewhere", KEYS) is None


def test_r12_the_older_file_serves_while_the_newest_cannot_be_read(world: Database, tmp_path: Path) -> None:
    folder = tmp_path / "routing"
    first = refresh(world, None, NOON)
    write_snapshot(folder, first, KEYS)
    changed(world, CHANGES["a title"])
    second = refresh(world, first, NOON)
    write_snapshot(folder, second, KEYS)
    assert read_snapshot(folder, KEYS) == second
    (folder / NEWEST).write_bytes((folder / NEWEST).read_bytes()[:-20])
    assert read_snapshot(folder, KEYS) == first
    (folder / OLDER).write_bytes(b"")
    assert read_snapshot(folder, KEYS) is None
    assert sorted(file.name for file in folder.iterdir()) == [NEWEST, OLDER]


def test_r12_a_process_that_is_behind_replaces_no_later_file(world: Database, tmp_path: Path) -> None:
    first = refresh(world, None, NOON)
    changed(world, CHANGES["a title"])
    second = refresh(world, first, NOON)
    write_snapshot(tmp_path, second, KEYS)
    write_snapshot(tmp_path, first, KEYS)
    assert read_snapshot(tmp_path, KEYS) == second
    other = replace(first, installation="00000000-0000-0000-0000-000000000000")
    write_snapshot(tmp_path, other, KEYS)
    assert read_snapshot(tmp_path, KEYS) == other, "of another installation nothing is later"
    write_snapshot(tmp_path, first, KeyRing(("third key",)))
    assert read_snapshot(tmp_path, KeyRing(("third key",))) == first, "nor of another key"


def test_r12_one_process_writes_the_file_at_a_time(world: Database, tmp_path: Path) -> None:
    snapshot = refresh(world, None, NOON)
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    assert not write_snapshot(tmp_path, snapshot, KEYS)
    assert read_snapshot(tmp_path, KEYS) is None
    os.close(other)
    assert write_snapshot(tmp_path, snapshot, KEYS)
    assert read_snapshot(tmp_path, KEYS) == snapshot


def test_r12_a_file_of_many_numbers_is_written_in_pages_with_pauses(
    world: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    snapshot, pauses = refresh(world, None, NOON), []
    write_snapshot(tmp_path, snapshot, KEYS, lambda: pauses.append(None))
    assert len(pauses) >= len(snapshot.routes) - 1
    assert read_snapshot(tmp_path, KEYS) == snapshot


def test_r12_a_file_of_another_key_or_format_is_not_used(
    world: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_snapshot(tmp_path, refresh(world, None, NOON), KEYS)
    data = (tmp_path / NEWEST).read_bytes()
    with pytest.raises(SnapshotUnreadable, match="another ROUTER_SECRET_KEY"):
        parse_snapshot(data, KeyRing(("stranger",)))
    monkeypatch.setattr(module, "FORMAT", 9)
    with pytest.raises(SnapshotUnreadable, match="its format is 4, this program reads 9"):
        parse_snapshot(data, KEYS)


def test_r12_a_file_whose_routes_this_program_cannot_read_keeps_no_process_from_starting(
    world: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a program writes it that is newer by a field."""
    first = refresh(world, None, NOON)
    write_snapshot(tmp_path, first, KEYS)
    write_snapshot(tmp_path, replace(first, version=first.version + 1), KEYS)
    head, body = module._parts((tmp_path / NEWEST).read_bytes())
    content = json.dumps(head).encode() + b"\n" + body.replace(b'"fallback"', b'"fall_back"')
    (tmp_path / NEWEST).write_bytes(module._checksum(content) + b"\n" + content)
    assert read_snapshot(tmp_path, KEYS) == first


@settings(max_examples=examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), new=st.binary(max_size=8), old=st.integers(0, 8))
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_r12_no_damage_of_the_body_passes_for_a_snapshot(
    world: Database, tmp_path: Path, place: float, new: bytes, old: int
) -> None:
    snapshot = refresh(world, None, NOON)
    write_snapshot(tmp_path, snapshot, KEYS)
    data = (tmp_path / NEWEST).read_bytes()
    at = int(place * len(data))
    damaged = data[:at] + new + data[at + old :]
    try:
        assert parse_snapshot(damaged, KEYS) == snapshot, "only what says the same is one"
    except SnapshotUnreadable:
        assert damaged != data
