"""R12: a carrier that repeats its first request to another process of the machine is told the same, byte for byte."""

import fcntl
import multiprocessing
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from router.accounts.models import Project
from router.server import Server
from router.voice import asking
from router.voice.first_answers import LONGEST, PROBES, FirstAnswers
from router.voice.models import BLOCKED
from tests.factories import COMPANY_LINE, NUMBER, SECOND_LINE
from tests.voice.carrier import CarrierClient
from tests.voice.flow_calls import ring
from tests.voice.journals import applier, calls
from tests.voice.test_flow_hooks import THIRD_LINE, follow, rung

CLOSING = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)
"""A Monday."""
HOURS = {
    "type": "hours",
    "branches": [{"times": [{"days": ["mon"], "opens": "09:00", "closes": "17:00"}], "steps": []}],
    "otherwise": [{"type": "hang_up", "busy": True}],
}
ROUND_ROBIN = ring(COMPANY_LINE, SECOND_LINE, THIRD_LINE, order="round_robin")


def in_another_process(server: Server) -> None:
    """Whatever this one remembers of calls is not known to the process that answers next."""
    server.first_answers = server.flow_lookups = server.routing = None


def test_three_times_a_second_apart_across_closing_time_and_with_round_robin(
    shop: Server, carrier: CarrierClient, clock: Any
) -> None:
    with shop.database.writing() as session:
        session.query(Project).one().timezone = "UTC"
    follow(shop, HOURS, ROUND_ROBIN)
    orders = set()
    for sid in ("CA1", "CA2", "CA3", "CA4"):
        clock.move_to(CLOSING - timedelta(seconds=1))
        answers = []
        for _ in range(3):
            answers.append(carrier.dial(NUMBER, sid=sid).data)
            in_another_process(shop)
            clock.shift(timedelta(seconds=1))
        assert len(set(answers)) == 1
        orders.add(rung(answers[0].decode())[0])
    assert len(orders) > 1, "the calls of a round robin begin at different lines"
    assert rung(carrier.dial(NUMBER, sid="CA9").text) == [], "who calls now finds them closed"
    applier(shop).apply_all()
    assert calls(shop)["CA1"].started_at == CLOSING - timedelta(seconds=1)


def test_also_when_the_flow_or_the_block_list_has_changed_meanwhile(shop: Server, carrier: CarrierClient) -> None:
    follow(shop, ring(COMPANY_LINE))
    first = carrier.dial(NUMBER).data
    with shop.database.writing() as session:
        session.query(Project).one().block_withheld = True
    blocked = carrier.dial(NUMBER, None, sid="CA2").data
    assert b"<Reject" in blocked
    follow(shop, ring(SECOND_LINE))
    with shop.database.writing() as session:
        session.query(Project).one().block_withheld = False
    in_another_process(shop)
    assert carrier.dial(NUMBER).data == first
    assert carrier.dial(NUMBER, None, sid="CA2").data == blocked
    assert rung(carrier.dial(NUMBER, None, sid="CA3").text) == [SECOND_LINE]
    applier(shop).apply_all()
    assert calls(shop)["CA2"].kind == BLOCKED


def test_a_test_calls_announcement_is_said_again_as_it_was(shop: Server, carrier: CarrierClient, clock: Any) -> None:
    first = carrier.dial(NUMBER, COMPANY_LINE)
    assert "This is a test call" in first.text
    with shop.database.writing() as session:
        session.query(Project).one().own_numbers = []
    in_another_process(shop)
    clock.shift(timedelta(seconds=4))
    assert carrier.dial(NUMBER, COMPANY_LINE).data == first.data


def test_what_was_looked_up_is_not_looked_up_again_also_when_nothing_came_in_time(
    shop: Server, carrier: CarrierClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = {"type": "ask", "url": "https://crm.example.com/who", "answers": {"vip": [ring(SECOND_LINE)]}}
    follow(shop, ask | {"otherwise": [ring(COMPANY_LINE)]}, {"type": "hang_up"})
    asked: list[str] = []

    def answers(outcome: str | None) -> Callable[..., str | None]:
        def answer(*_: Any) -> str | None:
            asked.append(str(outcome))
            return outcome

        return answer

    for sid, outcome, line in (
        ("CA1", None, COMPANY_LINE),
        ("CA2", "vip", SECOND_LINE),
        ("CA3", THIRD_LINE, THIRD_LINE),
        ("CA4", "\ud800", COMPANY_LINE),
    ):
        monkeypatch.setattr(asking, "_asked", answers(outcome))
        first = carrier.dial(NUMBER, sid=sid)
        assert rung(first.text) == [line]
        monkeypatch.setattr(asking, "_asked", answers("late"))
        in_another_process(shop)
        assert carrier.dial(NUMBER, sid=sid).data == first.data
    assert asked == ["None", "vip", THIRD_LINE, "\ud800"]


def test_a_calls_id_in_another_projects_request_is_another_call(tmp_path: Path, shop: Server) -> None:
    answers = FirstAnswers(tmp_path / "answers")
    assert [answers.agree("1 CA1", "a"), answers.agree("2 CA1", "b"), answers.agree("1 CA1", "c")] == ["a", "b", "a"]


PLACES_FOR_ALL = 4096


def agreed(path: Path, keys: list[str], queue: Any) -> None:
    answers = FirstAnswers(path, PLACES_FOR_ALL)
    queue.put([answers.agree(key, f"{key} of {os.getpid()}") for key in keys])


def test_processes_that_answer_at_the_same_moment_agree(tmp_path: Path) -> None:
    keys = [f"1 CA{place}" for place in range(500)]
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    processes = [fork.Process(target=agreed, args=(tmp_path / "answers", keys, queue)) for _ in range(4)]
    for process in processes:
        process.start()
    said = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert said[0] == said[1] == said[2] == said[3]
    answers = FirstAnswers(tmp_path / "answers", PLACES_FOR_ALL)
    assert [answers.find(key) for key in keys] == said[0]


def test_a_process_that_stands_still_or_is_killed_while_it_writes_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "answers"
    assert FirstAnswers(path).agree("1 CA1", "first") == "first"
    holder = os.open(path, os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    began = time.monotonic()
    assert FirstAnswers(path).agree("1 CA2", "second") == "second"
    assert FirstAnswers(path).agree("1 CA1", "other") == "first"
    assert time.monotonic() - began < 2.0
    os.close(holder)
    path.write_bytes(path.read_bytes().replace(b"first", b"xxrst"))  # it was torn
    assert FirstAnswers(path).find("1 CA1") is None
    assert FirstAnswers(path).agree("1 CA1", "again") == "again"
    assert FirstAnswers(path).find("1 CA2") == "second"


def test_a_full_file_forgets_the_oldest_and_a_missing_disk_leaves_each_process_to_itself(tmp_path: Path) -> None:
    answers = FirstAnswers(tmp_path / "answers", PROBES)
    for place in range(PROBES + 1):
        answers.agree(f"1 CA{place}", str(place))
    found = [answers.find(f"1 CA{place}") for place in range(PROBES + 1)]
    assert found == [None, *map(str, range(1, PROBES + 1))]
    (tmp_path / "no folder").write_text("")
    alone = FirstAnswers(tmp_path / "no folder" / "answers")
    assert [alone.agree("1 CA1", "a"), alone.agree("1 CA1", "b"), alone.find("1 CA1")] == ["a", "a", "a"]


def test_what_does_not_fit_is_known_to_its_process(tmp_path: Path) -> None:
    path, long = tmp_path / "answers", "x" * (LONGEST + 1)
    answers = FirstAnswers(path)
    assert [answers.agree("k", long), answers.agree("k", "y")] == [long, long]
    assert FirstAnswers(path).find("k") is None
