"""R11: a worker does not wait for its next look when something was written for it on its machine."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from router.config import Settings
from router.integrations import worker as worker_module
from router.integrations.models import Integration
from router.integrations.outbox import connect_receivers
from router.integrations.wakeups import folder_of, wake, wake_after_commit, woken
from router.scenarios.models import Scenario
from router.voice.calls import announce
from tests.factories import make_call
from tests.integrations.conftest import Office
from tests.integrations.receiver import Receiver
from tests.waiting import eventually


def test_whoever_listens_is_woken_and_who_was_killed_is_forgotten(tmp_path: Path) -> None:
    heard: list[str] = []
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with woken(tmp_path / "wake", lambda: heard.append("one")), woken(tmp_path / "wake", lambda: heard.append("one")):
        dead.bind(str(tmp_path / "wake" / "worker-0"))
        dead.close()
        wake(tmp_path / "wake")
        eventually(lambda: heard)
        assert not (tmp_path / "wake" / "worker-0").exists()
    assert os.listdir(tmp_path / "wake") == []
    wake(tmp_path / "wake")
    wake(tmp_path / "nobody made this")


def test_who_does_not_listen_holds_nobody_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "worker-1"))
        for _ in range(3000):  # more than a socket keeps
            wake(tmp_path)


def test_where_no_socket_can_be_made_the_worker_looks_by_itself(tmp_path: Path) -> None:
    with woken(tmp_path / ("long" * 40), lambda: None):
        pass


def test_only_what_is_committed_wakes(office: Office, tmp_path: Path) -> None:
    settings: Settings = office.server.settings
    heard = threading.Event()
    with woken(folder_of(settings), heard.set):
        with office.database.writing() as session:
            wake_after_commit(session, settings)
            session.rollback()
        assert not heard.wait(0.1)
        with office.database.writing() as session:
            wake_after_commit(session, settings)
            wake_after_commit(session, settings)
            session.connection()
        assert heard.wait(10)


def test_a_call_that_ends_is_told_before_the_workers_next_look(
    office: Office, webhook: Integration, inbox: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect_receivers()
    monkeypatch.setattr(worker_module, "POLL_SECONDS", 60.0)
    stop = threading.Event()
    worker = office.worker()
    runner = threading.Thread(target=worker.run, args=(stop,))
    runner.start()
    try:
        eventually(lambda: list(folder_of(office.server.settings).glob("worker-*")))
        time.sleep(0.1)  # it has looked, and found nothing
        with office.database.writing() as session:
            call = make_call(session, session.get_one(Scenario, office.scenario_id))
            announce(office.server, session, [("ended", call)], office.server.now())
        eventually(lambda: inbox.requests, 20)
    finally:
        stop.set()
        worker._wake.set()
        runner.join()
