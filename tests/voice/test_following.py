"""R12: a process follows the database's routes, and knows where calls lead when the database is slow, away, or was never there."""

import fcntl
import logging
import os
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import text, update

from router.db import Database
from router.lib.crypto import KeyRing
from router.scenarios.models import Scenario
from router.voice import following, lookups
from router.voice.following import RoutingFollower
from router.voice.lookups import Lookups
from router.voice.snapshot import NEWEST, read_snapshot
from tests.factories import NOON, make_number, make_project, make_scenario
from tests.voice.test_snapshot import KEYS, call_to
from tests.waiting import eventually

NUMBER, LATER = "+12125552001", "+12125552002"


def now() -> datetime:
    return NOON


@pytest.fixture
def world(database: Database) -> Database:
    with database.writing() as session:
        make_scenario(session, make_project(session), [NUMBER])
    return database


@pytest.fixture
def routing(world: Database, tmp_path: Path) -> Iterator[RoutingFollower]:
    routing = RoutingFollower(world, tmp_path / "routing", KEYS, now)
    yield routing
    routing.stop(wait_seconds=10)  # before the database goes


def titled(database: Database, title: str) -> None:
    with database.writing() as session:
        session.execute(update(Scenario).values(title=title))


def away(database: Database) -> None:
    """Nothing that routes need can be read any more."""
    with database.writing() as session:
        session.execute(text("ALTER TABLE routing_version RENAME TO gone"))


def back(database: Database) -> None:
    with database.writing() as session:
        session.execute(text("ALTER TABLE gone RENAME TO routing_version"))


def title_of(routing: RoutingFollower) -> str | None:
    route = routing.known_route(call_to(NUMBER))
    return route.scenario_title if route else None


def test_r12_a_change_counts_within_two_seconds(
    world: Database, routing: RoutingFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.05)
    routing.start()
    assert title_of(routing) == "Main line"
    titled(world, "Desk")
    eventually(lambda: title_of(routing) == "Desk")


def test_r12_the_poll_leaves_time_for_a_change_to_count_within_two_seconds() -> None:
    assert following.POLL_SECONDS <= 1


def test_r12_while_the_database_is_away_calls_are_led_as_before_and_it_is_said_once(
    world: Database, routing: RoutingFollower, caplog: pytest.LogCaptureFixture
) -> None:
    routing.refresh()
    away(world)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            routing.refresh()
            assert title_of(routing) == "Main line"
    assert sum("routing_not_refreshed" in record.getMessage() for record in caplog.records) == 1
    back(world)
    titled(world, "Desk")
    routing.refresh()
    assert title_of(routing) == "Desk"


def test_r12_a_process_that_starts_without_a_database_takes_the_file_of_the_machine(
    world: Database, routing: RoutingFollower, tmp_path: Path
) -> None:
    routing.refresh()
    away(world)
    started = RoutingFollower(world, tmp_path / "routing", KEYS, now)
    started.refresh()
    assert started.snapshot == routing.snapshot
    stranger = RoutingFollower(world, tmp_path / "routing", KeyRing(("another key",)), now)
    stranger.refresh()
    assert stranger.snapshot is None
    back(world)
    titled(world, "Desk")
    started.refresh()
    assert title_of(started) == "Desk"


def test_r12_the_file_follows_the_database_and_its_older_one_is_the_state_before(
    world: Database, routing: RoutingFollower, tmp_path: Path
) -> None:
    second = RoutingFollower(world, tmp_path / "routing", KEYS, now)  # another process of the machine
    for title in ("One", "Two"):
        titled(world, title)
        for each in (routing, second, routing):
            each.refresh()
    newest = read_snapshot(tmp_path / "routing", KEYS)
    assert newest == routing.snapshot
    (tmp_path / "routing" / NEWEST).write_bytes(b"")
    older = read_snapshot(tmp_path / "routing", KEYS)
    assert older is not None
    assert {route.scenario_title for route in older.routes.values()} == {"One"}


def test_r12_the_file_of_many_numbers_is_written_less_often_than_they_change(
    world: Database, routing: RoutingFollower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    routing.refresh()
    first = routing.snapshot
    monkeypatch.setattr(following, "FILE_NUMBERS_A_SECOND", 1 / 3600)
    titled(world, "Desk")
    for each in (routing, RoutingFollower(world, tmp_path / "routing", KEYS, now)):
        each.refresh()
        assert title_of(each) == "Desk"
        assert read_snapshot(tmp_path / "routing", KEYS) == first
    os.utime(tmp_path / "routing" / NEWEST, times=(time.time() - 3601,) * 2)
    routing.refresh()
    assert read_snapshot(tmp_path / "routing", KEYS) == routing.snapshot
    titled(world, "Clock set back")
    os.utime(tmp_path / "routing" / NEWEST, times=(time.time() + 3600,) * 2)
    routing.refresh()
    assert read_snapshot(tmp_path / "routing", KEYS) == routing.snapshot


def test_r12_a_process_that_finds_another_one_writing_writes_what_that_one_did_not_know(
    world: Database, routing: RoutingFollower, tmp_path: Path
) -> None:
    routing.refresh()
    other = os.open(tmp_path / "routing", os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    titled(world, "Desk")
    routing.refresh()
    os.close(other)
    routing.refresh()
    assert read_snapshot(tmp_path / "routing", KEYS) == routing.snapshot
    assert title_of(routing) == "Desk"


def test_r12_a_disk_that_takes_no_file_changes_no_answer(
    world: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "routing").write_text("a file stands where the folder should")
    routing = RoutingFollower(world, tmp_path / "routing", KEYS, now)
    with caplog.at_level(logging.ERROR):
        routing.refresh()
        routing.refresh()
    assert title_of(routing) == "Main line"
    assert sum("snapshot_file_not_written" in record.getMessage() for record in caplog.records) == 1
    (tmp_path / "routing").unlink()
    monkeypatch.setattr(routing, "_no_file_before", 0.0)
    routing.refresh()
    assert read_snapshot(tmp_path / "routing", KEYS) == routing.snapshot


def test_r12_a_number_that_the_snapshot_lacks_is_looked_up(world: Database, routing: RoutingFollower) -> None:
    routing.start()
    with world.writing() as session:
        make_number(session, make_project(session), LATER)
    route = routing.find_route(call_to(LATER))
    assert route is not None
    assert route.number == LATER
    assert routing.find_route(call_to("+12125559999")) is None


def test_r12_numbers_are_looked_up_again_as_soon_as_the_database_is_back(
    world: Database, routing: RoutingFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 3600.0)
    routing.start()
    away(world)
    routing.refresh()
    back(world)
    routing.refresh()
    with world.writing() as session:
        make_number(session, make_project(session), LATER)
    assert routing.find_route(call_to(LATER)) is not None


class Frozen:
    """A database that takes questions and answers none until it is told to."""

    def __init__(self, database: Database) -> None:
        self.database, self.asked, self.thawed = database, 0, False

    def reading(self) -> Any:
        self.asked += 1
        while not self.thawed:
            time.sleep(0.01)
        return self.database.reading()


@pytest.fixture
def frozen(world: Database) -> Iterator[Frozen]:
    frozen = Frozen(world)
    yield frozen
    frozen.thawed = True
    for thread in threading.enumerate():
        if thread.name in ("routing", "routing-lookup"):
            thread.join(10)


def freeze(routing: RoutingFollower, frozen: Frozen, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process asks the frozen database from now on, and waits so long for it."""
    monkeypatch.setattr(routing, "_database", frozen)
    monkeypatch.setattr(routing, "_lookups", Lookups(cast(Database, frozen), "routing", seconds))


def test_r12_a_database_that_does_not_answer_costs_a_second_once_and_then_nothing(
    frozen: Frozen, routing: RoutingFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "PAUSE_SECONDS", 3600.0)
    routing.start()
    freeze(routing, frozen, 0.1, monkeypatch)
    assert routing.find_route(call_to("+12125559999")) is None
    assert frozen.asked <= 2, "the look-up and the poll"
    asked = frozen.asked
    for _ in range(100):
        assert routing.find_route(call_to("+12125559999")) is None
        assert routing.find_route(call_to(NUMBER)) is not None
    assert frozen.asked <= asked + 1, "only the poll asks meanwhile"


@pytest.mark.parametrize("is_quick_again", [True, False])
def test_r12_when_a_late_answer_has_come_and_the_next_is_quick_callers_are_looked_up_again(
    monkeypatch: pytest.MonkeyPatch, is_quick_again: bool
) -> None:
    """As after a lock: the pause would give the operator's line to a number that was just bought."""
    monkeypatch.setattr(lookups, "PAUSE_SECONDS", 3600.0)
    asked, locked, times = Lookups(cast(Database, None), "routing", 0.5), threading.Event(), []

    def look() -> int:
        times.append(1)
        if len(times) == 1:
            locked.wait(10)
        elif not is_quick_again:
            time.sleep(0.7)
        return 7

    assert asked.run(look, 0, looks_again=True) == 0
    assert not asked.is_open
    locked.set()
    for thread in threading.enumerate():
        if thread.name == "routing-lookup":
            thread.join(10)
    assert (len(times), asked.is_open) == (2, is_quick_again)
    assert asked.run(look, 0) == (7 if is_quick_again else 0)


def test_r12_no_more_than_a_few_look_ups_wait_at_a_time(
    frozen: Frozen, routing: RoutingFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(following, "POLL_SECONDS", 3600.0)
    routing.start()
    freeze(routing, frozen, 0.01, monkeypatch)
    for _ in range(20):
        assert routing.find_route(call_to("+12125559999")) is None
    assert frozen.asked == lookups.AT_ONCE


def test_r12_a_system_without_more_threads_costs_no_look_up_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Lookups(cast(Database, None), "routing", 5.0)

    def none_left(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        assert [asked.run(lambda: 1, 0) for _ in range(lookups.AT_ONCE + 1)] == [0] * (lookups.AT_ONCE + 1)
    assert asked.run(lambda: 1, 0) == 1


def test_r12_a_process_without_a_file_waits_for_a_frozen_database_only_for_a_while(
    frozen: Frozen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "START_SECONDS", 0.05)
    routing = RoutingFollower(cast(Database, frozen), tmp_path / "routing", KEYS, now)
    starting = threading.Thread(target=routing.start, daemon=True)
    starting.start()
    starting.join(5.0)
    assert not starting.is_alive()
    routing.stop()


def test_r12_whatever_a_file_cannot_hold_the_process_goes_on_following(
    world: Database, routing: RoutingFollower, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("no JSON")

    monkeypatch.setattr(following, "write_snapshot", fail)
    routing.refresh()
    titled(world, "Desk")
    routing.refresh()
    assert title_of(routing) == "Desk"
